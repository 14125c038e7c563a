"""Clocks of two processes differ, and days have 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt, WebhookEvent
from shop_payments.sandbox import Fault
from tests.support import answer, pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = timedelta(minutes=10)


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(days=3))


@pytest.mark.parametrize("who", ["caller", "sweep"])
def test_a_process_whose_clock_is_ahead_blocks_nobody(storefront, order, stripe, configure, who):
    configure(**{**stripe.shop_payments(), "INTENT_WAIT_SECONDS": 0.2})
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503
    StripeAttempt.objects.update(acquired_at=timezone.now() + AHEAD)  # and it was killed

    if who == "caller":
        assert answer(storefront.payment_intent(order)) == (200, None)
    else:
        assert sweep().attempts == 1
    assert PaymentIntent.objects.get().status == "requires_payment_method"


def test_an_event_that_was_tried_in_the_future_is_due(stripe, storefront, order):
    send_event(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    future = timezone.now() + timedelta(days=1)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=future)

    assert sweep().events == 1


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("how", ["webhook", "sweep"])
def test_an_order_is_paid_when_the_charge_was_made(
    how, use_tz, storefront, order, stripe, settings
):
    """Paid on New Year's Eve; the webhook comes in the new year."""
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/Los_Angeles"
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    paid = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    with time_machine.travel(paid, tick=False):
        intent = pay(stripe, intent_id)
        created = stripe.events[-1]["created"]
    with time_machine.travel(paid + timedelta(days=2), tick=False):
        if how == "webhook":
            send_event(intent, created=created)
        else:
            sweep()

    stored = OrderPayment.objects.get().paid_at
    assert stored is not None
    aware = stored if use_tz else stored.replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    assert abs(aware - paid) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 8, 9, 30, tzinfo=UTC),  # just before clocks go forward in Los Angeles
        datetime(2026, 11, 1, 9, 30, tzinfo=UTC),  # the hour that comes twice
    ],
    ids=str,
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_payment_on_the_day_when_clocks_change(
    moment, use_tz, storefront, order, stripe, settings
):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/Los_Angeles"
    with time_machine.travel(moment, tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        intent = pay(stripe, intent_id)
        send_event(intent, created=stripe.events[-1]["created"])
        stripe.refund(intent_id, 1200, deliver=False)
        call_command("shop_payments_reconcile", "-v0")

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1200)
