"""Charges. See: https://docs.stripe.com/api/charges and
https://docs.stripe.com/declines/codes (checked 2026-11)
"""

from __future__ import annotations

import pytest


def test_a_payment_has_a_charge(api):
    intent = api.create(
        payment_method="pm_card_de",
        confirm="true",
        description="Order 9",
        receipt_email="jenny@example.com",
        statement_descriptor_suffix="Order 9",
        **{"metadata[order_id]": "9", "shipping[name]": "Jenny", "shipping[address][city]": "Ulm"},
    )

    charge = api.charge_of(intent)

    charge.assert_has(payment_intent=intent["id"], payment_method=intent["payment_method"])
    charge.assert_has(amount=11200, amount_captured=11200, currency="usd")
    charge.assert_has(status="succeeded", paid=True, captured=True)
    charge.assert_has(refunded=False, amount_refunded=0, disputed=False)
    charge.assert_has(description="Order 9", metadata={"order_id": "9"})
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


DECLINES = """
chargeDeclined                   issuer_declined generic_decline     normal   try_again_later
visa_chargeDeclinedStolenCard    issuer_declined stolen_card         normal   do_not_try_again
chargeDeclinedInsufficientFunds  issuer_declined insufficient_funds  normal   try_again_later
chargeDeclinedExpiredCard        issuer_declined expired_card        normal   confirm_card_data
radarBlock                       blocked         highest_risk_level  highest  -
"""


@pytest.mark.parametrize("row", DECLINES.strip().splitlines())
def test_a_decline_leaves_a_failed_charge(api, row):
    card, kind, reason, risk_level, advice = row.split()
    intent = api.create()
    error = api.confirm(intent, f"pm_card_{card}").error

    charge = api.charge_of(api.again(intent))

    charge.assert_has(id=error["charge"], status="failed", paid=False)
    charge.assert_has(captured=False, amount_captured=0)
    charge.assert_has(failure_code=error["code"], failure_message=error["message"])
    outcome = charge["outcome"]
    by_bank = "not_sent_to_network" if kind == "blocked" else "declined_by_network"
    assert (outcome["type"], outcome["network_status"]) == (kind, by_bank)
    assert (outcome["reason"], outcome["risk_level"]) == (reason, risk_level)
    assert (outcome["advice_code"] or "-") == error.get("advice_code", "-") == advice
    assert charge["payment_method_details"]["card"]["amount_authorized"] is None


def test_an_elevated_risk_is_shown_and_let_through(api):
    assert api.pay("pm_card_riskLevelElevated")["outcome"]["risk_level"] == "elevated"
