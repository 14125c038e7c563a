from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, Api


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
        ({"amount_to_capture": "0"}, "parameter_invalid_integer", "amount_to_capture"),
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
    assert "it has already been captured" in first.error["message"]
    assert "the authorized amount has been released" in second.error["message"]


def test_an_authorization_is_canceled_with_its_reason(api: Api, sandbox: Sandbox) -> None:
    intent = authorized(api)

    canceled = api.post(f"{INTENTS}/{intent['id']}/cancel", {"cancellation_reason": "duplicate"})

    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "duplicate")
    assert (canceled["amount_capturable"], canceled["amount_received"]) == (0, 0)
    assert api.get(f"{CHARGES}/{intent['latest_charge']}")["captured"] is False
    assert sandbox.events[-1]["type"] == "payment_intent.canceled"


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
