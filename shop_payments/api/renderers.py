"""Renders responses the same way for every host, whatever its REST framework settings are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib.auth import SESSION_KEY
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

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        if context["response"].status_code == HTTPStatus.UNAUTHORIZED:
            # Staff who lack a permission are logged in. REST framework has replaced the user whom
            # it refuses by an anonymous one, so only the session shows it.
            context["needs_login"] = SESSION_KEY not in getattr(context["request"], "session", {})
        return context


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
