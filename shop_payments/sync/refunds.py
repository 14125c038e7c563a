"""Apply what Stripe says about refunds to their rows, wherever the refunds were made.

A refund made in Stripe's dashboard is found by listing the refunds of its intent. All of them are
listed, because the "latest refund" of an event or a charge may not be the one that changed.

Note [Requests at Stripe]
~~~~~~~~~~~~~~~~~~~~~~~~~
After a backup was restored, Stripe has refunds that the database does not have. Their metadata
contains a digest of the order's id and the caller's key. The row that is inserted for such a refund
stores the digest instead of the key, so that a repeated request is recognized and not sent again.
Stripe never gets the key itself.

See: https://docs.stripe.com/refunds (checked 2026-11)
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from shop_payments.gateway import get_gateway
from shop_payments.ledger.evaluation import AUTOMATIC_KEY, record_outflow
from shop_payments.ledger.payments import LockedPayment, open_review
from shop_payments.lifecycle import SETTLED_REFUND_STATUSES, RefundStatus, can_observe_refund
from shop_payments.models import FactKind, PaymentIntent, Refund, ReviewItem, StripeAttempt
from shop_payments.sync.base import ObjectType

if TYPE_CHECKING:
    from shop_payments.gateway import RefundResult


_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_of_request(order_id: object, key: str) -> str:
    """Return the digest of a request for a refund's metadata, as hexadecimal SHA-256."""
    return hashlib.sha256(f"{order_id}:{key}".encode()).hexdigest()


def mirrored_key(order_id: object, key: str) -> str:
    """Return the request key of a refund found at Stripe, which only has the request's digest."""
    return f"sha256:{digest_of_request(order_id, key)}"


def _key_of_mirrored(locked: LockedPayment, intent: PaymentIntent, result: RefundResult) -> str:
    """Return the request key of a refund that has no row yet; empty if its metadata names none.

    See Note [Requests at Stripe].
    """
    digest = result.metadata.get("request", "")
    if not _DIGEST.fullmatch(digest):
        return ""
    automatic = f"{AUTOMATIC_KEY} {intent.stripe_id}"
    is_automatic = digest == digest_of_request(locked.payment.order_id, automatic)
    key = automatic if is_automatic else f"sha256:{digest}"
    # Metadata can be copied in Stripe's dashboard, but a key has only one refund of an intent.
    is_taken = any(
        row.request_key == key and row.payment_intent_id == intent.pk for row in locked.refunds
    )
    return "" if is_taken else key


def save_refund(locked: LockedPayment, row: Refund) -> None:
    """Save a changed refund with its payment, and request an evaluation."""
    row.version += 1
    locked.save_later(row)
    locked.needs_evaluation = True


def _row_of(locked: LockedPayment, result: RefundResult) -> Refund | None:
    """Return the row of a refund, by Stripe's id or by the attempt that created it."""
    # If the answer was lost, the row has no id of Stripe yet.
    made_here = result.metadata.get("attempt_id")
    return locked.refund(result.id) or next(
        (row for row in locked.refunds if not row.stripe_id and str(row.pk) == made_here), None
    )


def apply_refund(
    locked: LockedPayment, intent: PaymentIntent, row: Refund | None, result: RefundResult
) -> None:
    """Update or insert a refund's row, with history and review items.

    The caller has made sure that ``result`` is not older than the row.
    """
    if row is None:
        row = Refund(
            order_payment=locked.payment,
            payment_intent=intent,
            request_key=_key_of_mirrored(locked, intent, result),
            amount=result.amount,
            currency=result.currency,
            # Stripe's refunds have no livemode of their own.
            # See: https://docs.stripe.com/api/refunds/object (checked 2026-11)
            livemode=intent.livemode,
            created_at=timezone.now(),
        )
        record_outflow(locked, row, intent)
        locked.refunds.append(row)
    moves = row.status != result.status
    if moves and row.stripe_id and not can_observe_refund(row.status, result.status):
        return  # an outdated message
    before, known_as = _refund_values(row), row.stripe_id
    row.status, row.stripe_id = result.status, result.id
    row.amount, row.currency = result.amount, result.currency
    row.reason = result.reason[:64]
    row.failure_reason = result.failure_reason[:255]
    row.stripe_created_at = result.created_at
    # Its id is seen for the first time, in the answer or in a list: the attempt had an effect.
    if row.attempt_id is not None and known_as != result.id:
        _finish_attempt(row, result)
    if _refund_values(row) == before:
        return
    save_refund(locked, row)
    # One of ours was saved a moment ago, when its order was read.
    locked.needs_order |= row.attempt_id is None or bool(known_as)
    if moves:
        _record_move(locked, intent, row, request_id=result.request_id)


def _refund_values(row: Refund) -> tuple[str, ...]:
    return row.status, row.stripe_id, row.reason, row.failure_reason


def _refund_agrees(row: Refund, result: RefundResult) -> bool:
    seen = (result.status, result.id, result.reason[:64], result.failure_reason[:255])
    return _refund_values(row) == seen


def _finish_attempt(row: Refund, result: RefundResult) -> None:
    assert row.attempt is not None
    row.attempt.finish(
        StripeAttempt.Outcome.SUCCEEDED,
        if_pending=False,
        stripe_object_id=result.id,
        request_id=result.request_id[:255],
        http_status=200,
    )


def _record_move(
    locked: LockedPayment, intent: PaymentIntent, row: Refund, *, request_id: str
) -> None:
    """Record a refund's new status. The evaluation records that counted money was refunded."""
    figures = figures_of(row)
    if row.status == RefundStatus.FAILED:
        figures["failure_reason"] = row.failure_reason
        reason = ReviewItem.Reason.REFUND_FAILED
        locked.add_facts(intent, [(FactKind.REFUND_FAILED, figures)], request_id=request_id)
        open_review(locked, intent, reason, subject=row.stripe_id, **figures)
    elif row.status != RefundStatus.SUCCEEDED or not locked.counts(intent):
        locked.add_facts(intent, [(FactKind.REFUND_CHANGED, figures)], request_id=request_id)


def figures_of(row: Refund) -> dict[str, Any]:
    """Return the figures of a fact or a review item about a refund."""
    return {
        "refund_id": str(row.pk),
        "stripe_refund_id": row.stripe_id,
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status,
        "refund_reason": row.reason,
    }


REFUNDS: ObjectType[Refund, RefundResult] = ObjectType(
    singular="refund",
    plural="refunds",
    # Also charge.refunded and charge.refund.updated: an endpoint may be subscribed to those.
    events=("refund.", "charge.refund"),
    listed_events=("refund.created", "refund.updated", "refund.failed"),
    list_of=lambda intent_id: get_gateway().list_refunds(intent_id),
    page=lambda **span: get_gateway().page_of_refunds(**span),
    intent_of=lambda refund_id: get_gateway().intent_of_refund(refund_id),
    rows=lambda: Refund.objects.exclude(stripe_id=""),
    unsettled=lambda: Refund.objects.exclude(
        status__in=[*SETTLED_REFUND_STATUSES, RefundStatus.REQUESTED]
    ),
    unsent=Refund.objects.requested,
    find=_row_of,
    apply=apply_refund,
    agrees=_refund_agrees,
)
