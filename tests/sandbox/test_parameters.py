"""The parameters that the sandbox takes, held against those that stripe-python declares.

What Stripe requires is required, what it does not clear by an empty string is not cleared, and a
parameter that it has is known here, covered or not; also within hashes. The SDK's annotations say
so of each, and are made from Stripe's own description of its API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import stripe.params as sdk
from stripe.params import radar

from shop_payments.sandbox.resources.base import Route
from shop_payments.sandbox.routes import ROUTES
from shop_payments.sandbox.wire.params import Hash, Schema
from tests.sandbox.sdk_types import declared_parameters

DECLARED: Mapping[str, type] = {
    "POST /v1/payment_intents": sdk.PaymentIntentCreateParams,
    "GET /v1/payment_intents": sdk.PaymentIntentListParams,
    "GET /v1/payment_intents/{id}": sdk.PaymentIntentRetrieveParams,
    "POST /v1/payment_intents/{id}": sdk.PaymentIntentUpdateParams,
    "POST /v1/payment_intents/{id}/confirm": sdk.PaymentIntentConfirmParams,
    "POST /v1/payment_intents/{id}/capture": sdk.PaymentIntentCaptureParams,
    "POST /v1/payment_intents/{id}/cancel": sdk.PaymentIntentCancelParams,
    "POST /v1/payment_methods": sdk.PaymentMethodCreateParams,
    "GET /v1/payment_methods/{id}": sdk.PaymentMethodRetrieveParams,
    "GET /v1/charges": sdk.ChargeListParams,
    "GET /v1/charges/{id}": sdk.ChargeRetrieveParams,
    "GET /v1/charges/{id}/refunds": sdk.ChargeListRefundsParams,
    "POST /v1/refunds": sdk.RefundCreateParams,
    "GET /v1/refunds": sdk.RefundListParams,
    "GET /v1/refunds/{id}": sdk.RefundRetrieveParams,
    "POST /v1/refunds/{id}": sdk.RefundUpdateParams,
    "POST /v1/refunds/{id}/cancel": sdk.RefundCancelParams,
    "GET /v1/disputes": sdk.DisputeListParams,
    "GET /v1/disputes/{id}": sdk.DisputeRetrieveParams,
    "POST /v1/disputes/{id}": sdk.DisputeUpdateParams,
    "POST /v1/disputes/{id}/close": sdk.DisputeCloseParams,
    "GET /v1/radar/early_fraud_warnings": radar.EarlyFraudWarningListParams,
    "GET /v1/radar/early_fraud_warnings/{id}": radar.EarlyFraudWarningRetrieveParams,
    "GET /v1/reviews": sdk.ReviewListParams,
    "GET /v1/reviews/{id}": sdk.ReviewRetrieveParams,
    "POST /v1/reviews/{id}/approve": sdk.ReviewApproveParams,
    "GET /v1/balance_transactions": sdk.BalanceTransactionListParams,
    "GET /v1/balance_transactions/{id}": sdk.BalanceTransactionRetrieveParams,
    "GET /v1/events": sdk.EventListParams,
    "GET /v1/events/{id}": sdk.EventRetrieveParams,
    "POST /v1/webhook_endpoints": sdk.WebhookEndpointCreateParams,
    "GET /v1/webhook_endpoints": sdk.WebhookEndpointListParams,
    "GET /v1/webhook_endpoints/{id}": sdk.WebhookEndpointRetrieveParams,
    "POST /v1/webhook_endpoints/{id}": sdk.WebhookEndpointUpdateParams,
    "DELETE /v1/webhook_endpoints/{id}": sdk.WebhookEndpointDeleteParams,
}

DIFFERENT = {
    "payment_method_types: not the SDK's": "gone since 2026-09-30; older versions have it",
    "payment_method_data[card]: not the SDK's": "what Stripe.js sends",
    "mandate_data[customer_acceptance]: required": "a mandate is nothing without it",
    "mandate_data[customer_acceptance][online][infer_from_client]: not the SDK's": "for browsers",
    "type: required": "a payment method that is copied from a customer's needs none",
}
"""What differs on purpose, with the reason."""


def differences(schema: Schema, typed_dict: type, within: str = "") -> Iterator[str]:
    declared = declared_parameters(typed_dict)
    for name in declared.keys() | schema.keys():
        full_name = f"{within}[{name}]" if within else name
        if name not in schema:
            yield f"{full_name}: unknown here"
            continue
        if name not in declared:
            yield f"{full_name}: not the SDK's"
            continue
        param, theirs = schema[name], declared[name]
        if param.covered and param.required != theirs.required:
            yield f"{full_name}: {'required' if param.required else 'not required'}"
        if param.covered and param.unsettable != theirs.unsettable:
            yield f"{full_name}: {'unsettable' if param.unsettable else 'not unsettable'}"
        if isinstance(param.parse, Hash):
            (hash_of_theirs,) = theirs.hashes
            yield from differences(param.parse.schema, hash_of_theirs, full_name)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_parameters_are_those_of_the_sdk(route: Route) -> None:
    typed_dict = DECLARED[f"{route.method} {route.path}"]

    assert set(differences(route.schema, typed_dict)) <= DIFFERENT.keys()


def test_each_difference_is_one() -> None:
    found = {
        each
        for route in ROUTES
        for each in differences(route.schema, DECLARED[f"{route.method} {route.path}"])
    }

    assert found == DIFFERENT.keys()
