"""Which pages may call across origins: those of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .loopback import is_loopback

_ALLOWED_METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"
_EXPOSED_HEADERS = "Request-Id, Stripe-Manage-Version, Stripe-Should-Retry"
_PREFLIGHT_SECONDS = "300"


def is_loopback_origin(origin: str) -> bool:
    """Return whether a page's origin is this machine."""
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
