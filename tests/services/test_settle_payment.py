"""Call 3: the order is paid only on proof from Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.models import Order, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.orders import BundledOrderAdapter
from shop_payments.services import delete_payment
from tests.books import STAFF
from tests.factories import OrderFactory
from tests.support import answer, pay

pytestmark = pytest.mark.django_db


def test_the_order_is_paid_and_the_shop_is_notified_once(
    payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    stripe.requests.clear()

    first = payment_system.payment(order)
    calls = [(request.method, request.path) for request in stripe.requests]
    again = payment_system.payment(order)

    payment = OrderPayment.objects.get()
    assert (first.status_code, again.content) == (200, first.content)
    assert calls == [("GET", f"/v1/payment_intents/{intent_id}")]
    assert (payment.status, payment.needs_review) == ("paid", False)
    assert payment.paid_at is not None
    (sent,) = paid_signals
    assert (sent["order"], sent["order_payment"]) == (order, payment)
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (sent["fact_id"], fact.source) == (fact.fact_id, "api")
    assert fact.dispatched_at is not None
    assert fact.actor.startswith("key ")
    assert fact.request_id.startswith("req_")


def test_the_payment_of_another_order_proves_nothing(
    storefront, payment_system, order, stripe, intent_id
):
    other = OrderFactory.create(customer=order.customer)
    pay(stripe, storefront.payment_intent(other).json()["data"]["id"])

    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert payment_system.payment(other).status_code == 200
    assert OrderPayment.objects.get(order=order).status == "unpaid"


def test_an_order_that_costs_more_since_asks_for_the_rest(
    storefront, payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    order.lines.update(quantity=3)

    first = payment_system.payment(order)
    rest = storefront.payment_intent(order).json()["data"]
    second = payment_system.payment(order)
    pay(stripe, rest["id"])
    settled = payment_system.payment(order).json()["data"]

    assert first.json()["message"] == "The payment is not completed: 56.00 is outstanding."
    assert second.json()["message"] == "The payment is not completed: requires_payment_method."
    data = second.json()["data"]
    assert (data["id"], data["outstanding"]) == (rest["id"], "56.00")
    assert (data["payment_status"], "client_secret" in data) == ("partially_paid", False)
    assert (settled["id"], settled["amount"]) == (rest["id"], "56.00")
    assert not ReviewItem.objects.exists()
    assert len(paid_signals) == 1


def test_lines_that_cannot_be_read_do_not_stop_a_payment(
    payment_system, order, stripe, intent_id, configure
):
    pay(stripe, intent_id)
    Order.objects.update(number="BROKEN-1")
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForLineItems")

    assert payment_system.payment(order).json()["data"]["line_items"] == []
    assert OrderPayment.objects.get().is_paid


class DeletesPayment(BundledOrderAdapter):
    """The shop deletes the payment while call 3 reads the order."""

    def find(self, order_id: object) -> Any:
        delete_payment(order_id=order_id, origin=STAFF)
        return super().find(order_id)


def test_a_payment_that_is_deleted_meanwhile_is_not_found(
    payment_system, order, intent_id, configure
):
    """Found: 500."""
    configure(ORDER_ADAPTER=f"{__name__}.DeletesPayment")
    order.lines.update(quantity=3)

    assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")
    assert not OrderPayment.objects.exists()
