"""Staff skip a failing notification, and approve a payment that Radar has put up for review."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.urls import reverse

from shop_payments import signals
from shop_payments.models import PaymentHistory, ReviewItem
from shop_payments.sandbox import Fault
from tests.admin.support import change, changelist, errors_of, facts_of, messages_of
from tests.books import sweep
from tests.services.restore import lose
from tests.support import call_stripe, pay

pytestmark = pytest.mark.django_db(transaction=True)

SKIP, APPROVE = "Skip this notification", "Approve this payment"


def refuse(**kwargs: Any) -> None:
    raise ConnectionError("the warehouse does not answer")


@pytest.fixture
def failing(open_payment, stripe, webhooks) -> Iterator[ReviewItem]:
    """The item of a notification that the shop's code has refused three times."""
    signals.order_paid.connect(refuse)
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    sweep()
    sweep()
    yield ReviewItem.objects.get(reason="notification_failed")
    signals.order_paid.disconnect(refuse)


@pytest.fixture
def radar_review(paid, stripe, webhooks) -> ReviewItem:
    """The item of a payment that Stripe Radar has put up for review."""
    stripe.open_review(paid.payment_intents.get().stripe_id)
    webhooks()
    return ReviewItem.objects.get()


@pytest.fixture
def unknown(storefront, order, stripe) -> ReviewItem:
    """The item of a payment that was lost with a restored backup."""
    lose(storefront, order, stripe, paid=True)
    sweep()
    return ReviewItem.objects.get()


def page_of(item: ReviewItem, name: str) -> str:
    return reverse(f"admin:shop_payments_reviewitem_{name}", args=[item.pk])


@pytest.mark.parametrize(
    ("state", "name", "label"),
    [
        ("failing", "skip", SKIP),
        ("radar_review", "approve", APPROVE),
        ("unknown", "accept", "Accept this payment"),
    ],
)
def test_an_action_needs_the_permission_to_change_payments(
    state, name, label, request, staff_with, stripe
):
    item = request.getfixturevalue(state)
    page = page_of(item, name)
    clerk = staff_with("view_reviewitem", "change_reviewitem", "view_orderpayment")
    blind = staff_with("change_orderpayment")
    before = len(stripe.requests)
    for browser in (clerk, blind):
        assert browser.get(page).status_code == 403
        assert browser.post(page, {"reason": "No.", "sure": "on"}).status_code == 403
    assert label not in clerk.buttons(item)
    effect = facts_of(staff_with("view_reviewitem", "change_orderpayment").get(page))
    assert "No money moves" in effect["What will happen"]
    assert len(stripe.requests) == before
    item.refresh_from_db()
    assert item.closed_at is None


def test_staff_skip_a_failing_notification_with_a_reason(
    failing, staff_with, staff, superuser, monkeypatch
):
    fact = PaymentHistory.objects.get(fact_id=failing.subject)
    clerk = staff_with("view_reviewitem", "change_orderpayment")
    assert clerk.buttons(failing)[0] == SKIP
    page = staff.target(failing, SKIP)
    assert fact.sentence in staff.read(page)
    assert f"waiting, after {fact.dispatch_failures} failed tries" in staff.read(fact)
    assert staff.rows(PaymentHistory, notified="failing") == {fact}
    assert errors_of(staff.submit(page, reason=""))
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    response = staff.submit(page, reason="Shipped by hand.")
    assert response.redirect_chain == [(change(failing), 302)]
    failing.refresh_from_db()
    assert failing.closing_note == "Skipped: Shipped by hand."
    skipped = PaymentHistory.objects.get(kind="notification_skipped")
    assert (skipped.source, skipped.actor) == ("admin", f"staff {superuser.pk}")
    assert not PaymentHistory.objects.undispatched().exists()
    assert f"skipped by {superuser.username} (staff {superuser.pk}), " in staff.read(fact)


def test_staff_approve_a_payment(radar_review, stripe, staff):
    path = f"/v1/reviews/{radar_review.subject}/approve"
    stripe.inject(Fault("drop_before", method="POST", path=path))
    assert staff.buttons(radar_review)[0] == APPROVE
    page = staff.target(radar_review, APPROVE)
    assert "Stripe has not answered" in errors_of(staff.submit(page, sure="on"))[0]
    response = staff.submit(page, sure="on")
    assert messages_of(response) == ["The payment is approved at Stripe, and this item is closed."]
    radar_review.refresh_from_db()
    assert radar_review.closing_note == "Stripe: approved"
    at_stripe = call_stripe(stripe, "GET", f"reviews/{radar_review.subject}")
    assert (at_stripe["open"], at_stripe["closed_reason"]) == (False, "approved")


def test_a_review_that_was_closed_at_stripe_meanwhile_is_not_approved(radar_review, stripe, staff):
    page = page_of(radar_review, "approve")
    for name in ("accept", "skip"):
        assert staff.get(page_of(radar_review, name)).url == changelist(ReviewItem)
    call_stripe(stripe, "POST", f"reviews/{radar_review.subject}/approve")
    response = staff.submit(page, sure="on")
    assert messages_of(response) == ["The review has been closed at Stripe: approved."]
    radar_review.refresh_from_db()
    assert radar_review.closed_automatically
    again = staff.get(page, follow=True)
    assert messages_of(again) == ["This item was already closed. Nothing was changed."]
