"""GET orders and GET orders/{order_id}."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentIntent, Source
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory, OrderLineFactory
from tests.support import BASE, answer, call_stripe, pay

pytestmark = pytest.mark.django_db


def test_an_order_before_any_payment(storefront, order):
    body = storefront.get(f"orders/{order.pk}").json()

    assert body == {
        "message": "Order",
        "data": {
            "id": str(order.pk),
            "number": order.number,
            "amount": "112.00",
            "total": "112.00",
            "outstanding": "112.00",
            "waived": "0.00",
            "currency": "usd",
            "payable": True,
            "payment_status": "unpaid",
            "amount_refunded": "0.00",
            "dispute": "",
            "needs_review": False,
            "paid_at": None,
            "line_items": [
                {
                    "name": "Main product 2",
                    "amount": 5600,
                    "currency": "usd",
                    "quantity": 2,
                    "description": "",
                }
            ],
            "payment_intent": None,
            "payments": [],
            "links": {
                "order": f"http://testserver{BASE}/orders/{order.pk}",
                "payment_intent": f"http://testserver{BASE}/orders/{order.pk}/payment-intent",
                "payment": f"http://testserver{BASE}/orders/{order.pk}/payment",
                "refunds": f"http://testserver{BASE}/orders/{order.pk}/refunds",
            },
        },
    }


def test_an_order_that_is_paid(storefront, order, stripe, webhooks):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    webhooks()

    response = storefront.get(f"orders/{order.pk}")

    data = response.json()["data"]
    assert (data["payment_status"], data["payable"]) == ("paid", False)
    assert data["paid_at"].endswith("Z")
    assert data["payment_intent"] == {
        "id": intent_id,
        "status": "succeeded",
        "amount": 11200,
        "currency": "usd",
    }
    assert (data["total"], data["outstanding"], data["waived"]) == ("112.00", "0.00", "0.00")
    (payment,) = data["payments"]
    assert payment == {
        "id": intent_id,
        "amount_received": "112.00",
        "currency": "usd",
        "counts": True,
        "charged_at": payment["charged_at"],
    }
    assert payment["charged_at"] == data["paid_at"]
    assert "_secret_" not in response.content.decode()


class TestBalances:
    """What an order of several payments shows."""

    def show(self, storefront, order):
        return storefront.get(f"orders/{order.pk}").json()["data"]

    def pay(self, storefront, order, stripe, webhooks, **changes):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        if changes:
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}", **changes)
        pay(stripe, intent_id)
        webhooks()
        return intent_id

    def test_a_deposit(self, storefront, order, stripe, webhooks, configure):
        configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
        first = self.pay(storefront, order, stripe, webhooks)
        after_the_deposit = self.show(storefront, order)
        second = storefront.payment_intent(order).json()["data"]["id"]
        while_the_rest_is_open = self.show(storefront, order)
        pay(stripe, second)
        webhooks()
        paid = self.show(storefront, order)

        for data in (after_the_deposit, while_the_rest_is_open):
            assert (data["total"], data["outstanding"]) == ("112.00", "22.00")
            assert (data["payment_status"], data["payable"]) == ("partially_paid", True)
            assert [each["id"] for each in data["payments"]] == [first]
            assert data["paid_at"] is None
        assert while_the_rest_is_open["payment_intent"]["id"] == second
        assert (paid["outstanding"], paid["payment_status"]) == ("0.00", "paid")
        assert [(each["id"], each["amount_received"]) for each in paid["payments"]] == [
            (first, "90.00"),
            (second, "22.00"),
        ]

    def test_money_that_does_not_count(self, storefront, order, stripe, webhooks):
        intent_id = self.pay(storefront, order, stripe, webhooks, currency="eur")

        data = self.show(storefront, order)

        (payment,) = data["payments"]
        assert (payment["id"], payment["counts"]) == (intent_id, False)
        assert (payment["amount_received"], payment["currency"]) == ("112.00", "eur")
        assert (data["outstanding"], data["payable"]) == ("112.00", False)
        assert (data["payment_status"], data["needs_review"]) == ("unpaid", True)

    def test_a_waiver(self, storefront, order, stripe, webhooks):
        self.pay(storefront, order, stripe, webhooks, amount="9000")
        waive_amount(
            order_id=order.pk,
            request=EntryRequest(reason="A discount.", amount_decimal=Decimal("20.00")),
            origin=Origin(source=Source.ADMIN),
        )

        data = self.show(storefront, order)

        assert (data["total"], data["waived"], data["outstanding"]) == ("112.00", "20.00", "2.00")
        assert storefront.payment_intent(order).json()["data"]["amount"] == "2.00"

    def test_a_cancelled_order_asks_for_nothing(self, storefront, order, stripe, webhooks):
        self.pay(storefront, order, stripe, webhooks, amount="9000")
        Order.objects.update(status=Order.Status.CANCELLED)

        data = self.show(storefront, order)

        assert (data["total"], data["outstanding"], data["payable"]) == ("112.00", "0.00", False)
        assert data["payment_status"] == "partially_paid"

    def test_a_changed_order_is_shown_as_it_is_now(self, storefront, order, stripe, webhooks):
        """Although nothing has been evaluated since."""
        self.pay(storefront, order, stripe, webhooks)
        order.lines.update(quantity=3)

        data = self.show(storefront, order)

        assert (data["total"], data["outstanding"]) == ("168.00", "56.00")
        assert (data["payment_status"], data["payable"]) == ("partially_paid", True)
        assert OrderPayment.objects.get().status == "paid", "to look at it changes nothing"

    def test_an_order_that_was_opened_again(self, storefront, order, stripe, webhooks):
        """Its money counts from now on, as the next evaluation will find."""
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        Order.objects.update(status=Order.Status.CANCELLED)
        pay(stripe, intent_id)
        webhooks()
        cancelled = self.show(storefront, order)
        Order.objects.update(status=Order.Status.OPEN)

        data = self.show(storefront, order)

        assert (cancelled["payment_status"], cancelled["payments"][0]["counts"]) == (
            "unpaid",
            False,
        )
        assert (data["payment_status"], data["outstanding"]) == ("paid", "0.00")
        assert data["payments"][0]["counts"] is True

    def test_a_live_intent_under_a_test_key_cannot_be_paid(self, storefront, order, stripe):
        storefront.payment_intent(order)
        PaymentIntent.objects.update(livemode=True)

        assert self.show(storefront, order)["payable"] is False
        assert answer(storefront.payment_intent(order)) == (503, "not_configured")

    def test_the_currencys_own_digits(self, storefront, order, stripe, webhooks):
        Order.objects.update(currency="jpy")
        order.lines.update(unit_amount=250)
        self.pay(storefront, order, stripe, webhooks, amount="200")

        data = self.show(storefront, order)

        assert (data["total"], data["outstanding"], data["waived"]) == ("500", "300", "0")
        assert data["payments"][0]["amount_received"] == "200"


BROKEN_ADAPTERS = ["RaisesForTotal", "RaisesForIsPayable", "RaisesForLineItems", "RaisesForNumber"]


class TestAnAdapterThatRaises:
    """It raises for one order; the others are shown, listed and paid."""

    @pytest.fixture(params=BROKEN_ADAPTERS)
    def broken(self, request, storefront, order, stripe, webhooks, configure):
        """An order that is paid, and cannot be read since."""
        broken = OrderFactory.create(customer=order.customer)
        pay(stripe, storefront.payment_intent(broken).json()["data"]["id"])
        webhooks()
        Order.objects.filter(pk=broken.pk).update(number="BROKEN-1")
        configure(ORDER_ADAPTER=f"tests.api.adapters.{request.param}")
        return broken

    def test_it_is_shown_with_nulls(self, storefront, broken):
        data = storefront.get(f"orders/{broken.pk}").json()["data"]

        names = ("amount", "total", "outstanding", "currency")
        assert [data[name] for name in names] == [None] * 4
        assert (data["id"], data["payable"], data["line_items"]) == (str(broken.pk), False, [])
        assert (data["payment_status"], data["waived"]) == ("paid", "0.00"), "as it was last seen"
        assert data["payments"][0]["amount_received"] == "112.00"

    def test_the_list_shows_it_and_the_others(self, storefront, order, broken):
        results = storefront.get("orders").json()["data"]["results"]

        assert {each["id"]: each["total"] for each in results} == {
            str(broken.pk): None,
            str(order.pk): "112.00",
        }

    def test_another_order_is_paid(self, storefront, payment_system, order, broken, stripe):
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

        assert payment_system.payment(order).status_code == 200

    def test_its_refunds_go_on(self, payment_system, broken, stripe, configure):
        office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))

        response = office.refund(broken, {"amount": "12.50"})

        assert response.status_code == 200
        assert [each["amount"] for each in office.refunds(broken)] == ["12.50"]
        configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
        assert payment_system.payment(broken).status_code == 200
        payment = OrderPayment.objects.get(order=broken.pk)
        assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1250)


def test_the_list_holds_the_callers_orders_newest_first(storefront, order):
    newer = OrderFactory.create(customer=order.customer)
    OrderFactory.create()

    data = storefront.get("orders").json()["data"]

    assert [each["id"] for each in data["results"]] == [str(newer.pk), str(order.pk)]
    assert (data["next"], data["previous"]) == (None, None)


def test_the_list_comes_in_pages(storefront, order, configure):
    configure(PAGE_SIZE=2)
    OrderFactory.create_batch(4, customer=order.customer)

    first = storefront.get("orders").json()["data"]
    last = storefront.get("orders?page=3").json()["data"]

    assert len(first["results"]) == 2
    assert first["next"] == f"http://testserver{BASE}/orders?page=2"
    assert len(last["results"]) == 1
    assert last["next"] is None
    assert last["previous"].endswith("page=2")


def test_a_full_page_may_be_the_last_one(storefront, order, configure):
    configure(PAGE_SIZE=2)
    OrderFactory.create(customer=order.customer)

    data = storefront.get("orders").json()["data"]

    assert len(data["results"]) == 2
    assert data["next"] is None


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30, "1.0", "1_0", "%2B1", "%201", "%D9%A1"])
def test_a_page_that_cannot_be(storefront, page):
    response = storefront.get(f"orders?page={page}")

    assert answer(response) == (400, "invalid_request")
    assert "page" in response.json()["errors"]


def test_the_number_of_queries_does_not_grow(storefront, order, stripe):
    def count():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert storefront.get("orders").status_code == 200
        return len(queries)

    storefront.payment_intent(order)
    few = count()
    for each in OrderFactory.create_batch(49, customer=order.customer):
        OrderLineFactory(order=each)
        storefront.payment_intent(each)

    assert count() == few


def test_an_order_that_cannot_be_paid_does_not_break_the_list(storefront, order):
    Order.objects.update(currency="isk")
    order.lines.update(unit_amount=1)

    (result,) = storefront.get("orders").json()["data"]["results"]

    assert (result["amount"], result["payable"], result["line_items"]) == (None, False, [])
    assert (result["total"], result["outstanding"]) == (None, None)


def test_the_root_shows_where_to_go(client):
    body = client.get(f"{BASE}/").json()

    assert body["data"] == {"orders": f"http://testserver{BASE}/orders"}


class TestBrowsableAPI:
    def as_staff(self, admin_client, path):
        return admin_client.get(f"{BASE}/{path}", headers={"Accept": "text/html"})

    def test_it_can_be_walked_by_staff(self, admin_client, order):
        for path in ("", "orders", f"orders/{order.pk}"):
            response = self.as_staff(admin_client, path)
            assert response.status_code == 200
            assert response["Content-Type"].startswith("text/html")

    def test_every_page_links_to_the_next(self, admin_client, order):
        listed = self.as_staff(admin_client, "orders").content.decode()
        shown = self.as_staff(admin_client, f"orders/{order.pk}").content.decode()

        assert f'<a href="http://testserver{BASE}/orders/{order.pk}"' in listed
        assert f'<a href="http://testserver{BASE}/orders/{order.pk}/payment-intent"' in shown

    def test_the_post_routes_have_a_form(self, admin_client, order):
        for route in ("payment-intent", "payment"):
            response = self.as_staff(admin_client, f"orders/{order.pk}/{route}")
            assert response.status_code == 405
            assert '<form action="' in response.content.decode()

    def test_it_can_be_turned_off(self, admin_client, configure):
        configure(BROWSABLE_API=False)

        assert answer(self.as_staff(admin_client, "orders")) == (406, "not_acceptable")


class Between:
    """Has something happen once, after an order's payment was read and before its intents are."""

    def __init__(self, happens):
        self.happens = happens
        self.has_happened = False

    def __call__(self, execute, sql, *rest):
        if not self.has_happened and 'FROM "shop_payments_paymentintent"' in sql:
            self.has_happened = True
            self.happens()
        return execute(sql, *rest)


def test_an_order_read_while_its_money_comes_is_not_paid_at_no_time(
    storefront, order, stripe, webhooks
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    with connection.execute_wrapper(Between(webhooks)):
        read = storefront.get(f"orders/{order.pk}").json()["data"]

    assert read["payment_status"] == "paid"
    assert read["paid_at"] is not None
    assert read == storefront.get(f"orders/{order.pk}").json()["data"]


def test_an_order_read_while_more_goes_back_adds_up(storefront, order, stripe, webhooks):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1000")
    webhooks()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    with connection.execute_wrapper(Between(webhooks)):
        read = storefront.get(f"orders/{order.pk}").json()["data"]

    assert read["payment_status"] == "refunded"
    assert read["amount_refunded"] == "112.00"
