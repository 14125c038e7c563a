"""The inbox of Stripe's events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shop_payments.models import WebhookEvent
from tests.admin.support import change, changelist, listed, text_of

pytestmark = pytest.mark.django_db


def test_an_event_shows_what_came_of_it_and_what_was_sent(paid, staff):
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")

    text = text_of(staff.get(change(event)))

    assert event.outcome in text
    assert "&quot;object&quot;: &quot;event&quot;" in text


def test_events_are_found_by_id_and_object(paid, staff):
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")
    events = set(WebhookEvent.objects.filter(type__startswith="payment_intent."))

    assert listed(staff.get(changelist(WebhookEvent), {"q": event.event_id})) == {event}
    assert listed(staff.get(changelist(WebhookEvent), {"q": event.object_id})) == events
    assert listed(staff.get(changelist(WebhookEvent), {"q": "evt_of_nobody"})) == set()


def test_events_are_filtered_by_what_came_of_them(paid, staff):
    events = set(WebhookEvent.objects.filter(type__startswith="payment_intent."))

    assert listed(staff.get(changelist(WebhookEvent), {"status__exact": "processed"})) == events
    assert listed(staff.get(changelist(WebhookEvent), {"status__exact": "failed"})) == set()


def test_a_payload_is_text_and_nothing_else(paid, staff):
    event = WebhookEvent.objects.first()
    WebhookEvent.objects.update(payload={"x": "</pre><script>alert(1)</script>"})

    text = text_of(staff.get(change(event)))

    assert "<script>alert" not in text


def test_a_purged_payload_says_since_when(paid, staff):
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")
    purged_at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    WebhookEvent.objects.update(payload={}, purged_at=purged_at)

    page = staff.get(change(event))

    assert "Personal data dropped on Nov. 24, 2026, noon." in text_of(page)
    assert "shop-payments-json" not in text_of(page)
