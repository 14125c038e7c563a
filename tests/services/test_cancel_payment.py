"""An order is cancelled, and its open payment intent with it. Races are in test_races.py."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.utils import timezone

from shop_payments.exceptions import OrderNotFound, PaymentNotCancelable
from shop_payments.maintenance.cancellations import requested_cancellations
from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent
from shop_payments.services.cancel_payment import (
    cancel_payment,
    cancel_payment_on_commit,
    finish_cancellation,
)
from tests.books import STAFF, at
from tests.maintenance.support import cancel_abandoned_intents
from tests.support import LIVE, debit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_agree")]


@pytest.fixture
def intent(storefront, order, stripe) -> PaymentIntent:
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


def cancel_order(order) -> None:
    """What a shop does, in its transaction or without one."""
    order.status = "cancelled"
    order.save()
    cancel_payment_on_commit(order_id=order.pk, origin=STAFF)


def test_the_open_intent_is_closed_after_the_shops_commit(order, intent, stripe):
    for savepoint in (False, True):
        with transaction.atomic(), transaction.atomic(savepoint=savepoint):
            cancel_payment_on_commit(order_id=order.pk, origin=STAFF)
            transaction.set_rollback(True)
        assert not requested_cancellations().exists()
    with transaction.atomic():
        cancel_order(order)
        assert len(stripe.requests) == 1

    intent.refresh_from_db()
    assert (intent.status, intent.cancellation_reason) == ("canceled", "requested_by_customer")
    assert not requested_cancellations().exists()
    assert PaymentHistory.objects.filter(kind="cancel_requested", actor="staff 1").exists()


def test_a_database_that_goes_away_after_the_commit_is_not_the_hosts_trouble(
    order, intent, database, caplog
):
    """Found: its error was raised into the host's request, which had committed already.

    What the host itself wanted done after the commit was not done.
    """
    done_by_the_host = []
    with transaction.atomic():
        Order.objects.update(status="cancelled")
        transaction.on_commit(database.goes_away)
        cancel_payment_on_commit(order_id=order.pk, origin=STAFF)
        transaction.on_commit(lambda: done_by_the_host.append("a mail"))
    database.comes_back()

    assert done_by_the_host == ["a mail"]
    assert Order.objects.get().status == "cancelled"
    assert f"Cancellation of order {order.pk}: failed after the commit" in caplog.text
    (wanted,) = requested_cancellations()
    assert finish_cancellation(wanted.pk, origin=STAFF)
    assert not PaymentIntent.objects.open().exists()


def test_an_order_without_a_payment_or_with_money_has_nothing_to_cancel(
    order, stripe, webhooks, storefront
):
    cancel_order(order)
    assert not stripe.requests
    assert not OrderPayment.objects.exists()
    with pytest.raises(OrderNotFound):
        cancel_payment(order_id=order.pk, origin=STAFF)

    Order.objects.update(status="open")
    stripe.pay(storefront.payment_intent(order).json()["data"]["id"], deliver=False)
    webhooks()
    cancel_order(order)
    assert not requested_cancellations().exists()
    with pytest.raises(PaymentNotCancelable, match="Refund"):
        cancel_payment(order_id=order.pk, origin=STAFF)


def test_a_request_outlives_money_that_does_not_come(
    configure, order, storefront, stripe, webhooks, alter
):
    """Found: it ended while the money was on its way, and the failure left the intent open."""
    configure(ALLOWED_PAYMENT_METHOD_TYPES=["us_bank_account"])
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    debit(stripe, intent_id, "pm_usBankAccount_accountClosed")
    webhooks()
    assert OrderPayment.objects.get().status == "pending"

    alter.refuse("/cancel", code="payment_intent_unexpected_state")
    cancel_order(order)
    (wanted,) = requested_cancellations()
    assert not finish_cancellation(wanted.pk, origin=STAFF)
    alter.stop()
    stripe.advance_clock(10 * 24 * 60 * 60)
    webhooks()

    assert finish_cancellation(wanted.pk, origin=STAFF)
    assert PaymentIntent.objects.get().status == "canceled"
    assert not requested_cancellations().exists()


def test_test_payments_do_not_keep_a_live_shop_from_cancelling(order, intent, stripe, configure):
    """Found: one that was left behind raised each night before anything else was closed."""
    OrderPayment.objects.update(cancel_requested_at=timezone.now())
    sandbox = stripe.shop_payments()

    configure(**LIVE)
    assert finish_cancellation(OrderPayment.objects.get().pk, origin=STAFF)
    configure(**sandbox)

    assert PaymentIntent.objects.get().status == "missing"
    assert not requested_cancellations().exists()


def test_money_that_is_reserved_is_not_abandoned(order, authorized, stripe):
    """Found: where its webhook had been lost, the authorization was cancelled."""
    PaymentIntent.objects.update(status="requires_payment_method")

    with at(24):
        assert cancel_abandoned_intents(older_than=timezone.now(), origin=STAFF) == 0

    assert OrderPayment.objects.get().status == "authorized"
