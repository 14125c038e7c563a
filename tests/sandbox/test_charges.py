from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, Api


def charge_of(api: Api, intent: Any) -> dict[str, Any]:
    answer = api.get(f"{CHARGES}/{intent['latest_charge']}")
    assert answer.status == 200
    return answer.json


def test_a_payment_has_a_charge(api: Api) -> None:
    intent = api.create(
        payment_method="pm_card_de",
        confirm="true",
        description="Order 9",
        receipt_email="jenny@example.com",
        statement_descriptor_suffix="Order 9",
        **{"metadata[order_id]": "9", "shipping[name]": "Jenny", "shipping[address][city]": "Ulm"},
    )

    charge = charge_of(api, intent)

    assert (charge["id"], charge["object"]) == (intent["latest_charge"], "charge")
    assert (charge["payment_intent"], charge["payment_method"]) == (
        intent["id"],
        intent["payment_method"],
    )
    assert (charge["amount"], charge["amount_captured"], charge["currency"]) == (
        11200,
        11200,
        "usd",
    )
    assert (charge["status"], charge["paid"], charge["captured"]) == ("succeeded", True, True)
    assert (charge["refunded"], charge["amount_refunded"], charge["disputed"]) == (False, 0, False)
    assert charge["balance_transaction"].startswith("txn_")
    assert (charge["description"], charge["metadata"]) == ("Order 9", {"order_id": "9"})
    assert charge["receipt_email"] == "jenny@example.com"
    assert charge["shipping"]["address"]["city"] == "Ulm"
    assert charge["calculated_statement_descriptor"] == "SANDBOX* ORDER 9"
    outcome = charge["outcome"]
    assert (outcome["type"], outcome["network_status"]) == ("authorized", "approved_by_network")
    assert (outcome["risk_level"], outcome["seller_message"]) == ("normal", "Payment complete.")
    card = charge["payment_method_details"]["card"]
    assert (card["brand"], card["last4"], card["country"]) == ("visa", "0016", "DE")
    assert (card["amount_authorized"], card["checks"]["cvc_check"]) == (11200, "pass")
    assert card["three_d_secure"] is None


@pytest.mark.parametrize(
    ("name", "outcome", "advice"),
    [
        (
            "pm_card_chargeDeclined",
            ("issuer_declined", "declined_by_network", "generic_decline", "normal"),
            "try_again_later",
        ),
        (
            "pm_card_visa_chargeDeclinedStolenCard",
            ("issuer_declined", "declined_by_network", "stolen_card", "normal"),
            "do_not_try_again",
        ),
        (
            "pm_card_chargeDeclinedExpiredCard",
            ("issuer_declined", "declined_by_network", "expired_card", "normal"),
            "confirm_card_data",
        ),
        (
            "pm_card_radarBlock",
            ("blocked", "not_sent_to_network", "highest_risk_level", "highest"),
            None,
        ),
    ],
)
def test_a_decline_leaves_a_failed_charge(
    api: Api, name: str, outcome: tuple[str, ...], advice: str | None
) -> None:
    intent_id = api.create()["id"]
    error = api.confirm(intent_id, name).error

    charge = charge_of(api, api.get(f"{INTENTS}/{intent_id}"))

    assert (charge["id"], charge["status"], charge["paid"]) == (error["charge"], "failed", False)
    assert (charge["captured"], charge["amount_captured"]) == (False, 0)
    assert (charge["failure_code"], charge["failure_message"]) == (error["code"], error["message"])
    found = charge["outcome"]
    assert (
        found["type"],
        found["network_status"],
        found["reason"],
        found["risk_level"],
    ) == outcome
    assert found["advice_code"] == error.get("advice_code") == advice
    assert charge["payment_method_details"]["card"]["amount_authorized"] is None


def test_an_elevated_risk_is_told_and_let_through(api: Api) -> None:
    intent = api.confirm(api.create()["id"], "pm_card_riskLevelElevated")

    assert charge_of(api, intent)["outcome"]["risk_level"] == "elevated"


def test_an_authentication_stands_on_the_charge(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    intent = sandbox.complete_authentication(intent_id)

    secure = charge_of(api, intent)["payment_method_details"]["card"]["three_d_secure"]
    assert (secure["result"], secure["authentication_flow"]) == ("authenticated", "challenge")


def test_charges_are_listed_by_intent(api: Api) -> None:
    other = api.create(payment_method="pm_card_visa", confirm="true")
    intent_id = api.create()["id"]
    declined = api.confirm(intent_id, "pm_card_chargeDeclined").error
    paid = api.confirm(intent_id, "pm_card_visa")

    listed = api.get(CHARGES, {"payment_intent": intent_id})
    everything = api.get(CHARGES)

    assert listed["url"] == CHARGES
    assert [charge["id"] for charge in listed["data"]] == [
        paid["latest_charge"],
        declined["charge"],
    ]
    assert [charge["id"] for charge in everything["data"]][2:] == [other["latest_charge"]]


def test_the_charges_of_an_unknown_intent_are_refused(api: Api) -> None:
    answer = api.get(CHARGES, {"payment_intent": "pi_x"})

    assert (answer.status, answer.error["code"]) == (400, "resource_missing")


def test_an_unknown_charge_is_404(api: Api) -> None:
    answer = api.get(f"{CHARGES}/ch_x")

    assert (answer.status, answer.error["message"]) == (404, "No such charge: 'ch_x'")


def test_a_charge_is_expanded(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")

    expanded = api.get(f"{INTENTS}/{intent['id']}", {"expand[]": "latest_charge"})

    assert expanded["latest_charge"] == charge_of(api, intent)


def test_events_keep_the_charge_as_it_was(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true", capture_method="manual")
    api.post(f"{INTENTS}/{intent['id']}/capture")

    charges = [
        event["data"]["object"]
        for event in sandbox.events
        if event["type"] in ("charge.succeeded", "charge.captured")
    ]

    assert [charge["captured"] for charge in charges] == [False, True]
