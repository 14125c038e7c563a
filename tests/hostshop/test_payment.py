"""An order that is not ours is paid and refunded, over HTTP."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKeyScope, OrderPayment, Source
from shop_payments.services.capture_payment import capture_payment
from tests.after_paid.support import AccountingOffice, assert_books_agree, refunds_at_stripe
from tests.conftest import issue_key
from tests.hostshop.factories import CustomerFactory, HostOrderFactory, customer_of
from tests.hostshop.models import Order
from tests.support import Caller, answer, call_stripe, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(db) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


def test_the_customer_and_stripe_see_the_shops_figures(storefront, order, stripe):
    data = storefront.payment_intent(order).json()["data"]
    intent = call_stripe(stripe, "GET", f"payment_intents/{data['id']}")

    line = {"name": "Main product 2", "amount": 5600, "currency": "usd", "quantity": 2}
    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    assert data["line_items"] == [{**line, "description": ""}]
    assert intent["metadata"]["order_id"] == str(order.pk)
    assert intent["description"] == f"Payment for Order #{order.reference}"
    assert intent["receipt_email"] == order.customer.email


def test_webhooks_and_calls_ship_once(storefront, order, stripe, webhooks, payment_system):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    webhooks()
    first, second = payment_system.payment(order), payment_system.payment(order)

    assert OrderPayment.objects.get(order=order).status == "paid"
    assert (first.status_code, first.json()["data"]["status"]) == (200, "succeeded")
    assert first.content == second.content
    assert order.shipments.count() == 1


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


def test_the_adapter_decides_that_money_is_only_reserved(stripe, payment_system):
    order = HostOrderFactory.create(total=Decimal("1000.000"))
    pay(stripe, customer_of(order).payment_intent(order).json()["data"]["id"])
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert OrderPayment.objects.get().status == "authorized"

    capture_payment(order_id=order.pk, origin=Origin(source=Source.ADMIN))

    assert OrderPayment.objects.get().status == "paid"
    assert order.shipments.count() == 1


def test_a_total_that_rose_after_the_payment_leaves_a_rest_to_pay(
    storefront, order, stripe, payment_system
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    Order.objects.update(total=Decimal("150.000"))

    response = payment_system.payment(order)

    assert answer(response) == (409, "payment_not_completed")
    assert response.json()["data"]["outstanding"] == "38.00"
    rest = storefront.payment_intent(order).json()["data"]
    assert rest["amount"] == "38.00"
    pay(stripe, rest["id"])
    assert payment_system.payment(order).status_code == 200
    assert order.shipments.count() == 1


def test_an_order_with_a_total_and_no_lines_can_be_paid(storefront, order, stripe, payment_system):
    order.items.all().delete()

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])

    assert (data["amount"], data["line_items"]) == ("112.00", [])
    assert payment_system.payment(order).json()["data"]["line_items"] == []
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"total": Decimal("-1.000")}, (409, "order_not_payable")),
        ({"withdrawn": True}, (409, "order_not_payable")),
        ({"total": Decimal("112.005")}, (422, "amount_not_representable")),
        ({"total": Decimal("5.125"), "currency": "KWD"}, (422, "amount_not_representable")),
    ],
)
def test_an_order_that_cannot_be_paid_is_refused_before_stripe_is_asked(
    order, storefront, values, expected
):
    """Without the fixture `stripe`, a test that reaches Stripe fails."""
    Order.objects.update(**values)

    assert answer(storefront.payment_intent(order)) == expected
    assert not OrderPayment.objects.exists()


@pytest.mark.parametrize(
    ("total", "currency", "shown", "amount"),
    [("5.120", "KWD", "5.120", 5120), ("500.000", "JPY", "500", 500)],
)
def test_each_currency_has_its_own_digits(stripe, total, currency, shown, amount):
    order = HostOrderFactory.create(total=Decimal(total), currency=currency)

    data = customer_of(order).payment_intent(order).json()["data"]

    assert data["amount"] == shown
    assert call_stripe(stripe, "GET", f"payment_intents/{data['id']}")["amount"] == amount


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


def test_the_list_takes_the_same_number_of_queries_for_any_number_of_orders(
    stripe, django_assert_num_queries
):
    customer = CustomerFactory.create()
    caller = customer_of(HostOrderFactory.create(customer=customer))
    for more in (0, 4):
        HostOrderFactory.create_batch(more, customer=customer)
        for order in Order.objects.all():
            caller.payment_intent(order)

        # The token, the page of orders, their items, payments and intents.
        with django_assert_num_queries(5):
            results = caller.get("orders").json()["data"]["results"]
        assert len(results) == more + 1
