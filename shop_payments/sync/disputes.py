"""Sync the disputes of an intent: money that a customer's bank demands back.

A dispute is decided by the banks and in Stripe's dashboard. The app stores its state, so that no
refund pays a second time, staff are asked to answer in time, and lost money is recorded.

See: https://docs.stripe.com/disputes/how-disputes-work (checked 2026-11)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from shop_payments.gateway import get_gateway
from shop_payments.ledger.evaluation import record_outflow
from shop_payments.ledger.payments import (
    Fact,
    LockedPayment,
    close_review,
    open_review,
    update_review,
)
from shop_payments.lifecycle import DECIDED_DISPUTE_STATUSES, DisputeState
from shop_payments.models import Dispute, FactKind, PaymentIntent, ReviewItem
from shop_payments.models.words import stored_moment
from shop_payments.sync.base import ObjectType

if TYPE_CHECKING:
    from shop_payments.gateway import DisputeResult

_UNDECIDED = (DisputeState.OPEN, DisputeState.INQUIRY)


def _apply_dispute(
    locked: LockedPayment, intent: PaymentIntent, row: Dispute | None, result: DisputeResult
) -> None:
    """Update or insert a dispute's row, with history and review items.

    Any status may follow any other: there are appeals, and Stripe adds statuses.
    """
    if row is None:
        row = Dispute(
            order_payment=locked.payment,
            payment_intent=intent,
            stripe_id=result.id,
            amount=result.amount,
            currency=result.currency,
            stripe_created_at=result.created_at,
            # The balance needs it before the row is saved.
            created_at=timezone.now(),
        )
        record_outflow(locked, row, intent)
        locked.disputes.append(row)
    before = _dispute_values(row)
    # None for a new row: the first status is a change, whatever it is.
    was, needed_answer = (row.state if row.status else None), row.needs_answer
    row.status = result.status
    row.amount, row.currency = result.amount, result.currency
    row.reason = result.reason[:64]
    row.evidence_due_at = result.evidence_due_at
    row.livemode = result.livemode
    row.stripe_created_at = result.created_at
    if _dispute_values(row) == before:
        return
    row.version += 1
    locked.save_later(row)
    locked.needs_order = True
    locked.add_facts(intent, _facts_of(row, before[0], was))
    reason = ReviewItem.Reason.DISPUTED
    if not row.needs_answer:
        why = {"sentence": "status_at_stripe", "status": row.status}
        close_review(locked, intent, reason, row.stripe_id, **why)
    elif was != row.state or not needed_answer:
        open_review(locked, intent, reason, subject=row.stripe_id, **_figures(row))
    else:
        update_review(locked, reason, subject=row.stripe_id, **_figures(row))


def _dispute_values(row: Dispute) -> tuple[Any, ...]:
    return row.status, row.amount, row.reason, row.evidence_due_at


def _dispute_agrees(row: Dispute, result: DisputeResult) -> bool:
    seen = (result.status, result.amount, result.reason[:64], result.evidence_due_at)
    return _dispute_values(row) == seen


def _facts_of(row: Dispute, old_status: str, was: DisputeState | None) -> list[Fact]:
    """Return the facts of a dispute that is new or has changed."""
    if row.status == old_status:
        return []
    figures = _figures(row)
    opened: Fact = (FactKind.DISPUTE_OPENED, figures)
    if row.state not in _UNDECIDED:
        closed: Fact = (FactKind.DISPUTE_CLOSED, figures)
        # A dispute that is first seen when it is closed was opened, too.
        return [opened, closed] if was is None else [closed]
    changed: Fact = (FactKind.DISPUTE_CHANGED, figures)
    if was == row.state:
        return [changed]
    return [changed if was in _UNDECIDED else opened]


def _figures(row: Dispute) -> dict[str, Any]:
    return {
        "stripe_dispute_id": row.stripe_id,
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status,
        "dispute_reason": row.reason,
        "evidence_due_at": stored_moment(row.evidence_due_at),
    }


DISPUTES: ObjectType[Dispute, DisputeResult] = ObjectType(
    singular="dispute",
    plural="disputes",
    events=("charge.dispute.",),
    listed_events=(
        *("charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"),
        *("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
    ),
    list_of=lambda intent_id: get_gateway().list_disputes(intent_id),
    page=lambda **span: get_gateway().page_of_disputes(**span),
    intent_of=lambda dispute_id: get_gateway().intent_of_dispute(dispute_id),
    rows=Dispute.objects.all,
    unsettled=lambda: Dispute.objects.exclude(status__in=DECIDED_DISPUTE_STATUSES),
    find=lambda locked, result: locked.dispute(result.id),
    apply=_apply_dispute,
    agrees=_dispute_agrees,
)
