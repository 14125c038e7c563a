"""Give up a refund whose outcome is unknown, so that its amount is free again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from shop_payments.exceptions import RefundInProgress
from shop_payments.gateway import assert_no_transaction
from shop_payments.ledger.facts import Origin
from shop_payments.lifecycle import RefundStatus
from shop_payments.models import Refund, StripeAttempt
from shop_payments.models.sentences import GIVEN_UP
from shop_payments.models.words import humanize
from shop_payments.outbox.refund_operations import refund_of
from shop_payments.outbox.refunds import IN_PROGRESS
from shop_payments.outbox.sender import end_attempt


def give_up_refund(*, refund_pk: Any, reason: str, origin: Origin) -> Refund:
    """Give up an unresolved refund, because staff say that it does not exist.

    Staff have looked for it in Stripe's dashboard. If it appears later nevertheless, it is synced,
    and the order's balance changes with it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        Refund.DoesNotExist: there is no such refund.
        RefundInProgress: it was sent a moment ago, or its outcome is known.
        ValueError: no reason.
    """
    if not reason.strip():
        raise ValueError("giving a refund up needs a reason")
    assert_no_transaction()
    refund = Refund.objects.select_related("attempt", "order_payment").get(pk=refund_pk)
    attempt = refund.attempt
    if refund.status != RefundStatus.REQUESTED or attempt is None:
        raise RefundInProgress(f"This refund is {humanize(refund.status)}, not unresolved.")
    if attempt.is_acquired(within=_JUST_SENT, now=timezone.now()):
        raise RefundInProgress(IN_PROGRESS)
    why = f"{GIVEN_UP}: {reason.strip()}"
    locked = end_attempt(attempt, StripeAttempt.Outcome.ABANDONED, why=why, origin=origin)
    assert locked is not None
    return refund_of(locked, attempt)


_JUST_SENT = timedelta(minutes=2)
"""A request that was sent so recently may still be answered."""
