"""What comes of confirming: 3D Secure, and debits that take their time."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, MANDATE, METHODS, PUBLISHABLE_KEY, Api, Clock

US = "pm_usBankAccount_success"
CHALLENGED = [
    "pm_card_authenticationRequired",
    "pm_card_authenticationRequiredOnSetup",
    "pm_card_authenticationRequiredSetupForOffSession",
    "pm_card_threeDSecure2Required",
    "pm_card_threeDSecureRequired",
]


def types_since(sandbox: Sandbox, number: int) -> list[str]:
    return [event["type"] for event in sandbox.events[number:]]


# 3D Secure


@pytest.mark.parametrize("card", CHALLENGED)
def test_a_3ds_card_asks_the_customer(api: Api, card: str) -> None:
    intent = api.confirm(api.create()["id"], card)

    assert (intent["status"], intent["latest_charge"]) == ("requires_action", None)


@pytest.mark.parametrize(
    "card", ["pm_card_threeDSecureOptional", "pm_card_amex_threeDSecureNotSupported"]
)
def test_a_card_that_only_might_ask_does_not(api: Api, card: str) -> None:
    assert api.confirm(api.create()["id"], card)["status"] == "succeeded"


@pytest.mark.parametrize("word", ["true", "one_off", "recurring"])
@pytest.mark.parametrize(
    "card", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"]
)
def test_nobody_is_there_to_be_asked_off_session(
    api: Api, sandbox: Sandbox, card: str, word: str
) -> None:
    intent_id = api.create()["id"]

    answer = api.confirm(intent_id, card, off_session=word)

    assert (answer.status, answer.error["code"]) == (402, "authentication_required")
    assert answer.error["decline_code"] == "authentication_required"
    assert "charge" not in answer.error
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_payment_method"
    assert types_since(sandbox, 1) == ["payment_intent.payment_failed"]


def test_a_card_that_was_set_up_pays_off_session(api: Api) -> None:
    card = "pm_card_authenticationRequiredSetupForOffSession"

    assert api.confirm(api.create()["id"], card, off_session="true")["status"] == "succeeded"


def test_an_action_can_be_made_an_error(api: Api) -> None:
    answer = api.post(
        INTENTS,
        {
            "amount": "1000",
            "currency": "usd",
            "confirm": "true",
            "error_on_requires_action": "true",
            "payment_method": "pm_card_threeDSecure2Required",
            "allowed_payment_method_types[]": "card",
        },
    )

    assert (answer.status, answer.error["code"]) == (402, "authentication_required")
    assert answer.error["decline_code"] == "authentication_not_handled"
    intent_id = answer.error["payment_intent"]["id"]
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        (
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "insufficient_funds",
        ),
        ("pm_card_threeDSecureRequiredChargeDeclined", "generic_decline"),
    ],
)
def test_an_authenticated_card_may_still_be_declined(
    api: Api, sandbox: Sandbox, card: str, decline_code: str
) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, card)

    intent = sandbox.complete_authentication(intent_id)

    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["decline_code"] == decline_code
    assert intent["last_payment_error"]["charge"] == intent["latest_charge"]
    assert types_since(sandbox, 2) == ["charge.failed", "payment_intent.payment_failed"]


def test_an_authenticated_authorization_waits_for_capture(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create(capture_method="manual")["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    intent = sandbox.complete_authentication(intent_id)

    assert (intent["status"], intent["amount_capturable"]) == ("requires_capture", 11200)


# Confirmed by the server


SERVER = {"confirmation_method": "manual"}


def test_a_server_confirms_at_once_what_asks_for_nothing(api: Api) -> None:
    intent = api.create(**SERVER, confirm="true", payment_method="pm_card_visa")

    assert (intent["status"], intent["confirmation_method"]) == ("succeeded", "manual")


def test_a_server_confirms_again_after_the_authentication(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create(**SERVER)["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    authenticated = sandbox.complete_authentication(intent_id)
    confirmed = api.post(f"{INTENTS}/{intent_id}/confirm")

    assert (authenticated["status"], authenticated["latest_charge"]) == (
        "requires_confirmation",
        None,
    )
    assert confirmed["status"] == "succeeded"
    charge = api.get(f"{CHARGES}/{confirmed['latest_charge']}")
    assert charge["payment_method_details"]["card"]["three_d_secure"]["result"] == "authenticated"
    assert types_since(sandbox, 1) == [
        "payment_intent.requires_action",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]


def test_a_server_is_told_that_the_authentication_failed(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create(**SERVER)["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    assert sandbox.complete_authentication(intent_id, False)["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "5000"},
        {"currency": "eur"},
        {"payment_method": "pm_card_threeDSecure2Required"},
    ],
)
def test_an_authentication_is_for_what_it_was_given(
    api: Api, sandbox: Sandbox, change: dict[str, str]
) -> None:
    intent_id = api.create(**SERVER)["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")
    sandbox.complete_authentication(intent_id)

    api.post(f"{INTENTS}/{intent_id}", change)

    assert api.post(f"{INTENTS}/{intent_id}/confirm")["status"] == "requires_action"


def test_a_browser_confirms_nothing_of_a_server(api: Api) -> None:
    intent = api.create(**SERVER)
    params = {"client_secret": intent["client_secret"], "payment_method": "pm_card_visa"}

    refused = api.post(f"{INTENTS}/{intent['id']}/confirm", params, key=PUBLISHABLE_KEY)

    assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "requires_payment_method"


# Debits


def debit(api: Api, name: str = US, **params: str) -> Any:
    kind, currency = ("us_bank_account", "usd") if "usBank" in name else ("sepa_debit", "eur")
    intent = api.create(currency=currency, **{"allowed_payment_method_types[]": kind})
    answer = api.confirm(intent["id"], name, **MANDATE, **params)
    assert answer.status == 200, answer.json
    return answer.json


@pytest.mark.parametrize("name", [US, "pm_success_de"])
def test_a_debit_succeeds_later(api: Api, sandbox: Sandbox, name: str) -> None:
    intent = debit(api, name)
    pending = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (intent["status"], intent["amount_received"]) == ("processing", 0)
    assert (pending["status"], pending["paid"]) == ("pending", False)
    assert types_since(sandbox, 1) == ["charge.pending", "payment_intent.processing"]

    sandbox.advance_clock(179)
    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "processing"
    sandbox.advance_clock(1)

    paid = api.get(f"{INTENTS}/{intent['id']}")
    charge = api.get(f"{CHARGES}/{paid['latest_charge']}")
    assert (paid["status"], paid["amount_received"]) == ("succeeded", 11200)
    assert paid["latest_charge"] == intent["latest_charge"]
    assert (charge["status"], charge["paid"], charge["amount_captured"]) == (
        "succeeded",
        True,
        11200,
    )
    assert charge["id"].startswith("py_3")
    assert charge["payment_method_details"]["type"] == paid["payment_method_types"][0]
    assert types_since(sandbox, 3) == ["charge.succeeded", "payment_intent.succeeded"]
    assert sandbox.events[-1]["created"] == 4_000_000_180
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


@pytest.mark.parametrize(
    ("name", "failure_code"),
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
def test_a_debit_may_fail_later(api: Api, sandbox: Sandbox, name: str, failure_code: str) -> None:
    intent = debit(api, name)

    sandbox.advance_clock(180)

    failed = api.get(f"{INTENTS}/{intent['id']}")
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    error = failed["last_payment_error"]
    assert (failed["status"], failed["payment_method"]) == ("requires_payment_method", None)
    assert error["code"] in (failure_code, "payment_intent_payment_attempt_failed")
    assert (error["type"], error["charge"]) == ("invalid_request_error", charge["id"])
    assert error["payment_method"]["id"] == intent["payment_method"]
    assert (charge["status"], charge["paid"]) == ("failed", False)
    assert (charge["failure_code"], charge["outcome"]["reason"]) == (failure_code, failure_code)
    assert types_since(sandbox, 3) == ["charge.failed", "payment_intent.payment_failed"]


def test_a_debit_settles_by_itself_as_time_goes_by(api: Api, clock: Clock) -> None:
    intent = debit(api)

    clock.advance(3600)

    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "succeeded"


def test_webhooks_of_a_debit_are_delivered_when_due(
    api: Api, sandbox: Sandbox, clock: Clock
) -> None:
    intent = debit(api)
    bodies: list[bytes] = []

    def deliver(url: str, body: bytes, headers: dict[str, str]) -> int:
        bodies.append(body)
        return 200

    sandbox.add_webhook("http://127.0.0.1:9/", "whsec_x", deliver=deliver)
    clock.advance(180)

    assert sandbox.deliver_due() == 2
    assert intent["id"].encode() in bodies[1]


def test_one_debit_stays_where_it_is(api: Api, sandbox: Sandbox) -> None:
    intent = debit(api, "pm_usBankAccount_processing")

    sandbox.advance_clock(30 * 24 * 60 * 60)

    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "processing"


def test_a_canceled_debit_does_not_come_back(api: Api, sandbox: Sandbox) -> None:
    intent = debit(api)
    api.post(f"{INTENTS}/{intent['id']}/cancel")

    sandbox.advance_clock(180)

    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "canceled"
    assert api.get(f"{CHARGES}/{intent['latest_charge']}")["status"] == "failed"
    assert types_since(sandbox, 3) == ["charge.failed", "payment_intent.canceled"]


@pytest.mark.parametrize("status", ["requires_capture", "succeeded", "canceled"])
def test_a_test_may_move_a_debit_anywhere(api: Api, sandbox: Sandbox, status: str) -> None:
    """Found by random sequences: an authorized debit has no card to note its deadline on."""
    intent_id = api.create(
        payment_method=US, **{"allowed_payment_method_types[]": "us_bank_account"}
    )["id"]

    assert sandbox.advance(intent_id, status)["status"] == status


def test_debits_settle_in_the_order_of_their_times(api: Api, sandbox: Sandbox) -> None:
    first = debit(api)
    sandbox.advance_clock(60)
    second = debit(api)

    sandbox.advance_clock(3600)

    settled = [event for event in sandbox.events if event["type"] == "payment_intent.succeeded"]
    assert [event["data"]["object"]["id"] for event in settled] == [first["id"], second["id"]]
    assert [event["created"] for event in settled] == [4_000_000_180, 4_000_000_240]


@pytest.mark.parametrize("confirm", [True, False])
def test_a_debit_needs_a_mandate(api: Api, sandbox: Sandbox, confirm: bool) -> None:
    kind = {"allowed_payment_method_types[]": "us_bank_account"}
    intent_id = api.create(**kind)["id"]
    before = sandbox.events

    if confirm:
        answer = api.confirm(intent_id, US)
    else:
        params = {"amount": "1000", "currency": "usd", "payment_method": US, "confirm": "true"}
        answer = api.post(INTENTS, {**params, **kind})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert "requires a mandate" in answer.error["message"]
    assert sandbox.events == before
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_payment_method"


def test_an_intent_for_cards_takes_no_debit(api: Api) -> None:
    intent_id = api.create()["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", {"payment_method": US})

    assert (answer.status, answer.error["param"]) == (400, "payment_method")
    assert answer.error["message"] == (
        "The PaymentMethod provided (us_bank_account) is not allowed for this PaymentIntent. Please"
        " attach a PaymentMethod of one of the following types: card. Alternatively, update the"
        ' allowed payment_method_types for this PaymentIntent to include "us_bank_account".'
    )


def test_an_iban_is_debited(api: Api, sandbox: Sandbox) -> None:
    made = api.post(
        METHODS,
        {
            "type": "sepa_debit",
            "sepa_debit[iban]": "FR1420041010050500013M02606",
            "billing_details[name]": "Jenny Rosen",
            "billing_details[email]": "jenny@example.com",
        },
    )

    intent = debit(api, made["id"])
    sandbox.advance_clock(180)

    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "succeeded"
