"""Early fraud warnings and Radar reviews: mirrored, in review, and closed when Stripe says so."""

from __future__ import annotations

import pytest

from shop_payments.exceptions import GatewayError
from shop_payments.models import (
    EarlyFraudWarning,
    OrderPayment,
    PaymentIntent,
    RadarReview,
    ReviewItem,
    StripeAttempt,
)
from shop_payments.sandbox import Fault
from shop_payments.services import approve_review
from tests.books import STAFF, sweep
from tests.support import call_stripe

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def warned(pay_order):
    pay_order("pm_card_createIssuerFraudRecord")
    return EarlyFraudWarning.objects.get()


@pytest.fixture
def in_review(paid, stripe, webhooks):
    stripe.open_review(PaymentIntent.objects.get().stripe_id)
    webhooks()
    return RadarReview.objects.get()


def test_an_actionable_warning_is_in_review_and_changes_no_status(told, warned):
    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.needs_review) == ("paid", True)
    assert (item.reason, item.subject) == ("fraud_warning", warned.stripe_id)
    assert (warned.actionable, warned.fraud_type) == (True, "misc")
    assert [(name, data["reason"]) for name, data in told] == [("review_needed", "fraud_warning")]


@pytest.mark.parametrize("by", ["refund", "dispute"])
def test_a_refund_or_a_dispute_closes_the_item_of_a_warning(
    warned, office, order, stripe, webhooks, by
):
    if by == "refund":
        assert office.refund(order, {"reason": "fraudulent"}).status_code == 200
    else:
        stripe.open_dispute(PaymentIntent.objects.get().latest_charge)
    webhooks()

    warned.refresh_from_db()
    assert not warned.actionable
    assert ReviewItem.objects.get(reason="fraud_warning").closed_automatically
    left = [] if by == "refund" else ["disputed"]
    assert [item.reason for item in ReviewItem.objects.open()] == left


def test_a_warning_whose_event_was_lost_is_found_by_the_sweep(paid, stripe):
    stripe.warn_of_fraud(PaymentIntent.objects.get().latest_charge)

    assert sweep(hours=0).objects["early fraud warnings"] == 1
    assert ReviewItem.objects.get().reason == "fraud_warning"
    assert sweep(hours=0).objects.total() == 0


def test_an_approval_closes_the_review_and_its_item(in_review, stripe, webhooks):
    item = ReviewItem.objects.get()
    assert (item.reason, item.subject) == ("radar_review", in_review.stripe_id)
    assert (in_review.is_open, in_review.reason) == (True, "manual")
    assert OrderPayment.objects.get().status == "paid"

    row = approve_review(review_id=in_review.stripe_id, origin=STAFF)
    webhooks()

    assert (row.is_open, row.reason) == (False, "approved")
    item.refresh_from_db()
    assert (item.closed_automatically, item.closing_note) == (True, "Stripe: approved")
    attempt = StripeAttempt.objects.get(operation="approve_review")
    assert (attempt.outcome, attempt.target) == ("succeeded", in_review.stripe_id)
    assert not OrderPayment.objects.get().needs_review


def test_an_approval_whose_answer_was_lost_is_finished_by_the_sweep(in_review, stripe):
    path = f"/v1/reviews/{in_review.stripe_id}/approve"
    stripe.inject(Fault("drop_after", method="POST", path=path))
    with pytest.raises(GatewayError):
        approve_review(review_id=in_review.stripe_id, origin=STAFF)
    stripe.clear_faults()
    StripeAttempt.objects.pending().update(acquired_at=None)

    sweep(hours=0)

    in_review.refresh_from_db()
    assert (in_review.is_open, in_review.reason) == (False, "approved")
    assert not StripeAttempt.objects.pending().exists()


def test_a_review_that_was_closed_while_events_were_lost_is_closed_by_the_sweep(in_review, stripe):
    """Stripe's list shows open reviews only."""
    call_stripe(stripe, "POST", f"reviews/{in_review.stripe_id}/approve")

    assert sweep(hours=0).objects["Radar reviews"] == 1
    in_review.refresh_from_db()
    assert not in_review.is_open
    assert not ReviewItem.objects.open().exists()


def test_a_key_that_may_not_list_radars_objects_leaves_them_out(paid, stripe, configure):
    key = "rk_test_" + "a" * 24
    granted = ("payment_intent", "refund", "dispute", "charge")
    stripe.restrict_key(key, *(f"rak_{kind}_write" for kind in granted))
    configure(STRIPE_SECRET_KEY=key)

    assert sweep(hours=0).problems == []
