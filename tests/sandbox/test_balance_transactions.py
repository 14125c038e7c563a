"""Every movement of money, with what Stripe keeps of it."""

from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, MONEY, REFUNDS, Answer, Api

DAY = 24 * 60 * 60


def moved(api: Api) -> list[tuple[str, str, int, int, int]]:
    """Type, category, amount, fee and net of each movement, oldest first."""
    rows = api.get(MONEY, {"limit": "100"})["data"][::-1]
    keys = ("type", "reporting_category", "amount", "fee", "net")
    return [tuple(row[key] for key in keys) for row in rows]


def money_of(api: Api, owner: Answer) -> Answer:
    return api.get(f"{MONEY}/{owner['balance_transaction']}")


def test_a_charge_comes_in_less_its_fee(api: Api) -> None:
    charge = api.pay(description="Order 9")

    row = money_of(api, charge)

    assert (row["amount"], row["fee"], row["net"]) == (11200, 355, 10845)
    assert row["fee_details"] == [
        {
            "amount": 355,
            "application": None,
            "currency": "usd",
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    assert (row["type"], row["reporting_category"]) == ("charge", "charge")
    assert (row["source"], row["description"]) == (charge["id"], "Order 9")
    assert (row["currency"], row["exchange_rate"]) == ("usd", None)


def test_money_is_booked_once_the_answer_is_out(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(
        payment_method="pm_card_visa", confirm="true", **{"expand[]": "latest_charge"}
    )

    charge = api.get(f"{CHARGES}/{intent['latest_charge']['id']}")

    assert intent["latest_charge"]["balance_transaction"] is None
    assert charge["balance_transaction"].startswith("txn_")
    assert api.told_after(1) == ["charge.succeeded", "payment_intent.succeeded", "charge.updated"]
    succeeded, updated = sandbox.events[1], sandbox.events[3]
    assert succeeded["data"]["object"]["balance_transaction"] is None
    assert updated["data"] == {
        "object": charge.json,
        "previous_attributes": {"balance_transaction": None},
    }


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
def test_who_asks_for_it_waits_until_it_is_booked(api: Api, capture_method: str) -> None:
    intent = api.create(
        payment_method="pm_card_visa", confirm="true", capture_method=capture_method
    )
    if capture_method == "manual":
        api.post(f"{INTENTS}/{intent['id']}/capture")

    succeeded = "charge.captured" if capture_method == "manual" else "charge.succeeded"
    told = [event for event in api.sandbox.events if event["type"] == succeeded]

    assert told[0]["data"]["object"]["balance_transaction"].startswith("txn_")
    assert "charge.updated" not in api.told_after(0)


def test_money_that_came_in_is_available_two_days_later(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    row = money_of(api, charge)
    wait = row["available_on"] - sandbox.now

    sandbox.advance_clock(wait - 1)
    before = money_of(api, charge)["status"]
    sandbox.advance_clock(1)
    after = money_of(api, charge)

    assert row["available_on"] % DAY == 0
    assert DAY < wait <= 2 * DAY
    assert (row["status"], before, after["status"]) == ("pending", "pending", "available")
    assert after.json == {**row.json, "status": "available"}


@pytest.mark.parametrize("card", ["pm_card_bypassPending", "pm_card_bypassPendingInternational"])
def test_the_money_of_a_test_card_is_there_at_once(api: Api, card: str) -> None:
    row = money_of(api, api.pay(card))

    assert row["status"] == "available"
    assert row["available_on"] <= row["created"]


@pytest.mark.parametrize(
    ("currency", "amount", "fee"),
    [("usd", "50", 31), ("eur", "11200", 355), ("jpy", "11200", 325), ("kwd", "11200", 325)],
)
def test_the_fee_is_a_share_and_a_fixed_part(
    api: Api, currency: str, amount: str, fee: int
) -> None:
    assert money_of(api, api.pay(currency=currency, amount=amount))["fee"] == fee


@pytest.mark.parametrize(
    ("account", "currency", "fee"),
    [("pm_usBankAccount_success", "usd", 90), ("pm_success_de", "eur", 120)],
)
def test_a_debit_is_a_payment(api: Api, account: str, currency: str, fee: int) -> None:
    charge = api.debit(account, currency)
    api.refund(charge)

    assert moved(api) == [
        ("payment", "charge", 11200, fee, 11200 - fee),
        ("payment_refund", "refund", -11200, 0, -11200),
    ]


def test_money_moves_when_the_bank_has_answered(api: Api, sandbox: Sandbox) -> None:
    failed = api.debit("pm_usBankAccount_insufficientFunds")

    assert (failed["status"], failed["balance_transaction"]) == ("failed", None)
    assert moved(api) == []


def test_a_hold_moves_nothing_until_it_is_captured(api: Api) -> None:
    charge = api.pay(capture_method="manual")
    before = moved(api)

    api.post(f"{INTENTS}/{charge['payment_intent']}/capture", {"amount_to_capture": "5000"})

    assert (before, moved(api)) == ([], [("charge", "charge", 5000, 175, 4825)])


def test_a_refund_goes_out_and_the_fee_stays(api: Api) -> None:
    refund = api.refund(api.pay(description="Order 9"), amount="1200")

    row = money_of(api, refund)

    assert (row["amount"], row["fee"], row["net"], row["fee_details"]) == (-1200, 0, -1200, [])
    assert (row["type"], row["reporting_category"]) == ("refund", "refund")
    assert (row["source"], row["description"]) == (refund["id"], "REFUND FOR CHARGE (Order 9)")


def test_a_story_of_money(api: Api, sandbox: Sandbox) -> None:
    first = api.pay("pm_card_refundFail")
    api.refund(first, amount="1200")
    sandbox.advance_clock(3600)
    second = api.pay()
    dispute = sandbox.open_dispute(second["id"])
    api.post(f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": "winning_evidence"})
    sandbox.advance_clock(5)

    assert moved(api) == [
        ("charge", "charge", 11200, 355, 10845),
        ("refund", "refund", -1200, 0, -1200),
        ("refund_failure", "refund_failure", 1200, 0, 1200),
        ("charge", "charge", 11200, 355, 10845),
        ("adjustment", "dispute", -11200, 1500, -12700),
        ("adjustment", "dispute_reversal", 11200, 0, 11200),
    ]


def test_movements_are_listed_by_what_they_are_of(api: Api) -> None:
    charge = api.pay()
    refund = api.refund(charge)
    api.pay(currency="eur")

    def ids(**params: str) -> list[str]:
        return [row["source"] for row in api.get(MONEY, params)["data"]]

    assert ids(source=charge["id"]) == [charge["id"]]
    assert ids(type="refund") == [refund["id"]]
    assert ids(currency="usd") == [refund["id"], charge["id"]]
    assert ids(type="payout") == []


def test_payouts_are_not_covered(api: Api) -> None:
    answer = api.get(MONEY, {"payout": "po_1"})

    assert (answer.error["code"], answer.error["param"]) == ("sandbox_not_covered", "payout")


def test_the_source_may_be_of_three_kinds(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    refund = api.refund(charge, amount="1")
    sandbox.open_dispute(charge["id"])

    rows = api.get(MONEY, {"expand[]": "data.source"})["data"]

    assert [row["source"]["object"] for row in rows] == ["dispute", "refund", "charge"]
    assert rows[1]["source"] == refund.json


def test_paths_go_on_behind_any_of_them(api: Api) -> None:
    charge = api.pay()
    api.refund(charge)

    rows = api.get(MONEY, {"expand[]": "data.source.charge"})["data"]

    assert rows[0]["source"]["charge"]["id"] == charge["id"]
    assert rows[1]["source"]["id"] == charge["id"]  # a charge has no such key


def test_what_none_of_them_has_cannot_be_expanded(api: Api) -> None:
    answer = api.get(MONEY, {"expand[]": "data.source.colour"})

    assert answer.error["message"] == ("This property cannot be expanded (data.source.colour).")


@pytest.mark.parametrize(
    ("path", "expand"),
    [
        (INTENTS, "data.latest_charge.balance_transaction"),
        (CHARGES, "data.balance_transaction"),
        (REFUNDS, "data.charge.balance_transaction"),
    ],
)
def test_movements_are_shown_with_what_moved_them(api: Api, path: str, expand: str) -> None:
    api.refund(api.pay())

    (found,) = api.get(path, {"expand[]": expand})["data"]

    for name in expand.split(".")[1:]:
        found = found[name]
    assert (found["object"], found["amount"]) == ("balance_transaction", 11200)
