"""The timeline on the page of a payment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.admin import AdminSite
from django.test import Client

from shop_payments.admin import timeline
from shop_payments.admin.timeline import timeline_of
from shop_payments.checkout.links import checkout_url
from shop_payments.models import OrderPayment, PaymentHistory, WebhookEvent
from tests.admin.support import change
from tests.support import pay

pytestmark = pytest.mark.django_db


def entries(client, payment):
    return client.get(change(payment)).context["timeline"]


def test_facts_messages_and_notes_are_one_list_newest_first(waived, staff, superuser):
    waived.staff_notes.create(
        text="They agreed.", actor="staff 1", created_by=superuser, request_key="k"
    )
    shown = entries(staff, waived)
    times = [entry.at for entry in shown]
    assert times == sorted(times, reverse=True)
    assert (shown[0].text, shown[0].who, shown[0].is_note) == ("They agreed.", "root", True)
    by_staff = [entry for entry in shown if entry.who == "root" and not entry.is_note]
    assert any(entry.text.startswith("amount waived") for entry in by_staff)
    texts = [entry.text for entry in shown]
    for fact in waived.history.all():
        assert fact.sentence in texts
    messages = [entry for entry in shown if entry.text.startswith("Message from Stripe")]
    assert len(messages) == WebhookEvent.objects.filter(status="processed").count() > 0
    assert all(entry.is_quiet for entry in messages)


def test_times_have_seconds_and_zone(paid, staff):
    """Found: five entries of one minute looked simultaneous."""
    WebhookEvent.objects.update(received_at=datetime(2026, 11, 24, 10, 0, 7, tzinfo=UTC))
    assert "Nov. 24, 2026, 10:00:07 UTC" in {entry.when for entry in entries(staff, paid)}


def test_what_the_pay_page_learned_is_from_stripe(order, stripe, staff):
    """Found: it was from "the shop's own code", as if the customer's word were enough."""
    link = checkout_url(order)
    answer = Client().post(link).json()
    pay(stripe, answer["intent"])
    Client().get(answer["return_url"])
    payment = OrderPayment.objects.get()
    found = {entry.text: entry.who for entry in entries(staff, payment)}
    words = "order paid: 112.00 USD received (Stripe's answer to the pay page)"
    assert found[words] == "checkout, payment link"


def test_a_message_that_failed_is_not_quiet(paid, staff):
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")
    WebhookEvent.objects.filter(pk=event.pk).update(status="set_aside")
    (entry,) = [each for each in entries(staff, paid) if "set aside" in each.text]
    assert not entry.is_quiet
    assert entry.url == change(event)


def test_a_notification_that_fails_is_shown(paid, staff):
    PaymentHistory.objects.filter(kind="order_paid").update_dispatched_at(None)
    fact = PaymentHistory.objects.get(kind="order_paid")
    PaymentHistory.objects.record_failed_dispatch(fact)
    (entry,) = [each for each in entries(staff, paid) if each.more]
    assert entry.more == "shop notified: waiting, after 1 failed try"


def test_only_the_newest_entries_are_read(paid, staff, monkeypatch):
    monkeypatch.setattr(timeline, "ROWS_SHOWN", 3)
    everything = entries(staff, paid)
    assert len(everything) == 3
    newest = paid.history.order_by("-pk")[0]
    assert newest.sentence in [entry.text for entry in everything]


def test_links_lead_to_pages_of_the_same_site_only(paid):
    elsewhere = AdminSite(name="elsewhere")
    assert {entry.url for entry in timeline_of(paid, site=elsewhere)} == {""}
