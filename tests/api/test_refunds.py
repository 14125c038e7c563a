"""POST orders/{order_id}/refunds: for goods or as a correction, and over several payments.

One payment's refunds: see tests/after_paid/test_refunds.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.models import APIKeyScope, OrderPayment, PaymentHistory, Refund
from shop_payments.sandbox import Fault
from tests.after_paid.support import AccountingOffice, assert_books_agree, refunds_at_stripe
from tests.conftest import issue_key
from tests.support import answer, call_stripe, pay, writes

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(db) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


@pytest.fixture
def pay_order(storefront, order, stripe, webhooks):
    """Pay what call 1 asks for, or the amount that is given; return the intent's id."""

    def pay_it(amount: str = "", card: str = "pm_card_visa") -> str:
        intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
        if amount:
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}", amount=amount)
        pay(stripe, intent_id, card)
        webhooks()
        return intent_id

    return pay_it


@pytest.fixture
def two_payments(pay_order) -> tuple[str, str]:
    """90.00 and then 22.00 of an order of 112.00 usd."""
    return pay_order("9000"), pay_order()


def goods_of_the_facts() -> list[int]:
    facts = PaymentHistory.objects.filter(kind="order_refunded").order_by("pk")
    return [fact.data["goods"] for fact in facts]


# --- for goods, or as a correction --------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "goods", "status", "outstanding"),
    [
        ("", 3000, "partially_refunded", 0),
        ("goods", 3000, "partially_refunded", 0),
        ("correction", 0, "partially_paid", 3000),
    ],
)
def test_what_a_refund_means(
    office, storefront, order, pay_order, kind, goods, status, outstanding
):
    pay_order()

    response = office.refund(order, {"amount": "30.00", **({"kind": kind} if kind else {})})

    payment = OrderPayment.objects.get()
    assert response.status_code == 200
    assert (payment.status, payment.amount_outstanding) == (status, outstanding)
    assert goods_of_the_facts() == [goods]
    asked = storefront.payment_intent(order)
    if outstanding:
        assert asked.json()["data"]["amount"] == "30.00"
    else:
        assert answer(asked) == (409, "order_already_paid")


@pytest.mark.parametrize(
    ("kind", "goods", "excess"),
    [("", 3000, 0), ("goods", 4000, 1000), ("correction", 0, 0)],
)
def test_the_excess_goes_back_first_unless_the_caller_says_otherwise(
    office, payment_system, order, pay_order, kind, goods, excess
):
    """112.00 was paid, and the order costs 102.00 by now."""
    pay_order()
    order.lines.update(unit_amount=5100)
    payment_system.payment(order)
    assert OrderPayment.objects.get().amount_excess == 1000

    office.refund(order, {"amount": "40.00", **({"kind": kind} if kind else {})})

    assert goods_of_the_facts() == [goods]
    assert OrderPayment.objects.get().amount_excess == excess


@pytest.mark.parametrize("kind", ["good", "GOODS", "Goods", "", "waiver", None, 1, ["goods"], {}])
def test_an_unknown_kind_is_refused_and_nothing_is_sent(office, order, pay_order, stripe, kind):
    pay_order()
    before = writes(stripe)

    response = office.refund(order, {"amount": "1.00", "kind": kind})

    assert answer(response) == (400, "invalid_request")
    assert "kind" in response.json()["errors"]
    assert writes(stripe) == before
    assert not Refund.objects.exists()


def test_a_repetition_says_the_same_kind(office, order, pay_order, stripe):
    pay_order()
    body = {"amount": "10.00", "kind": "goods"}

    first = office.refund(order, body, key="a")
    again = office.refund(order, body, key="a")
    without = office.refund(order, {"amount": "10.00"}, key="a")
    other = office.refund(order, {"amount": "10.00", "kind": "correction"}, key="a")

    assert first.content == again.content
    assert answer(without) == answer(other) == (409, "idempotency_key_reused")
    assert len(refunds_at_stripe(stripe)) == 1


# --- over several payments ----------------------------------------------------------------------


def test_a_refund_within_the_newest_payment_is_one_refund(office, order, two_payments, stripe):
    response = office.refund(order, {"amount": "22.00"})

    data = response.json()["data"]
    assert (data["payment_intent"], data["amount"]) == (two_payments[1], "22.00")
    assert "parts" not in data


def test_a_refund_of_more_takes_the_newest_payment_first(office, order, two_payments, stripe):
    response = office.refund(order, {"amount": "100.00", "reason": "duplicate"})

    data = response.json()["data"]
    assert response.status_code == 200
    assert list(data) == ["amount", "currency", "status", "parts"]
    assert (data["amount"], data["currency"], data["status"]) == ("100.00", "usd", "succeeded")
    assert [(part["payment_intent"], part["amount"]) for part in data["parts"]] == [
        (two_payments[1], "22.00"),
        (two_payments[0], "78.00"),
    ]
    assert list(data["parts"][0]) == [
        "id",
        "stripe_id",
        "payment_intent",
        "amount",
        "currency",
        "status",
        "reason",
        "failure_reason",
        "created_at",
    ]
    assert {part["reason"] for part in data["parts"]} == {"duplicate"}
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_books_agree(stripe)


def test_all_that_is_left_of_both(office, order, two_payments, stripe):
    office.refund(order, {"amount": "12.00"})

    data = office.refund(order).json()["data"]

    assert data["amount"] == "100.00"
    assert [part["amount"] for part in data["parts"]] == ["10.00", "90.00"]
    assert OrderPayment.objects.get().status == "refunded"
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")


def test_a_repetition_answers_the_same_parts(office, order, two_payments, stripe):
    first = office.refund(order, key="a")
    again = office.refund(order, key="a")

    assert first.content == again.content
    assert first["Idempotency-Key"] == again["Idempotency-Key"] == "a"
    assert len(refunds_at_stripe(stripe)) == 2


def test_more_than_both_is_refused_and_nothing_is_sent(office, order, two_payments, stripe):
    response = office.refund(order, {"amount": "112.01"})

    assert answer(response) == (409, "refund_exceeds_balance")
    assert response.json()["data"] == {"refundable": "112.00", "currency": "usd"}
    assert refunds_at_stripe(stripe) == []


def test_parts_of_different_statuses(office, order, pay_order, stripe):
    pay_order("9000", card="pm_card_pendingRefund")
    pay_order()

    data = office.refund(order).json()["data"]

    assert data["status"] == "mixed"
    assert [part["status"] for part in data["parts"]] == ["succeeded", "pending"]


def test_a_part_that_stripe_refuses(office, order, two_payments, stripe):
    """Staff have given back a part of the first payment in the dashboard; nobody has said so."""
    stripe.disconnect_webhooks()
    call_stripe(stripe, "POST", "refunds", payment_intent=two_payments[0], amount="5000")

    response = office.refund(order, key="a")

    assert answer(response) == (409, "refund_refused")
    data = response.json()["data"]
    assert list(data) == ["amount", "currency", "status", "parts"]
    assert data["status"] == "mixed"
    assert [(part["amount"], part["status"]) for part in data["parts"]] == [
        ("22.00", "succeeded"),
        ("90.00", "refused"),
    ]
    assert data["parts"][1]["stripe_id"] is None
    assert data["parts"][1]["failure_reason"]
    assert response.json()["message"].startswith("1 of 2 parts were refused: ")

    sent = writes(stripe)
    again = office.refund(order, key="a")
    assert (again.status_code, again.content) == (409, response.content)
    assert writes(stripe) == sent, "a part that was refused is never sent again"


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("part", [0, 1], ids=["first part", "second part"])
def test_a_part_whose_outcome_is_unknown(office, order, two_payments, stripe, fault, part):
    skip_to(stripe, part, Fault(fault, method="POST", path="/v1/refunds"))

    response = office.refund(order, key="a")

    assert answer(response) == (503, "gateway_unavailable")
    assert int(response["Retry-After"]) > 0
    assert response["Idempotency-Key"] == "a"
    again = office.refund(order, key="a")
    assert again.status_code == 200
    assert again.json()["data"]["status"] == "succeeded"
    assert sorted(each["amount"] for each in refunds_at_stripe(stripe)) == [2200, 9000]
    assert OrderPayment.objects.get().status == "refunded"


def skip_to(stripe: Any, part: int, fault: Fault) -> None:
    """Have the fault meet this part: before it come as many that are only slow."""
    for _ in range(part):
        stripe.inject(Fault("latency", seconds=0.001, method="POST", path="/v1/refunds"))
    stripe.inject(fault)


def test_a_payment_with_an_open_dispute_gives_nothing(office, order, two_payments, stripe):
    stripe.dispute(two_payments[1])

    whole = office.refund(order, {"amount": "100.00"})
    part = office.refund(order, {"amount": "90.00"})

    assert answer(whole) == (409, "payment_disputed")
    assert part.status_code == 200
    assert part.json()["data"]["payment_intent"] == two_payments[0]


def test_an_order_that_cannot_be_read_holds_no_refund_up(
    office, order, two_payments, stripe, configure
):
    type(order).objects.update(number="BROKEN-1")
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForTotal")

    response = office.refund(order, {"amount": "100.00"})

    assert response.status_code == 200
    assert sorted(each["amount"] for each in refunds_at_stripe(stripe)) == [2200, 7800]
    assert {each.total_seen for each in Refund.objects.all()} == {11200}, "as it was last seen"


def test_uncounted_money_is_not_given_back_by_this_route(
    office, order, pay_order, stripe, storefront
):
    """It does not belong to the order: staff give it back where it is in review."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}", currency="eur")
    pay(stripe, intent_id)
    stripe.deliver_webhooks()

    assert answer(office.refund(order)) == (409, "order_not_refundable")
    assert refunds_at_stripe(stripe) == []
