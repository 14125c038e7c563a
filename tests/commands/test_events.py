"""``manage.py shop_payments_events``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from shop_payments.models import OrderPayment, WebhookEvent
from shop_payments.sandbox import Fault
from tests.commands.support import run
from tests.support import pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)


def events(*arguments: str) -> list[str]:
    return run("events", *arguments)[0].splitlines()


def listed(*arguments: str) -> list[str]:
    return [line.split()[2] for line in events("list", *arguments)]


@pytest.fixture
def paid(intent, stripe, webhooks):
    pay(stripe, intent.stripe_id)
    webhooks()
    return OrderPayment.objects.get()


@pytest.fixture
def event(paid):
    return WebhookEvent.objects.get(type="payment_intent.succeeded")


# --- list ---------------------------------------------------------------------------------------


def test_the_newest_come_first_with_their_outcome(paid, event):
    assert listed() == list(WebhookEvent.objects.values_list("event_id", flat=True))
    (line,) = [line for line in events("list") if event.event_id in line]
    assert line.endswith(f"payment_intent.succeeded  processed  {event.outcome}")


def test_they_are_chosen_by_status_type_and_time(paid, event):
    old = timezone.now() - timedelta(hours=30)
    WebhookEvent.objects.filter(pk=event.pk).update(status="failed", received_at=old)

    assert listed("--status", "failed") == [event.event_id]
    assert listed("--type", "payment_intent.succeeded") == [event.event_id]
    assert event.event_id not in listed("--since", "24")
    assert event.event_id in listed("--since", "31")
    assert len(listed("--limit", "1")) == 1


def test_it_says_whether_there_are_more_or_none(paid):
    count = str(WebhookEvent.objects.count())

    words = "There are more events. Use --limit to show them.\n"
    assert run("events", "list", "--limit", "1")[1] == words
    assert run("events", "list", "--limit", count)[1] == ""
    for arguments in (["list", "--status", "failed"], ["replay", "--set-aside"]):
        assert run("events", *arguments) == ("", "There are no such events.\n")


def test_times_are_in_the_projects_time_zone(paid, event, settings):
    moment = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
    WebhookEvent.objects.update(received_at=moment, processed_at=moment)
    settings.TIME_ZONE = "Asia/Kolkata"

    assert events("list")[0].startswith("2026-11-25 04:00:00  evt_")
    assert "last at 2026-11-25 04:00:00." in "\n".join(events("show", event.event_id))


# --- show ---------------------------------------------------------------------------------------


def test_one_event_with_all_it_said(paid, event, order):
    text = "\n".join(events("show", event.event_id))

    assert f"of order {order.number}, which is paid" in text
    assert '"type": "payment_intent.succeeded"' in text
    assert "Tried 1 time," in text
    assert "_secret_" not in text


def test_an_event_of_another_system_and_a_purged_one(paid, event):
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    WebhookEvent.objects.update(intent_id="", payload={}, purged_at=moment)

    lines = events("show", event.event_id)

    assert "It does not belong to a payment of this shop." in lines
    assert lines[-1] == "The payload was purged at 2026-11-24 12:00:00."


# --- replay -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_named", [True, False])
def test_an_event_is_processed_again(paid, event, is_named):
    WebhookEvent.objects.exclude(pk=event.pk).delete()
    WebhookEvent.objects.update(status="set_aside", attempts=20, outcome="it went wrong")

    lines = events("replay", event.event_id if is_named else "--set-aside")

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("processed", 1)
    assert lines[0].endswith(f"processed  {event.outcome}")


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


def test_a_replay_of_a_processed_event_changes_nothing(paid, event, paid_signals):
    before = list(paid.history.values())

    events("replay", event.event_id)

    assert list(paid.history.values()) == before
    assert paid_signals == []


def test_an_event_that_is_set_aside_again_is_an_error(intent, stripe):
    send_event({**stripe.payment_intent(intent.stripe_id), "id": None, "amount": None})

    with pytest.raises(CommandError, match=r"Not processed: 1 event\."):
        events("replay", "--set-aside")

    assert WebhookEvent.objects.get().status == "set_aside"
