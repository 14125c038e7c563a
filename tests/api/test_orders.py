"""GET orders and GET orders/{order_id}."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.models import Order
from tests.factories import OrderFactory, OrderLineFactory
from tests.support import BASE, answer, pay

pytestmark = pytest.mark.django_db


def test_an_order_before_any_payment(storefront, order):
    body = storefront.get(f"orders/{order.pk}").json()

    assert body == {
        "message": "Order",
        "data": {
            "id": str(order.pk),
            "number": order.number,
            "amount": "112.00",
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
    assert "_secret_" not in response.content.decode()


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


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30])
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
