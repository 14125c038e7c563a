"""Clocks of processes differ, days have 23 or 25 hours, and vouchers are valid for weeks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from shop_payments.models import (
    OrderPayment,
    PaymentIntent,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.reconcile import Report, reconcile
from tests.support import answer, pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = timedelta(minutes=10)


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(days=3))


def lose_the_answer(stripe: Any) -> None:
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))


def test_a_process_whose_clock_is_ahead_blocks_nobody(storefront, order, stripe, configure):
    configure(**{**stripe.shop_payments(), "INTENT_WAIT_SECONDS": 0.2})
    lose_the_answer(stripe)
    with time_machine.travel(timezone.now() + AHEAD, tick=True):
        assert storefront.payment_intent(order).status_code == 503
    StripeAttempt.objects.update(claimed_at=timezone.now() + AHEAD)  # it was killed

    assert answer(storefront.payment_intent(order)) == (200, None)


def test_the_sweep_finishes_what_a_clock_ahead_began(storefront, order, stripe):
    lose_the_answer(stripe)
    assert storefront.payment_intent(order).status_code == 503
    StripeAttempt.objects.update(claimed_at=timezone.now() + AHEAD)

    assert sweep().attempts == 1
    assert PaymentIntent.objects.get().status == "requires_payment_method"


def test_an_event_that_was_tried_in_the_future_is_due(stripe, storefront, order):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    intent = pay(stripe, intent_id)
    send_event(intent)
    future = timezone.now() + timedelta(days=1)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=future)

    assert sweep().events == 1


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("how", ["webhook", "sweep"])
def test_an_order_is_paid_when_the_charge_was_made(
    how, use_tz, storefront, order, stripe, settings
):
    """Paid on New Year's Eve, heard of in the new year."""
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
            call_command("shop_payments_reconcile", "-v0")

    stored = OrderPayment.objects.get().paid_at
    assert stored is not None
    aware = stored if use_tz else stored.replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    assert abs(aware - paid) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 8, 9, 30, tzinfo=UTC),  # just before clocks go forward in Los Angeles
        datetime(2026, 3, 8, 10, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 8, 30, tzinfo=UTC),  # the hour that comes twice
        datetime(2026, 11, 1, 9, 30, tzinfo=UTC),
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


# --- what is abandoned --------------------------------------------------------------------------


def test_an_intent_that_its_customer_has_just_asked_for_is_not_abandoned(storefront, order, stripe):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True) as clock:
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        clock.move_to(now - timedelta(minutes=1))
        assert storefront.payment_intent(order).json()["data"]["id"] == intent_id
        clock.move_to(now)
        assert sweep().abandoned == 0

    assert stripe.payment_intent(intent_id)["status"] == "requires_payment_method"


def test_an_intent_that_nobody_has_asked_for_is_abandoned(storefront, order, stripe):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]

    assert sweep().abandoned == 1
    assert stripe.payment_intent(intent_id)["status"] == "canceled"


@pytest.mark.parametrize(("days_left", "abandoned"), [(5, 0), (-1, 1)])
def test_a_voucher_is_not_abandoned_while_it_is_valid(
    storefront, order, stripe, days_left, abandoned
):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        until = int((now + timedelta(days=days_left)).timestamp())
        voucher = {
            "type": "oxxo_display_details",
            "oxxo_display_details": {"expires_after": until, "number": "1234"},
        }
        stripe.advance(intent_id, "requires_action", next_action=voucher)
        sweep()

    assert sweep().abandoned == abandoned
