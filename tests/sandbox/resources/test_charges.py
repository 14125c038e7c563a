"""Charges. See: https://docs.stripe.com/api/charges and
https://docs.stripe.com/declines/codes (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import CHARGES, Has


def test_a_payment_has_a_charge(api):
    more = {"description": "Order 9", "statement_descriptor_suffix": "Order 9"}
    more |= {"shipping[name]": "Jenny", "shipping[address][city]": "Ulm"}
    intent = api.create(payment_method="pm_card_de", confirm="true", **more)

    charge = api.charge_of(intent)

    charge.assert_has(payment_intent=intent["id"], payment_method=intent["payment_method"])
    charge.assert_has(amount=11200, amount_captured=11200, currency="usd")
    charge.assert_has(status="succeeded", paid=True, captured=True)
    charge.assert_has(refunded=False, amount_refunded=0, disputed=False)
    charge.assert_has(description="Order 9")
    charge.assert_has(calculated_statement_descriptor="SANDBOX* ORDER 9")
    assert charge["shipping"] == Has(address=Has(city="Ulm"))
    assert charge["outcome"] == Has(type="authorized", network_status="approved_by_network")
    assert charge["outcome"] == Has(risk_level="normal", seller_message="Payment complete.")
    card = charge["payment_method_details"]["card"]
    assert card == Has(brand="visa", last4="0016", country="DE", three_d_secure=None)
    assert card == Has(amount_authorized=11200, checks=Has(cvc_check="pass"))


@pytest.mark.parametrize(
    ("card", "code", "reason", "param", "advice"),
    [
        ("chargeDeclined", "card_declined", "generic_decline", None, "try_again_later"),
        ("visa_chargeDeclinedStolenCard", "card_declined", "stolen_card", None, "do_not_try_again"),
        ("chargeDeclinedExpiredCard", "expired_card", None, "exp_month", "confirm_card_data"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", None, "cvc", "confirm_card_data"),
    ],
)
def test_a_decline_leaves_a_failed_charge(api, card, code, reason, param, advice):
    answer = api.confirm(api.create(), f"pm_card_{card}")

    answer.assert_refused(402, code=code, decline_code=reason, param=param, advice_code=advice)
    charge = api.get(f"{CHARGES}/{answer.error['charge']}")
    charge.assert_has(status="failed", paid=False, captured=False, amount_captured=0)
    charge.assert_has(failure_code=code, failure_message=answer.error["message"])
    assert charge["outcome"] == Has(type="issuer_declined", network_status="declined_by_network")
    assert charge["outcome"] == Has(advice_code=advice, risk_level="normal")
    assert charge["payment_method_details"]["card"]["amount_authorized"] is None


def test_radar_blocks_a_card(api):
    error = api.confirm(api.create(), "pm_card_radarBlock").error

    outcome = api.get(f"{CHARGES}/{error['charge']}")["outcome"]
    assert outcome == Has(type="blocked", network_status="not_sent_to_network")
    assert outcome == Has(reason="highest_risk_level", risk_level="highest", advice_code=None)
