"""Every movement of money, with what Stripe keeps of it.

See: https://docs.stripe.com/api/balance_transactions and https://stripe.com/pricing
(checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import CHARGES, DAY, DISPUTES, MONEY


def movements(api):
    """Type, category, amount and fee of each movement, oldest first."""
    keys = ("type", "reporting_category", "amount", "fee")
    return [tuple(row[key] for key in keys) for row in api.get(MONEY)["data"][::-1]]


def money_of(api, owner):
    return api.get(f"{MONEY}/{owner['balance_transaction']}")


def test_a_charge_comes_in_less_its_fee_and_a_refund_leaves_the_fee(api):
    charge = api.pay(description="Order 9")
    refund = api.refund(charge, amount="1200")

    came, went = money_of(api, charge), money_of(api, refund)

    came.assert_has(type="charge", amount=11200, fee=355, net=10845)
    (detail,) = came["fee_details"]
    assert (detail["amount"], detail["currency"], detail["type"]) == (355, "usd", "stripe_fee")
    came.assert_has(source=charge["id"], description="Order 9")
    came.assert_has(currency="usd", exchange_rate=None)
    went.assert_has(type="refund", amount=-1200, fee=0, net=-1200)
    went.assert_has(source=refund["id"], description="REFUND FOR CHARGE (Order 9)")


def test_money_is_booked_once_the_answer_is_out(api, sandbox):
    """See: https://docs.stripe.com/payments/payment-intents/asynchronous-capture
    (checked 2026-11)
    """
    intent = api.create(
        payment_method="pm_card_visa", confirm="true", **{"expand[]": "latest_charge"}
    )

    charge = api.get(f"{CHARGES}/{intent['latest_charge']['id']}")

    assert intent["latest_charge"]["balance_transaction"] is None
    assert api.events_after(1) == ["charge.succeeded", "payment_intent.succeeded", "charge.updated"]
    succeeded, updated = sandbox.events[1], sandbox.events[3]
    assert succeeded["data"]["object"]["balance_transaction"] is None
    assert updated["data"] == {
        "object": charge.json,
        "previous_attributes": {"balance_transaction": None},
    }


@pytest.mark.parametrize(
    ("capture_method", "event"), [("automatic", "charge.succeeded"), ("manual", "charge.captured")]
)
def test_another_capture_method_waits_until_it_is_booked(api, sandbox, capture_method, event):
    intent = api.create(
        payment_method="pm_card_visa", confirm="true", capture_method=capture_method
    )
    if capture_method == "manual":
        assert movements(api) == []
        api.capture(intent)

    (emitted,) = [each for each in sandbox.events if each["type"] == event]
    assert emitted["data"]["object"]["balance_transaction"].startswith("txn_")
    assert "charge.updated" not in api.events_after()


def test_new_money_is_available_two_days_later(api, sandbox):
    row = money_of(api, api.pay())
    wait = row["available_on"] - sandbox.now

    sandbox.advance_clock(wait - 1)
    before = api.again(row)["status"]
    sandbox.advance_clock(1)

    assert (row["available_on"] % DAY, DAY < wait <= 2 * DAY) == (0, True)
    assert (row["status"], before) == ("pending", "pending")
    assert api.again(row).json == {**row.json, "status": "available"}


def test_the_money_of_a_test_card_is_available_at_once(api):
    row = money_of(api, api.pay("pm_card_bypassPending"))

    assert (row["status"], row["available_on"] <= row["created"]) == ("available", True)


@pytest.mark.parametrize(
    ("currency", "amount", "fee"),
    [("usd", "50", 31), ("eur", "11200", 355), ("jpy", "11200", 325), ("kwd", "11200", 325)],
)
def test_the_fee_is_a_share_and_a_fixed_part(api, currency, amount, fee):
    assert money_of(api, api.pay(currency=currency, amount=amount))["fee"] == fee


@pytest.mark.parametrize(
    ("account", "fee"), [("pm_usBankAccount_success", 90), ("pm_success_de", 120)]
)
def test_a_debit_is_a_payment(api, account, fee):
    api.refund(api.debit(account))

    assert movements(api) == [
        ("payment", "charge", 11200, fee),
        ("payment_refund", "refund", -11200, 0),
    ]


def test_a_story_of_money(api, sandbox):
    api.refund(api.pay("pm_card_refundFail"), amount="1200")
    sandbox.advance_clock(3600)
    dispute = sandbox.open_dispute(api.pay()["id"])
    api.post(f"{DISPUTES}/{dispute['id']}", {"evidence[uncategorized_text]": "winning_evidence"})
    sandbox.advance_clock(5)

    assert movements(api) == [
        ("charge", "charge", 11200, 355),
        ("refund", "refund", -1200, 0),
        ("refund_failure", "refund_failure", 1200, 0),
        ("charge", "charge", 11200, 355),
        ("adjustment", "dispute", -11200, 1500),
        ("adjustment", "dispute_reversal", 11200, 0),
    ]
