"""Calls 1 and 3 for a shop with one payment per order: every byte of the answers is pinned.

Clients were written against these answers. What is new for orders with several payments must not
change them.
"""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.models import Order
from tests.factories import OrderLineFactory
from tests.support import Caller, call_stripe, pay

pytestmark = pytest.mark.django_db

LINES = '[{"name":"Main product 2","amount":5600,"currency":"usd","quantity":2,"description":""}]'


def created(intent: dict[str, Any], status: str = "requires_payment_method") -> bytes:
    return (
        '{"message":"Payment intent created successfully","data":{'
        f'"id":"{intent["id"]}","client_secret":"{intent["client_secret"]}",'
        f'"amount":"112.00","currency":"usd","status":"{status}",'
        f'"line_items":{LINES}}}}}'
    ).encode()


def settled(intent: dict[str, Any]) -> bytes:
    return (
        '{"message":"Order marked as paid successfully","data":{'
        f'"id":"{intent["id"]}","client_secret":"{intent["client_secret"]}",'
        f'"amount":"112.00","currency":"usd","status":"succeeded","line_items":{LINES}}}}}'
    ).encode()


def not_completed(intent: dict[str, Any], status: str) -> bytes:
    return (
        f'{{"message":"The payment is not completed: {status}.",'
        '"code":"payment_not_completed","data":{'
        f'"id":"{intent["id"]}","amount":"112.00","currency":"usd","status":"{status}",'
        f'"line_items":{LINES}}}}}'
    ).encode()


MISSING = b'{"message":"The order has no payment intent.","code":"payment_intent_missing"}'
ALREADY_PAID = b'{"message":"The order has been paid.","code":"order_already_paid"}'
NOT_PAYABLE = b'{"message":"The order is empty, free or cancelled.","code":"order_not_payable"}'
PROCESSING = (
    b'{"message":"A payment of this order is being processed.","code":"payment_processing"}'
)
AUTHORIZED = (
    b'{"message":"The order\'s payment is authorized and waits for capture.",'
    b'"code":"payment_authorized"}'
)
NOT_FOUND = b'{"message":"Order not found.","code":"order_not_found"}'


def sent(response: Any) -> tuple[int, bytes]:
    return response.status_code, response.content


@pytest.fixture
def intent(storefront: Caller, order: Order, stripe: Any) -> dict[str, Any]:
    """The order's open intent, as it is at Stripe."""
    return intent_of(stripe, storefront.payment_intent(order))


def intent_of(stripe: Any, response: Any) -> dict[str, Any]:
    return call_stripe(stripe, "GET", f"payment_intents/{response.json()['data']['id']}")


# --- call 1 -------------------------------------------------------------------------------------


def test_call_1_creates(storefront, order, stripe):
    response = storefront.payment_intent(order)

    assert sent(response) == (200, created(intent_of(stripe, response)))


def test_call_1_repeated(storefront, order, intent):
    assert sent(storefront.payment_intent(order)) == (200, created(intent))


def test_call_1_after_a_declined_card(storefront, order, stripe, intent):
    pay(stripe, intent["id"], "pm_card_chargeDeclined")

    assert sent(storefront.payment_intent(order)) == (200, created(intent))


def test_call_1_while_the_customer_is_asked_for_3d_secure(storefront, order, stripe, intent):
    pay(stripe, intent["id"], "pm_card_authenticationRequired")

    assert sent(storefront.payment_intent(order)) == (200, created(intent, "requires_action"))


def test_call_1_for_an_order_that_has_changed(storefront, order, stripe, intent):
    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)

    status, body = sent(storefront.payment_intent(order))

    postage = '{"name":"Postage","amount":490,"currency":"usd","quantity":1,"description":""}'
    expected = created(intent).replace(b'"112.00"', b'"116.90"')
    lines = f"{LINES[:-1]},{postage}]"
    assert (status, body) == (200, expected.replace(LINES.encode(), lines.encode()))


def test_call_1_for_a_paid_order(storefront, payment_system, order, stripe, intent):
    pay(stripe, intent["id"])
    payment_system.payment(order)

    assert sent(storefront.payment_intent(order)) == (409, ALREADY_PAID)


def test_call_1_for_a_paid_order_that_was_cancelled(
    storefront, payment_system, order, stripe, intent
):
    pay(stripe, intent["id"])
    payment_system.payment(order)
    Order.objects.update(status=Order.Status.CANCELLED)

    assert sent(storefront.payment_intent(order)) == (409, ALREADY_PAID)


def test_call_1_after_a_part_was_given_back(
    storefront, payment_system, order, stripe, webhooks, intent
):
    pay(stripe, intent["id"])
    payment_system.payment(order)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1000")
    webhooks()

    assert sent(storefront.payment_intent(order)) == (409, ALREADY_PAID)


def test_call_1_for_a_cancelled_order(storefront, order):
    Order.objects.update(status=Order.Status.CANCELLED)

    assert sent(storefront.payment_intent(order)) == (409, NOT_PAYABLE)


def test_call_1_for_an_order_that_was_cancelled_after_the_first_call(storefront, order, intent):
    Order.objects.update(status=Order.Status.CANCELLED)

    assert sent(storefront.payment_intent(order)) == (409, NOT_PAYABLE)


@pytest.mark.parametrize("webhook", [True, False], ids=["with webhook", "without"])
@pytest.mark.parametrize(
    ("status", "expected"), [("processing", PROCESSING), ("requires_capture", AUTHORIZED)]
)
def test_call_1_while_money_is_on_its_way(
    storefront, order, stripe, webhooks, intent, status, expected, webhook
):
    stripe.advance(intent["id"], status)
    if webhook:
        webhooks()

    assert sent(storefront.payment_intent(order)) == (409, expected)


def test_call_1_for_no_order(storefront, order):
    assert sent(storefront.payment_intent(0)) == (404, NOT_FOUND)


# --- call 3 -------------------------------------------------------------------------------------


def test_call_3_settles(payment_system, order, stripe, intent):
    pay(stripe, intent["id"])

    answers = [sent(payment_system.payment(order)) for _ in range(2)]

    assert answers == [(200, settled(intent))] * 2


def test_call_3_after_the_webhook(payment_system, order, stripe, webhooks, intent):
    pay(stripe, intent["id"])
    webhooks()

    assert sent(payment_system.payment(order)) == (200, settled(intent))


def test_call_3_after_a_part_was_given_back(payment_system, order, stripe, webhooks, intent):
    pay(stripe, intent["id"])
    payment_system.payment(order)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1000")
    webhooks()

    assert sent(payment_system.payment(order)) == (200, settled(intent))


def test_call_3_for_an_order_that_is_not_paid(payment_system, order, intent):
    expected = (409, not_completed(intent, "requires_payment_method"))

    assert sent(payment_system.payment(order)) == expected


def test_call_3_after_a_declined_card(payment_system, order, stripe, intent):
    pay(stripe, intent["id"], "pm_card_chargeDeclined")
    expected = (409, not_completed(intent, "requires_payment_method"))

    assert sent(payment_system.payment(order)) == expected


@pytest.mark.parametrize(
    "status", ["processing", "requires_capture", "requires_action", "canceled"]
)
def test_call_3_while_the_money_has_not_come(payment_system, order, stripe, intent, status):
    stripe.advance(intent["id"], status)

    assert sent(payment_system.payment(order)) == (409, not_completed(intent, status))


def test_call_3_for_a_cancelled_order_that_is_not_paid(payment_system, order, intent):
    Order.objects.update(status=Order.Status.CANCELLED)
    expected = (409, not_completed(intent, "requires_payment_method"))

    assert sent(payment_system.payment(order)) == expected


def test_call_3_for_an_order_without_an_intent(payment_system, order):
    assert sent(payment_system.payment(order)) == (404, MISSING)


def test_call_3_for_no_order(payment_system):
    assert sent(payment_system.payment(0)) == (404, NOT_FOUND)
