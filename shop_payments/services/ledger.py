"""An order's payment under its lock, and the one way in which its state is written.

Note [Lock order]
~~~~~~~~~~~~~~~~~
Rows are locked in this order, so there is no circle to wait in:

1. The shop's order, in a transaction of the shop or of the admin that changes the order and
   cancels its payment with it. No service of ours locks it.
2. The ``OrderPayment``, one in a transaction.
3. What belongs to that payment, in any order: the payment's lock keeps others out.

Whoever writes anything of a payment locks its row first, and reads the rows that belong to it
afterwards: what is read under the lock is as new as the lock. A statement that is its own
transaction and writes one row (an attempt claimed, an event or a fact noted) has nothing in its
hand while it waits. The purge locks many payments and events, but only those that are free
(SKIP LOCKED), so it waits for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from shop_payments.lifecycle import (
    Balance,
    DisputeState,
    PaymentStatus,
    balance_of,
    gravest_dispute,
)
from shop_payments.models import (
    Dispute,
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
)
from shop_payments.services.history import Origin, add_fact
from shop_payments.services.words import SUGGESTIONS

Fact = tuple[FactKind, dict[str, Any]]
"""What happened, and its figures; ``detail`` is for people."""


@dataclass
class LockedPayment:
    """An order's payment under its lock, with all of its rows and the facts to be told."""

    payment: OrderPayment
    intents: list[PaymentIntent]
    refunds: list[Refund] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    facts: list[PaymentHistory] = field(default_factory=list)

    def intent(self, stripe_id: str) -> PaymentIntent | None:
        """Return the row of this intent."""
        return next((row for row in self.intents if row.stripe_id == stripe_id), None)

    @property
    def open_intent(self) -> PaymentIntent | None:
        """The one intent that may still take money."""
        return next((row for row in self.intents if row.is_open), None)

    @property
    def accepted_intent(self) -> PaymentIntent | None:
        """The intent that paid the order."""
        return next((row for row in self.intents if row.has_paid), None)

    def refund(self, stripe_id: str) -> Refund | None:
        """Return the row of this refund."""
        return next((row for row in self.refunds if row.stripe_id == stripe_id), None)

    def dispute(self, stripe_id: str) -> Dispute | None:
        """Return the row of this dispute."""
        return next((row for row in self.disputes if row.stripe_id == stripe_id), None)

    def balance_of(self, intent: PaymentIntent) -> Balance:
        """Return where the money of ``intent`` is."""
        return balance_of(intent.facts(self.refunds, self.disputes))

    def dispute_state_of(self, intent: PaymentIntent) -> DisputeState:
        """Return the state of the gravest dispute of ``intent``."""
        return gravest_dispute(intent.facts(disputes=self.disputes).disputes)


def leading_intent(intents: Sequence[PaymentIntent]) -> PaymentIntent | None:
    """Return the intent to speak of: the one that paid, else the open one, else the newest.

    ``intents`` are one payment's, oldest first.
    """
    return max(
        intents,
        key=lambda row: (row.has_paid, row.is_open, row.pk),
        default=None,
    )


def find_and_lock_payment(**lookup: Any) -> LockedPayment | None:
    """Lock the payment that ``lookup`` finds and read its rows; None where there is none.

    To be called first in a transaction. See Note [Lock order].
    """
    payment = OrderPayment.objects.locked().filter(**lookup).first()
    if payment is None:
        return None
    intents = list(payment.payment_intents.order_by("pk"))
    for intent in intents:
        intent.order_payment = payment
    locked = LockedPayment(payment, intents)
    if payment.has_refunds_or_disputes:
        locked.refunds += Refund.objects.of_intents(intents).select_related("attempt")
        by_pk = {intent.pk: intent for intent in intents}
        for refund in locked.refunds:
            refund.payment_intent = by_pk[refund.payment_intent_id]
        locked.disputes += Dispute.objects.of_intents(intents)
    return locked


def lock_payment(pk: int) -> LockedPayment:
    """Lock a payment that exists: attempts and intents PROTECT theirs.

    Raises:
        OrderPayment.DoesNotExist: somebody deleted it by hand.
    """
    locked = find_and_lock_payment(pk=pk)
    if locked is None:
        raise OrderPayment.DoesNotExist(f"order payment {pk}")
    return locked


def _open_review(locked: LockedPayment, row: PaymentIntent, data: dict[str, Any]) -> bool:
    """Ask a person, once for each object and reason; tell whether this asks anew.

    A dispute is asked about again when it has become one again: what a person or the bank had
    decided before is not what has to be decided now.
    """
    reason = ReviewItem.Reason(data["reason"])
    about = {"payment_intent": row, "reason": reason, "subject": data.get("subject", "")}
    question = {
        "order_payment": locked.payment,
        "detail": data["detail"][:500],
        "suggested_action": SUGGESTIONS[reason],
        "data": data,
    }
    if reason == ReviewItem.Reason.DISPUTED:
        undecided = {"resolved_at": None, "resolved_by": None, "resolution": ""}
        anew = {**question, **undecided, "opened_at": timezone.now()}
        ReviewItem.objects.update_or_create(**about, defaults=anew)
        is_asked = True
    else:
        _item, is_asked = ReviewItem.objects.get_or_create(**about, defaults=question)
    locked.payment.needs_review = locked.payment.needs_review or is_asked
    return is_asked


def close_review(
    locked: LockedPayment, row: PaymentIntent, reason: ReviewItem.Reason, subject: str, words: str
) -> None:
    """Close what has settled itself; the payment needs no review where nothing else is open."""
    close_items(locked, words, payment_intent=row, reason=reason, subject=subject)


def close_items(locked: LockedPayment, words: str, *, by: Any = None, **lookup: Any) -> bool:
    """Close the open items of the payment that ``lookup`` finds; tell whether there were any.

    ``by`` is the user who decided. The payment needs no review where nothing else is open.
    """
    items = locked.payment.review_items.open()
    closed = items.filter(**lookup).update(
        resolved_at=timezone.now(), resolution=words[:500], resolved_by=by
    )
    if closed and not items.exists():
        locked.payment.needs_review = False
        locked.payment.save()
    return bool(closed)


_NEVER_PAID = (PaymentStatus.UNPAID, PaymentStatus.PENDING, PaymentStatus.AUTHORIZED)


def record(
    locked: LockedPayment,
    row: PaymentIntent,
    facts: Iterable[Fact],
    *,
    origin: Origin,
    request_id: str = "",
) -> None:
    """Write the facts, the review items behind them, and the payment's derived state.

    ``row`` is the intent that the facts are about. To be called under the lock, after the rows
    that have changed are saved; the facts are told with :func:`history.dispatch` after the commit.
    """
    payment = locked.payment
    before = (payment.needs_review, payment.paid_at)
    for kind, data in facts:
        if kind == FactKind.REVIEW_NEEDED and not _open_review(locked, row, data):
            continue
        fact = add_fact(
            kind,
            order_payment=payment,
            payment_intent=row,
            origin=origin,
            request_id=request_id,
            **data,
        )
        locked.facts.append(fact)
    changed = payment.refresh_state(locked.intents, locked.refunds, locked.disputes)
    if payment.status not in _NEVER_PAID and payment.paid_at is None:
        payment.paid_at = timezone.now()
    if changed or (payment.needs_review, payment.paid_at) != before:
        payment.save()
