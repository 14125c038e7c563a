"""An order that is not ours is paid and refunded, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from shop_payments.models import OrderPayment
from tests.books import assert_books_agree, refunds_at_stripe
from tests.hostshop.factories import HostOrderFactory, customer_of
from tests.hostshop.models import Order
from tests.support import BASE, Caller, answer, call_stripe, pay

pytestmark = pytest.mark.django_db


def test_the_customer_and_stripe_see_the_shops_figures(storefront, order, stripe):
    data = storefront.payment_intent(order).json()["data"]
    intent = call_stripe(stripe, "GET", f"payment_intents/{data['id']}")

    line = {"name": "Main product 2", "amount": 5600, "currency": "usd", "quantity": 2}
    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    assert data["line_items"] == [{**line, "description": ""}]
    assert intent["metadata"]["order_id"] == str(order.pk)
    assert intent["description"] == f"Payment for Order #{order.reference}"
    assert intent["receipt_email"] == order.customer.email


def test_an_order_is_refunded_by_its_uuid(storefront, order, stripe, payment_system, office):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)

    response = office.refund(order, {"amount": "12.50"}, key="a")

    (made,) = refunds_at_stripe(stripe)
    assert response.json()["data"]["stripe_id"] == made["id"]
    assert made["metadata"]["order_id"] == str(order.pk)
    assert [each["amount"] for each in office.refunds(order)] == ["12.50"]
    assert order.shipments.count() == 1, "a part of the money back changes nothing"
    assert_books_agree(stripe)

    office.refund(order)
    assert OrderPayment.objects.get().status == "refunded"
    assert order.shipments.count() == 0


def test_an_order_with_a_total_and_no_lines_can_be_paid(storefront, order, stripe, payment_system):
    order.items.all().delete()

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])

    assert (data["amount"], data["line_items"]) == ("112.00", [])
    for _call in range(2):
        assert payment_system.payment(order).json()["data"]["line_items"] == []
    assert OrderPayment.objects.get().status == "paid"
    assert order.shipments.count() == 1


def test_an_order_that_cannot_be_paid_is_refused_before_stripe_is_asked(order, storefront):
    """Without the fixture `stripe`, a test that reaches Stripe fails."""
    for values, expected in (
        ({"total": Decimal("-1.000")}, (409, "order_not_payable")),
        ({"total": Decimal("112.000"), "withdrawn": True}, (409, "order_not_payable")),
        ({"total": Decimal("112.005"), "withdrawn": False}, (422, "amount_not_representable")),
        ({"total": Decimal("5.125"), "currency": "KWD"}, (422, "amount_not_representable")),
    ):
        Order.objects.update(**values)
        assert answer(storefront.payment_intent(order)) == expected
    assert not OrderPayment.objects.exists()


def test_a_strangers_order_and_a_missing_one_answer_the_same(order, payment_system, office):
    stranger = customer_of(HostOrderFactory.create())
    missing = [uuid4(), "not-a-uuid", "9", order.pk.hex[:31], "%00"]

    answers = [stranger.payment_intent(order_id) for order_id in (order.pk, *missing)]

    assert {response.status_code for response in answers} == {404}
    assert len({response.content for response in answers}) == 1
    for order_id in missing[:3]:
        assert answer(payment_system.payment(order_id)) == (404, "order_not_found")
        assert answer(office.refund(order_id)) == (404, "order_not_found")


def test_it_answers_401_even_if_the_hosts_first_class_names_no_challenge(order, storefront):
    response = Caller(key=storefront.headers["X-API-Key"]).payment_intent(order)

    assert answer(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_staff_find_an_order_that_is_not_ours(storefront, order, stripe, admin_client):
    """As the adapter searches it; by its UUID and the card in any case."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    order.customer.user.last_name = "Ångström"
    order.customer.user.save()
    payment = OrderPayment.objects.get()
    names = ("Ångst", order.reference.lower(), order.customer.email[:9].upper(), str(order.pk))
    for text in names:
        found = admin_client.get("/admin/shop_payments/orderpayment/", {"q": text})
        assert [*found.context["cl"].result_list] == [payment], text
    nobody = admin_client.get("/admin/shop_payments/orderpayment/", {"q": "nobody"})
    assert [*nobody.context["cl"].result_list] == []


def test_the_shops_orders_are_listed_by_its_own_columns(order, storefront, stripe, configure):
    """Keys are random, so only the time says which order is newer."""
    configure(PAGE_SIZE=2)
    day = datetime(2026, 11, 24, tzinfo=UTC)
    made = [
        HostOrderFactory.create(
            customer=order.customer, placed_at=day + timedelta(hours=number // 2)
        )
        for number in range(5)
    ]
    Order.objects.filter(pk=order.pk).update(placed_at=day - timedelta(days=9))
    newest = sorted(made, key=lambda each: (each.placed_at, each.pk), reverse=True)
    url, seen = f"{BASE}/orders?created_from=2026-11-24T00:00:00Z&payment_status=unpaid", []
    while url:
        data = storefront.client.get(url, headers=storefront.headers).json()["data"]
        seen += [each["id"] for each in data["results"]]
        url = data["next"]
    (shown,) = storefront.get(f"orders?number={made[3].reference}").json()["data"]["results"]

    assert seen == [str(each.pk) for each in newest]
    assert (shown["id"], shown["created_at"]) == (str(made[3].pk), "2026-11-24T01:00:00Z")
    assert storefront.get(f"orders?number={'x' * 200}").json()["data"]["results"] == []
