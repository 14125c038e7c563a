"""The sources of Stripe.js for a content security policy.

A settings module may import this. In ``settings.py``, with Django's own policy (Django 6)::

    from shop_payments.checkout.csp import add_stripe_sources

    SECURE_CSP = add_stripe_sources({"default-src": ["'self'"]}, SHOP_PAYMENTS)

and with django-csp::

    policy = {"default-src": ["'self'"]}
    CONTENT_SECURITY_POLICY = {"DIRECTIVES": add_stripe_sources(policy, SHOP_PAYMENTS)}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from shop_payments.conf import STRIPE_API_BASE, default_stripe_js_url, is_this_machine

STRIPE_SOURCES: Mapping[str, tuple[str, ...]] = {
    "script-src": ("https://js.stripe.com", "https://*.js.stripe.com"),
    "frame-src": (
        "https://js.stripe.com",
        "https://*.js.stripe.com",
        "https://hooks.stripe.com",
    ),
    "connect-src": ("https://api.stripe.com",),
}
"""What the payment element needs. The address element, which is not used, needs Google Maps, too.

See: https://docs.stripe.com/security/guide#content-security-policy (2026-11)
"""

_NONE = "'none'"


def stripe_sources(shop_payments: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """Return the sources by directive: Stripe's, or the sandbox's origin if it is in use.

    ``shop_payments`` is the setting ``SHOP_PAYMENTS``.
    """
    values = shop_payments or {}
    base = values.get("STRIPE_API_BASE") or STRIPE_API_BASE
    script = urlsplit(values.get("STRIPE_JS_URL") or default_stripe_js_url(base.rstrip("/")))
    if not is_this_machine(script.geturl()):
        return {directive: list(sources) for directive, sources in STRIPE_SOURCES.items()}
    return {directive: [f"{script.scheme}://{script.netloc}"] for directive in STRIPE_SOURCES}


def add_stripe_sources(
    policy: Mapping[str, Any], shop_payments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the host's policy with the sources that the checkout pages need.

    A directive that the policy lacks begins with the sources of the one that browsers use instead,
    such as ``default-src``. The pages also load their own script and style, and call the shop:
    ``'self'`` is added for them.
    """
    merged = dict(policy)
    needed = {**stripe_sources(shop_payments), "style-src": []}
    for directive, sources in needed.items():
        own = [] if directive == "frame-src" else ["'self'"]
        found = _in_force(policy, directive)
        if found is not None:  # without any of them, the browser allows all sources
            merged[directive] = list(dict.fromkeys([*found, *own, *sources]))
    return merged


def _in_force(policy: Mapping[str, Any], directive: str) -> list[str] | None:
    """Return the sources that apply to a directive; None if the policy does not limit it."""
    for name in (directive, *(["child-src"] if directive == "frame-src" else []), "default-src"):
        if name in policy:
            value = policy[name]
            sources: Iterable[Any] = [value] if isinstance(value, str) else value or []
            return [source for source in sources if source != _NONE]
    return None
