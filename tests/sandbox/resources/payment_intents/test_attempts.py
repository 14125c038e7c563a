"""What comes of confirming: 3D Secure, and debits that take their time.

See: https://docs.stripe.com/testing#regulatory-cards, https://docs.stripe.com/payments/ach-debit
and https://docs.stripe.com/payments/sepa-debit (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import DAY, INTENTS, ORDER

ASKS = "pm_card_authenticationRequired"
US = "pm_usBankAccount_success"
US_TYPE = {"allowed_payment_method_types[]": "us_bank_account"}


# 3D Secure


@pytest.mark.parametrize(
    ("card", "status"),
    [
        (ASKS, "requires_action"),
        ("pm_card_authenticationRequiredOnSetup", "requires_action"),
        ("pm_card_authenticationRequiredSetupForOffSession", "requires_action"),
        ("pm_card_threeDSecure2Required", "requires_action"),
        ("pm_card_threeDSecureRequired", "requires_action"),
        ("pm_card_threeDSecureOptional", "succeeded"),
        ("pm_card_amex_threeDSecureNotSupported", "succeeded"),
    ],
)
def test_a_3ds_card_asks_the_customer(api, card, status):
    intent = api.confirm(api.create(), card)

    assert intent["status"] == status
    assert (intent["latest_charge"] is None) == (status == "requires_action")


def test_the_customer_authenticates_in_stripe_js_or_at_a_link(api):
    back = "https://shop.example/done"

    in_page = api.confirm(api.create(), ASKS)["next_action"]
    link = api.confirm(api.create(), ASKS, return_url=back)["next_action"]
    sdk = api.confirm(api.create(), ASKS, return_url=back, use_stripe_sdk="true")["next_action"]

    assert in_page["type"] == sdk["type"] == "use_stripe_sdk"
    assert (link["type"], link["redirect_to_url"]["return_url"]) == ("redirect_to_url", back)


@pytest.mark.parametrize(
    ("succeed", "capture_method", "status", "event"),
    [
        (True, "automatic", "succeeded", "succeeded"),
        (True, "manual", "requires_capture", "amount_capturable_updated"),
        (False, "manual", "requires_payment_method", "payment_failed"),
    ],
)
def test_an_authentication_is_passed_or_failed(
    api, sandbox, succeed, capture_method, status, event
):
    intent = api.create(capture_method=capture_method)
    api.confirm(intent, ASKS)

    done = sandbox.complete_authentication(intent["id"], succeed=succeed)

    assert api.again(intent).json == done
    assert (done["status"], done["next_action"]) == (status, None)
    charged = ["charge.succeeded"] if succeed else []
    assert api.events_after(2) == [*charged, f"payment_intent.{event}"]
    if succeed:
        card = api.charge_of(done)["payment_method_details"]["card"]
        assert card["three_d_secure"]["result"] == "authenticated"
    else:
        assert done["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    with pytest.raises(ValueError, match="waits for no authentication"):
        sandbox.complete_authentication(intent["id"])


@pytest.mark.parametrize("word", ["true", "one_off", "recurring"])
def test_off_session_nobody_authenticates(api, word):
    intent = api.create()

    answer = api.confirm(intent, ASKS, off_session=word)

    assert (answer.status, answer.error["code"]) == (402, "authentication_required")
    assert answer.error["decline_code"] == "authentication_required"
    assert "charge" not in answer.error
    assert api.again(intent)["status"] == "requires_payment_method"
    assert api.events_after(1) == ["payment_intent.payment_failed"]


def test_a_card_that_was_set_up_pays_off_session(api):
    card = "pm_card_authenticationRequiredSetupForOffSession"

    assert api.confirm(api.create(), card, off_session="true")["status"] == "succeeded"


def test_an_action_can_be_made_an_error(api):
    params = {"confirm": "true", "error_on_requires_action": "true", "payment_method": ASKS}

    answer = api.post(INTENTS, {**ORDER, **params})

    assert (answer.status, answer.error["code"]) == (402, "authentication_required")
    assert answer.error["decline_code"] == "authentication_not_handled"
    assert api.again(answer.error["payment_intent"])["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_threeDSecureRequiredChargeDeclined", "generic_decline"),
    ],
)
def test_an_authenticated_card_may_still_be_declined(api, sandbox, card, decline_code):
    intent = api.create()
    api.confirm(intent, card)

    declined = sandbox.complete_authentication(intent["id"])

    assert declined["status"] == "requires_payment_method"
    assert declined["last_payment_error"]["decline_code"] == decline_code
    assert declined["last_payment_error"]["charge"] == declined["latest_charge"]
    assert api.events_after(2) == ["charge.failed", "payment_intent.payment_failed"]


# Confirmed by the server


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "succeeded"),
        ({"amount": "5000"}, "requires_action"),
        ({"currency": "eur"}, "requires_action"),
        ({"payment_method": "pm_card_threeDSecure2Required"}, "requires_action"),
    ],
)
def test_a_server_confirms_what_was_authenticated(api, sandbox, change, status):
    """See: https://docs.stripe.com/payments/finalize-payments-on-the-server-legacy
    (checked 2026-11)
    """
    intent = api.create(confirmation_method="manual")
    api.confirm(intent, ASKS)
    authenticated = sandbox.complete_authentication(intent["id"])
    if change:
        api.update(intent, **change)

    confirmed = api.confirm(intent)

    assert authenticated["status"] == "requires_confirmation"
    assert (authenticated["latest_charge"], confirmed["status"]) == (None, status)


# Debits


@pytest.mark.parametrize("account", [US, "pm_success_de"])
def test_a_debit_succeeds_later(api, sandbox, account):
    pending = api.debit(account, settle=False)
    intent = api.get(f"{INTENTS}/{pending['payment_intent']}")
    intent.assert_has(status="processing", amount_received=0)
    pending.assert_has(status="pending", paid=False)
    assert api.events_after(1) == ["charge.pending", "payment_intent.processing"]

    sandbox.advance_clock(179)
    assert api.again(intent)["status"] == "processing"
    sandbox.advance_clock(1)

    paid, charge = api.again(intent), api.again(pending)
    paid.assert_has(status="succeeded", amount_received=11200)
    assert paid["latest_charge"] == charge["id"]
    charge.assert_has(status="succeeded", paid=True, amount_captured=11200)
    assert charge["id"].startswith("py_3")
    assert charge["payment_method_details"]["type"] == paid["payment_method_types"][0]
    assert api.events_after(3) == ["charge.succeeded", "payment_intent.succeeded"]
    assert sandbox.events[-1]["created"] == 4_000_000_180
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


@pytest.mark.parametrize(
    ("account", "failure_code"),
    [
        ("pm_usBankAccount_accountClosed", "account_closed"),
        ("pm_usBankAccount_noAccount", "no_account"),
        ("pm_usBankAccount_insufficientFunds", "insufficient_funds"),
        ("pm_usBankAccount_debitNotAuthorized", "debit_not_authorized"),
        ("pm_usBankAccount_invalidCurrency", "invalid_currency"),
        ("pm_failed_fr", "payment_intent_payment_attempt_failed"),
        ("pm_failedDelayed_at", "payment_intent_payment_attempt_failed"),
        ("pm_insufficientFunds_ie", "insufficient_funds"),
        ("pm_exceedsWeeklyVolumeLimit_be", "charge_exceeds_source_limit"),
        ("pm_exceedsWeeklyTransactionLimit_lu", "charge_exceeds_weekly_limit"),
    ],
)
def test_a_debit_may_fail_later(api, account, failure_code):
    charge = api.debit(account)

    failed = api.get(f"{INTENTS}/{charge['payment_intent']}")
    error = failed["last_payment_error"]
    failed.assert_has(status="requires_payment_method", payment_method=None)
    assert error["code"] in (failure_code, "payment_intent_payment_attempt_failed")
    assert (error["type"], error["charge"]) == ("invalid_request_error", charge["id"])
    assert error["payment_method"]["id"] == charge["payment_method"]
    charge.assert_has(status="failed", paid=False, failure_code=failure_code)
    charge.assert_has(captured=False, amount_captured=0)
    assert charge["outcome"]["reason"] == failure_code
    assert api.events_after(3) == ["charge.failed", "payment_intent.payment_failed"]


def test_a_debit_settles_as_time_passes_and_its_webhooks_are_due(api, sandbox, clock, receiver):
    first = api.debit(US, settle=False)
    clock.advance(60)
    second = api.debit(US, settle=False)
    sandbox.deliver_due()

    clock.advance(3600)
    sandbox.deliver_due()

    settled = [event for event in receiver.events if event["type"] == "payment_intent.succeeded"]
    assert [(event["data"]["object"]["id"], event["created"]) for event in settled] == [
        (first["payment_intent"], 4_000_000_180),
        (second["payment_intent"], 4_000_000_240),
    ]


def test_one_debit_stays_where_it_is(api, sandbox):
    pending = api.debit("pm_usBankAccount_processing")

    sandbox.advance_clock(30 * DAY)

    assert api.again(pending)["status"] == "pending"


def test_a_canceled_debit_does_not_come_back(api, sandbox):
    pending = api.debit(US, settle=False)
    intent = api.get(f"{INTENTS}/{pending['payment_intent']}")
    api.cancel(intent)

    sandbox.advance_clock(180)

    assert (api.again(intent)["status"], api.again(pending)["status"]) == ("canceled", "failed")
    assert api.events_after(3) == ["charge.failed", "payment_intent.canceled"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_debit_needs_a_mandate(api, at_once):
    intent = api.create(**US_TYPE)

    if at_once:
        params = {**ORDER, **US_TYPE, "payment_method": US, "confirm": "true"}
        answer = api.post(INTENTS, params)
    else:
        answer = api.confirm(intent, US)

    assert (answer.status, "requires a mandate" in answer.error["message"]) == (400, True)
    assert api.get(INTENTS)["data"] == [intent.json]


def test_an_intent_for_cards_takes_no_debit(api):
    answer = api.update(api.create(), payment_method=US)

    assert (answer.status, answer.error["param"]) == (400, "payment_method")
    assert answer.error["message"] == (
        "The PaymentMethod provided (us_bank_account) is not allowed for this PaymentIntent. Please"
        " attach a PaymentMethod of one of the following types: card. Alternatively, update the"
        ' allowed payment_method_types for this PaymentIntent to include "us_bank_account".'
    )
