"""Renders responses the same way for every host, whatever its REST framework settings are."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings

from shop_payments.lifecycle import PaymentStatus

OWN_SETTINGS = APISettings({"UNICODE_JSON": True}, DEFAULTS, IMPORT_STRINGS)
"""REST framework's defaults. With an empty dict, APISettings would read the host's settings."""


class PlainJSONRenderer(JSONRenderer):
    """Renders compact JSON in UTF-8."""

    ensure_ascii = False
    compact = True
    strict = True


class PostForm:
    """The form of a route in the browsable API: it says what its button does."""

    def __init__(self, button: str, *help: str, body: str = "") -> None:
        self.button = button
        self.help = help
        """Paragraphs above the button."""

        self.body = body
        """JSON to begin with; empty for a route without a body."""


_PAGES_OF_ORDER = {
    "order": "Order",
    "payment-intent": "Payment intent",
    "payment": "Payment",
    "refunds": "Refunds",
}


class BrowsableRenderer(BrowsableAPIRenderer):
    """Renders the browsable API, with the same JSON in it."""

    template = "shop_payments/browsable_api.html"

    def get_default_renderer(self, view: Any) -> BaseRenderer:
        return PlainJSONRenderer()

    def get_context(
        self, data: Any, accepted_media_type: Any, renderer_context: Any
    ) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        view = renderer_context["view"]
        # The form of REST framework is None if the caller may not post.
        may_post = context["raw_data_post_form"] is not None
        return {
            **context,
            "form": view.post_form if may_post else None,
            "pages": _pages_beside(view.kwargs.get("order_id")),
            "statuses": [*PaymentStatus] if view.action == "list" and view.has_filters else [],
            "is_for_post_only": context["response"].status_code == 405 and may_post,
        }


def _pages_beside(order_id: str | None) -> list[tuple[str, str]]:
    """Return the name and the URL of each page of an order."""
    if order_id is None:
        return []
    return [
        (name, reverse(f"shop_payments:{route}", args=[order_id]))
        for route, name in _PAGES_OF_ORDER.items()
    ]


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
