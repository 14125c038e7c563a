"""``manage.py shop_payments_purge``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from shop_payments.models import OrderPayment, StripeAttempt, WebhookEvent
from tests.commands.support import run
from tests.support import pay

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def old_payment(storefront, order, stripe, webhooks):
    """An order that was paid 200 days ago, with three events."""
    with time_machine.travel(START, tick=False) as clock:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        webhooks()
        clock.shift(timedelta(days=200))
        yield OrderPayment.objects.get()


def test_it_says_how_much_it_dropped_and_kept_and_a_dry_run_writes_nothing(old_payment):
    events = WebhookEvent.objects.count()
    WebhookEvent.objects.filter(type="payment_intent.created").update(status="failed")
    dry, _ = run("purge", "--dry-run")
    assert not WebhookEvent.objects.exclude(purged_at=None).exists()
    assert StripeAttempt.objects.get().purged_at is None
    out, err = run("purge")
    assert out == (
        f"Deleted the payloads of {events - 1} events and the parameters of 1 attempt. "
        "Kept because they are still needed: 1 event, 0 attempts.\n"
    )
    assert dry.replace("Would delete", "Deleted") == out
    assert err.startswith("… events: ")
    assert StripeAttempt.objects.get().purged_at is not None
    out, err = run("purge")
    assert out.startswith("Deleted the payloads of 0 events and the parameters of 0 attempts.")
    assert err == ""


def test_older_than_replaces_the_setting(old_payment):
    assert "of 0 events" in run("purge", "--older-than", "201")[0]
    out, err = run("purge", "--older-than", "31", "--batch-size", "1", verbosity=0)
    assert "of 0 events" not in out
    assert err == ""
