"""Confirming an intent: 3D Secure, and debits with a late answer.

See: https://docs.stripe.com/testing#regulatory-cards, https://docs.stripe.com/payments/ach-debit
and https://docs.stripe.com/payments/sepa-debit (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import DAY, INTENTS, MONEY, ORDER

ASKS = "pm_card_authenticationRequired"
US = "pm_usBankAccount_success"
US_TYPE = {"allowed_payment_method_types[]": "us_bank_account"}


# 3D Secure


@pytest.mark.parametrize(
    ("card", "succeed", "status", "events"),
    [
        (ASKS, True, "succeeded", ["charge.succeeded", "payment_intent.succeeded"]),
        (ASKS, False, "requires_payment_method", ["payment_intent.payment_failed"]),
        (
            *("pm_card_threeDSecureRequiredChargeDeclined", True, "requires_payment_method"),
            ["charge.failed", "payment_intent.payment_failed"],
        ),
    ],
)
def test_an_authentication_is_completed_or_failed(api, sandbox, card, succeed, status, events):
    intent = api.create(capture_method="automatic")
    api.confirm(intent, card)

    done = sandbox.complete_authentication(intent["id"], succeed=succeed)

    assert api.again(intent).json == done
    assert (done["status"], done["next_action"]) == (status, None)
    assert api.events_after(2) == events
    error = done["last_payment_error"]
    if not succeed:
        assert error["code"] == "payment_intent_authentication_failure"
    elif error:  # an authenticated card may still be declined
        assert error["decline_code"] == "generic_decline"
        assert error["charge"] == done["latest_charge"]
    else:
        details = api.charge_of(done)["payment_method_details"]["card"]
        assert details["three_d_secure"]["result"] == "authenticated"
    with pytest.raises(ValueError, match="waits for no authentication"):
        sandbox.complete_authentication(intent["id"])


@pytest.mark.parametrize(
    ("card", "asks", "status"),
    [
        ("pm_card_threeDSecureOptional", "automatic", "succeeded"),
        ("pm_card_threeDSecureOptional", "any", "requires_action"),
        ("pm_card_threeDSecureOptional", "challenge", "requires_action"),
        ("pm_card_threeDSecureOptionalProcessingError", "any", "requires_payment_method"),
        ("pm_card_threeDSecureOptionalProcessingError", "automatic", "succeeded"),
        ("pm_card_visa", "any", "succeeded"),  # it supports 3D Secure and is not enrolled
    ],
)
def test_a_shop_requests_an_authentication(api, card, asks, status):
    option = {"payment_method_options[card][request_three_d_secure]": asks}
    intent = api.create(**option)
    assert intent["payment_method_options"]["card"]["request_three_d_secure"] == asks
    api.confirm(intent, card)
    assert api.again(intent)["status"] == status

    later = api.create()
    api.confirm(later, card, **option)
    assert api.again(later)["status"] == status

    bank = api.create(**US_TYPE)
    api.post(f"{INTENTS}/{bank['id']}", option).assert_refused(param="payment_method_options[card]")
    option = {"payment_method_options[card][moto]": "true"}
    api.post(INTENTS, {**ORDER, **option}).assert_refused(code="sandbox_not_covered")


def test_off_session_payments_cannot_be_authenticated(api):
    intent = api.create()
    set_up = "pm_card_authenticationRequiredSetupForOffSession"
    assert api.confirm(api.create(), set_up, off_session="true")["status"] == "succeeded"
    number = len(api.sandbox.events)

    answer = api.confirm(intent, ASKS, off_session="one_off")

    code = "authentication_required"
    answer.assert_refused(402, code=code, decline_code=code, charge=None)
    assert api.again(intent)["status"] == "requires_payment_method"
    assert api.events_after(number) == ["payment_intent.payment_failed"]


def test_an_action_can_be_made_an_error(api):
    params = {"confirm": "true", "error_on_requires_action": "true", "payment_method": ASKS}

    answer = api.post(INTENTS, {**ORDER, **params})

    code, decline_code = "authentication_required", "authentication_not_handled"
    answer.assert_refused(402, code=code, decline_code=decline_code)
    assert api.again(answer.error["payment_intent"])["status"] == "requires_payment_method"


def test_a_server_confirms_only_what_was_authenticated(api, sandbox):
    """See: https://docs.stripe.com/payments/finalize-payments-on-the-server-legacy
    (checked 2026-11)
    """
    intent = api.create(confirmation_method="manual")
    api.confirm(intent, ASKS)
    authenticated = sandbox.complete_authentication(intent["id"])
    assert authenticated["status"] == "requires_confirmation"
    assert authenticated["latest_charge"] is None

    api.update(intent, amount="5000")
    assert api.confirm(intent)["status"] == "requires_action"

    sandbox.complete_authentication(intent["id"])
    assert api.confirm(intent)["status"] == "succeeded"


# Debits


def test_a_debit_succeeds_later(api, sandbox):
    pending = api.debit(US, settle=False)
    intent = api.get(f"{INTENTS}/{pending['payment_intent']}")
    intent.assert_has(status="processing", amount_received=0)
    pending.assert_has(status="pending", paid=False)

    sandbox.advance_clock(179)
    assert api.again(intent)["status"] == "processing"
    sandbox.advance_clock(1)

    charge = api.again(pending)
    api.again(intent).assert_has(status="succeeded", amount_received=11200)
    api.again(intent).assert_has(latest_charge=charge["id"])
    charge.assert_has(status="succeeded", paid=True, amount_captured=11200)
    began = ["charge.pending", "payment_intent.processing"]
    assert api.events_after(1) == [*began, "charge.succeeded", "payment_intent.succeeded"]
    assert sandbox.events[-1]["created"] == 4_000_000_180
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


def test_a_debit_may_fail_later(api):
    charge = api.debit("pm_usBankAccount_insufficientFunds")

    failed = api.get(f"{INTENTS}/{charge['payment_intent']}")
    error = failed["last_payment_error"]
    failed.assert_has(status="requires_payment_method", payment_method=None)
    assert (error["type"], error["charge"]) == ("invalid_request_error", charge["id"])
    assert error["payment_method"]["id"] == charge["payment_method"]
    charge.assert_has(status="failed", paid=False, captured=False, amount_captured=0)
    assert charge["failure_code"] == charge["outcome"]["reason"] == "insufficient_funds"
    assert api.events_after(3) == ["charge.failed", "payment_intent.payment_failed"]


def test_a_canceled_debit_is_not_settled(api, sandbox):
    pending = api.debit(US, settle=False)
    intent = api.get(f"{INTENTS}/{pending['payment_intent']}")
    api.cancel(intent)

    sandbox.advance_clock(180)

    assert (api.again(intent)["status"], api.again(pending)["status"]) == ("canceled", "failed")
    assert api.events_after(3) == ["charge.failed", "payment_intent.canceled"]


def test_a_debit_needs_a_mandate_and_an_intent_that_takes_it(api):
    intent = api.create(**US_TYPE)
    at_once = {**ORDER, **US_TYPE, "payment_method": US, "confirm": "true"}

    for answer in (api.confirm(intent, US), api.post(INTENTS, at_once)):
        answer.assert_refused(message="requires a mandate")
    assert api.get(INTENTS)["data"] == [intent.json]

    message = "(us_bank_account) is not allowed for this PaymentIntent"
    refused = api.update(api.create(), payment_method=US)
    refused.assert_refused(message=message, param="payment_method")


def test_a_debit_that_a_test_authorizes_is_captured_in_part(api, sandbox):
    """Its charge stayed pending, so a capture of 50.00 booked all of its 112.00."""
    charge = api.debit(US, settle=False)
    intent = api.get(f"{INTENTS}/{charge['payment_intent']}")
    sandbox.advance(intent["id"], "requires_capture")

    captured = api.capture(intent, amount_to_capture="5000")
    sandbox.advance_clock(DAY)  # the bank's answer to the debit comes too late

    captured.assert_has(status="succeeded", amount_received=5000)
    assert api.again(intent).json == captured.json
    api.again(charge).assert_has(status="succeeded", paid=True, amount_captured=5000)
    assert [row["amount"] for row in api.get(MONEY)["data"]] == [5000]
