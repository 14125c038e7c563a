"""An order's payment under its lock, with all of its rows.

Note [Lock order]
~~~~~~~~~~~~~~~~~
Rows are locked in this order, so transactions do not wait for each other in a circle:

1. The shop's order, in a transaction of the shop or of the admin that changes the order and
   cancels its payment with it. Our services never lock it.
2. The ``OrderPayment``, one for each transaction.
3. The rows of that payment, in any order: the payment's lock keeps other processes out.

Code that writes rows of a payment locks the payment first and reads its rows afterwards, so they
are as new as the lock. A statement that is its own transaction and writes one row (an attempt
acquired, an event or a fact recorded) holds no other lock while it waits. The purge locks many
payments and events, but skips those that are locked (SKIP LOCKED), so it never waits.
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
"""The kind of fact and its figures. ``detail`` is the text that staff read."""


@dataclass
class LockedPayment:
    """An order's payment under its lock, with all of its rows and the changes to save.

    Rows and facts are collected and written once, by :meth:`flush`, at the end of the transaction.
    """

    payment: OrderPayment
    intents: list[PaymentIntent]
    refunds: list[Refund] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    entries: list[StaffEntry] = field(default_factory=list)
    facts: list[PaymentHistory] = field(default_factory=list)
    has_changed: bool = False
    """Whether rows changed from which the payment's state is derived."""

    needs_evaluation: bool = False
    """Whether money has moved."""

    needs_order: bool = False
    """Whether the evaluation must read the order again, instead of using the terms last seen."""

    terms: OrderTerms | None = None
    """The order's terms, after it was read in this transaction."""

    order_error: OrderUnreadable | None = None
    """Why reading the order failed in this transaction."""

    has_counted_failure: bool = False
    """Whether ``order_error`` is counted in ``failed_reads``."""

    others_wait: bool = False
    """Whether earlier facts of the payment have not been dispatched yet."""

    needs_follow_up: bool = False
    """Whether a follow-up at Stripe is needed after the commit: see ``follow_up.py``."""

    is_new: bool = False
    """Whether the payment was inserted in this unit of work."""

    follows_up: bool = True
    """Whether this unit of work runs follow-ups. False if the caller sends something itself."""

    saves_terms: bool = True
    """Whether a new total alone is saved. False if the order is read again anyway."""

    request_id: str = ""
    """The Stripe request that caused this change; the derived facts store it."""

    def __post_init__(self) -> None:
        self._dirty: list[Model] = []
        self._saved_facts = 0
        self._before = _values(self.payment)
        self.changed_at: datetime | None = self.payment.updated_at
        """When the payment was last saved before this unit of work."""

    # --- finding ---

    def intent(self, stripe_id: str) -> PaymentIntent | None:
        """Return the row of this intent, if there is one."""
        return next((row for row in self.intents if row.stripe_id == stripe_id), None)

    @property
    def open_intent(self) -> PaymentIntent | None:
        """The one intent that may still take money."""
        return next((row for row in self.intents if row.is_open), None)

    def counts(self, intent: PaymentIntent) -> bool:
        """Whether the intent's money counts for the order."""
        return counts(self.payment, intent)

    def refund(self, stripe_id: str) -> Refund | None:
        """Return the row of this refund, if there is one."""
        return next((row for row in self.refunds if row.stripe_id == stripe_id), None)

    def dispute(self, stripe_id: str) -> Dispute | None:
        """Return the row of this dispute, if there is one."""
        return next((row for row in self.disputes if row.stripe_id == stripe_id), None)

    # --- computing ---

    @property
    def rows(self) -> Rows:
        """All rows, for reading."""
        return Rows(self.payment, self.intents, self.refunds, self.disputes, self.entries)

    def balance(self) -> Balance:
        """Compute the balance from the rows as they are now and the terms last seen."""
        return balance_of(observe(self.rows))

    def money_of(self, intent: PaymentIntent) -> IntentMoney:
        """Return where the money of ``intent`` is now."""
        return money_of(intent, self.refunds, self.disputes, self.entries)

    def dispute_state_of(self, intent: PaymentIntent) -> DisputeState:
        """Return the state of the most serious dispute of ``intent``."""
        return gravest_dispute(
            row.status for row in self.disputes if row.payment_intent_id == intent.pk
        )

    # --- writing ---

    def save_later(self, row: Model) -> None:
        """Save a row of this payment with it, once."""
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
        # Facts that the evaluation adds later follow from the same request.
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
        """Insert the payment's own row.

        Raises:
            IntegrityError: another request has inserted it first.
        """
        self.payment.save(force_insert=True)
        self.is_new = True
        self._before = _values(self.payment)

    def flush(self) -> None:
        """Write the collected rows, the payment if it has changed, and the facts.

        Raises:
            IntegrityError: the order was paid before (constraint ``..._order_paid_once``).
        """
        for row in self._dirty:
            row.save()
        self._dirty.clear()
        # Never set back to False: these flags decide which tables the next lock reads.
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
        # While no money has come, the order is read again before anything follows from its terms.
        if not (self.saves_terms or is_paid or self.needs_follow_up):
            changed -= _TERMS
        return bool(changed)


_TERMS = frozenset({"total", "currency", "is_payable", "amount_owed", "amount_outstanding"})
_BOOKKEEPING = frozenset({"order_seen_at", "updated_at"})
"""Fields whose change alone does not cause an UPDATE."""


def _values(payment: OrderPayment) -> dict[str, Any]:
    return {
        each.attname: getattr(payment, each.attname)
        for each in payment._meta.concrete_fields
        if each.attname not in _BOOKKEEPING
    }


def is_payment_begun(order_pk: Any) -> bool:
    """Return whether the order has a payment, and wait for one that is just being inserted.

    A query does not see a row that is not committed yet. An INSERT waits for it, because of the
    unique constraint.
    """

    def look() -> bool:
        _payment, is_new = OrderPayment.objects.get_or_create(order_id=order_pk)
        if is_new:
            transaction.set_rollback(True)  # the row was only inserted to wait for another one
        return not is_new

    return run_short(look)


def leading_intent(intents: Sequence[PaymentIntent]) -> PaymentIntent | None:
    """Return the intent to show: the open one, else the newest with money, else the newest.

    ``intents`` are those of one payment, oldest first.
    """
    return max(
        intents,
        key=lambda row: (row.is_open, row.holds_money, row.pk),
        default=None,
    )


def find_and_lock_payment(**lookup: Any) -> LockedPayment | None:
    """Lock the payment that ``lookup`` finds and read its rows; None if there is none.

    Call it first in a transaction. See Note [Lock order].
    """
    # One statement locks the payment and looks for earlier facts that wait.
    waiting = _undispatched().filter(order_payment=OuterRef("pk"))
    payments = OrderPayment.objects.locked().annotate(others_wait=Exists(waiting))
    payment = payments.filter(**lookup).first()
    return None if payment is None else read_rows(payment)


def read_rows(payment: OrderPayment, intents: list[PaymentIntent] | None = None) -> LockedPayment:
    """Read all rows of a payment, which the caller has locked or only displays.

    ``intents`` are the payment's, oldest first, if the caller has read them already.
    """
    if intents is None:
        waiting = _undispatched().filter(order_payment=payment)
        rows = payment.payment_intents.annotate(others_wait=Exists(waiting))
        intents = list(rows.order_by("pk"))
    for intent in intents:
        intent.order_payment = payment  # the locked object, not a second copy
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
    """Return whether facts of the payment wait, without an extra statement in the usual cases.

    The locking statement reads other tables from its own snapshot: on PostgreSQL it misses the
    facts of the process that held the lock before. So the query of the intents, which runs under
    the lock, looks for facts, too. A payment without intents only has facts if it is in review.
    """
    if any(getattr(row, "others_wait", False) for row in (payment, *intents)):
        return True
    if intents or not payment.needs_review:
        return False
    return _undispatched().filter(order_payment=payment).exists()


def lock_payment(pk: int) -> LockedPayment:
    """Lock a payment that must exist: attempts and intents PROTECT theirs.

    Raises:
        OrderPayment.DoesNotExist: it was deleted by hand.
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
    """Open a review item, once for each object and reason.

    Without ``notifies``, the host is not notified of it.

    The item of a dispute opens again when the dispute is open again: earlier decisions of staff or
    of the bank do not apply to it.
    """
    about: dict[str, Any] = {
        "order_payment": locked.payment,
        "payment_intent": row,
        "reason": reason,
        "subject": subject,
    }
    data = {"detail": detail, "reason": str(reason), "subject": subject, **figures}
    values: dict[str, Any] = {
        "detail": detail[:500],
        "suggested_action": SUGGESTIONS[reason],
        "data": data,
    }
    if reason == ReviewItem.Reason.DISPUTED:
        ReviewItem.objects.update_or_create(**about, defaults={**values, **reopened()})
        is_new = True
    else:
        _item, is_new = ReviewItem.objects.get_or_create(**about, defaults=values)
    if is_new:
        locked.payment.needs_review = True
        if notifies:
            locked.add_facts(row, [(FactKind.REVIEW_NEEDED, data)], origin=origin)


def reopened() -> dict[str, Any]:
    """Return the field values of an open item, for one that opens again."""
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
    """Close the open items of the payment that ``lookup`` finds; return whether there were any.

    ``by`` is the member of staff. Without one, the items count as closed by the app. The payment
    needs no review any more if no other item is open.
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
        locked.needs_order = True  # the customer may be asked for money again
    return bool(closed)
