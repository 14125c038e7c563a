"""Refunds that are requested here: once for each key, and never more than is left.

Over several payments: most of it is in tests/api/test_refunds.py.
"""

from __future__ import annotations

import hashlib

import pytest

from shop_payments.models import OrderPayment, Refund
from tests.books import refunds_at_stripe
from tests.factories import OrderFactory
from tests.support import answer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]


def test_a_part_is_refunded_with_one_call_and_then_all_that_is_left(
    office, storefront, order, paid, stripe, told
):
    sent = len(stripe.requests)

    response = office.refund(order, {"amount": "12.50", "reason": "requested_by_customer"})

    assert [request.path for request in stripe.requests[sent:]] == ["/v1/refunds"]
    (made,) = refunds_at_stripe(stripe)
    row = Refund.objects.get()
    assert response.status_code == 200
    assert response.json() == {
        "message": "Refund created successfully",
        "data": {
            "id": str(row.pk),
            "stripe_id": made["id"],
            "payment_intent": made["payment_intent"],
            "amount": "12.50",
            "currency": "usd",
            "status": "succeeded",
            "reason": "requested_by_customer",
            "failure_reason": None,
            "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
        },
    }
    assert (made["amount"], made["reason"]) == (1250, "requested_by_customer")
    digest = hashlib.sha256(f"{order.pk}:{row.request_key}".encode()).hexdigest()
    assert made["metadata"] == {
        "order_id": str(order.pk),
        "attempt_id": str(row.pk),
        "request": digest,
    }
    assert [(name, data["amount"]) for name, data in told] == [("order_refunded", 1250)]
    seen = storefront.get(f"orders/{order.pk}").json()["data"]
    assert (seen["payment_status"], seen["amount_refunded"]) == ("partially_refunded", "12.50")
    assert seen["payable"] is False

    assert office.refund(order).json()["data"]["amount"] == "99.50"
    assert OrderPayment.objects.get().status == "refunded"
    assert [each["amount"] for each in office.refunds(order)] == ["12.50", "99.50"]
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")
    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")


def test_a_request_that_cannot_be_is_refused_and_nothing_is_sent(office, order, paid, stripe):
    sent = len(stripe.requests)

    for amount in ("0", "1,00", "1e2", "\u0661", 12.5, None):
        assert answer(office.refund(order, {"amount": amount})) == (400, "invalid_request"), amount
    for body in ({"amount": "1.00", "currency": "usd"}, {"reason": "x"}, "all"):
        assert answer(office.refund(order, body)) == (400, "invalid_request"), body
    for key in ("x" * 256, "two words", "ü"):
        assert answer(office.refund(order, key=key)) == (400, "invalid_request")
    assert answer(office.refund(order, {"amount": "1.250"})) == (422, "amount_not_representable")
    assert answer(office.refund(order, {"amount": "112.01"})) == (409, "refund_exceeds_balance")

    assert len(stripe.requests) == sent
    assert not Refund.objects.exists()


def test_an_order_that_is_not_there_or_not_paid_is_refused(office, storefront, order, stripe):
    for order_id in ("0", "999999", "x", "\x00"):
        assert answer(office.refund(order_id)) == (404, "order_not_found")

    assert answer(office.refund(order)) == (409, "order_not_refundable")
    storefront.payment_intent(order)
    assert answer(office.refund(order)) == (409, "order_not_refundable")


@pytest.mark.parametrize(
    ("first", "others"),
    [
        ({"amount": "12.50"}, [{"amount": "12.51"}, {"amount": "12.50", "reason": "duplicate"}]),
        ({"amount": "12.50", "kind": "goods"}, [{"amount": "12.50"}, {}]),
        ({}, [{"amount": "112.00"}]),
    ],
)
def test_a_key_is_for_one_request(office, order, paid, stripe, first, others):
    """Without a key, one is made and returned. Without an amount, all that is left goes back."""
    made = office.refund(order, first)
    key = made["Idempotency-Key"]

    for other in others:
        again = office.refund(order, first, key=key)
        assert (again.json(), again["Idempotency-Key"]) == (made.json(), key)
        assert answer(office.refund(order, other, key=key)) == (409, "idempotency_key_reused")
    assert len(refunds_at_stripe(stripe)) == 1


def test_another_key_or_another_order_is_another_refund(
    office, order, paid, storefront, stripe, webhooks
):
    other = OrderFactory.create(customer=order.customer)
    stripe.pay(storefront.payment_intent(other).json()["data"]["id"], deliver=False)
    webhooks()

    for each, key in ((order, "a"), (order, "b"), (other, "a")):
        assert office.refund(each, {"amount": "1.00"}, key=key).status_code == 200

    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [100] * 3


@pytest.mark.parametrize(
    ("headers", "status"), [({"X-API-Key": "x"}, 401), ({"Content-Type": "text/plain"}, 415)]
)
def test_the_key_is_in_every_answer(office, order, paid, headers, status):
    """Found: it was missing where the request was refused early."""
    sent = {**office.headers, "Idempotency-Key": "a", **headers}
    response = office.client.post(
        f"/api/v1/shop/orders/{order.pk}/refunds",
        data="{}",
        content_type=sent.pop("Content-Type", "application/json"),
        headers=sent,
    )

    assert (response.status_code, response["Idempotency-Key"]) == (status, "a")


def test_a_payment_gives_no_more_than_is_left_of_it(open_shop):
    shop = open_shop(112)
    first, second = shop.deposit(90), shop.pay(22)
    shop.refund_in_dashboard(second, 12)

    parts = shop.refund(50).json()["data"]["parts"]

    found = [(part["payment_intent"], part["amount"]) for part in parts]
    assert found == [(second, "10.00"), (first, "40.00")]
