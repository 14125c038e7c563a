"""Sync Radar reviews: a rule, or a person in Stripe's dashboard, wants a payment looked at.

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

_REASON = ReviewItem.Reason.RADAR_REVIEW


def _find(locked: LockedPayment, result: ReviewResult) -> RadarReview | None:
    return RadarReview.objects.filter(stripe_id=result.id).first()


def apply_review(
    locked: LockedPayment,
    intent: PaymentIntent,
    row: RadarReview | None,
    result: ReviewResult,
    *,
    origin: Origin,
) -> None:
    """Bring a review's row to what Stripe says, or insert it, and open or close its review item."""
    if row is not None and (_agrees(row, result) or not row.is_open):
        return  # a closed review is never opened again
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
        detail = f"Stripe Radar wants this payment reviewed ({humanize(row.reason)})"
        open_review(locked, intent, _REASON, detail, origin=origin, subject=row.stripe_id)
    else:
        close_review(locked, intent, _REASON, row.stripe_id, f"Stripe: {humanize(row.reason)}")


def _agrees(row: RadarReview, result: ReviewResult) -> bool:
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
    find=_find,
    apply=apply_review,
    agrees=_agrees,
    is_optional=True,
    lists_open_only=True,
)
