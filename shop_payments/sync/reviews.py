"""Sync Radar reviews: a rule, or staff in Stripe's dashboard, has marked a payment for review.

A review moves no money. It is closed by an approval, a refund, a dispute or a cancellation.

See: https://docs.stripe.com/radar/reviews and https://docs.stripe.com/api/radar/reviews/object
(checked 2026-11)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop_payments.gateway import get_gateway
from shop_payments.ledger.descriptions import humanize
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, close_review, open_review
from shop_payments.models import PaymentIntent, RadarReview, ReviewItem
from shop_payments.sync.base import ObjectType

if TYPE_CHECKING:
    from shop_payments.gateway.radar import ReviewResult

_RADAR_REVIEW = ReviewItem.Reason.RADAR_REVIEW


def _find_review(locked: LockedPayment, result: ReviewResult) -> RadarReview | None:
    return RadarReview.objects.filter(stripe_id=result.id).first()


def apply_review(
    locked: LockedPayment,
    intent: PaymentIntent,
    row: RadarReview | None,
    result: ReviewResult,
    *,
    origin: Origin,
) -> None:
    """Update or insert a review's row, and open or close its review item."""
    if row is not None and (_review_agrees(row, result) or not row.is_open):
        return  # Stripe never opens a closed review again
    if row is None:
        row = RadarReview(
            order_payment=locked.payment,
            payment_intent=intent,
            stripe_id=result.id,
            livemode=result.livemode,
            stripe_created_at=result.created_at,
        )
    row.is_open, row.reason = result.is_open, result.reason[:64]
    row.version += 1
    row.save()
    if row.is_open:
        detail = f"Stripe Radar asks for a review of this payment ({humanize(row.reason)})"
        open_review(locked, intent, _RADAR_REVIEW, detail, origin=origin, subject=row.stripe_id)
    else:
        note = f"Stripe: {humanize(row.reason)}"
        close_review(locked, intent, _RADAR_REVIEW, row.stripe_id, note)


def _review_agrees(row: RadarReview, result: ReviewResult) -> bool:
    return (row.is_open, row.reason) == (result.is_open, result.reason[:64])


REVIEWS: ObjectType[RadarReview, ReviewResult] = ObjectType(
    singular="Radar review",
    plural="Radar reviews",
    events=("review.",),
    list_of=lambda intent_id: get_gateway().list_reviews(intent_id),
    page=lambda **span: get_gateway().page_of_reviews(**span),
    intent_of=lambda review_id: get_gateway().intent_of_review(review_id),
    rows=RadarReview.objects.all,
    unsettled=lambda: RadarReview.objects.filter(is_open=True),
    find=_find_review,
    apply=apply_review,
    agrees=_review_agrees,
    is_optional=True,
    lists_open_only=True,
)
