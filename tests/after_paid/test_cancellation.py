"""An order is cancelled, and its open payment intent with it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable, OrderNotFound, PaymentNotCancelable
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.cancellations import (
    cancel_abandoned_intents,
    requested_cancellations,
)
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    Source,
)
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import (
    cancel_payment,
    cancel_payment_on_commit,
    finish_cancellation,
)
from tests.factories import OrderFactory
from tests.support import answer, writes

pytestmark = pytest.mark.django_db(transaction=True)

SHOP = Origin(source=Source.ADMIN, actor="staff 1")


@pytest.fixture
def intent(storefront, order, stripe) -> PaymentIntent:
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


def cancel_order(order) -> None:
    """What a shop does."""
    with transaction.atomic():
        order.status = "cancelled"
        order.save()
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)


def test_the_open_intent_is_closed_after_the_shops_commit(order, intent, stripe):
    with transaction.atomic():
        order.status = "cancelled"
        order.save()
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)
        during = len(stripe.requests)

    intent.refresh_from_db()
    assert (intent.status, intent.cancellation_reason) == ("canceled", "requested_by_customer")
    assert during == 1
    assert requested_cancellations() == []
    assert PaymentHistory.objects.filter(kind="cancel_requested", actor="staff 1").exists()


def test_a_shop_that_rolls_back_has_cancelled_nothing(order, intent, stripe):
    with transaction.atomic():
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)
        transaction.set_rollback(True)

    intent.refresh_from_db()
    assert (intent.status, len(stripe.requests)) == ("requires_payment_method", 1)
    assert requested_cancellations() == []


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_cancellation_that_stripe_does_not_answer_stays_wanted(order, intent, stripe, fault):
    stripe.inject(Fault(fault, path="/v1/payment_intents/*/cancel"))

    cancel_order(order)

    (wanted,) = requested_cancellations()
    assert finish_cancellation(wanted, origin=SHOP)
    intent.refresh_from_db()
    assert intent.status == "canceled"
    assert requested_cancellations() == []


def test_a_shop_that_takes_the_order_up_again_goes_on(order, intent, storefront, stripe):
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))
    cancel_order(order)
    order.status = "open"
    order.save()

    response = storefront.payment_intent(order)

    assert response.status_code == 200
    assert requested_cancellations() == []
    assert PaymentIntent.objects.open().count() == 1


@pytest.mark.parametrize("begun", [True, False], ids=["a payment", "no payment"])
def test_a_database_that_goes_away_after_the_commit_is_not_the_hosts_trouble(
    order, storefront, stripe, database, caplog, begun
):
    """Found: its error was raised into the host's request, which had committed already.

    What the host itself wanted done after the commit was not done.
    """
    if begun:
        storefront.payment_intent(order)
    done_by_the_host = []
    with transaction.atomic():
        Order.objects.update(status="cancelled")
        transaction.on_commit(database.goes_away)
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)
        transaction.on_commit(lambda: done_by_the_host.append("a mail"))
    database.comes_back()

    assert done_by_the_host == ["a mail"]
    assert Order.objects.get().status == "cancelled"
    assert f"Cancellation of order {order.pk}: failed after the commit" in caplog.text
    assert [finish_cancellation(wanted, origin=SHOP) for wanted in requested_cancellations()] == (
        [True] if begun else []
    )
    assert not PaymentIntent.objects.open().exists()


@pytest.mark.django_db
@pytest.mark.parametrize("begun", [True, False], ids=["a payment", "no payment"])
def test_in_a_testcase_it_waits_for_the_hooks(
    order, storefront, stripe, django_capture_on_commit_callbacks, begun
):
    """In a transaction that is never committed, as ``TestCase`` has it."""
    if begun:
        storefront.payment_intent(order)

    with django_capture_on_commit_callbacks(execute=True):
        cancel_order(order)
        assert PaymentIntent.objects.open().exists() == begun

    assert not PaymentIntent.objects.open().exists()
    assert requested_cancellations() == []
    assert OrderPayment.objects.exists() == begun


def test_an_order_without_a_payment_has_nothing_to_cancel(order, stripe):
    cancel_order(order)

    assert not stripe.requests
    assert not OrderPayment.objects.exists()
    with pytest.raises(OrderNotFound):
        cancel_payment(order_id=order.pk, origin=SHOP)


def test_a_paid_order_is_not_cancelled_but_refunded(order, paid, stripe):
    cancel_order(order)

    assert requested_cancellations() == []
    with pytest.raises(PaymentNotCancelable, match="refund"):
        cancel_payment(order_id=order.pk, origin=SHOP)


def test_cancelling_twice_changes_nothing(order, intent, stripe):
    cancel_payment(order_id=order.pk, origin=SHOP)
    sent = len(stripe.requests)

    cancel_payment(order_id=order.pk, origin=SHOP)

    assert len(stripe.requests) == sent


def test_money_that_is_quicker_than_the_cancellation_goes_to_review(
    order, intent, stripe, webhooks
):
    stripe.pay(intent.stripe_id, deliver=False)

    cancel_order(order)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("unpaid", True)
    assert ReviewItem.objects.get().reason == "uncounted"
    assert requested_cancellations() == []


def test_an_intent_that_is_being_created_is_closed_too(order, storefront, stripe):
    stripe.inject(Fault("drop_after", path="/v1/payment_intents"))
    assert answer(storefront.payment_intent(order))[0] == 503

    cancel_order(order)

    assert PaymentIntent.objects.get().status == "canceled"


def test_an_authorization_is_cancelled(configure, order, pay_order, stripe):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    pay_order()

    cancel_order(order)

    assert OrderPayment.objects.get().status == "unpaid"
    assert PaymentIntent.objects.get().status == "canceled"


def test_trouble_is_raised_to_who_asks_for_it_now(order, intent, stripe):
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))

    with pytest.raises(GatewayUnavailable):
        cancel_payment(order_id=order.pk, origin=SHOP)


# --- abandoned ----------------------------------------------------------------------------------


def test_abandoned_intents_are_closed(order, intent, storefront, stripe):
    fresh = OrderFactory.create(customer=order.customer)
    old = timezone.now()
    storefront.payment_intent(fresh)

    closed = cancel_abandoned_intents(older_than=old, origin=SHOP)

    intent.refresh_from_db()
    assert (closed, intent.status, intent.cancellation_reason) == (1, "canceled", "abandoned")
    assert PaymentIntent.objects.open().count() == 1


def test_money_on_its_way_is_not_abandoned(configure, order, pay_order, stripe):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    pay_order()
    sent = len(writes(stripe))

    tomorrow = timezone.now() + timedelta(days=1)

    assert cancel_abandoned_intents(older_than=tomorrow, origin=SHOP) == 0
    assert len(writes(stripe)) == sent
