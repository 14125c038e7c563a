"""POST orders/{order_id}/refunds: for goods or as a correction, and over several payments."""

from __future__ import annotations

import pytest

from shop_payments.models import OrderPayment, PaymentHistory
from shop_payments.sandbox import Fault
from tests.books import assert_books_agree, refunds_at_stripe
from tests.support import answer, call_stripe, writes

pytestmark = pytest.mark.django_db


@pytest.fixture
def two_payments(pay_order) -> tuple[str, str]:
    """90.00 and then 22.00 of an order of 112.00 usd."""
    return pay_order(amount="9000"), pay_order()


@pytest.mark.parametrize(
    ("unit_amount", "kind", "goods", "expected"),
    [
        (5600, {}, 4000, ("partially_refunded", 0, 0)),
        (5100, {}, 3000, ("partially_refunded", 0, 0)),
        (5100, {"kind": "goods"}, 4000, ("partially_refunded", 0, 1000)),
        (5100, {"kind": "correction"}, 0, ("partially_paid", 3000, 0)),
    ],
)
def test_the_excess_goes_back_first_unless_the_caller_says_otherwise(
    office, payment_system, order, pay_order, unit_amount, kind, goods, expected
):
    pay_order()
    order.lines.update(unit_amount=unit_amount)
    payment_system.payment(order)
    response = office.refund(order, {"amount": "40.00", **kind})
    payment = OrderPayment.objects.get()
    assert response.status_code == 200
    assert (payment.status, payment.amount_outstanding, payment.amount_excess) == expected
    assert PaymentHistory.objects.get(kind="order_refunded").data["goods"] == goods


def test_an_unknown_kind_is_refused(office, order, pay_order, stripe):
    pay_order()
    for kind in ("good", "GOODS", "", None, ["goods"]):
        response = office.refund(order, {"amount": "1.00", "kind": kind})
        assert answer(response) == (400, "invalid_request")
        assert "kind" in response.json()["errors"]
    assert refunds_at_stripe(stripe) == []


def test_a_refund_of_more_than_the_newest_payment_is_answered_as_its_parts(
    office, order, two_payments, stripe
):
    body = {"amount": "100.00", "reason": "duplicate"}
    first, again = (office.refund(order, body, key="a") for _call in range(2))
    data = first.json()["data"]
    assert (first.status_code, again.content) == (200, first.content)
    assert first["Idempotency-Key"] == again["Idempotency-Key"] == "a"
    assert list(data) == ["amount", "currency", "status", "parts"]
    assert (data["amount"], data["currency"], data["status"]) == ("100.00", "usd", "succeeded")
    assert [(part["payment_intent"], part["amount"]) for part in data["parts"]] == [
        (two_payments[1], "22.00"),
        (two_payments[0], "78.00"),
    ]
    assert {part["reason"] for part in data["parts"]} == {"duplicate"}
    assert len(refunds_at_stripe(stripe)) == 2
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_books_agree(stripe)


def test_everything_that_is_left_goes_back_and_no_more(office, order, two_payments):
    within_the_newest = office.refund(order, {"amount": "12.00"}).json()["data"]
    too_much = office.refund(order, {"amount": "100.01"})
    data = office.refund(order).json()["data"]
    assert within_the_newest["payment_intent"] == two_payments[1]
    assert answer(too_much) == (409, "refund_exceeds_balance")
    assert too_much.json()["data"] == {"refundable": "100.00", "currency": "usd"}
    assert [part["amount"] for part in data["parts"]] == ["10.00", "90.00"]
    assert OrderPayment.objects.get().status == "refunded"
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")


def test_a_part_that_stripe_refuses_is_not_sent_again(office, order, two_payments, stripe):
    """Staff have refunded a part of the first payment in the dashboard; no webhook has come."""
    stripe.disconnect_webhooks()
    call_stripe(stripe, "POST", "refunds", payment_intent=two_payments[0], amount="5000")
    response = office.refund(order, key="a")
    assert answer(response) == (409, "refund_refused")
    assert response.json()["message"].startswith("1 of 2 parts were refused: ")
    data = response.json()["data"]
    assert data["status"] == "mixed"
    assert [(part["amount"], part["status"]) for part in data["parts"]] == [
        ("22.00", "succeeded"),
        ("90.00", "refused"),
    ]
    assert data["parts"][1]["stripe_id"] is None
    assert data["parts"][1]["failure_reason"]
    sent = writes(stripe)
    again = office.refund(order, key="a")
    assert (again.status_code, again.content) == (409, response.content)
    assert writes(stripe) == sent


def test_a_part_whose_outcome_is_unknown_is_sent_again(office, order, two_payments, stripe):
    """The second part: the first request is only slow."""
    for fault in (Fault("latency", seconds=0.001, path="/v1/refunds"), Fault("drop_after")):
        stripe.inject(fault)
    response = office.refund(order, key="a")
    assert answer(response) == (503, "gateway_unavailable")
    assert int(response["Retry-After"]) > 0
    assert response["Idempotency-Key"] == "a"
    again = office.refund(order, key="a")
    assert (again.status_code, again.json()["data"]["status"]) == (200, "succeeded")
    assert sorted(each["amount"] for each in refunds_at_stripe(stripe)) == [2200, 9000]
    assert OrderPayment.objects.get().status == "refunded"


def test_a_payment_with_an_open_dispute_is_left_out(office, order, two_payments, stripe):
    stripe.dispute(two_payments[1])
    assert answer(office.refund(order, {"amount": "100.00"})) == (409, "payment_disputed")
    part = office.refund(order, {"amount": "90.00"})
    assert (part.status_code, part.json()["data"]["payment_intent"]) == (200, two_payments[0])


def test_uncounted_money_is_not_refunded_by_this_route(office, order, pay_order, stripe):
    """It does not belong to the order: staff refund it where it is in review."""
    pay_order(currency="eur")
    assert answer(office.refund(order)) == (409, "order_not_refundable")
    assert refunds_at_stripe(stripe) == []
