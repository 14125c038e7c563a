"""Early fraud warnings and Radar reviews: mirrored, in review, and closed when Stripe says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from shop_payments.exceptions import GatewayError, ReviewClosed
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    EarlyFraudWarning,
    OrderPayment,
    PaymentIntent,
    RadarReview,
    ReviewItem,
    Source,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services import Origin, approve_review
from tests.support import answer, call_stripe

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 1")


def sweep():
    return reconcile(since=timezone.now() - timedelta(days=3))


@pytest.fixture
def warned(pay_order):
    pay_order("pm_card_createIssuerFraudRecord")
    return EarlyFraudWarning.objects.get()


@pytest.fixture
def in_review(pay_order, stripe, webhooks):
    pay_order("pm_card_visa")
    stripe.open_review(PaymentIntent.objects.get().stripe_id)
    webhooks()
    return RadarReview.objects.get()


# --- early fraud warnings -----------------------------------------------------------------------


def test_an_actionable_warning_is_in_review_and_changes_no_status(told, warned):
    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.needs_review) == ("paid", True)
    assert (item.reason, item.subject) == ("fraud_warning", warned.stripe_id)
    assert (warned.actionable, warned.fraud_type) == (True, "misc")
    names = [name for name, _data in told]
    assert names == ["review_needed"]
    assert told[0][1]["reason"] == "fraud_warning"


def test_a_refund_closes_the_item_of_a_warning(warned, office, order, webhooks):
    assert office.refund(order, {"reason": "fraudulent"}).status_code == 200
    webhooks()

    warned.refresh_from_db()
    item = ReviewItem.objects.get()
    assert not warned.actionable
    assert item.closed_itself
    assert not OrderPayment.objects.get().needs_review


def test_a_dispute_closes_the_item_of_a_warning(warned, stripe, webhooks):
    stripe.open_dispute(PaymentIntent.objects.get().latest_charge)
    webhooks()

    assert [item.reason for item in ReviewItem.objects.open()] == ["disputed"]


def test_a_warning_whose_event_was_lost_is_found_by_the_sweep(pay_order, stripe):
    pay_order("pm_card_visa")
    stripe.warn_of_fraud(PaymentIntent.objects.get().latest_charge)

    report = sweep()

    assert report.objects["early fraud warnings"] == 1
    assert ReviewItem.objects.get().reason == "fraud_warning"
    assert sweep().objects.total() == 0


def test_a_warning_about_a_payment_of_another_system_is_ignored(order, stripe, webhooks):
    other = call_stripe(
        stripe,
        "POST",
        "payment_intents",
        amount="1000",
        currency="usd",
        payment_method="pm_card_createIssuerFraudRecord",
        confirm="true",
        **{"allowed_payment_method_types[]": "card"},
    )
    assert other["status"] == "succeeded"
    webhooks()

    event = WebhookEvent.objects.get(type="radar.early_fraud_warning.created")
    assert (event.status, EarlyFraudWarning.objects.count()) == ("ignored", 0)


# --- Radar reviews ------------------------------------------------------------------------------


def test_an_open_review_is_in_the_queue(in_review):
    item = ReviewItem.objects.get()
    assert (item.reason, item.subject) == ("radar_review", in_review.stripe_id)
    assert (in_review.is_open, in_review.reason) == (True, "manual")
    assert OrderPayment.objects.get().status == "paid"


def test_an_approval_closes_the_review_and_its_item(in_review, stripe, webhooks):
    row = approve_review(review_id=in_review.stripe_id, origin=STAFF)
    webhooks()

    assert (row.is_open, row.reason) == (False, "approved")
    item = ReviewItem.objects.get()
    assert (item.closed_itself, item.closing_note) == (True, "Stripe: approved")
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

    sweep()

    in_review.refresh_from_db()
    assert (in_review.is_open, in_review.reason) == (False, "approved")
    assert not StripeAttempt.objects.pending().exists()


def test_a_review_that_was_closed_at_stripe_is_not_approved(in_review, stripe):
    call_stripe(stripe, "POST", f"reviews/{in_review.stripe_id}/approve")

    with pytest.raises(ReviewClosed, match="has been closed at Stripe: approved"):
        approve_review(review_id=in_review.stripe_id, origin=STAFF)

    assert not OrderPayment.objects.get().needs_review
    with pytest.raises(ReviewClosed, match="closed before"):
        approve_review(review_id=in_review.stripe_id, origin=STAFF)


def test_a_review_that_was_closed_while_events_were_lost_is_closed_by_the_sweep(in_review, stripe):
    """Stripe's list shows open reviews only."""
    call_stripe(stripe, "POST", f"reviews/{in_review.stripe_id}/approve")

    assert sweep().objects["Radar reviews"] == 1
    in_review.refresh_from_db()
    assert not in_review.is_open
    assert not ReviewItem.objects.open().exists()


def test_a_refund_as_fraudulent_closes_the_review(in_review, office, order, webhooks):
    assert answer(office.refund(order, {"reason": "fraudulent"}))[0] == 200
    webhooks()

    in_review.refresh_from_db()
    assert (in_review.is_open, in_review.reason) == (False, "refunded_as_fraud")
    assert not ReviewItem.objects.open().exists()


# --- keys without the permission ----------------------------------------------------------------


def test_a_key_that_may_not_list_radars_objects_leaves_them_out(
    pay_order, stripe, configure, capsys
):
    pay_order("pm_card_visa")
    key = "rk_test_" + "a" * 24
    granted = ("payment_intent", "refund", "dispute", "charge")
    stripe.restrict_key(key, *(f"rak_{kind}_write" for kind in granted))
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": key})

    report = sweep()

    assert report.problems == []
