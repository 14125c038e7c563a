"""What customers and staff see of orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.exceptions import OrderNotFound
from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentIntent, Source
from shop_payments.services.queries import get_order, list_orders
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory, OrderLineFactory
from tests.support import answer, call_stripe, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(storefront, order):
    """Look at the order as its customer does."""
    return lambda: storefront.get(f"orders/{order.pk}").json()["data"]


@pytest.fixture
def pay_order(storefront, order, stripe, webhooks):
    """Pay what call 1 asks for, changed at Stripe as the test says; return the intent's id."""

    def pay_it(**changes: str) -> str:
        intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
        if changes:
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}", **changes)
        pay(stripe, intent_id)
        webhooks()
        return intent_id

    return pay_it


def amounts(data: dict[str, Any]) -> tuple[str, str, str]:
    return data["total"], data["waived"], data["outstanding"]


def test_an_order_of_two_payments(storefront, order, stripe, webhooks, configure, pay_order, shown):
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
    first = pay_order()
    second = storefront.payment_intent(order).json()["data"]["id"]
    open_rest = shown()
    pay(stripe, second)
    webhooks()
    paid = shown()

    assert amounts(open_rest) == ("112.00", "0.00", "22.00")
    assert (open_rest["payment_status"], open_rest["payable"]) == ("partially_paid", True)
    assert [each["id"] for each in open_rest["payments"]] == [first]
    assert (open_rest["paid_at"], open_rest["payment_intent"]["id"]) == (None, second)
    assert (paid["outstanding"], paid["payment_status"]) == ("0.00", "paid")
    assert [(each["id"], each["amount_received"]) for each in paid["payments"]] == [
        (first, "90.00"),
        (second, "22.00"),
    ]


def test_money_that_does_not_count(pay_order, shown):
    intent_id = pay_order(currency="eur")

    data = shown()

    (payment,) = data["payments"]
    assert (payment["id"], payment["counts"]) == (intent_id, False)
    assert (payment["amount_received"], payment["currency"]) == ("112.00", "eur")
    assert (data["outstanding"], data["payable"]) == ("112.00", False)
    assert (data["payment_status"], data["needs_review"]) == ("unpaid", True)


def test_a_waiver(storefront, order, pay_order, shown):
    pay_order(amount="9000")
    request = EntryRequest(reason="A discount.", amount_decimal=Decimal("20.00"))
    waive_amount(order_id=order.pk, request=request, origin=Origin(source=Source.ADMIN))

    assert amounts(shown()) == ("112.00", "20.00", "2.00")
    assert storefront.payment_intent(order).json()["data"]["amount"] == "2.00"


def test_a_cancelled_order_asks_for_nothing(pay_order, shown):
    pay_order(amount="9000")
    Order.objects.update(status=Order.Status.CANCELLED)

    data = shown()

    assert (data["total"], data["outstanding"], data["payable"]) == ("112.00", "0.00", False)
    assert data["payment_status"] == "partially_paid"


def test_a_changed_order_is_shown_as_it_is_now(order, pay_order, shown):
    """Although nothing has been evaluated since."""
    pay_order()
    order.lines.update(quantity=3)

    data = shown()

    assert (data["total"], data["outstanding"]) == ("168.00", "56.00")
    assert (data["payment_status"], data["payable"]) == ("partially_paid", True)
    assert OrderPayment.objects.get().status == "paid", "reading changes nothing"


def test_an_order_that_was_opened_again(storefront, order, stripe, webhooks, shown):
    """Its money counts from now on, as the next evaluation will find."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent_id)
    webhooks()
    cancelled = shown()
    Order.objects.update(status=Order.Status.OPEN)

    data = shown()

    assert (cancelled["payment_status"], cancelled["payments"][0]["counts"]) == ("unpaid", False)
    assert (data["payment_status"], data["outstanding"]) == ("paid", "0.00")
    assert (data["payments"][0]["counts"], data["paid_at"]) == (
        True,
        data["payments"][0]["charged_at"],
    )


def test_a_live_intent_under_a_test_key_cannot_be_paid(storefront, order, stripe, shown):
    storefront.payment_intent(order)
    PaymentIntent.objects.update(livemode=True)

    assert shown()["payable"] is False
    assert answer(storefront.payment_intent(order)) == (503, "not_configured")


def test_amounts_have_the_digits_of_their_currency(order, pay_order, shown):
    Order.objects.update(currency="jpy")
    order.lines.update(unit_amount=250)
    pay_order(amount="200")

    data = shown()

    assert amounts(data) == ("500", "0", "300")
    assert data["payments"][0]["amount_received"] == "200"


def test_an_amount_that_the_currency_does_not_have_is_shown_as_null(storefront, order):
    Order.objects.update(currency="isk")
    order.lines.update(unit_amount=1)

    (data,) = storefront.get("orders").json()["data"]["results"]

    assert (data["amount"], data["payable"], data["line_items"]) == (None, False, [])


# --- an adapter that raises for one order -------------------------------------------------------


@pytest.fixture(
    params=["RaisesForTotal", "RaisesForIsPayable", "RaisesForLineItems", "RaisesForNumber"]
)
def broken(request, storefront, order, stripe, webhooks, configure) -> Order:
    """An order that was paid and cannot be read since."""
    broken: Order = OrderFactory.create(customer=order.customer)
    pay(stripe, storefront.payment_intent(broken).json()["data"]["id"])
    webhooks()
    Order.objects.filter(pk=broken.pk).update(number="BROKEN-1")
    configure(ORDER_ADAPTER=f"tests.api.adapters.{request.param}")
    return broken


def test_an_order_that_cannot_be_read_affects_no_other(
    storefront, payment_system, order, broken, stripe
):
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


def test_an_order_that_cannot_be_read_is_refunded(payment_system, broken, configure):
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))

    assert office.refund(broken, {"amount": "12.50"}).status_code == 200
    assert [each["amount"] for each in office.refunds(broken)] == ["12.50"]
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    assert payment_system.payment(broken).status_code == 200
    payment = OrderPayment.objects.get(order=broken.pk)
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1250)


# --- how it is read -----------------------------------------------------------------------------


def test_the_number_of_queries_does_not_grow(storefront, order, stripe):
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert storefront.get("orders").status_code == 200
        return len(queries)

    storefront.payment_intent(order)
    few = count()
    for each in OrderFactory.create_batch(9, customer=order.customer):
        OrderLineFactory(order=each)
        storefront.payment_intent(each)

    assert count() == few


class Between:
    """Do something once, after an order's payment was read and before its intents are."""

    def __init__(self, happens: Any) -> None:
        self._waiting = [happens]

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        if self._waiting and 'FROM "shop_payments_paymentintent"' in sql:
            self._waiting.pop()()
        return execute(sql, *rest)


def test_an_order_read_while_its_money_comes_has_a_time_of_payment(
    storefront, order, stripe, webhooks, shown
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    with connection.execute_wrapper(Between(webhooks)):
        read = shown()

    assert read["payment_status"] == "paid"
    assert read["paid_at"] is not None
    assert read == shown()


def test_an_order_read_while_money_goes_back_adds_up(stripe, webhooks, pay_order, shown):
    intent_id = pay_order()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1000")
    webhooks()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    with connection.execute_wrapper(Between(webhooks)):
        read = shown()

    assert (read["payment_status"], read["amount_refunded"]) == ("refunded", "112.00")


@pytest.mark.parametrize("user", [None, "a name", object()], ids=["none", "a string", "an object"])
def test_nobody_has_no_orders(user):
    order = OrderFactory.create(customer=None, email="guest@example.com")

    assert list_orders(user=user).orders == ()
    with pytest.raises(OrderNotFound):
        get_order(order_id=order.pk, user=user)
