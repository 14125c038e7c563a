"""An order's payment under its lock, with all of its rows.

Note [Lock order]
~~~~~~~~~~~~~~~~~
Rows are locked in this order, so there is no circle to wait in:

1. The shop's order, in a transaction of the shop or of the admin that changes the order and
   cancels its payment with it. No service of ours locks it.
2. The ``OrderPayment``, one in a transaction.
3. What belongs to that payment, in any order: the payment's lock keeps others out.

Code that writes anything of a payment locks its row first, and reads the rows that belong to it
afterwards: what is read under the lock is as new as the lock. A statement that is its own
transaction and writes one row (an attempt claimed, an event or a fact noted) has nothing in its
hand while it waits. The purge locks many payments and events, but only those that are free
(SKIP LOCKED), so it waits for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.utils import timezone

from shop_payments.balance import Balance, balance_of
from shop_payments.exceptions import OrderUnreadable
from shop_payments.ledger.facts import Origin, build_fact
from shop_payments.ledger.observations import IntentMoney, Rows, counts, money_of, observe
from shop_payments.ledger.transactions import run_short
from shop_payments.lifecycle import DisputeState, gravest_dispute
from shop_payments.models import (
    Dispute,
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
)
from shop_payments.models.review import SUGGESTIONS
from shop_payments.orders import OrderTerms

Fact = tuple[FactKind, dict[str, Any]]
"""What happened, and its figures; ``detail`` is for people."""


@dataclass
class LockedPayment:
    """An order's payment under its lock, with all of its rows and what is to be saved with it.

    Rows and facts are collected and written once, by :meth:`flush`, at the end of the transaction.
    """

    payment: OrderPayment
    intents: list[PaymentIntent]
    refunds: list[Refund] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    entries: list[StaffEntry] = field(default_factory=list)
    facts: list[PaymentHistory] = field(default_factory=list)
    has_changed: bool = False
    """Whether something was written that the payment's state may follow from."""

    needs_evaluation: bool = False
    """Whether money has moved."""

    needs_order: bool = False
    """Whether the order has to be read for that, and not only what was last seen of it."""

    terms: OrderTerms | None = None
    """What the order says, once it was read in this transaction."""

    order_error: OrderUnreadable | None = None
    """Why the order could not be read, where that was tried."""

    has_counted_failure: bool = False
    """Whether that is counted in ``failed_reads``."""

    others_wait: bool = False
    """Whether earlier facts of the payment have not been dispatched yet."""

    needs_follow_up: bool = False
    """Whether something has to be done at Stripe after the commit: see ``follow_up.py``."""

    is_new: bool = False
    """Whether the payment was inserted in this unit of work."""

    follows_up: bool = True
    """Whether this unit of work does so; not if it is about to send something itself."""

    saves_terms: bool = True
    """Whether a new total alone is worth a statement; not if the order is read again anyway."""

    request_id: str = ""
    """The request to Stripe that this unit of work follows from, for the facts derived from it."""

    def __post_init__(self) -> None:
        self._dirty: list[Model] = []
        self._saved_facts = 0
        self._before = _values(self.payment)
        self.changed_at: datetime | None = self.payment.updated_at
        """When the payment was last saved before this unit of work."""

    # --- finding ---

    def intent(self, stripe_id: str) -> PaymentIntent | None:
        """Return the row of this intent."""
        return next((row for row in self.intents if row.stripe_id == stripe_id), None)

    @property
    def open_intent(self) -> PaymentIntent | None:
        """The one intent that may still take money."""
        return next((row for row in self.intents if row.is_open), None)

    def counts(self, intent: PaymentIntent) -> bool:
        """Whether the intent's money counts for the order."""
        return counts(self.payment, intent)

    def refund(self, stripe_id: str) -> Refund | None:
        """Return the row of this refund."""
        return next((row for row in self.refunds if row.stripe_id == stripe_id), None)

    def dispute(self, stripe_id: str) -> Dispute | None:
        """Return the row of this dispute."""
        return next((row for row in self.disputes if row.stripe_id == stripe_id), None)

    # --- computing ---

    @property
    def rows(self) -> Rows:
        """All rows, for reading."""
        return Rows(self.payment, self.intents, self.refunds, self.disputes, self.entries)

    def balance(self) -> Balance:
        """Compute the balance from the rows as they are now, and the order as last seen."""
        return balance_of(observe(self.rows))

    def money_of(self, intent: PaymentIntent) -> IntentMoney:
        """Return where the money of ``intent`` is."""
        return money_of(intent, self.refunds, self.disputes, self.entries)

    def dispute_state_of(self, intent: PaymentIntent) -> DisputeState:
        """Return the state of the gravest dispute of ``intent``."""
        return gravest_dispute(
            row.status for row in self.disputes if row.payment_intent_id == intent.pk
        )

    # --- writing ---

    def save_later(self, row: Model) -> None:
        """Have a row of this payment saved with it, once."""
        if not any(row is each for each in self._dirty):
            self._dirty.append(row)

    def add_facts(
        self,
        row: PaymentIntent | None,
        facts: Iterable[Fact],
        *,
        origin: Origin,
        request_id: str = "",
    ) -> None:
        """Add facts about ``row`` to the history; the host is notified after the commit."""
        self.request_id = request_id or self.request_id
        self.facts += [
            build_fact(
                kind,
                order_payment=self.payment,
                payment_intent=row,
                origin=origin,
                request_id=self.request_id,
                **data,
            )
            for kind, data in facts
        ]

    def insert(self) -> None:
        """Insert the payment itself, of which there was no row yet.

        Raises:
            IntegrityError: another request has inserted it first.
        """
        self.payment.save(force_insert=True)
        self.is_new = True
        self._before = _values(self.payment)

    def flush(self) -> None:
        """Write what was collected: intents, the payment if it has changed, and the facts.

        Raises:
            IntegrityError: the order was paid before (constraint ``..._order_paid_once``).
        """
        for row in self._dirty:
            row.save()
        self._dirty.clear()
        self.payment.has_refunds_or_disputes |= bool(self.refunds or self.disputes)
        self.payment.has_staff_entries |= bool(self.entries)
        if self._is_worth_saving():
            self.payment.save()
            self._before = _values(self.payment)
        new = self.facts[self._saved_facts :]
        if new:
            PaymentHistory.objects.bulk_create(new)
            self._saved_facts = len(self.facts)

    def _is_worth_saving(self) -> bool:
        now, before = _values(self.payment), self._before
        changed = {name for name, value in now.items() if before[name] != value}
        is_paid = any(row.amount_received for row in self.intents)
        if not (self.saves_terms or is_paid or self.needs_follow_up):
            changed -= _TERMS
        return bool(changed)


_TERMS = frozenset({"total", "currency", "is_payable", "amount_owed", "amount_outstanding"})
_BOOKKEEPING = frozenset({"order_seen_at", "updated_at"})
"""Fields whose change alone is not worth a statement."""


def _values(payment: OrderPayment) -> dict[str, Any]:
    return {
        each.attname: getattr(payment, each.attname)
        for each in payment._meta.concrete_fields
        if each.attname not in _BOOKKEEPING
    }


def is_payment_begun(order_pk: Any) -> bool:
    """Tell whether the order has a payment, and wait for one that is just being inserted.

    A row that is not committed yet cannot be seen; the unique constraint waits for it.
    """

    def look() -> bool:
        _payment, is_none = OrderPayment.objects.get_or_create(order_id=order_pk)
        if is_none:
            transaction.set_rollback(True)
        return not is_none

    return run_short(look)


def leading_intent(intents: Sequence[PaymentIntent]) -> PaymentIntent | None:
    """Return the intent to speak of: the open one, else the newest with money, else the newest.

    ``intents`` are one payment's, oldest first.
    """
    return max(
        intents,
        key=lambda row: (row.is_open, row.holds_money, row.pk),
        default=None,
    )


def find_and_lock_payment(**lookup: Any) -> LockedPayment | None:
    """Lock the payment that ``lookup`` finds and read its rows; None where there is none.

    To be called first in a transaction. See Note [Lock order].
    """
    waiting = _undispatched().filter(order_payment=OuterRef("pk"))
    payments = OrderPayment.objects.locked().annotate(others_wait=Exists(waiting))
    payment = payments.filter(**lookup).first()
    return None if payment is None else read_rows(payment)


def read_rows(payment: OrderPayment, intents: list[PaymentIntent] | None = None) -> LockedPayment:
    """Read all rows of a payment; the caller has locked it, or only wants to look at them.

    ``intents`` are those that the caller has read already, oldest first.
    """
    if intents is None:
        waiting = _undispatched().filter(order_payment=payment)
        rows = payment.payment_intents.annotate(others_wait=Exists(waiting))
        intents = list(rows.order_by("pk"))
    for intent in intents:
        intent.order_payment = payment
    locked = LockedPayment(payment, intents)
    locked.others_wait = _others_wait(payment, intents)
    if payment.has_refunds_or_disputes:
        locked.refunds += Refund.objects.of_intents(intents).select_related("attempt")
        by_pk = {intent.pk: intent for intent in intents}
        for refund in locked.refunds:
            refund.payment_intent = by_pk[refund.payment_intent_id]
        locked.disputes += Dispute.objects.of_intents(intents)
    if payment.has_staff_entries:
        locked.entries += payment.staff_entries.select_related("capture").order_by("pk")
    return locked


def _undispatched() -> QuerySet[PaymentHistory]:
    return PaymentHistory.objects.undispatched().order_by()


def _others_wait(payment: OrderPayment, intents: Sequence[PaymentIntent]) -> bool:
    """Whether facts of the payment wait, without another statement unless there is a reason.

    What the statement that locks reads of other tables is as old as its snapshot: on PostgreSQL it
    misses the facts of a process that has just held the lock. So the intents, read under the lock,
    say it, too. Where there are none, the only facts are those of an item that is in review.
    """
    if any(getattr(row, "others_wait", False) for row in (payment, *intents)):
        return True
    if intents or not payment.needs_review:
        return False
    return _undispatched().filter(order_payment=payment).exists()


def lock_payment(pk: int) -> LockedPayment:
    """Lock a payment that exists: attempts and intents PROTECT theirs.

    Raises:
        OrderPayment.DoesNotExist: somebody deleted it by hand.
    """
    locked = find_and_lock_payment(pk=pk)
    if locked is None:
        raise OrderPayment.DoesNotExist(f"order payment {pk}")
    return locked


# --- review -------------------------------------------------------------------------------------


def open_review(
    locked: LockedPayment,
    row: PaymentIntent | None,
    reason: ReviewItem.Reason,
    detail: str,
    *,
    origin: Origin,
    subject: str = "",
    notifies: bool = True,
    **figures: Any,
) -> None:
    """Ask for somebody's attention, once for each object and reason.

    Without ``notifies`` the host is not notified of it.

    A dispute is asked about again when it has become one again: what staff or the bank had
    decided before is not what has to be decided now.
    """
    about: dict[str, Any] = {
        "order_payment": locked.payment,
        "payment_intent": row,
        "reason": reason,
        "subject": subject,
    }
    data = {"detail": detail, "reason": str(reason), "subject": subject, **figures}
    question: dict[str, Any] = {
        "detail": detail[:500],
        "suggested_action": SUGGESTIONS[reason],
        "data": data,
    }
    if reason == ReviewItem.Reason.DISPUTED:
        ReviewItem.objects.update_or_create(**about, defaults={**question, **reopened()})
        is_new = True
    else:
        _item, is_new = ReviewItem.objects.get_or_create(**about, defaults=question)
    if is_new:
        locked.payment.needs_review = True
        if notifies:
            locked.add_facts(row, [(FactKind.REVIEW_NEEDED, data)], origin=origin)


def reopened() -> dict[str, Any]:
    """Return the values of an item that is open (again)."""
    return {
        "closed_at": None,
        "closed_by": None,
        "closing_note": "",
        "closed_itself": False,
        "opened_at": timezone.now(),
    }


def close_review(
    locked: LockedPayment, row: PaymentIntent, reason: ReviewItem.Reason, subject: str, note: str
) -> None:
    """Close an item whose cause is gone."""
    if locked.payment.needs_review:
        close_items(locked, note, payment_intent=row, reason=reason, subject=subject)


def close_items(locked: LockedPayment, note: str, *, by: Any = None, **lookup: Any) -> bool:
    """Close the open items of the payment that ``lookup`` finds; tell whether there were any.

    ``by`` is the member of staff; without one, the items close themselves. The payment needs no
    review where nothing else is open.
    """
    items = locked.payment.review_items.open()
    closed = items.filter(**lookup).update(
        closed_at=timezone.now(),
        closing_note=note[:500],
        closed_by=by,
        closed_itself=by is None,
    )
    if closed and not items.exists():
        locked.payment.needs_review = False
    if closed and locked.payment.has_unknown_intent:
        unknown = items.filter(reason=ReviewItem.Reason.UNKNOWN_INTENT)
        locked.payment.has_unknown_intent = unknown.exists()
        locked.needs_order = True  # the order may ask for money again
    return bool(closed)
