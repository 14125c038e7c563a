"""An order that is not ours is paid, through HTTP."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKeyScope, OrderPayment, ReviewItem, Source
from shop_payments.services.capture_payment import capture_payment
from tests.after_paid.support import AccountingOffice, assert_books_agree, refunds_at_stripe
from tests.conftest import issue_key
from tests.hostshop.factories import CustomerFactory, HostOrderFactory, customer_of
from tests.hostshop.models import Order
from tests.support import Caller, answer, call_stripe, pay

pytestmark = pytest.mark.django_db


def test_the_answer_has_the_hosts_figures(storefront, order, stripe):
    data = storefront.payment_intent(order).json()["data"]

    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    assert data["line_items"] == [
        {
            "name": "Main product 2",
            "amount": 5600,
            "currency": "usd",
            "quantity": 2,
            "description": "",
        }
    ]


def test_stripe_hears_of_the_order_by_its_uuid_and_number(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")

    assert intent["metadata"]["order_id"] == str(order.pk)
    assert intent["description"] == f"Payment for Order #{order.reference}"
    assert intent["receipt_email"] == order.customer.email


def test_the_webhook_pays(storefront, order, stripe, webhooks):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    webhooks()

    assert OrderPayment.objects.get(order=order).status == "paid"
    assert order.shipments.count() == 1


def test_post_payment_pays_once(storefront, order, stripe, payment_system):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    first, second = payment_system.payment(order), payment_system.payment(order)

    assert first.status_code == 200
    assert first.content == second.content
    assert first.json()["data"]["status"] == "succeeded"
    assert order.shipments.count() == 1


@pytest.fixture
def office(db) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


def test_the_route_refunds_an_order_by_its_uuid(storefront, order, stripe, payment_system, office):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)

    response = office.refund(order, {"amount": "12.50"}, key="a")

    (made,) = refunds_at_stripe(stripe)
    assert response.json()["data"]["stripe_id"] == made["id"]
    assert made["metadata"]["order_id"] == str(order.pk)
    assert [each["amount"] for each in office.refunds(order)] == ["12.50"]
    assert order.shipments.count() == 1, "a part of the money back changes nothing"
    assert_books_agree(stripe)


def test_the_adapter_hears_of_a_full_refund(storefront, order, stripe, payment_system, office):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)

    office.refund(order)

    assert OrderPayment.objects.get().status == "refunded"
    assert order.shipments.count() == 0


@pytest.mark.parametrize("order_id", ["not-a-uuid", "9", str(uuid4())])
def test_what_is_no_order_is_not_refunded(office, order_id):
    assert answer(office.refund(order_id)) == (404, "order_not_found")


def test_the_adapter_says_that_money_is_only_reserved(stripe, payment_system):
    order = HostOrderFactory.create(total=Decimal("1000.000"))
    pay(stripe, customer_of(order).payment_intent(order).json()["data"]["id"])
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert OrderPayment.objects.get().status == "authorized"
    assert order.shipments.count() == 0

    capture_payment(order_id=order.pk, origin=Origin(source=Source.ADMIN))

    assert OrderPayment.objects.get().status == "paid"
    assert order.shipments.count() == 1


def test_every_messenger_at_once_ships_once(storefront, order, stripe, webhooks, payment_system):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    webhooks()
    payment_system.payment(order)

    assert order.shipments.count() == 1


def test_a_total_that_rose_after_the_payment_leaves_a_rest_to_pay(
    storefront, order, stripe, payment_system
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    Order.objects.update(total=Decimal("150.000"))

    response = payment_system.payment(order)

    assert answer(response) == (409, "payment_not_completed")
    assert response.json()["data"]["outstanding"] == "38.00"
    assert not ReviewItem.objects.exists()
    assert order.shipments.count() == 0
    rest = storefront.payment_intent(order).json()["data"]
    assert rest["amount"] == "38.00"
    pay(stripe, rest["id"])
    assert payment_system.payment(order).status_code == 200
    assert order.shipments.count() == 1


def test_a_total_that_fell_after_the_payment_goes_to_review(
    storefront, order, stripe, payment_system
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    Order.objects.update(total=Decimal("100.000"))

    assert payment_system.payment(order).status_code == 200

    item = ReviewItem.objects.get()
    assert (item.reason, item.data["amount"]) == ("excess", 1200)
    assert order.shipments.count() == 1


def test_an_order_with_a_total_and_no_lines_can_be_paid(storefront, order, stripe, payment_system):
    order.items.all().delete()

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])

    assert (data["amount"], data["line_items"]) == ("112.00", [])
    assert payment_system.payment(order).json()["data"]["line_items"] == []
    assert OrderPayment.objects.get().status == "paid"


def test_a_total_below_zero_is_not_payable(storefront, order, stripe):
    Order.objects.update(total=Decimal("-1.000"))

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "order_not_payable")
    assert response.json()["data"] == {"reason": "negative_total"}
    assert not OrderPayment.objects.exists()


def test_a_total_that_changed_before_the_payment_updates_the_intent(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    Order.objects.update(total=Decimal("150.000"))

    data = storefront.payment_intent(order).json()["data"]

    assert (data["id"], data["amount"]) == (intent_id, "150.00")


# Without the fixture `stripe`, a test that reaches Stripe fails.
def test_too_many_decimals_are_refused_before_stripe_is_asked():
    order = HostOrderFactory.create(total=Decimal("112.005"))

    response = customer_of(order).payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
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


def test_kwd_takes_no_fourth_digit_of_its_minor_unit():
    order = HostOrderFactory.create(total=Decimal("5.125"), currency="KWD")

    response = customer_of(order).payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")


def test_a_withdrawn_order_takes_no_money(storefront, order):
    Order.objects.update(withdrawn=True)

    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")


def test_what_is_not_the_callers_cannot_be_told_from_what_is_not(order):
    stranger = customer_of(HostOrderFactory.create())

    answers = {
        stranger.payment_intent(order_id).content
        for order_id in (order.pk, uuid4(), "not-a-uuid", "9", order.pk.hex[:31], "%00")
    }
    statuses = {stranger.payment_intent(order_id).status_code for order_id in (order.pk, "9")}

    assert len(answers) == 1
    assert statuses == {404}


@pytest.mark.parametrize("order_id", ["not-a-uuid", "9", str(uuid4())])
def test_the_payment_system_gets_a_404_for_what_is_no_order(payment_system, order_id):
    assert answer(payment_system.payment(order_id)) == (404, "order_not_found")


def test_it_answers_401_though_the_hosts_first_class_names_no_challenge(order, storefront):
    response = Caller(key=storefront.headers["X-API-Key"]).payment_intent(order)

    assert answer(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_the_list_takes_the_same_number_of_queries_for_any_number_of_orders(
    stripe, django_assert_num_queries
):
    customer = CustomerFactory.create()
    first = HostOrderFactory.create(customer=customer)
    caller = customer_of(first)
    caller.payment_intent(first)

    # The token, the page of orders, their items, payments and intents.
    with django_assert_num_queries(5):
        assert len(caller.get("orders").json()["data"]["results"]) == 1
    for order in HostOrderFactory.create_batch(4, customer=customer):
        caller.payment_intent(order)
    with django_assert_num_queries(5):
        assert len(caller.get("orders").json()["data"]["results"]) == 5
