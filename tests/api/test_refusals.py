"""What call 1 answers when it asks for no money: a code, and a reason that clients can show.

``tests/test_balance.py`` has which refusal goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shop_payments.models import Order
from tests.support import answer, call_stripe, pay

pytestmark = pytest.mark.django_db

Refused = Callable[..., None]


@pytest.fixture
def assert_refused(storefront, order, stripe) -> Refused:
    """Check the refusal of call 1, and that the order is shown as not payable."""

    def check(code: str, reason: str = "") -> None:
        shown = storefront.get(f"orders/{order.pk}").json()["data"]
        before = intents_at_stripe(stripe)

        response = storefront.payment_intent(order)

        assert answer(response) == (409, code)
        assert response.json().get("data") == ({"reason": reason} if reason else None)
        assert "Retry-After" not in response
        assert shown["payable"] is False
        assert intents_at_stripe(stripe) == before

    return check


def intents_at_stripe(stripe: Any) -> set[str]:
    return {each["id"] for each in call_stripe(stripe, "GET", "payment_intents")["data"]}


def test_an_order_that_became_free_or_cancelled_until_it_is_opened_again(
    storefront, order, stripe, webhooks, assert_refused
):
    storefront.payment_intent(order)
    order.lines.update(unit_amount=0)
    assert_refused("order_not_payable", "free")
    order.lines.update(unit_amount=5600)
    Order.objects.update(status=Order.Status.CANCELLED)
    assert_refused("order_not_payable")
    Order.objects.update(status=Order.Status.OPEN)
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    webhooks()
    assert intent["amount"] == "112.00"
    assert_refused("order_already_paid")


def test_an_order_that_was_refunded_or_paid_in_another_currency(
    order, office, pay_order, assert_refused
):
    pay_order()
    Order.objects.update(currency="eur")
    assert_refused("order_not_payable", "currency_changed")
    Order.objects.update(currency="usd")
    assert office.refund(order).status_code == 200
    assert_refused("order_not_payable", "refunded")


@pytest.mark.parametrize(
    ("status", "code"),
    [("processing", "payment_processing"), ("requires_capture", "payment_authorized")],
)
def test_money_on_its_way_in(storefront, order, stripe, webhooks, assert_refused, status, code):
    stripe.advance(storefront.payment_intent(order).json()["data"]["id"], status)
    webhooks()
    assert_refused(code)


def test_a_deposit_that_is_being_refunded(pay_order, stripe, webhooks, assert_refused):
    deposit = pay_order("pm_card_pendingRefund", amount="9000")
    call_stripe(stripe, "POST", "refunds", payment_intent=deposit)
    webhooks()
    assert_refused("payment_in_review", "refund_pending")


def test_a_deposit_in_dispute_until_it_is_won(storefront, order, pay_order, stripe, assert_refused):
    deposit = pay_order(amount="9000")
    stripe.dispute(deposit)
    assert_refused("payment_in_review", "dispute_open")
    stripe.decide_dispute(deposit, won=True)
    intent = storefront.payment_intent(order).json()["data"]
    assert intent["amount"] == "22.00"


@pytest.mark.parametrize("method", ["Total", "IsPayable", "LineItems", "Number"])
def test_an_order_that_cannot_be_read_is_503_and_nothing_is_sent(
    storefront, order, stripe, configure, method
):
    Order.objects.update(number="BROKEN-1")
    configure(ORDER_ADAPTER=f"tests.api.adapters.RaisesFor{method}")
    response = storefront.payment_intent(order)
    assert answer(response) == (503, "order_unreadable")
    assert int(response["Retry-After"]) > 0
    assert "shop's own" not in response.content.decode(), "the host's text is not shown"
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False
    assert stripe.requests == []
