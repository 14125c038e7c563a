"""The routes of the API, the kinds of objects, and what of Stripe's API is not covered."""

from __future__ import annotations

from .resources import (
    accounts,
    balance_transactions,
    balances,
    charges,
    disputes,
    early_fraud_warnings,
    elements_sessions,
    events,
    payment_methods,
    refunds,
    reviews,
    webhook_endpoints,
)
from .resources.base import Resources, Route
from .resources.payment_intents import operations as payment_intents
from .wire.errors import InvalidRequest, NotCovered

_OBJECTS = (
    payment_intents,
    payment_methods,
    charges,
    refunds,
    disputes,
    early_fraud_warnings,
    reviews,
    balance_transactions,
    events,
    webhook_endpoints,
    accounts,
    balances,
)

ROUTES: tuple[Route, ...] = tuple(route for module in _OBJECTS for route in module.ROUTES)

CLIENT_ROUTES = (elements_sessions.ROUTE, events.RETRY_ROUTE)
"""Routes that Stripe documents for no server: only its own clients use them."""

RESOURCES: Resources = {module.RESOURCE.kind: module.RESOURCE for module in _OBJECTS}

_RESOURCES = """
account_links account_sessions accounts apple_pay application_fees apps
balance_settings billing billing_portal checkout climate
confirmation_tokens country_specs coupons credit_notes customer_sessions customers
entitlements ephemeral_keys exchange_rates file_links files financial_connections forwarding
identity invoice_payments invoice_rendering_templates invoiceitems invoices issuing mandates
payment_attempt_records payment_links payment_method_configurations payment_method_domains
payment_records payouts plans prices product_catalog products promotion_codes quotes
reporting setup_attempts setup_intents shipping_rates sigma sources subscription_items
subscription_schedules subscriptions tax tax_codes tax_ids tax_rates terminal test_helpers
three_d_secure tokens topups transfers treasury
"""
_UNDOCUMENTED_RESOURCES = """
3ds2 connections consumers elements fpx link link_account_sessions mobile-card-element-config
order_returns orders payment_pages skus stripecli wallet-config
"""
"""What Stripe.js, the SDKs for iOS and Android and Stripe's command line call.

See: https://github.com/stripe/stripe-android (StripeApiRepository.kt),
https://github.com/stripe/stripe-ios (STPAPIClient+Payments.swift),
https://github.com/stripe/stripe-cli (checked 2026-11)
"""
_PAYMENT_INTENT_OPERATIONS = """
amount_details_line_items apply_customer_balance increment_authorization link_account_sessions
refresh source_cancel verify_challenge verify_microdeposits
"""

UNCOVERED_RESOURCES = frozenset((_RESOURCES + _UNDOCUMENTED_RESOURCES).split())
"""First path segments under /v1 that Stripe has and the sandbox does not cover."""
PARTLY_COVERED_RESOURCES = frozenset(
    {"charges", "events", "payment_methods", "radar", "refunds", "reviews"}
)
"""First path segments under /v1 that the sandbox covers in part."""
UNCOVERED_OPERATIONS = frozenset(_PAYMENT_INTENT_OPERATIONS.split())
"""Last path segments under /v1/payment_intents/{id} that the sandbox does not cover."""


def find_route(method: str, path: str) -> tuple[Route, str]:
    """Return the route of a request and the id in its path.

    Raises:
        NotCovered: 501, only the real Stripe has this route.
        InvalidRequest: 404, Stripe has no such route.
    """
    # "search" would match the {id} of the routes below.
    if path in ("/v1/payment_intents/search", "/v1/charges/search"):
        raise _not_covered(method, path)
    for route in (*ROUTES, *CLIENT_ROUTES):
        object_id = route.match(method, path)
        if object_id is not None:
            return route, object_id
    if _is_stripes(path):
        raise _not_covered(method, path)
    raise InvalidRequest(
        f"Unrecognized request URL ({method}: {path[:200]}). {_hint(path)}Please see"
        " https://stripe.com/docs or we can help at https://support.stripe.com/.",
        status=404,
    )


def _hint(path: str) -> str:
    """Return Stripe's hint at an empty id, which only a path with a trailing slash gets.

    See: https://github.com/stripe/stripe-php/issues/968,
    https://github.com/stripe/stripe-dotnet/issues/821 (checked 2026-11)
    """
    if not path.endswith("/"):
        return ""
    return (
        "If you are trying to list objects, remove the trailing slash. If you are trying to"
        " retrieve an object, make sure you passed a valid (non-empty) identifier in your code. "
    )


def _is_stripes(path: str) -> bool:
    match path.split("/")[1:]:
        case ["v2" | "stripecli" | "edge-internal", resource, *_]:
            return bool(resource)
        case ["v1", "payment_intents", _, operation, *_]:
            return operation in UNCOVERED_OPERATIONS
        case ["v1", resource, *rest]:
            return resource in UNCOVERED_RESOURCES | PARTLY_COVERED_RESOURCES and "" not in rest
    return False


def _not_covered(method: str, path: str) -> NotCovered:
    return NotCovered(f"{method} {path[:200]}", status=501)
