"""What a browser may do: publishable keys, and pages of this machine that call across origins.

See: https://docs.stripe.com/keys (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..resources.base import Resources
from .loopback import is_loopback

_ALLOWED_METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"
_EXPOSED_HEADERS = "Request-Id, Stripe-Manage-Version, Stripe-Should-Retry"
_PREFLIGHT_SECONDS = "300"
_FINGERPRINT = "fingerprint"
"""Hidden wherever it stands: it tells which customers share a card."""


def for_browser(node: Any, resources: Resources) -> Any:
    """Return an answer without the keys that a publishable key does not get to see.

    The keys are those of Stripe.js's results; whether Stripe leaves out more, or less, of what
    has been added since is not documented (?).
    """
    if isinstance(node, list):
        return [for_browser(item, resources) for item in node]
    if not isinstance(node, dict):
        return node
    resource = resources.get(str(node.get("object")))
    shown = (resource and resource.browser_keys) or node.keys()
    return {
        key: for_browser(value, resources)
        for key, value in node.items()
        if key in shown and key != _FINGERPRINT
    }


def is_loopback_origin(origin: str) -> bool:
    """Tell whether a page's origin is this machine."""
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and is_loopback(parts.hostname)
    except ValueError:  # no address at all
        return False


def cors_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what lets a page of this machine read the answer; nothing for other pages.

    Stripe lets every page: what a page elsewhere on the web wants of the sandbox is nothing good.
    """
    origin = headers.get("origin", "")
    if not is_loopback_origin(origin):
        return {}
    return {
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": _ALLOWED_METHODS,
        "access-control-allow-origin": origin,
        "access-control-expose-headers": _EXPOSED_HEADERS,
        "access-control-max-age": _PREFLIGHT_SECONDS,
        "vary": "Origin",
    }


def preflight_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the answer to a browser that asks before it calls."""
    allowed = cors_headers(headers)
    asked = headers.get("access-control-request-headers")
    if allowed and asked:
        allowed["access-control-allow-headers"] = asked
    return allowed
