"""``manage.py shop_payments_events``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from shop_payments.models import OrderPayment, WebhookEvent
from shop_payments.sandbox import Fault
from tests.commands.support import run
from tests.support import send_event

pytestmark = pytest.mark.django_db


def events(*arguments: str) -> list[str]:
    return run("events", *arguments)[0].splitlines()


def listed(*arguments: str) -> list[str]:
    return [line.split()[2] for line in events("list", *arguments)]


@pytest.fixture
def event(paid):
    return WebhookEvent.objects.get(type="payment_intent.succeeded")


def test_the_newest_come_first_and_are_chosen_by_status_type_and_time(paid, event):
    assert listed() == list(WebhookEvent.objects.values_list("event_id", flat=True))
    (line,) = [line for line in events("list") if event.event_id in line]
    assert line.endswith(f"payment_intent.succeeded  processed  {event.outcome}")
    more = "There are more events. Use --limit to show them.\n"
    assert run("events", "list", "--limit", "1")[1] == more
    assert run("events", "list", "--status", "failed") == ("", "There are no such events.\n")
    old = timezone.now() - timedelta(hours=30)
    WebhookEvent.objects.filter(pk=event.pk).update(status="failed", received_at=old)
    assert listed("--status", "failed") == [event.event_id]
    assert listed("--type", "payment_intent.succeeded") == [event.event_id]
    assert event.event_id not in listed("--since", "24")
    assert event.event_id in listed("--since", "31")


def test_one_event_with_all_it_said_until_it_is_purged(paid, event, order, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    moment = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
    WebhookEvent.objects.update(processed_at=moment)
    text = "\n".join(events("show", event.event_id))
    assert f"of order {order.number}, which is paid" in text
    assert '"type": "payment_intent.succeeded"' in text
    assert "Tried 1 time, last at 2026-11-25 04:00:00." in text
    assert "_secret_" not in text
    WebhookEvent.objects.update(payload={}, purged_at=moment)
    last = events("show", event.event_id)[-1]
    assert last == "The payload was purged at 2026-11-25 04:00:00."


@pytest.fixture
def failed(intent, stripe, webhooks):
    """An event whose intent could not be looked up."""
    webhooks()
    stripe.pay(intent.stripe_id, "pm_card_authenticationRequired", deliver=False)
    stripe.inject(Fault("drop_before", method="GET", times=2))
    webhooks()
    return WebhookEvent.objects.get(status="failed")


def test_a_replay_pays_an_order_whose_event_failed(failed, intent, stripe, paid_signals):
    stripe.authenticate(intent.stripe_id, deliver=False)
    with pytest.raises(CommandError, match=r"Not processed: 1 event\."):
        events("replay", "--failed")
    events("replay", failed.event_id)
    failed.refresh_from_db()
    assert failed.status == "processed"
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_an_event_that_is_set_aside_again_is_an_error(intent, stripe):
    send_event({**stripe.payment_intent(intent.stripe_id), "id": None, "amount": None})
    with pytest.raises(CommandError, match=r"Not processed: 1 event\."):
        events("replay", "--set-aside")
    assert WebhookEvent.objects.get().status == "set_aside"
