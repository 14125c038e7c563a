"""The pages of Stripe's events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connections

from shop_payments.models import ReviewItem, WebhookEvent
from tests.admin.support import changelist, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def event(paid):
    """The processed event of a payment."""
    return WebhookEvent.objects.get(type="payment_intent.succeeded")


@pytest.fixture
def set_aside(event):
    """An event that is not retried any more."""
    WebhookEvent.objects.filter(pk=event.pk).update(status="set_aside", attempts=20)
    return event


def replay(browser, event):
    page = text_of(browser.choose("replay", event))
    if "1 event will be processed again" in page:
        before = WebhookEvent.objects.values().get(pk=event.pk)
        assert "as if Stripe had just sent it" in page
        assert WebhookEvent.objects.values().get(pk=event.pk) == before
        page = text_of(browser.choose("replay", event, confirmed="yes"))
    event.refresh_from_db()
    return page


def test_an_event_shows_its_outcome_and_payload_and_is_found(event, staff):
    text = staff.read(event)
    assert event.outcome in text
    assert "&quot;object&quot;: &quot;event&quot;" in text
    WebhookEvent.objects.update(payload={"x": "</pre><script>alert(1)</script>"})
    assert "<script>alert" not in staff.read(event)
    assert staff.rows(WebhookEvent, q=event.event_id) == {event}
    assert event in staff.rows(WebhookEvent, q=event.object_id)


@pytest.mark.django_db(transaction=True)
def test_staff_with_permission_process_events_again(set_aside, staff_with, monkeypatch):
    """Found: under ATOMIC_REQUESTS the action could only fail."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    clerk = staff_with("view_webhookevent")
    assert "Process the selected events again" not in clerk.read(WebhookEvent)
    assert clerk.choose("replay", set_aside, confirmed="yes").status_code == 403
    set_aside.refresh_from_db()
    assert set_aside.status == "set_aside"
    manager = staff_with("view_webhookevent", "change_webhookevent")
    page = replay(manager, set_aside)
    assert (set_aside.status, set_aside.attempts) == ("processed", 1)
    assert f": processed, {set_aside.outcome}" in page
    payload = {"data": {"object": {"object": "coupon"}}}
    WebhookEvent.objects.update(status="set_aside", payload=payload)
    assert "set aside for staff, The event could not be read" in replay(manager, set_aside)
    assert set_aside.status == "set_aside"


def test_too_many_events_are_not_processed_in_one_request(set_aside, staff):
    """Found: a request for thousands of events took minutes, and the worker was killed."""
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    values = {"livemode": False, "payload": {}, "stripe_created_at": moment, "status": "failed"}
    WebhookEvent.objects.bulk_create(
        WebhookEvent(event_id=f"evt_{number}", **values) for number in range(101)
    )
    body = {"action": "replay", "select_across": "1", "_selected_action": [set_aside.pk]}
    page = staff.post(f"{changelist(WebhookEvent)}?status__exact=failed", body, follow=True)
    assert "Select at most 100 events" in text_of(page)
    assert WebhookEvent.objects.filter(status="failed").count() == 101


def test_a_purged_event_shows_the_time_and_is_not_processed_again(event, staff):
    purged_at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    WebhookEvent.objects.update(payload={}, purged_at=purged_at)
    page = staff.read(event)
    assert "Personal data was removed on Nov. 24, 2026, noon UTC." in page
    assert "shop-payments-json" not in page
    assert "has been purged" in replay(staff, event)
    assert event.status == "processed"


def test_what_failed_is_on_the_first_page_until_staff_skip_it(set_aside, staff, staff_with):
    words = "1: a message from Stripe cannot be processed and was set aside"
    for page in ("/admin/", changelist(ReviewItem)):
        assert words in staff.read(page)
        assert words not in staff_with("view_reviewitem", "view_orderpayment").read(page)
    url = f"{changelist(WebhookEvent)}?status__exact=set_aside"
    assert f'href="{url}"' in staff.read("/admin/")
    assert staff.rows(WebhookEvent, status__exact="set_aside") == {set_aside}
    clerk = staff_with("view_webhookevent")
    assert clerk.choose("skip", set_aside, confirmed="yes").status_code == 403
    page = text_of(staff.choose("skip", *WebhookEvent.objects.all()))
    assert "1 event will be skipped" in page
    assert "staff are not asked about them any more" in page
    assert words in staff.read("/admin/")

    page = text_of(staff.choose("skip", *WebhookEvent.objects.all(), confirmed="yes"))

    assert "1 event was skipped." in page
    assert words not in staff.read("/admin/")
    set_aside.refresh_from_db()
    assert set_aside.outcome.startswith("Skipped: staff ")
    assert set_aside.status == "ignored"
