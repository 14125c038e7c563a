"""Elements sessions: what Stripe.js and the mobile SDKs ask before they show a payment form.

Stripe does not document this object. Its keys are those that the SDKs read: `STPElementsSession` of
stripe/stripe-ios, `ElementsSessionJsonParser` of stripe/stripe-android and the answers in their
tests (checked 2026-11).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ..account.books import Object
from ..banks.currencies import check_amount, check_currency
from ..wire.errors import InvalidRequest
from ..wire.keys import ACCOUNT
from ..wire.params import Hash, Param, Schema, integer, list_of, one_of, text, uncovered
from .base import Call, Route
from .payment_method_types import ALLOWABLE, AUTOMATIC, EXCLUDABLE, among

_COUNTRY = "US"
"""The country of the account, and of the customer."""


def retrieve(call: Call) -> Object:
    """GET /v1/elements/sessions."""
    books, params = call.books, call.params
    if params["type"] == "deferred_intent":
        types = _deferred_types(params)
        preference: Object = {}
    else:
        intent = _find_intent(call)
        types = intent["payment_method_types"]
        preference = {"payment_intent": intent}
    return {
        "object": "elements_session",
        "apple_pay_preference": "disabled",
        "business_name": "Sandbox",
        "card_brand_choice": {"eligible": False, "preferred_networks": ["cartes_bancaires"]},
        "config_id": str(UUID(int=books.random.getrandbits(128), version=4)),
        "customer": None,
        "external_payment_method_data": None,
        "flags": {},
        "google_pay_preference": "disabled",
        "link_settings": {"link_funding_sources": []},
        "merchant_country": _COUNTRY,
        "merchant_currency": "usd",
        "merchant_id": ACCOUNT,
        "order": None,
        "ordered_payment_method_types_and_wallets": list(types),
        "payment_method_preference": {
            "object": "payment_method_preference",
            "country_code": _COUNTRY,
            "ordered_payment_method_types": list(types),
            "type": params["type"],
            **preference,
        },
        "payment_method_specs": [],
        "session_id": f"elements_session_{books.token(11)}",
        "unactivated_payment_method_types": [],
    }


def _find_intent(call: Call) -> Object:
    """Return a copy of the intent, with its payment method, which the SDKs expand.

    Raises:
        InvalidRequest: there is no such intent, or it takes no more payments.
    """
    books = call.books
    secret = call.params.get("client_secret")
    if secret is None:
        raise InvalidRequest(
            "Missing required param: client_secret.",
            code="parameter_missing",
            param="client_secret",
        )
    intent = books.payment_intents.get(secret.partition("_secret_")[0])
    if intent is None or intent["client_secret"] != secret:
        # See: https://github.com/richnologies/ngx-stripe/issues/167 (checked 2026-11)
        raise InvalidRequest(
            "The client_secret provided does not match any associated PaymentIntent on this"
            " account.",
            param="client_secret",
        )
    if intent["status"] in _over(call.api_version):
        raise InvalidRequest(
            "This PaymentIntent is in a terminal state and cannot be used to initialize Elements.",
            code="payment_intent_unexpected_state",
            extra={"payment_intent": copy.deepcopy(intent)},
        )
    shown = copy.deepcopy(intent)
    if shown["payment_method"] is not None:
        shown["payment_method"] = copy.deepcopy(books.payment_methods[shown["payment_method"]])
    return shown


def _over(api_version: str) -> tuple[str, ...]:
    """Return the statuses in which an intent takes no more payments.

    The message for the last two is not documented (?). See:
    https://docs.stripe.com/changelog/clover/2025-09-30/client-secret-reuse (checked 2026-11)
    """
    over = ("succeeded", "canceled")
    return over if api_version < "2025-09-30" else (*over, "processing", "requires_capture")


def _deferred_types(params: Mapping[str, Any]) -> list[str]:
    """Return the types of an intent that is created later, and check its amount."""
    deferred = params.get("deferred_intent", {})
    for name in ("mode", "amount", "currency"):
        if name not in deferred:
            full_name = f"deferred_intent[{name}]"
            raise InvalidRequest(
                f"Missing required param: {full_name}.", code="parameter_missing", param=full_name
            )
    check_amount(deferred["amount"], check_currency(deferred["currency"]))
    allowed = deferred.get("allowed_payment_method_types") or deferred.get("payment_method_types")
    excluded = deferred.get("excluded_payment_method_types", ())
    return [name for name in allowed or AUTOMATIC if name not in excluded]


def _expand(raw: Any, name: str) -> list[str]:
    """Accept the paths and return none, because `_find_intent` expands what the SDKs ask for."""
    list_of(text())(raw, name)
    return []


_DEFERRED_INTENT: Schema = {
    "mode": Param(parse=one_of("payment", uncovered_choices=("setup", "subscription"))),
    "amount": Param(parse=integer(at_least=1)),
    "currency": Param(parse=text()),
    "capture_method": Param(parse=one_of("automatic", "automatic_async", "manual")),
    "payment_method_types": Param(parse=list_of(among(ALLOWABLE))),
    # As the parameters of an intent are called (?).
    "allowed_payment_method_types": Param(parse=list_of(among(ALLOWABLE))),
    "excluded_payment_method_types": Param(parse=list_of(among(EXCLUDABLE))),
    "setup_future_usage": Param(parse=one_of("off_session", "on_session"), unsettable=True),
    **uncovered("on_behalf_of", "payment_method_configuration", "payment_method_options"),
}

_NOT_READ = """
client_betas client_default_payment_method country_override currency custom_payment_methods
elements_init_source external_payment_methods locale mobile_app_id mobile_session_id referrer_host
session_id stripe_js_id top_checkout_url
"""
"""Parameters that describe the client."""

SCHEMA: Schema = {
    "expand": Param(parse=_expand),
    "type": Param(
        parse=one_of("payment_intent", "deferred_intent", uncovered_choices=("setup_intent",)),
        required=True,
    ),
    "client_secret": Param(parse=text()),
    "deferred_intent": Param(parse=Hash(_DEFERRED_INTENT)),
    **{name: Param(parse=lambda raw, name: raw, unsettable=True) for name in _NOT_READ.split()},
    **uncovered(
        "customer_session_client_secret", "legacy_customer_ephemeral_key", "checkout_session_id"
    ),
}

ROUTE = Route(
    method="GET",
    path="/v1/elements/sessions",
    handler=retrieve,
    schema=SCHEMA,
    browser_schema=SCHEMA,
    returns="elements_session",
)
"""It is not among the routes of stripe-python."""
