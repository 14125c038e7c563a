"""What browsers and mobile apps send: CORS, and requests in the form of Stripe.js.

A request with an Authorization header makes a browser ask first (a preflight), so Stripe.js sends
the key and the API version as parameters. It also sends telemetry, which the sandbox does not read.

Sources (checked 2026-11): the SDKs' own requests in stripe/stripe-ios (STPAPIClient+Payments.swift,
STPPaymentIntentConfirmParams.swift, STPClientAttributionMetadata.swift) and stripe/stripe-android
(StripeApiRepository.kt, ConfirmPaymentIntentParams.kt), and requests of Stripe.js that the tests of
other projects repeat, such as those of saleor-dashboard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from .loopback import is_loopback
from .messages import Exchange

_ALLOWED_METHODS = "GET, HEAD, PUT, PATCH, POST, DELETE"
_EXPOSED_HEADERS = "Request-Id, Stripe-Manage-Version, Stripe-Should-Retry"
_PREFLIGHT_SECONDS = "300"

# CORS


def is_loopback_origin(origin: str) -> bool:
    """Return whether the origin of a page is this machine.

    Browsers resolve all names under `localhost` to this machine, such as `shop.localhost`.
    See: https://www.rfc-editor.org/rfc/rfc6761#section-6.3 (checked 2026-11)
    """
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:  # not a URL
        return False
    return parts.scheme in ("http", "https") and (is_loopback(host) or host.endswith(".localhost"))


def cors_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the CORS headers for a page of this machine; none for other pages.

    Stripe allows all origins. The sandbox does not, because no website has a reason to call it.
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
    """Return the headers of the answer to a preflight request."""
    allowed = cors_headers(headers)
    asked = headers.get("access-control-request-headers")
    if allowed and asked:
        allowed["access-control-allow-headers"] = asked
    return allowed


# Parameters

_INSTEAD_OF_HEADERS = re.compile(r"(?:^|&)(key|_stripe_version|_stripe_account)=([^&]*)")


def with_headers(exchange: Exchange) -> Exchange:
    """Return the request with the headers that Stripe.js sends as parameters.

    A header that was sent wins. A secret key may not be a parameter (?), because URLs are logged.
    """
    body = exchange.body.decode("latin-1")  # keeps every byte
    if not any(map(_INSTEAD_OF_HEADERS.search, (exchange.query, body))):
        return exchange
    headers = dict(exchange.headers)
    return replace(
        exchange,
        query=_without(exchange.query, headers),
        body=_without(body, headers).encode("latin-1"),
        headers=headers,
    )


def _without(form: str, headers: dict[str, str]) -> str:
    """Move parameters to the headers; return the form without them."""

    def move(found: re.Match[str]) -> str:
        name, value = found[1], unquote_plus(found[2])
        if name != "key":
            headers.setdefault(name.removeprefix("_").replace("_", "-"), value)
        elif value.startswith(("sk_", "rk_")):
            return found[0]
        else:
            headers.setdefault("authorization", f"Bearer {value}")
        return ""

    return _INSTEAD_OF_HEADERS.sub(move, form).removeprefix("&")


_OF_PAYMENT_METHODS = frozenset(
    """
    client_attribution_metadata guid muid pasted_fields payment_user_agent radar_options referrer
    sid time_on_page
    """.split()
)
_OF_REQUESTS = _OF_PAYMENT_METHODS | frozenset(
    """
    client_context expected_payment_method_type is_stripe_sdk spc_eligible webauthn_uvpa_available
    """.split()
)


def without_telemetry(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request with a publishable key without what describes its client.

    `client_context` is what Elements were created with. Stripe compares it with the intent (?), and
    the sandbox does not.
    """
    kept = {name: value for name, value in raw.items() if name not in _OF_REQUESTS}
    data = kept.get("payment_method_data")
    if isinstance(data, dict):
        kept["payment_method_data"] = {
            name: value for name, value in data.items() if name not in _OF_PAYMENT_METHODS
        }
    return kept
