"""Renders responses the same way for every host, whatever its REST framework settings are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings

OWN_SETTINGS = APISettings({"UNICODE_JSON": True}, DEFAULTS, IMPORT_STRINGS)
"""REST framework's defaults. With an empty dict, APISettings would read the host's settings."""


class PlainJSONRenderer(JSONRenderer):
    """Renders compact JSON in UTF-8."""

    ensure_ascii = False
    compact = True
    strict = True


@dataclass(frozen=True, kw_only=True)
class PostForm:
    """The form of a route in the browsable API."""

    button: str
    """What the button does."""

    help: tuple[str, ...]
    """Paragraphs above the button."""

    body: str = ""
    """JSON to begin with; empty for a route without a body."""


class BrowsableRenderer(BrowsableAPIRenderer):
    """Renders the browsable API, with the same JSON in it."""

    template = "shop_payments/browsable_api.html"

    def get_default_renderer(self, view: Any) -> BaseRenderer:
        return PlainJSONRenderer()


class Negotiation(DefaultContentNegotiation):
    """REST framework's content negotiation, with REST framework's default settings."""

    settings: Any = OWN_SETTINGS


class JSONAlways(Negotiation):
    """Chooses JSON, whatever the Accept header and the content type are.

    Stripe must not be refused because of a header.
    """

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
