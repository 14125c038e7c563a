from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, MONEY, REFUNDS, Api

DAY = 24 * 60 * 60


def authorized(api: Api, **params: str) -> Any:
    intent = api.create(
        capture_method="manual", payment_method="pm_card_visa", confirm="true", **params
    )
    assert intent["status"] == "requires_capture"
    return intent.json


def test_a_manual_payment_is_authorized_first(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)

    assert (intent["amount_capturable"], intent["amount_received"]) == (11200, 0)
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["status"], charge["paid"], charge["captured"]) == ("succeeded", True, False)
    assert charge["amount_captured"] == 0
    before = charge["payment_method_details"]["card"]["capture_before"]
    assert before == intent["created"] + 7 * 24 * 60 * 60
    assert [event["type"] for event in sandbox.events] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
    ]


@pytest.mark.parametrize("where", ["update", "confirm"])
def test_capture_may_become_manual_until_it_is_confirmed(api: Api, where: str) -> None:
    intent_id = api.create()["id"]
    manual = {"capture_method": "manual"}
    if where == "update":
        api.post(f"{INTENTS}/{intent_id}", manual)

    intent = api.confirm(intent_id, "pm_card_visa", **(manual if where == "confirm" else {}))

    assert (intent["status"], intent["capture_method"]) == ("requires_capture", "manual")


@pytest.mark.parametrize(("params", "amount"), [({}, 11200), ({"amount_to_capture": "5000"}, 5000)])
def test_capture_takes_all_or_a_part(
    api: Api, sandbox: Sandbox, params: dict[str, str], amount: int
) -> None:
    intent = authorized(api)

    captured = api.post(f"{INTENTS}/{intent['id']}/capture", params)

    assert (captured["status"], captured["amount"]) == ("succeeded", 11200)
    assert (captured["amount_received"], captured["amount_capturable"]) == (amount, 0)
    assert captured["latest_charge"] == intent["latest_charge"]
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["captured"], charge["amount_captured"]) == (True, amount)
    assert [event["type"] for event in sandbox.events][3:] == [
        "charge.captured",
        "payment_intent.succeeded",
    ]


def test_capture_adds_metadata(api: Api) -> None:
    intent = authorized(api, **{"metadata[a]": "1"})

    captured = api.post(f"{INTENTS}/{intent['id']}/capture", {"metadata[b]": "2"})

    assert captured["metadata"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount_to_capture": "11201"}, "amount_too_large", "amount_to_capture"),
        ({"amount_to_capture": "0"}, "parameter_invalid_integer", "amount"),
        ({"final_capture": "false"}, "sandbox_not_covered", "final_capture"),
        ({"statement_descriptor": "SHOP"}, "sandbox_not_covered", "statement_descriptor"),
        ({"amount": "100"}, "parameter_unknown", "amount"),
    ],
)
def test_capture_refuses(api: Api, params: dict[str, str], code: str, param: str) -> None:
    intent = authorized(api)

    answer = api.post(f"{INTENTS}/{intent['id']}/capture", params)

    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    assert api.get(f"{INTENTS}/{intent['id']}").json == intent


@pytest.mark.parametrize(
    "status", ["requires_payment_method", "requires_action", "processing", "canceled"]
)
def test_nothing_is_captured_that_is_not_authorized(
    api: Api, sandbox: Sandbox, status: str
) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    answer = api.post(f"{INTENTS}/{intent_id}/capture")

    assert (answer.status, answer.error["code"]) == (400, "payment_intent_unexpected_state")
    assert answer.error["message"] == (
        f"This PaymentIntent could not be captured because it has a status of {status}. Only a"
        " PaymentIntent with one of the following statuses may be captured: requires_capture."
    )


def test_nothing_is_captured_twice(api: Api) -> None:
    automatic = api.create(payment_method="pm_card_visa", confirm="true")
    manual = authorized(api)
    api.post(f"{INTENTS}/{manual['id']}/capture", {"amount_to_capture": "5000"})

    first = api.post(f"{INTENTS}/{automatic['id']}/capture")
    second = api.post(f"{INTENTS}/{manual['id']}/capture")

    assert (first.status, second.status) == (400, 400)
    for answer in (first, second):
        assert "the authorized amount has been released" in answer.error["message"]


def test_an_authorization_is_canceled_with_its_reason(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)

    canceled = api.post(f"{INTENTS}/{intent['id']}/cancel", {"cancellation_reason": "duplicate"})

    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "duplicate")
    assert (canceled["amount_capturable"], canceled["amount_received"]) == (0, 0)
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["status"], charge["captured"], charge["amount_captured"]) == (
        "succeeded",
        False,
        0,
    )
    assert (charge["refunded"], charge["amount_refunded"]) == (False, 0)
    assert charge["balance_transaction"] is None
    assert api.get(REFUNDS)["data"] == []
    assert [event["type"] for event in sandbox.events][3:] == ["payment_intent.canceled"]


def test_the_rest_of_a_hold_is_released_and_no_refund(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)

    api.post(f"{INTENTS}/{intent['id']}/capture", {"amount_to_capture": "5000"})

    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["amount"], charge["amount_captured"]) == (11200, 5000)
    assert (charge["refunded"], charge["amount_refunded"]) == (False, 0)
    (moved,) = api.get(MONEY)["data"]
    assert (moved["id"], moved["amount"]) == (charge["balance_transaction"], 5000)
    assert api.get(REFUNDS)["data"] == []


@pytest.mark.parametrize(
    ("currency", "amount", "refused"), [("kwd", "5000", "5001"), ("isk", "5000", "5050")]
)
def test_a_part_has_its_currencys_steps(api: Api, currency: str, amount: str, refused: str) -> None:
    path = f"{INTENTS}/{authorized(api, currency=currency)['id']}/capture"

    answer = api.post(path, {"amount_to_capture": refused})

    assert (answer.status, answer.error["param"]) == (400, "amount_to_capture")
    assert api.post(path, {"amount_to_capture": amount})["amount_received"] == int(amount)


def test_a_hold_expires_after_a_week(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)
    path = f"{INTENTS}/{intent['id']}"

    sandbox.advance_clock(7 * DAY - 1)
    before = api.get(path)["status"]
    sandbox.advance_clock(1)
    expired = api.get(path)

    assert (before, expired["status"]) == ("requires_capture", "canceled")
    assert (expired["cancellation_reason"], expired["amount_capturable"]) == ("expired", 0)
    assert expired["canceled_at"] == intent["created"] + 7 * DAY
    assert [event["type"] for event in sandbox.events][3:] == [
        "charge.expired",
        "payment_intent.canceled",
    ]
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert sandbox.events[3]["data"]["object"] == charge.json
    assert (charge["captured"], charge["refunded"], charge["paid"]) == (False, False, True)
    assert api.get(MONEY)["data"] == []


def test_what_has_expired_is_not_captured(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)
    sandbox.advance_clock(7 * DAY)

    answer = api.post(f"{INTENTS}/{intent['id']}/capture")

    assert (answer.status, answer.error["code"]) == (400, "payment_intent_unexpected_state")
    assert "it has a status of canceled" in answer.error["message"]


@pytest.mark.parametrize("operation", ["capture", "cancel"])
def test_what_was_decided_in_time_does_not_expire(
    api: Api, sandbox: Sandbox, operation: str
) -> None:
    intent = authorized(api)
    decided = api.post(f"{INTENTS}/{intent['id']}/{operation}")
    number = len(sandbox.events)

    sandbox.advance_clock(8 * DAY)

    assert api.get(f"{INTENTS}/{intent['id']}").json == decided.json
    assert api.told_after(number) == []


def test_a_debit_is_not_captured_by_hand(api: Api) -> None:
    answer = api.post(
        INTENTS,
        {
            "amount": "1000",
            "currency": "usd",
            "capture_method": "manual",
            "allowed_payment_method_types[]": "us_bank_account",
        },
    )

    assert (answer.status, answer.error["param"]) == (400, "capture_method")


def test_a_part_is_captured_and_the_rest_stays_reserved(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)

    sandbox.capture_part(intent["id"], 4000)
    captured = sandbox.capture_part(intent["id"], 3000)

    assert (captured["status"], captured["amount_received"]) == ("requires_capture", 7000)
    assert captured["amount_capturable"] == 4200
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["captured"], charge["amount_captured"]) == (False, 7000)
    told = sandbox.events[3:]
    assert [event["type"] for event in told] == [
        "charge.updated",
        "payment_intent.amount_capturable_updated",
    ] * 2
    assert told[-1]["data"]["previous_attributes"] == {
        "amount_capturable": 7200,
        "amount_received": 4000,
    }
    with pytest.raises(ValueError, match="No part of 4200 is reserved"):
        sandbox.capture_part(intent["id"], 4200)


@pytest.mark.parametrize(
    ("end", "status", "received"),
    [("capture", "succeeded", 11200), ("cancel", "canceled", 7000), ("wait", "succeeded", 7000)],
)
def test_what_was_captured_in_parts_stays(
    api: Api, sandbox: Sandbox, end: str, status: str, received: int
) -> None:
    intent = authorized(api)
    sandbox.capture_part(intent["id"], 7000)

    if end == "wait":
        sandbox.advance_clock(7 * DAY)
    else:
        api.post(f"{INTENTS}/{intent['id']}/{end}")

    ended = api.get(f"{INTENTS}/{intent['id']}")
    assert (ended["status"], ended["amount_received"]) == (status, received)
    assert ended["amount_capturable"] == 0
    charge = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert (charge["captured"], charge["amount_captured"]) == (True, received)
    assert sandbox.events[-2]["type"] == "charge.captured"
    booked = api.get(MONEY, {"source": charge["id"]})["data"]
    assert sum(each["amount"] for each in booked) == received


def test_captured_parts_are_refunded(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)
    sandbox.capture_part(intent["id"], 7000)

    api.post(REFUNDS, {"payment_intent": intent["id"]})
    while_reserved = api.get(f"{CHARGES}/{intent['latest_charge']}")
    api.post(f"{INTENTS}/{intent['id']}/cancel")

    assert (while_reserved["amount_refunded"], while_reserved["refunded"]) == (7000, False)
    assert api.get(f"{CHARGES}/{intent['latest_charge']}")["refunded"] is True
