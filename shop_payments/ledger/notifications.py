"""Notifications that the host's code does not accept: staff are asked, and can skip them."""

from __future__ import annotations

from uuid import UUID

from shop_payments.gateway import assert_no_transaction
from shop_payments.ledger.facts import Origin, dispatch_waiting
from shop_payments.ledger.payments import LockedPayment, close_items, open_review
from shop_payments.ledger.units import change_payment
from shop_payments.models import FactKind, PaymentHistory, ReviewItem

FAILURES_BEFORE_REVIEW = 3
"""Failed notifications after which staff are asked to look."""

_UNDELIVERED = ReviewItem.Reason.NOTIFICATION_FAILED


def flag_undelivered(fact: PaymentHistory, *, origin: Origin) -> None:
    """Ask staff to look at a notification that keeps failing, since later ones wait for it."""
    if fact.dispatch_failures < FAILURES_BEFORE_REVIEW:
        return

    def flag(locked: LockedPayment) -> None:
        open_review(
            locked,
            fact.payment_intent,
            _UNDELIVERED,
            subject=str(fact.fact_id),
            notifies=fact.kind != FactKind.REVIEW_NEEDED,  # the same receiver would refuse it
            fact_kind=fact.kind,
            failures=fact.dispatch_failures,
        )

    change_payment(flag, origin=origin, pk=fact.order_payment_id)


def close_delivered(*, origin: Origin) -> None:
    """Close the review items of notifications that have been accepted since."""
    for item in ReviewItem.objects.open().filter(reason=_UNDELIVERED):
        waiting = PaymentHistory.objects.undispatched().filter(fact_id=item.subject)
        if not waiting.exists():

            def close(locked: LockedPayment, pk: int = item.pk) -> None:
                close_items(locked, {"sentence": "notification_accepted"}, pk=pk)

            change_payment(close, origin=origin, pk=item.order_payment_id)


def skip_notification(*, fact_id: UUID, reason: str, origin: Origin) -> bool:
    """Skip a notification, so that later ones can be sent; return whether it was still waiting.

    The shop is never notified of this fact: staff have done by hand what its code would have done.

    Raises:
        TransactionOpenError: called inside a database transaction.
        PaymentHistory.DoesNotExist: no such fact.
        ValueError: no reason.
    """
    if not reason.strip():
        raise ValueError("skipping a notification needs a reason")
    assert_no_transaction()
    fact = PaymentHistory.objects.select_related("payment_intent").get(fact_id=fact_id)

    def skip(locked: LockedPayment) -> bool:
        if not PaymentHistory.objects.skip_dispatch(fact, by=origin.actor):
            return False
        note = reason.strip()
        figures = {"fact_id": str(fact.fact_id), "fact_kind": fact.kind, "note": note[:300]}
        locked.add_facts(fact.payment_intent, [(FactKind.NOTIFICATION_SKIPPED, figures)])
        why = {"sentence": "skipped", "note": note[:500]}
        close_items(locked, why, subject=str(fact.fact_id))
        return True

    was_waiting = bool(change_payment(skip, origin=origin, pk=fact.order_payment_id).value)
    dispatch_waiting(fact.order_payment_id)  # later facts waited for this one
    return was_waiting
