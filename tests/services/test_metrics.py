"""The figures for a monitoring system."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from shop_payments import services, signals
from shop_payments.models import ReviewItem, SweepState, WebhookEvent
from shop_payments.sandbox import Fault
from tests.support import event_body, pay, post_webhook, refuse, sign

pytestmark = pytest.mark.django_db


def later(minutes: int) -> dict[str, int]:
    """Return the figures other than 0, as they are then."""
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes), tick=True):
        found = services.metrics()
    found.pop("sweep_age_seconds")
    return {name: number for name, number in found.items() if number}


def test_a_shop_without_trouble_has_zeros_only(paid):
    assert later(60) == {}
    names = services.metrics()
    assert {f"review_items_open_{reason}" for reason in ReviewItem.Reason} <= names.keys()


def test_a_host_without_time_zones_gets_the_age_of_a_sweep_that_never_ran(settings):
    """Found: the time since 1970 had a zone, and the current time had none."""
    settings.USE_TZ = False
    assert services.metrics()["sweep_age_seconds"] > 50 * 365 * 24 * 3600


def test_the_age_of_the_sweep_is_counted_in_this_mode():
    assert services.metrics()["sweep_age_seconds"] > 50 * 365 * 24 * 3600  # never
    now = timezone.now()
    SweepState.objects.create(livemode=True, finished_at=now)
    SweepState.objects.create(livemode=False, finished_at=now - timedelta(hours=1))
    assert 3600 <= services.metrics()["sweep_age_seconds"] < 3660


@pytest.mark.by_hand
def test_review_items_are_counted_by_reason(paid):
    for number, reason in enumerate(("excess", "disputed", "disputed")):
        item = ReviewItem.objects.create(order_payment=paid, reason=reason, subject=str(number))
    assert later(0) == {
        "review_items_open": 3,
        "review_items_open_excess": 1,
        "review_items_open_disputed": 2,
    }
    ReviewItem.objects.filter(pk=item.pk).update(closed_at=timezone.now())
    assert later(0)["review_items_open_disputed"] == 1


def test_events_are_counted_by_what_became_of_them(stripe, intent_id, configure):
    body = event_body(pay(stripe, intent_id))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.services.test_metrics.queue", lambda pk: None, raising=False)
        configure(EVENT_HANDLER="tests.services.test_metrics.queue")
        assert post_webhook(body, sign(body)).status_code == 200
    assert later(9) == {}
    assert later(11) == {"events_waiting": 1}
    for status, name in (("failed", "events_failed"), ("set_aside", "events_set_aside")):
        WebhookEvent.objects.update(status=status)
        assert later(0) == {name: 1}


def test_a_request_without_an_answer_is_unresolved(storefront, order, stripe):
    stripe.inject(Fault("drop_after", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503
    assert later(9) == {}
    assert later(11) == {"attempts_unresolved": 1}


def test_a_notification_that_nobody_takes_is_pending(storefront, order, stripe, payment_system):
    signals.order_paid.connect(refuse)
    try:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        assert payment_system.payment(order).status_code == 200
    finally:
        signals.order_paid.disconnect(refuse)
    assert later(9) == {}
    assert later(11) == {"notifications_pending": 1}


def test_the_number_of_statements_is_fixed(paid):
    with CaptureQueriesContext(connection) as queries:
        services.metrics()
    assert len(queries) == 7
