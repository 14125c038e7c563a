"""Which operation a request is for, and which kinds of objects there are."""

from __future__ import annotations

from .resources import (
    balance_transactions,
    charges,
    disputes,
    early_fraud_warnings,
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
)

ROUTES: tuple[Route, ...] = tuple(route for module in _OBJECTS for route in module.ROUTES)

RESOURCES: Resources = {module.RESOURCE.kind: module.RESOURCE for module in _OBJECTS}

_RESOURCES = """
account account_links account_sessions accounts apple_pay application_fees apps balance
balance_settings billing billing_portal checkout climate
confirmation_tokens country_specs coupons credit_notes customer_sessions customers
entitlements ephemeral_keys exchange_rates file_links files financial_connections forwarding
identity invoice_payments invoice_rendering_templates invoiceitems invoices issuing mandates
payment_attempt_records payment_links payment_method_configurations payment_method_domains
payment_records payouts plans prices products promotion_codes quotes
reporting setup_attempts setup_intents shipping_rates sigma sources subscription_items
subscription_schedules subscriptions tax tax_codes tax_ids tax_rates terminal test_helpers tokens
topups transfers treasury
"""
_PAYMENT_INTENT_OPERATIONS = """
amount_details_line_items apply_customer_balance increment_authorization verify_microdeposits
"""

UNCOVERED_RESOURCES = frozenset(_RESOURCES.split())
"""First parts of the addresses under /v1 that Stripe has and the sandbox has not."""
PARTLY_COVERED_RESOURCES = frozenset({"charges", "payment_methods", "radar", "refunds", "reviews"})
"""First parts under which Stripe has more than the sandbox."""
UNCOVERED_OPERATIONS = frozenset(_PAYMENT_INTENT_OPERATIONS.split())
"""Last parts of such addresses under /v1/payment_intents/{id}."""


def find_route(method: str, path: str) -> tuple[Route, str]:
    """Return the route and the id in the address.

    Raises:
        NotCovered: 501 for what only the real Stripe has.
        InvalidRequest: 404 for what nobody has.
    """
    if path in ("/v1/payment_intents/search", "/v1/charges/search"):  # would pass for an id
        raise _not_covered(method, path)
    for route in ROUTES:
        object_id = route.match(method, path)
        if object_id is not None:
            return route, object_id
    if _is_stripes(path):
        raise _not_covered(method, path)
    raise InvalidRequest(
        f"Unrecognized request URL ({method}: {path[:200]}). If you are trying to list objects,"
        " remove the trailing slash. If you are trying to retrieve an object, make sure you passed"
        " a valid (non-empty) identifier in your code. Please see https://stripe.com/docs or we can"
        " help at https://support.stripe.com/.",
        status=404,
    )


def _is_stripes(path: str) -> bool:
    match path.split("/")[1:]:
        case ["v2", resource, *_]:
            return bool(resource)
        case ["v1", "payment_intents", _, operation]:
            return operation in UNCOVERED_OPERATIONS
        case ["v1", resource, *rest]:
            return resource in UNCOVERED_RESOURCES | PARTLY_COVERED_RESOURCES and "" not in rest
    return False


def _not_covered(method: str, path: str) -> NotCovered:
    return NotCovered(f"{method} {path[:200]}", status=501)
