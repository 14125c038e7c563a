"""The inbox of Stripe's events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connections

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


# --- processing again ---------------------------------------------------------------------------


def set_aside() -> WebhookEvent:
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")
    WebhookEvent.objects.filter(pk=event.pk).update(status="set_aside", attempts=20, outcome="x")
    return event


def replay(browser, event):
    body = {"action": "replay", "_selected_action": [event.pk]}
    return browser.post(changelist(WebhookEvent), body, follow=True)


def test_an_event_that_was_set_aside_is_processed_again(paid, staff_with):
    event = set_aside()

    page = text_of(replay(staff_with("view_webhookevent", "change_webhookevent"), event))

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("processed", 1)
    assert f"Event {event}: processed, {event.outcome}" in page


def test_no_more_are_processed_again_than_fit_a_request(paid, staff):
    """All of ten thousand could be chosen: minutes, a message for each, and a killed worker."""
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    WebhookEvent.objects.bulk_create(
        WebhookEvent(
            event_id=f"evt_{number}",
            livemode=False,
            payload={},
            stripe_created_at=moment,
            status="failed",
        )
        for number in range(101)
    )
    chosen = WebhookEvent.objects.filter(status="failed")
    one = chosen.earliest("pk")
    body = {"action": "replay", "select_across": "1", "_selected_action": [one.pk]}

    page = staff.post(f"{changelist(WebhookEvent)}?status__exact=failed", body, follow=True)

    assert "At most 100 events are processed again from here" in text_of(page)
    assert chosen.count() == 101
    one.delete()
    body["_selected_action"] = [chosen.earliest("pk").pk]
    staff.post(f"{changelist(WebhookEvent)}?status__exact=failed", body)
    assert chosen.count() == 0


def test_an_event_is_processed_again_where_requests_are_transactions(paid, staff, monkeypatch):
    """Found: under ATOMIC_REQUESTS the action could do nothing but say that it must not."""
    event = set_aside()
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    replay(staff, event)

    event.refresh_from_db()
    assert event.status == "processed"


def test_who_may_only_look_cannot_do_that(paid, staff_with):
    event = set_aside()
    clerk = staff_with("view_webhookevent")

    replay(clerk, event)

    event.refresh_from_db()
    assert event.status == "set_aside"
    assert "Process the selected events again" not in text_of(clerk.get(changelist(WebhookEvent)))


def test_an_event_that_fails_again_says_why(paid, staff, stripe):
    event = set_aside()
    WebhookEvent.objects.update(payload={"data": {"object": {"object": "coupon"}}})

    page = text_of(replay(staff, event))

    event.refresh_from_db()
    assert event.status == "set_aside"
    assert "the event is not about a payment intent" in page


def test_a_purged_event_cannot_be_processed_again(paid, staff):
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")
    WebhookEvent.objects.update(payload={}, purged_at=datetime(2026, 11, 24, 12, tzinfo=UTC))

    page = text_of(replay(staff, event))

    assert "has been purged" in page
    event.refresh_from_db()
    assert event.status == "processed"


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

    assert "Personal data dropped on Nov. 24, 2026, noon UTC." in text_of(page)
    assert "shop-payments-json" not in text_of(page)
