"""What staff do about early fraud warnings and Radar reviews."""

from __future__ import annotations

import pytest
from django.urls import reverse

from shop_payments.models import ReviewItem
from shop_payments.sandbox import Fault
from tests.admin.support import change, errors_of, follow, links_of, messages_of, send, text_of
from tests.support import call_stripe

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def radar_review(paid, stripe, webhooks):
    stripe.open_review(paid.payment_intents.get().stripe_id)
    webhooks()
    return ReviewItem.objects.get()


def approve_page(item: ReviewItem) -> str:
    return reverse("admin:shop_payments_reviewitem_approve", args=[item.pk])


def test_staff_approve_a_review(radar_review, stripe, staff):
    assert links_of(staff, radar_review)[0] == "Approve this payment"

    response = send(staff, follow(staff, radar_review, "Approve this payment"), sure="on")

    assert messages_of(response) == ["The payment is approved at Stripe, and this item is closed."]
    radar_review.refresh_from_db()
    assert radar_review.closing_note == "Stripe: approved"
    at_stripe = call_stripe(stripe, "GET", f"reviews/{radar_review.subject}")
    assert (at_stripe["open"], at_stripe["closed_reason"]) == (False, "approved")


def test_a_review_that_was_closed_meanwhile_is_not_approved(radar_review, stripe, staff):
    page = follow(staff, radar_review, "Approve this payment")
    call_stripe(stripe, "POST", f"reviews/{radar_review.subject}/approve")

    response = send(staff, page, sure="on")

    assert messages_of(response) == ["The review has been closed at Stripe: approved."]
    radar_review.refresh_from_db()
    assert radar_review.closed_itself


def test_stripe_in_trouble_is_said_and_the_form_can_be_sent_again(radar_review, stripe, staff):
    page = follow(staff, radar_review, "Approve this payment")
    path = f"/v1/reviews/{radar_review.subject}/approve"
    stripe.inject(Fault("drop_before", method="POST", path=path))

    response = send(staff, page, sure="on")
    assert "Stripe has not answered" in errors_of(response)[0]

    assert messages_of(send(staff, page, sure="on"))[0].startswith("The payment is approved")


def test_approving_needs_the_permission_to_change_payments(radar_review, staff_with):
    clerk = staff_with("view_reviewitem", "view_orderpayment")

    assert clerk.get(approve_page(radar_review)).status_code == 403
    assert clerk.post(approve_page(radar_review), {"sure": "on"}).status_code == 403


def test_a_warning_suggests_a_refund(storefront, order, stripe, webhooks, staff):
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], "pm_card_createIssuerFraudRecord", deliver=False)
    webhooks()
    item = ReviewItem.objects.get()

    assert "Refund the payment as fraudulent" in text_of(staff.get(change(item)))
    assert links_of(staff, item)[0].startswith("Refund")
