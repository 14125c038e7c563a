"""What customers and staff see of orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from shop_payments.exceptions import OrderNotFound
from shop_payments.models import Order, OrderPayment
from shop_payments.services.queries import get_order, list_orders
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from tests.books import STAFF, refund_in_dashboard
from tests.factories import OrderFactory
from tests.support import answer, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(storefront, order):
    """Look at the order as its customer does."""
    return lambda: storefront.get(f"orders/{order.pk}").json()["data"]


def test_an_order_of_two_payments(
    storefront, payment_system, order, stripe, webhooks, configure, pay_order, shown
):
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
    first = pay_order().payment_intents.get().stripe_id
    second = storefront.payment_intent(order).json()["data"]["id"]
    open_rest = shown()
    pay(stripe, second)
    webhooks()
    paid = shown()

    assert (open_rest["total"], open_rest["outstanding"]) == ("112.00", "22.00")
    assert (open_rest["payment_status"], open_rest["payable"]) == ("partially_paid", True)
    assert [each["id"] for each in open_rest["payments"]] == [first]
    assert (open_rest["paid_at"], open_rest["payment_intent"]["id"]) == (None, second)
    assert (paid["outstanding"], paid["payment_status"]) == ("0.00", "paid")
    received = [(each["id"], each["amount_received"]) for each in paid["payments"]]
    assert received == [(first, "90.00"), (second, "22.00")]
    assert payment_system.payment(order).json()["data"]["id"] == second


def test_a_changed_order_is_shown_as_it_is_now(storefront, order, paid, shown):
    """Although nothing has been evaluated since."""
    order.lines.update(quantity=3)

    data = shown()

    assert (data["total"], data["outstanding"]) == ("168.00", "56.00")
    assert (data["payment_status"], data["payable"]) == ("partially_paid", True)
    assert OrderPayment.objects.get().status == "paid", "reading changes nothing"

    request = EntryRequest(reason="A discount.", amount_decimal=Decimal("20.00"))
    waive_amount(order_id=order.pk, request=request, origin=STAFF)
    data = shown()
    assert (data["total"], data["waived"], data["outstanding"]) == ("168.00", "20.00", "36.00")
    assert storefront.payment_intent(order).json()["data"]["amount"] == "36.00"


def test_money_that_does_not_count_until_the_order_is_opened_again(
    order, stripe, webhooks, intent_id, shown
):
    """Its money counts from then on, as the next evaluation will find."""
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent_id)
    webhooks()
    cancelled = shown()
    Order.objects.update(status=Order.Status.OPEN)
    data = shown()

    (payment,) = cancelled["payments"]
    assert (payment["id"], payment["counts"]) == (intent_id, False)
    assert (payment["amount_received"], payment["currency"]) == ("112.00", "usd")
    assert (cancelled["payment_status"], cancelled["needs_review"]) == ("unpaid", True)
    assert (cancelled["outstanding"], cancelled["payable"]) == ("0.00", False)
    assert (data["payment_status"], data["outstanding"]) == ("paid", "0.00")
    payment = data["payments"][0]
    assert (payment["counts"], payment["charged_at"]) == (True, data["paid_at"])


def test_an_order_that_cannot_be_read_affects_no_other(
    storefront, payment_system, order, stripe, webhooks, configure
):
    """The adapter raises for one that was paid before."""
    broken = OrderFactory.create(customer=order.customer)
    pay(stripe, storefront.payment_intent(broken).json()["data"]["id"])
    webhooks()
    Order.objects.filter(pk=broken.pk).update(number="BROKEN-1")
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForTotal")

    data = storefront.get(f"orders/{broken.pk}").json()["data"]
    results = storefront.get("orders").json()["data"]["results"]
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    assert [data[name] for name in ("amount", "total", "outstanding", "currency")] == [None] * 4
    assert (data["id"], data["payable"], data["line_items"]) == (str(broken.pk), False, [])
    assert (data["payment_status"], data["waived"]) == ("paid", "0.00"), "as it was last seen"
    assert data["payments"][0]["amount_received"] == "112.00"
    assert {each["id"]: each["total"] for each in results} == {
        str(broken.pk): None,
        str(order.pk): "112.00",
    }
    assert payment_system.payment(order).status_code == 200


def test_an_order_whose_adapter_asks_for_too_much_is_not_payable(
    storefront, order, stripe, configure
):
    configure(ORDER_ADAPTER="tests.api.adapters.AsksForMore")

    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False
    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")
    assert stripe.requests == []


class Between:
    """Do something once, after an order's payment was read and before its intents are."""

    def __init__(self, happens: Any) -> None:
        self._waiting = [happens]

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if self._waiting and 'FROM "shop_payments_paymentintent"' in sql:
            self._waiting.pop()()
        return execute(sql, *rest)


def test_an_order_read_while_money_goes_back_adds_up(stripe, webhooks, paid, shown):
    refund_in_dashboard(stripe, amount="1000")
    webhooks()
    refund_in_dashboard(stripe)

    with connection.execute_wrapper(Between(webhooks)):
        read = shown()

    assert (read["payment_status"], read["amount_refunded"]) == ("refunded", "112.00")


def test_nobody_has_no_orders(db):
    order = OrderFactory.create(customer=None, email="guest@example.com")

    for user in (None, "a name", object()):
        assert list_orders(user=user).orders == ()
        with pytest.raises(OrderNotFound):
            get_order(order_id=order.pk, user=user)
