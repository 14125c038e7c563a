"""Webhooks and sweeps at the same moment: each change is made once.

Also with clocks that differ, and on days of 23 or 25 hours.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from shop_payments.exceptions import SweepRunning
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    SweepState,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from tests.books import assert_books_agree, at, sweep
from tests.factories import OrderFactory
from tests.support import event_body, pay, post_webhook, send_event, sign
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_slow_delivery_that_fails_does_not_undo_a_quick_one(stripe, intent_id, configure):
    """Found: the event was marked as failed, and Stripe was asked to send it again."""
    body = event_body({**pay(stripe, intent_id), "status": "processing"})
    slow_is_there, quick_is_done = threading.Event(), threading.Event()

    def line(*request: Any) -> Any:
        if slow_is_there.is_set():
            return stripe.handle(*request)
        slow_is_there.set()
        quick_is_done.wait(5)
        raise ConnectionError

    def quick() -> Any:
        slow_is_there.wait(5)
        response = post_webhook(body, sign(body))
        quick_is_done.set()
        return response

    configure(STRIPE_TRANSPORT=line)

    answers = at_once(lambda: post_webhook(body, sign(body)), quick)

    assert [response.status_code for response in answers] == [200, 200]
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 1)


def test_sweeps_at_once_double_nothing(
    storefront, payment_system, office, order, stripe, intent_id, paid_signals, told
):
    pay(stripe, intent_id)
    payment_system.payment(order)
    stripe.inject(Fault("drop_after", path="/v1/payment_intents", method="POST", times=1))
    for other in OrderFactory.create_batch(3, customer=order.customer):
        storefront.payment_intent(other)
    for row in PaymentIntent.objects.open():
        pay(stripe, row.stripe_id)
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    assert office.refund(order, key="k").status_code == 503
    PaymentHistory.objects.update_dispatched_at(None)
    paid_signals.clear()

    def overlap() -> Any:
        """Run a sweep that takes the others for dead."""
        while True:
            SweepState.objects.update(acquired_at=None)
            with suppress(SweepRunning):
                return reconcile(since=timezone.now() - timedelta(hours=72))

    with at(3 / 60):
        results = at_once(*[overlap] * 3)

    assert [result for result in results if isinstance(result, Exception)] == []
    assert [each.status for each in stripe.requests if each.path == "/v1/refunds"]
    assert (len(paid_signals), [name for name, _data in told]) == (3, ["order_refunded"])
    assert_books_agree(stripe)


def test_an_event_that_was_tried_in_the_future_is_due(stripe, intent_id):
    """The clocks of two processes may differ."""
    send_event(pay(stripe, intent_id))
    future = timezone.now() + timedelta(days=1)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=future)

    assert sweep(hours=0).events == 1


# --- clocks -------------------------------------------------------------------------------------


NEW_YEAR = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)  # the message comes in the new year
TWICE = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)  # the hour that comes twice


@pytest.mark.parametrize(
    ("paid", "use_tz", "by_sweep"),
    [
        (NEW_YEAR, True, False),
        (TWICE, True, True),
        (TWICE, False, False),
    ],
)
def test_an_order_is_paid_when_the_charge_was_made(
    paid, use_tz, by_sweep, storefront, order, stripe, settings
):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/Los_Angeles"
    with time_machine.travel(paid, tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        intent = pay(stripe, intent_id)
        created = stripe.events[-1]["created"]
    with time_machine.travel(paid + timedelta(hours=6), tick=True):
        if not by_sweep:
            send_event(intent, created=created)
            stripe.refund(intent_id, 1200, deliver=False)
        call_command("shop_payments_reconcile", "-v0")

    payment = OrderPayment.objects.get()
    expected = ("paid", 0) if by_sweep else ("partially_refunded", 1200)
    assert (payment.status, payment.amount_refunded) == expected
    stored = payment.paid_at
    assert stored is not None
    aware = stored if use_tz else stored.replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    # A naive time in the hour that comes twice is ambiguous.
    assert abs(aware - paid) < timedelta(minutes=1 if use_tz else 61)
