"""Stripe's errors become ours."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import stripe as stripe_sdk

from shop_payments import exceptions as ours
from shop_payments.gateway.errors import translate_error
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from tests.gateway.support import confirm, create, facts, new_key, refusal, retrieve, update

DECLINED, EXPIRED = "pm_card_chargeDeclined", "pm_card_chargeDeclinedExpiredCard"

INVALID: dict[str, dict[str, Any]] = {
    "parameter_invalid_integer": {"amount": -5},
    "": {"currency": "xyz"},
    "email_invalid": {"receipt_email": "nobody"},
    "parameter_unknown": {"invoice": "in_1"},
    "resource_missing": {"payment_method": "pm_none"},
}


def paid() -> str:
    intent_id: str = create().id
    confirm(intent_id)
    return intent_id


@pytest.mark.parametrize(
    ("expected", "status", "code", "param", "call"),
    [
        ("CardDeclined", 402, "card_declined", "", lambda: confirm(create().id, DECLINED)),
        ("CardDeclined", 402, "expired_card", "exp_month", lambda: confirm(create().id, EXPIRED)),
        ("AmountTooSmall", 400, "amount_too_small", "amount", lambda: create(amount=1)),
        ("AmountTooLarge", 400, "amount_too_large", "amount", lambda: create(amount=10**8)),
        *(
            ("GatewayInvalidRequest", 400, code, next(iter(changed)), partial(create, **changed))
            for code, changed in INVALID.items()
        ),
        ("ObjectMissing", 404, "resource_missing", "intent", lambda: retrieve("pi_none")),
        ("ObjectMissing", 404, "resource_missing", "intent", lambda: update("pi_none")),
        ("ObjectMissing", 404, "resource_missing", "intent", lambda: confirm("pi_none")),
        (
            "UnexpectedState",
            400,
            "payment_intent_unexpected_state",
            "amount",
            lambda: update(paid()),
        ),
        ("UnexpectedState", 400, "payment_intent_unexpected_state", "", lambda: confirm(paid())),
    ],
    ids=range(14),
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


def test_a_key_that_may_not_do_this(configure):
    body = b'{"error": {"type": "invalid_request_error", "message": "The key may not"}}'
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(403, {"Request-Id": "req_1"}, body))
    error = refusal(ours.GatewayAuthenticationError, create)
    assert facts(error) == (False, False, 403, "")
    assert (str(error), error.request_id) == ("The key may not", "req_1")


def test_other_parameters_under_the_same_key(stripe):
    key = new_key()
    create(key=key)
    error = refusal(ours.IdempotencyMismatch, create, key=key, amount=500)
    assert facts(error) == (False, True, 400, "")


@pytest.mark.parametrize(
    ("status", "expected", "effect_unknown", "code"),
    [
        (409, ours.GatewayBusy, False, ""),
        (429, ours.GatewayBusy, False, "rate_limit"),
        (500, ours.GatewayUnavailable, True, ""),
        (503, ours.GatewayUnavailable, True, ""),
    ],
)
def test_stripe_in_trouble(stripe, status, expected, effect_unknown, code):
    stripe.inject(Fault("error", status=status))
    error = refusal(expected, create)
    assert facts(error) == (True, effect_unknown, status, code)
    assert error.request_id == stripe.requests[-1].request_id
    assert not error.replayed


def test_a_saved_500_is_told_from_a_new_one(stripe):
    key = new_key()
    stripe.inject(Fault("error", status=500))
    errors = [refusal(ours.GatewayUnavailable, create, key=key) for _ in range(2)]
    assert [error.replayed for error in errors] == [False, True]


@pytest.mark.parametrize("status", [None, 200, 404, 500])
def test_the_sdks_own_words_are_not_repeated(status):
    """They quote what was answered, if it was not one of Stripe's error objects."""
    body = '{"client_secret": "pi_1_secret_2", "receipt_email": "customer@example.com"'
    error = translate_error(
        stripe_sdk.APIError(f"Invalid: {body}", body, status, headers={"request-id": "req_1"})
    )
    said = f"{error} {error.__dict__}"
    assert not [word for word in ("customer", "Invalid", "pi_1") if word in said]
    assert error.request_id == "req_1"


def test_a_new_kind_of_error_leaves_the_effect_unknown():
    body = {"error": {"type": "teapot_error", "message": "No coffee"}}
    error = translate_error(stripe_sdk.StripeError("", http_status=418, json_body=body))
    assert (type(error), facts(error)) == (ours.GatewayUnavailable, (True, True, 418, ""))
