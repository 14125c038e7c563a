"""How answers are written: the same for every host, whatever its REST framework settings are."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings

OWN_SETTINGS = APISettings({"UNICODE_JSON": True}, DEFAULTS, IMPORT_STRINGS)
"""REST framework's defaults; of an empty dict it would make the host's settings."""


class PlainJSONRenderer(JSONRenderer):
    """Compact JSON in UTF-8."""

    ensure_ascii = False
    compact = True
    strict = True


class BrowsableRenderer(BrowsableAPIRenderer):
    """The browsable API around the same JSON."""

    template = "shop_payments/browsable_api.html"

    def get_default_renderer(self, view: Any) -> BaseRenderer:
        return PlainJSONRenderer()


class Negotiation(DefaultContentNegotiation):
    """REST framework's own, with its own settings."""

    settings: Any = OWN_SETTINGS


class JSONAlways(Negotiation):
    """Answer in JSON whatever the caller says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
