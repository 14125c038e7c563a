"""Stripe's errors become the gateway's exceptions."""

from __future__ import annotations

import pytest
import stripe as stripe_sdk

from shop_payments import exceptions as ours
from shop_payments.gateway import get_gateway
from shop_payments.gateway.errors import translate_error
from shop_payments.sandbox import Fault, Sandbox
from tests.gateway.support import confirm, create, facts, new_key, refusal, retrieve

EXPIRED = "pm_card_chargeDeclinedExpiredCard"
INVALID, MISSING = "GatewayInvalidRequest", "resource_missing"
UNEXPECTED = "payment_intent_unexpected_state"


def update_a_paid_one() -> None:
    intent_id = create().id
    confirm(intent_id)
    get_gateway().update_payment_intent(intent_id, {"amount": 500}, idempotency_key=new_key())


@pytest.mark.parametrize(
    ("expected", "status", "code", "param", "call"),
    [
        ("CardDeclined", 402, "expired_card", "exp_month", lambda: confirm(create().id, EXPIRED)),
        ("AmountTooSmall", 400, "amount_too_small", "amount", lambda: create(amount=1)),
        (INVALID, 400, "", "currency", lambda: create(currency="xyz")),
        ("ObjectMissing", 404, MISSING, "intent", lambda: retrieve("pi_none")),
        ("UnexpectedState", 400, UNEXPECTED, "amount", update_a_paid_one),
    ],
    ids=range(5),
)
def test_a_refusal(stripe, expected, status, code, param, call):
    error = refusal(getattr(ours, expected), call)
    assert facts(error) == (False, False, status, code)
    assert (error.param, error.request_id) == (param, stripe.requests[-1].request_id)
    assert str(error)


def test_a_wrong_secret_key(configure):
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)
    error = refusal(ours.GatewayAuthenticationError, create)
    assert facts(error) == (False, False, 401, "")
    assert error.request_id.startswith("req_")
    assert "sk_test_of_the_tests" not in str(error)


def test_other_parameters_with_the_same_key(stripe):
    key = new_key()
    create(key=key)
    error = refusal(ours.IdempotencyMismatch, create, key=key, amount=500)
    assert facts(error) == (False, True, 400, "")


@pytest.mark.parametrize(
    ("status", "expected", "effect_unknown", "code"),
    [
        # A concurrent request with the same key may still have its effect, also without the code.
        (409, ours.GatewayBusy, True, ""),  # https://docs.stripe.com/api/errors (checked 2026-11)
        (429, ours.GatewayBusy, False, "rate_limit"),
        (500, ours.GatewayUnavailable, True, ""),
    ],
)
def test_stripe_has_a_problem_and_repeats_a_500(stripe, status, expected, effect_unknown, code):
    key = new_key()
    stripe.inject(Fault("error", status=status))
    error = refusal(expected, create, key=key)
    assert facts(error) == (True, effect_unknown, status, code)
    assert error.request_id == stripe.requests[-1].request_id
    assert not error.replayed
    if status == 500:
        assert refusal(expected, create, key=key).replayed


@pytest.mark.parametrize("status", [None, 404])
def test_the_sdks_own_message_is_not_repeated(status):
    """It quotes the answer, if that is not one of Stripe's error objects."""
    body = '{"client_secret": "pi_1_secret_2", "receipt_email": "customer@example.com"'
    error = translate_error(
        stripe_sdk.APIError(f"Invalid: {body}", body, status, headers={"request-id": "req_1"})
    )
    said = f"{error} {error.__dict__}"
    assert not [word for word in ("customer", "Invalid", "pi_1") if word in said]
    assert error.request_id == "req_1"


def test_an_unknown_type_of_error_leaves_the_outcome_unknown():
    body = {"error": {"type": "teapot_error", "message": "No coffee"}}
    error = translate_error(stripe_sdk.StripeError("", http_status=418, json_body=body))
    assert (type(error), facts(error)) == (ours.GatewayUnavailable, (True, True, 418, ""))
