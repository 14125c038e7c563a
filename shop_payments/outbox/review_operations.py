"""Approve Radar reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_noop

from shop_payments.exceptions import GatewayError, GatewayInvalidRequest, Message, ReviewClosed
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.models import RadarReview, StripeAttempt
from shop_payments.outbox.operations import Operation
from shop_payments.sync.radar import REVIEWS, apply_review

if TYPE_CHECKING:
    from shop_payments.gateway.radar import ReviewResult


def _approve(attempt: StripeAttempt, key: str) -> ReviewResult:
    return get_gateway().approve_review(attempt.target, idempotency_key=key)


def _find_approval(attempt: StripeAttempt) -> None:
    """Return None: the next sync of the review shows an approval whose answer was lost."""


def _apply_approved(locked: LockedPayment, attempt: StripeAttempt, result: ReviewResult) -> bool:
    attempt.finish(
        StripeAttempt.Outcome.SUCCEEDED,
        stripe_object_id=result.id,
        request_id=result.request_id[:255],
        http_status=200,
    )
    row = _row_of(attempt)
    apply_review(locked, row.payment_intent, row, result)
    return True


def _row_of(attempt: StripeAttempt) -> RadarReview:
    return RadarReview.objects.select_related("payment_intent").get(stripe_id=attempt.target)


def _end_approval(locked: LockedPayment, attempt: StripeAttempt, why: str) -> None:
    """Do nothing: the review stays as it is."""


def _explain_approval(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool:
    """Sync the review, which may have been closed at Stripe.

    Raises:
        ReviewClosed: it has been closed.
    """
    if isinstance(error, GatewayInvalidRequest):
        REVIEWS.sync(_row_of(attempt).payment_intent, origin=origin)
        row = _row_of(attempt)
        if not row.is_open:
            raise ReviewClosed(
                Message(
                    gettext_noop("The review has been closed at Stripe: %(status)s."),
                    status=row.reason,
                )
            ) from None
    return False


APPROVE_REVIEW: Operation[ReviewResult] = Operation(
    call=_approve,
    find=_find_approval,
    apply=_apply_approved,
    end=_end_approval,
    explain=_explain_approval,
    missing_statuses=frozenset({404}),
)
