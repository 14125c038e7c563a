"""Each suggestion of a review item, carried out word for word: it closes the item, as it promises.

What is done is read out of the text that staff read, so a text that promises something else fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.authorizations import flag_expiring_authorizations
from shop_payments.models import Order, ReviewItem
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.balance.shop import STAFF, DepositAdapter, Shop
from tests.support import answer, call_stripe

pytestmark = pytest.mark.django_db(transaction=True)

Build = Callable[..., Shop]


def the_item(reason: str) -> ReviewItem:
    item: ReviewItem = ReviewItem.objects.open().get(reason=reason)
    return item


def refund_as_suggested(shop: Shop, item: ReviewItem) -> None:
    """Refund the amount that the text names, of the payment that the item is about."""
    found = re.search(r"[Rr]efund (\d+\.\d\d) ", item.suggested_action)
    assert found, item.suggested_action
    assert item.payment_intent is not None
    request = RefundRequest(
        amount_decimal=Decimal(found[1]),
        key=f"admin {item.pk}",
        intent_id=item.payment_intent.stripe_id,
    )
    refund_payment(order_id=shop.order.pk, request=request, origin=STAFF)
    shop.stripe.deliver_webhooks()


def assert_says(item: ReviewItem, *parts: str) -> None:
    for part in parts:
        assert part in item.suggested_action


def assert_closed_itself(item: ReviewItem) -> None:
    item.refresh_from_db()
    assert (item.closed_at is not None, item.closed_itself) == (True, True)


def assert_nothing_asked(shop: Shop) -> None:
    assert shop.ask().status_code == 409


def test_excess_is_refunded(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.costs(102)
    item = the_item("excess")
    assert item.suggested_action == "Refund 10.00 USD."

    refund_as_suggested(shop, item)

    assert_closed_itself(item)
    shop.assert_is("paid", outstanding=0)
    assert_nothing_asked(shop)


def test_an_adapter_that_returns_the_remainder_is_corrected(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.costs(0)
    item = the_item("excess")
    assert item.detail.startswith("OrderAdapter.total() seems to return what is left to pay")
    assert_says(item, "correct the adapter", "Otherwise refund 112.00 USD")

    shop.costs(112)

    assert_closed_itself(item)
    shop.assert_is("paid", outstanding=0)
    assert_nothing_asked(shop)


@pytest.fixture
def late(open_shop: Build) -> Shop:
    """112 came for an order that had been cancelled."""
    shop = open_shop(112)
    first = shop.begin(112)
    Order.objects.filter(pk=shop.order.pk).update(status="cancelled")
    shop.finish(first)
    assert_says(the_item("uncounted"), "Refund 112.00 USD", "open the order again: then it counts")
    return shop


def test_uncounted_money_is_refunded(late: Shop) -> None:
    item = the_item("uncounted")

    refund_as_suggested(late, item)

    assert_closed_itself(item)
    late.assert_is("unpaid", outstanding=0, owed=112)
    assert_nothing_asked(late)


def test_uncounted_money_counts_once_the_order_is_open_again(late: Shop) -> None:
    item = the_item("uncounted")

    late.wants(True)

    assert_closed_itself(item)
    late.assert_is("paid", outstanding=0)
    assert_nothing_asked(late)


def test_money_in_another_currency_is_refunded_and_paid_again(open_shop: Build) -> None:
    shop = open_shop(120, currency="eur")
    first = shop.begin(120)
    Order.objects.filter(pk=shop.order.pk).update(currency="gbp")
    shop.finish(first)
    item = the_item("uncounted")
    assert_says(item, "Refund 120.00 EUR", "let the customer pay again")

    refund_as_suggested(shop, item)

    assert_closed_itself(item)
    shop.pay(120)
    shop.assert_is("paid", outstanding=0)
    assert_nothing_asked(shop)


@pytest.fixture
def cancelled_with_money(open_shop: Build) -> Shop:
    """70 of 112 were captured of a payment intent that was then cancelled."""
    shop = open_shop(112, CAPTURE_METHOD="manual")
    first = shop.pay(112)
    shop.stripe.capture_part(first, 70_00)
    call_stripe(shop.stripe, "POST", f"payment_intents/{first}/cancel")
    shop.stripe.deliver_webhooks()
    assert_says(the_item("uncounted"), "Refund 70.00 USD", "let the customer pay again")
    assert_says(the_item("uncounted"), "settle it outside Stripe")
    return shop


def test_money_of_a_cancelled_intent_is_refunded_and_paid_again(cancelled_with_money: Shop) -> None:
    item = the_item("uncounted")

    refund_as_suggested(cancelled_with_money, item)

    assert_closed_itself(item)
    cancelled_with_money.assert_is("unpaid", outstanding=112, asks=112)


def test_money_of_a_cancelled_intent_is_settled(cancelled_with_money: Shop) -> None:
    item = the_item("uncounted")
    assert item.payment_intent is not None

    cancelled_with_money.settle(item.payment_intent.stripe_id)

    assert_closed_itself(item)
    cancelled_with_money.assert_is("unpaid", outstanding=112, asks=112)


@pytest.fixture
def cancelled_in_part(open_shop: Build) -> Shop:
    """180 of 230 were received, and the shop wants no more."""
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    shop.pay(180)
    DepositAdapter.now = None
    shop.wants(False)
    item = the_item("rest_owed")
    assert item.suggested_action == "Refund what was received, or waive what is owed."
    assert "180.00 USD received, 50.00 USD owed" in item.detail
    return shop


def test_the_rest_of_a_cancelled_order_is_refunded(cancelled_in_part: Shop) -> None:
    item = the_item("rest_owed")

    assert cancelled_in_part.refund(180).status_code == 200

    assert_closed_itself(item)
    cancelled_in_part.assert_is("unpaid", outstanding=0, owed=230)
    assert_nothing_asked(cancelled_in_part)


def test_the_rest_of_a_cancelled_order_is_waived(cancelled_in_part: Shop) -> None:
    item = the_item("rest_owed")

    cancelled_in_part.waive(50)

    assert_closed_itself(item)
    cancelled_in_part.assert_is("paid", outstanding=0)
    assert_nothing_asked(cancelled_in_part)


def test_a_rest_below_stripes_minimum_is_waived(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.order.lines.update(unit_amount=112_30)
    shop.evaluate()
    item = the_item("rest_too_small")
    assert_says(item, "Waive the rest")
    assert answer(shop.ask()) == (422, "amount_too_small")

    waive_amount(order_id=shop.order.pk, request=EntryRequest(reason="too little"), origin=STAFF)

    assert_closed_itself(item)
    assert shop.payment.status == "paid"
    assert_nothing_asked(shop)


@pytest.fixture
def waived_and_paid(open_shop: Build) -> Shop:
    """50 of 230 were waived while the customer paid them."""
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    shop.pay(180)
    DepositAdapter.now = None
    second = shop.begin(50)
    shop.stripe.pay(second, deliver=False)
    shop.waive(50)
    shop.stripe.deliver_webhooks()
    assert_says(the_item("waived_received"), "The money is kept.", "Revoke the waiver, or refund")
    return shop


def test_a_waiver_of_money_that_came_is_revoked(waived_and_paid: Shop) -> None:
    item = the_item("waived_received")

    waived_and_paid.revoke(waived_and_paid.payment.staff_entries.get())

    assert_closed_itself(item)
    waived_and_paid.assert_is("paid", outstanding=0)
    assert_nothing_asked(waived_and_paid)


def test_money_that_had_been_waived_is_refunded(waived_and_paid: Shop) -> None:
    item = the_item("waived_received")
    assert item.payment_intent is not None

    waived_and_paid.refund_in_dashboard(item.payment_intent.stripe_id, 50)

    assert_closed_itself(item)
    assert_nothing_asked(waived_and_paid)


def test_an_order_that_could_not_be_read_is_corrected(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.begin(112)
    Order.objects.filter(pk=shop.order.pk).update(currency="xx")
    shop.stripe.pay(first, deliver=False)
    for _try in range(3):
        assert shop.payment_system.payment(shop.order).status_code == 503
    item = the_item("order_unreadable")
    assert_says(
        item,
        "Correct the order or the shop's OrderAdapter",
        "The next sweep evaluates the payment again",
    )

    Order.objects.filter(pk=shop.order.pk).update(currency="usd")
    assert shop.payment_system.payment(shop.order).status_code == 200

    assert_closed_itself(item)
    shop.assert_is("paid", outstanding=0)
    assert_nothing_asked(shop)


def test_a_refund_that_failed_is_agreed_upon_and_closed(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    refund = shop.refund_in_dashboard(first, 30)
    shop.stripe.advance_refund(refund["id"], "failed")
    shop.stripe.deliver_webhooks()
    item = the_item("refund_failed")
    assert_says(item, "Agree with the customer on another way to return it, then close this item.")

    assert close_review_item(
        item_pk=item.pk, reason="Transferred to the bank.", user=None, origin=STAFF
    )
    shop.evaluate()

    shop.assert_is("paid", outstanding=0)
    assert_nothing_asked(shop)


@pytest.fixture
def lapsing(open_shop: Build) -> Shop:
    """The money of an order is reserved, for less than a day more."""
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    with time_machine.travel(timezone.now() + timedelta(days=6.5), tick=True):
        assert flag_expiring_authorizations(origin=STAFF) == 1
    assert the_item("authorization_expires").suggested_action == (
        "Capture the payment now, or cancel it."
    )
    return shop


def test_an_authorization_that_expires_is_captured(lapsing: Shop) -> None:
    item = the_item("authorization_expires")

    lapsing.capture(112, waive_rest=False)

    assert_closed_itself(item)
    lapsing.assert_is("paid", outstanding=0)
    assert_nothing_asked(lapsing)


def test_an_authorization_that_expires_is_cancelled(lapsing: Shop) -> None:
    item = the_item("authorization_expires")

    cancel_payment(order_id=lapsing.order.pk, origin=STAFF)

    assert_closed_itself(item)
    lapsing.assert_is("unpaid", outstanding=112, asks=112)


@pytest.mark.parametrize(("won", "status"), [(True, "paid"), (False, "paid")])
def test_a_dispute_is_answered_in_the_dashboard(open_shop: Build, won: bool, status: str) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.stripe.dispute(first)
    item = the_item("disputed")
    assert_says(item, "Answer with evidence in Stripe's dashboard", "accept the loss there")

    shop.stripe.decide_dispute(first, won=won)

    assert_closed_itself(item)
    shop.assert_is(status, outstanding=0)
    assert_nothing_asked(shop)


def test_money_that_a_bank_holds_or_has_taken_is_not_refunded(open_shop: Build) -> None:
    """A refund that failed may leave money beside a dispute: Stripe gives nothing of it back."""
    shop = open_shop(112)
    intent_id = shop.pay(112)
    refund = shop.refund_in_dashboard(intent_id, 40)
    charge = call_stripe(shop.stripe, "GET", f"payment_intents/{intent_id}")["latest_charge"]
    dispute = shop.stripe.open_dispute(charge)
    shop.stripe.advance_refund(refund["id"], "failed")
    shop.costs(20)
    shop.stripe.deliver_webhooks()

    item = the_item("excess")
    assert_says(item, "Wait until the customer's bank has decided", "Refund 20.00")
    call_stripe(shop.stripe, "POST", f"disputes/{dispute['id']}/close")
    shop.stripe.deliver_webhooks()

    item.refresh_from_db()
    assert_says(item, "settle it outside Stripe")
    shop.settle(intent_id, 20)
    assert_closed_itself(item)
    assert_nothing_asked(shop)
