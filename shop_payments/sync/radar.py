"""Sync Radar's early fraud warnings and reviews. Neither moves money; both ask staff.

Early fraud warning: the card's issuer suspects fraud, and a dispute is likely. Staff can refund the
payment before it is disputed. Stripe calls a warning actionable while the payment is neither
disputed nor fully refunded.

Review: a rule, or staff in Stripe's dashboard, has marked a payment for review. It is closed by an
approval, a refund, a dispute or a cancellation.

See: https://docs.stripe.com/disputes/measuring#early-fraud-warnings,
https://docs.stripe.com/api/radar/early_fraud_warnings/object, https://docs.stripe.com/radar/reviews
and https://docs.stripe.com/api/radar/reviews/object (checked 2026-11)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop_payments.gateway import get_gateway
from shop_payments.ledger.payments import LockedPayment, close_review, open_review
from shop_payments.models import EarlyFraudWarning, PaymentIntent, RadarReview, ReviewItem
from shop_payments.sync.base import ObjectType

if TYPE_CHECKING:
    from shop_payments.gateway.radar import EarlyFraudWarningResult, ReviewResult


def _values_of_new(
    locked: LockedPayment, intent: PaymentIntent, result: EarlyFraudWarningResult | ReviewResult
) -> dict[str, Any]:
    """Return the values of a new row that never change."""
    return {
        "order_payment": locked.payment,
        "payment_intent": intent,
        "stripe_id": result.id,
        "livemode": result.livemode,
        "stripe_created_at": result.created_at,
    }


def _save(
    locked: LockedPayment,
    intent: PaymentIntent,
    row: EarlyFraudWarning | RadarReview,
    reason: ReviewItem.Reason,
    *,
    asks: bool,
    figures: dict[str, Any],
    why_closed: dict[str, str],
) -> None:
    """Save a changed row. If it ``asks`` staff, open its review item, otherwise close it."""
    row.version += 1
    row.save()
    if asks:
        open_review(locked, intent, reason, subject=row.stripe_id, **figures)
    else:
        close_review(locked, intent, reason, row.stripe_id, **why_closed)


# --- early fraud warnings -----------------------------------------------------------------------


def _apply_warning(
    locked: LockedPayment,
    intent: PaymentIntent,
    row: EarlyFraudWarning | None,
    result: EarlyFraudWarningResult,
) -> None:
    if row is None:
        row = EarlyFraudWarning(**_values_of_new(locked, intent, result))
    elif _warning_agrees(row, result):
        return
    row.actionable, row.fraud_type = result.actionable, result.fraud_type[:64]
    _save(
        locked,
        intent,
        row,
        ReviewItem.Reason.FRAUD_WARNING,
        asks=row.actionable,
        figures={"fraud_type": row.fraud_type},
        why_closed={"sentence": "warning_settled"},
    )


def _warning_agrees(row: EarlyFraudWarning, result: EarlyFraudWarningResult) -> bool:
    return (row.actionable, row.fraud_type) == (result.actionable, result.fraud_type[:64])


EARLY_FRAUD_WARNINGS: ObjectType[EarlyFraudWarning, EarlyFraudWarningResult] = ObjectType(
    singular="early fraud warning",
    plural="early fraud warnings",
    events=("radar.early_fraud_warning.",),
    listed_events=("radar.early_fraud_warning.created", "radar.early_fraud_warning.updated"),
    list_of=lambda intent_id: get_gateway().list_early_fraud_warnings(intent_id),
    page=lambda **span: get_gateway().page_of_early_fraud_warnings(**span),
    intent_of=lambda warning_id: get_gateway().intent_of_early_fraud_warning(warning_id),
    rows=EarlyFraudWarning.objects.all,
    unsettled=lambda: EarlyFraudWarning.objects.filter(actionable=True),
    find=lambda locked, result: EarlyFraudWarning.objects.filter(stripe_id=result.id).first(),
    apply=_apply_warning,
    agrees=_warning_agrees,
    is_optional=True,
)


# --- reviews ------------------------------------------------------------------------------------


def apply_review(
    locked: LockedPayment, intent: PaymentIntent, row: RadarReview | None, result: ReviewResult
) -> None:
    """Update or insert a review's row, and open or close its review item."""
    if row is None:
        row = RadarReview(**_values_of_new(locked, intent, result))
    elif _review_agrees(row, result) or not row.is_open:
        return  # Stripe never opens a closed review again
    row.is_open, row.reason = result.is_open, result.reason[:64]
    _save(
        locked,
        intent,
        row,
        ReviewItem.Reason.RADAR_REVIEW,
        asks=row.is_open,
        figures={"review_reason": row.reason},
        why_closed={"sentence": "status_at_stripe", "status": row.reason},
    )


def _review_agrees(row: RadarReview, result: ReviewResult) -> bool:
    return (row.is_open, row.reason) == (result.is_open, result.reason[:64])


REVIEWS: ObjectType[RadarReview, ReviewResult] = ObjectType(
    singular="Radar review",
    plural="Radar reviews",
    events=("review.",),
    listed_events=("review.opened", "review.closed"),
    list_of=lambda intent_id: get_gateway().list_reviews(intent_id),
    page=lambda **span: get_gateway().page_of_reviews(**span),
    intent_of=lambda review_id: get_gateway().intent_of_review(review_id),
    rows=RadarReview.objects.all,
    unsettled=lambda: RadarReview.objects.filter(is_open=True),
    find=lambda locked, result: RadarReview.objects.filter(stripe_id=result.id).first(),
    apply=apply_review,
    agrees=_review_agrees,
    is_optional=True,
    # An open review that the list does not show was closed, so it is fetched.
    lists_open_only=True,
)
