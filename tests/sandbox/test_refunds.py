"""Refunds in the sandbox: what they take, what becomes of them, what is told."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, INTENTS, MONEY, REFUNDS, Answer, Api

DAY = 24 * 60 * 60
CREATED = ["refund.created", "charge.refunded"]
UPDATED = ["refund.updated", "charge.refund.updated"]


def again(api: Api, found: Answer) -> Answer:
    """Fetch the object anew."""
    path = {"charge": CHARGES, "refund": REFUNDS}[found["object"]]
    return api.get(f"{path}/{found['id']}")


def balance(api: Api) -> int:
    """What all movements so far amount to."""
    return sum(row["net"] for row in api.get(MONEY, {"limit": "100"})["data"])


# --- what a refund is -----------------------------------------------------------------------------


def test_a_refund_names_what_it_is_of(api: Api) -> None:
    charge = api.pay()

    refund = api.refund(
        charge, amount="1500", reason="requested_by_customer", **{"metadata[a]": "b"}
    )

    assert refund["id"].startswith("re_")
    assert (refund["amount"], refund["currency"], refund["status"]) == (1500, "usd", "succeeded")
    assert (refund["charge"], refund["payment_intent"], refund["payment_method"]) == (
        charge["id"],
        charge["payment_intent"],
        charge["payment_method"],
    )
    assert (refund["reason"], refund["metadata"]) == ("requested_by_customer", {"a": "b"})
    assert refund["destination_details"]["card"]["reference_status"] == "pending"
    for name in ("failure_reason", "failure_balance_transaction", "pending_reason", "next_action"):
        assert name not in refund.json


@pytest.mark.parametrize("by", ["charge", "payment_intent"])
def test_a_charge_is_found_by_its_intent_too(api: Api, by: str) -> None:
    charge = api.pay()
    name = charge["id"] if by == "charge" else charge["payment_intent"]

    refund = api.post(REFUNDS, {by: name})

    assert (refund["charge"], refund["amount"]) == (charge["id"], 11200)


def test_parts_add_up_at_the_charge(api: Api) -> None:
    charge = api.pay()

    api.refund(charge, amount="11000")
    part = again(api, charge)
    rest = api.refund(charge)
    whole = again(api, charge)

    assert (part["amount_refunded"], part["refunded"]) == (11000, False)
    assert rest["amount"] == 200
    assert (whole["amount_refunded"], whole["refunded"]) == (11200, True)
    assert (whole["amount_captured"], whole["status"]) == (11200, "succeeded")


def test_the_intent_stays_as_it_is(api: Api) -> None:
    charge = api.pay()
    path = f"{INTENTS}/{charge['payment_intent']}"
    before = api.get(path).json

    api.refund(charge)

    assert api.get(path).json == before


def test_it_is_told_by_two_events(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    number = len(sandbox.events)

    refund = api.refund(charge, amount="400")

    assert api.told_after(number) == CREATED
    made, refunded = (event["data"]["object"] for event in sandbox.events[number:])
    assert made == refund.json
    assert refunded["amount_refunded"] == 400


def test_the_charges_event_tells_what_there_was_before(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    for amount in ("400", "10800"):
        api.refund(charge, amount=amount)

    told = [event["data"] for event in sandbox.events if event["type"] == "charge.refunded"]
    assert [data["previous_attributes"] for data in told] == [
        {"amount_refunded": 0},
        {"amount_refunded": 400, "refunded": False},
    ]


def test_fraud_is_noted_at_the_charge(api: Api) -> None:
    charge = api.pay()

    api.refund(charge, reason="fraudulent")

    assert again(api, charge)["fraud_details"] == {"user_report": "fraudulent"}


def test_a_captured_part_is_all_there_is(api: Api) -> None:
    charge = api.pay(capture_method="manual")
    api.post(f"{INTENTS}/{charge['payment_intent']}/capture", {"amount_to_capture": "5000"})

    refused = api.post(REFUNDS, {"charge": charge["id"], "amount": "5001"})
    refund = api.refund(charge)

    assert refused.error["message"] == (
        "Refund amount ($50.01) is greater than unrefunded amount on charge ($50.00)"
    )
    assert refund["amount"] == 5000
    assert again(api, charge)["refunded"] is True


@pytest.mark.parametrize(
    ("currency", "amount", "refused", "taken", "message"),
    [
        ("kwd", "11200", "1001", "1010", "must be divisible by 10."),
        ("isk", "11200", "150", "200", "must be divisible by 100."),
        ("jpy", "11200", "11201", "1", "(11,201 jpy) is greater than unrefunded"),
        ("eur", "11200", "11201", "1", "(€112.01) is greater than unrefunded"),
    ],
)
def test_amounts_have_their_currencys_steps(
    api: Api, currency: str, amount: str, refused: str, taken: str, message: str
) -> None:
    charge = api.pay(currency=currency, amount=amount)

    answer = api.post(REFUNDS, {"charge": charge["id"], "amount": refused})
    refund = api.refund(charge, amount=taken)

    assert (answer.status, answer.error["param"]) == (400, "amount")
    assert message in answer.error["message"]
    assert refund["amount"] == int(taken)


def test_a_part_may_be_less_than_stripes_least_charge(api: Api) -> None:
    assert api.refund(api.pay(), amount="1")["amount"] == 1


def test_a_hold_is_canceled_and_not_refunded(api: Api) -> None:
    charge = api.pay(capture_method="manual")

    answers = [
        api.post(REFUNDS, {"charge": charge["id"]}),
        api.post(REFUNDS, {"payment_intent": charge["payment_intent"]}),
    ]

    for answer in answers:
        assert "You must cancel the PaymentIntent to reverse" in answer.error["message"]


@pytest.mark.parametrize("by", ["charge", "payment_intent"])
def test_a_failed_charge_gave_nothing(api: Api, by: str) -> None:
    error = api.confirm(api.create()["id"], "pm_card_chargeDeclined").error
    intent_id = error["payment_intent"]["id"]
    name = error["charge"] if by == "charge" else intent_id

    answer = api.post(REFUNDS, {by: name})

    assert (answer.status, answer.error["message"]) == (
        400,
        f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
    )


def test_a_refund_with_its_key_is_made_once(api: Api) -> None:
    charge = api.pay()
    sent = {"charge": charge["id"], "amount": "11200"}

    first = api.post(REFUNDS, sent, Idempotency_Key="one")
    second = api.post(REFUNDS, sent, Idempotency_Key="one")

    assert first.json == second.json
    assert len(api.get(REFUNDS)["data"]) == 1


# --- looking at them ------------------------------------------------------------------------------


def test_refunds_are_listed_by_what_they_are_of(api: Api) -> None:
    one, other = api.pay(), api.pay()
    first, second = api.refund(one, amount="1"), api.refund(one, amount="2")
    third = api.refund(other, amount="3")

    def ids(path: str, **params: str) -> list[str]:
        return [each["id"] for each in api.get(path, params)["data"]]

    newest_first = [second["id"], first["id"]]
    assert ids(REFUNDS) == [third["id"], *newest_first]
    assert ids(REFUNDS, charge=one["id"]) == newest_first
    assert ids(REFUNDS, payment_intent=one["payment_intent"]) == newest_first
    assert ids(REFUNDS, charge="ch_missing") == []
    assert ids(f"{CHARGES}/{one['id']}/refunds") == newest_first
    assert ids(f"{CHARGES}/{one['id']}/refunds", limit="1") == newest_first[:1]


def test_the_refunds_of_an_unknown_charge_are_404(api: Api) -> None:
    answer = api.get(f"{CHARGES}/ch_missing/refunds")

    assert (answer.status, answer.error["param"]) == (404, "charge")


def test_a_charge_shows_its_refunds_where_they_are_asked_for(api: Api) -> None:
    charge = api.pay()
    refund = api.refund(charge, amount="1")
    path = f"{CHARGES}/{charge['id']}"

    plain, expanded = api.get(path), api.get(path, {"expand[]": "refunds"})
    deep = api.get(
        f"{INTENTS}/{charge['payment_intent']}", {"expand[]": "latest_charge.refunds.data.charge"}
    )

    assert "refunds" not in plain.json
    assert expanded["refunds"] == {
        "object": "list",
        "data": [refund.json],
        "has_more": False,
        "url": f"{path}/refunds",
    }
    (inner,) = deep["latest_charge"]["refunds"]["data"]
    assert (inner["id"], inner["charge"]["id"]) == (refund["id"], charge["id"])


def test_ten_refunds_are_shown_with_a_charge(api: Api) -> None:
    charge = api.pay()
    made = [api.refund(charge, amount="1")["id"] for _ in range(11)]

    shown = api.get(f"{CHARGES}/{charge['id']}", {"expand[]": "refunds"})["refunds"]

    assert [each["id"] for each in shown["data"]] == made[:0:-1]
    assert shown["has_more"] is True


@pytest.mark.parametrize("path", ["refunds.data", "refunds.charge", "refunds.data.amount"])
def test_a_path_through_refunds_is_checked(api: Api, path: str) -> None:
    charge = api.pay()

    answer = api.get(f"{CHARGES}/{charge['id']}", {"expand[]": path})

    assert answer.error["message"] == f"This property cannot be expanded ({path})."


def test_a_refund_expands_what_it_points_at(api: Api, sandbox: Sandbox) -> None:
    made = api.refund(api.pay())
    sandbox.advance_refund(made["id"], "failed")
    names = ["charge", "payment_intent", "payment_method", "balance_transaction"]
    paths = {f"expand[{n}]": name for n, name in enumerate([*names, "failure_balance_transaction"])}

    refund = api.get(f"{REFUNDS}/{made['id']}", paths)

    for name in names:
        assert refund[name]["object"] == name
    assert refund["failure_balance_transaction"]["amount"] == 11200
    assert refund["balance_transaction"]["amount"] == -11200


def test_only_metadata_is_updated(api: Api, sandbox: Sandbox) -> None:
    refund = api.refund(api.pay(), **{"metadata[a]": "1"})
    number = len(sandbox.events)

    updated = api.post(f"{REFUNDS}/{refund['id']}", {"metadata[b]": "2"})

    assert updated["metadata"] == {"a": "1", "b": "2"}
    assert api.told_after(number) == UPDATED
    for event in sandbox.events[number:]:
        assert event["data"]["previous_attributes"] == {"metadata": {"a": "1"}}
        assert event["request"]["id"] == updated.headers["request-id"]


# --- what becomes of them -------------------------------------------------------------------------


def test_a_refund_may_wait(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay("pm_card_pendingRefund")

    refund = api.refund(charge)
    meanwhile = again(api, charge)
    number = len(sandbox.events)
    sandbox.advance_clock(3600)
    later = again(api, refund)

    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")
    assert meanwhile["refunded"] is True
    assert later["status"] == "succeeded"
    assert "pending_reason" not in later.json
    assert api.told_after(number) == UPDATED
    assert sandbox.events[-1]["data"]["previous_attributes"] == {
        "status": "pending",
        "pending_reason": "processing",
    }


def test_what_waits_is_not_given_back_twice(api: Api) -> None:
    charge = api.pay("pm_card_pendingRefund")
    api.refund(charge)

    answer = api.post(REFUNDS, {"charge": charge["id"], "amount": "1"})

    assert answer.error["code"] == "charge_already_refunded"


def test_a_refund_may_fail_later(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay("pm_card_refundFail")
    paid = balance(api)

    refund = api.refund(charge, amount="1000")
    sent = balance(api)
    number = len(sandbox.events)
    sandbox.advance_clock(3600)
    failed = again(api, refund)

    assert (refund["status"], sent) == ("succeeded", paid - 1000)
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert balance(api) == paid
    charge = again(api, charge)
    assert (charge["amount_refunded"], charge["refunded"]) == (0, False)
    assert api.told_after(number) == ["refund.failed", *UPDATED]
    assert sandbox.events[-1]["data"]["previous_attributes"] == {
        "status": "succeeded",
        "failure_reason": None,
        "failure_balance_transaction": None,
    }
    back = api.get(f"{MONEY}/{failed['failure_balance_transaction']}")
    assert (back["amount"], back["type"], back["source"]) == (1000, "refund_failure", failed["id"])


def test_what_came_back_may_be_given_again(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay("pm_card_refundFail")
    api.refund(charge)
    sandbox.advance_clock(3600)

    assert api.refund(charge)["amount"] == 11200


@pytest.mark.parametrize(
    ("account", "currency"),
    [("pm_usBankAccount_success", "usd"), ("pm_success_de", "eur")],
)
def test_a_debit_is_given_back_in_days(
    api: Api, sandbox: Sandbox, account: str, currency: str
) -> None:
    charge = api.debit(account, currency)
    assert charge["status"] == "succeeded"

    refund = api.refund(charge)
    sandbox.advance_clock(2 * DAY)
    still = again(api, refund)["status"]
    sandbox.advance_clock(DAY)

    assert refund["id"].startswith("pyr_")
    assert (refund["status"], still, again(api, refund)["status"]) == (
        "pending",
        "pending",
        "succeeded",
    )
    assert "destination_details" not in refund.json


def test_the_customers_bank_gives_it_a_number(api: Api, sandbox: Sandbox) -> None:
    refund = api.refund(api.pay())
    number = len(sandbox.events)

    sandbox.advance_clock(3 * DAY)

    card = again(api, refund)["destination_details"]["card"]
    assert (card["reference_status"], len(card["reference"])) == ("available", 23)
    assert api.told_after(number) == UPDATED


def test_a_refund_that_failed_gets_no_number(api: Api, sandbox: Sandbox) -> None:
    refund = api.refund(api.pay())
    sandbox.advance_refund(refund["id"], "failed")
    number = len(sandbox.events)

    sandbox.advance_clock(3 * DAY)

    card = again(api, refund)["destination_details"]["card"]
    assert card["reference_status"] == "pending"
    assert api.told_after(number) == []


# --- the lever ------------------------------------------------------------------------------------


def test_a_test_may_fail_any_refund(api: Api, sandbox: Sandbox) -> None:
    refund = api.refund(api.pay())

    failed = sandbox.advance_refund(refund["id"], "failed", failure_reason="declined")

    assert (failed["status"], failed["failure_reason"]) == ("failed", "declined")
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


def test_a_refund_that_waits_for_the_customer_is_canceled(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay("pm_card_pendingRefund")
    refund = api.refund(charge)
    sandbox.advance_refund(refund["id"], "requires_action")
    number = len(sandbox.events)

    canceled = api.post(f"{REFUNDS}/{refund['id']}/cancel")
    sandbox.advance_clock(DAY)

    assert (canceled["status"], again(api, refund)["status"]) == ("canceled", "canceled")
    assert api.told_after(number) == UPDATED
    assert again(api, charge)["amount_refunded"] == 0


MOVES: list[tuple[list[str], str]] = [
    (["failed"], "succeeded"),
    (["failed"], "failed"),
    (["canceled"], "failed"),
    (["succeeded"], "pending"),
    (["succeeded"], "canceled"),
    ([], "pending"),
    ([], "arrived"),
]


@pytest.mark.parametrize(("before", "status"), MOVES)
def test_a_refund_makes_no_other_moves(
    api: Api, sandbox: Sandbox, before: list[str], status: str
) -> None:
    refund = api.refund(api.pay("pm_card_pendingRefund"))
    for each in before:
        sandbox.advance_refund(refund["id"], each)
    state: Any = again(api, refund).json, sandbox.events

    with pytest.raises(ValueError, match=f"to {status}"):
        sandbox.advance_refund(refund["id"], status)

    assert (again(api, refund).json, sandbox.events) == state


def test_a_reason_that_stripe_does_not_have_is_refused(api: Api, sandbox: Sandbox) -> None:
    refund = api.refund(api.pay())

    with pytest.raises(ValueError, match="does not fail for 'bad luck'"):
        sandbox.advance_refund(refund["id"], "failed", failure_reason="bad luck")

    assert again(api, refund)["status"] == "succeeded"
