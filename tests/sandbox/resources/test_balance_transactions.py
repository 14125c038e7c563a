"""Balance transactions and their fees.

See: https://docs.stripe.com/api/balance_transactions and https://stripe.com/pricing
(checked 2026-11)
"""

from __future__ import annotations

from tests.sandbox.support import CHARGES, DAY, MONEY, Has

EXPANDED = {"expand[]": "latest_charge"}


def money_of(api, owner):
    return api.get(f"{MONEY}/{owner['balance_transaction']}")


def test_a_charge_costs_a_fee_and_a_refund_does_not_return_it(api):
    charge = api.pay(description="Order 9")
    refund = api.refund(charge, amount="1200")

    came, went = money_of(api, charge), money_of(api, refund)

    came.assert_has(type="charge", amount=11200, fee=355, net=10845, currency="usd")
    came.assert_has(source=charge["id"], description="Order 9", exchange_rate=None)
    assert came["fee_details"] == [Has(amount=355, currency="usd", type="stripe_fee")]
    went.assert_has(type="refund", amount=-1200, fee=0, net=-1200)
    went.assert_has(source=refund["id"], description="REFUND FOR CHARGE (Order 9)")


def test_money_is_booked_after_the_answer(api, sandbox):
    """See: https://docs.stripe.com/payments/payment-intents/asynchronous-capture
    (checked 2026-11)
    """
    intent = api.create(payment_method="pm_card_visa", confirm="true", **EXPANDED)
    charge = api.get(f"{CHARGES}/{intent['latest_charge']['id']}")

    assert intent["latest_charge"]["balance_transaction"] is None
    types = ["charge.succeeded", "payment_intent.succeeded", "charge.updated"]
    assert api.events_after(1) == types
    succeeded, updated = sandbox.events[1], sandbox.events[3]
    assert succeeded["data"]["object"]["balance_transaction"] is None
    before = {"balance_transaction": None}
    assert updated["data"] == {"object": charge.json, "previous_attributes": before}


def test_money_of_an_automatic_capture_is_booked_before_the_answer(api):
    params = {"payment_method": "pm_card_visa", "confirm": "true", "capture_method": "automatic"}

    charge = api.create(**params, **EXPANDED)["latest_charge"]

    assert charge["balance_transaction"] == api.again(charge)["balance_transaction"]
    assert charge["balance_transaction"].startswith("txn_")
    assert api.events_after(1) == ["charge.succeeded", "payment_intent.succeeded"]


def test_new_money_is_available_two_days_later_but_that_of_one_card(api, sandbox):
    row = money_of(api, api.pay())
    at_once = money_of(api, api.pay("pm_card_bypassPending"))
    wait = row["available_on"] - sandbox.now

    sandbox.advance_clock(wait - 1)
    before = api.again(row)["status"]
    sandbox.advance_clock(1)

    assert (row["available_on"] % DAY, DAY < wait <= 2 * DAY) == (0, True)
    assert (row["status"], before) == ("pending", "pending")
    assert api.again(row).json == {**row.json, "status": "available"}
    assert (at_once["status"], at_once["available_on"] <= row["created"]) == ("available", True)
