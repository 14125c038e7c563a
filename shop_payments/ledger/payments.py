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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, router, transaction
from django.db.models import Exists, Model, QuerySet
from django.utils import timezone

from shop_payments.balance import Balance, balance_of
from shop_payments.exceptions import OrderUnreadable
from shop_payments.ledger.facts import Origin, build_fact
from shop_payments.ledger.observations import IntentMoney, Rows, counts, money_of, observe
from shop_payments.ledger.transactions import run_transaction
from shop_payments.lifecycle import DisputeState, most_serious_dispute
from shop_payments.models import (
    Dispute,
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
    StripeAttempt,
)
from shop_payments.models.sentences import Figures
from shop_payments.orders import OrderTerms
from shop_payments.prepared import PreparedQuery, insert_rows, update_row

Fact = tuple[FactKind, dict[str, Any]]
"""The kind of fact and its figures. If the kind has several sentences, ``sentence`` is the code of
one: see Note [Codes and figures] in ``models/sentences.py``."""


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

    may_have_pending: bool = True
    """Whether a write of the payment's intents may be pending."""

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

    # No default: a change must have an origin, and reading needs none.
    origin: Origin = field(init=False, repr=False, compare=False)
    """What or who causes the change. Set by the unit of work; every fact stores it."""

    def __post_init__(self) -> None:
        self._dirty: list[Model] = []
        self._saved_facts = 0
        self._before = _values(self.payment)
        self._intents_before = {id(row): _values(row) for row in self.intents}
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
        return most_serious_dispute(
            row.status for row in self.disputes if row.payment_intent_id == intent.pk
        )

    # --- writing ---

    def save_later(self, row: Model) -> None:
        """Save a row of this payment with it, once."""
        if not any(row is each for each in self._dirty):
            self._dirty.append(row)

    def add_facts(
        self, row: PaymentIntent | None, facts: Iterable[Fact], *, request_id: str = ""
    ) -> None:
        """Add facts about ``row`` to the history; the host is notified after the commit."""
        # Facts that the evaluation adds later follow from the same request.
        self.request_id = request_id or self.request_id
        self.facts += [
            build_fact(
                kind,
                order_payment=self.payment,
                payment_intent=row,
                origin=self.origin,
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
        insert_rows(self.payment)
        self.is_new = True
        self._before = _values(self.payment)

    def flush(self) -> None:
        """Write the collected rows, the payment if it has changed, and the facts.

        Raises:
            IntegrityError: the order was paid before (constraint ``..._order_paid_once``).
        """
        for row in self._dirty:
            _save_changed(row, self._intents_before.get(id(row)))
        self._dirty.clear()
        # Never set back to False: these flags decide which tables the next lock reads.
        self.payment.has_refunds_or_disputes |= bool(self.refunds or self.disputes)
        self.payment.has_staff_entries |= bool(self.entries)
        if self._is_worth_saving():
            _save_changed(self.payment, self._before)
            self._before = _values(self.payment)
        # Facts last: they refer to the rows above.
        new = self.facts[self._saved_facts :]
        if new:
            insert_rows(*new)
            self._saved_facts = len(self.facts)

    def _is_worth_saving(self) -> bool:
        changed = _changed(self.payment, self._before)
        is_paid = any(row.amount_received for row in self.intents)
        # While no money has come, the order is read again before anything follows from its terms.
        if not (self.saves_terms or is_paid or self.needs_follow_up):
            changed -= _TERMS
        return bool(changed)


_TERMS = frozenset({"total", "currency", "is_payable", "amount_owed", "amount_outstanding"})


def _values(row: Model) -> dict[str, Any]:
    """Return a row's values, to compare them later. Copying all takes less time than choosing."""
    return vars(row).copy()


def _changed(row: Model, before: dict[str, Any]) -> set[str]:
    now = vars(row)
    return {
        each.attname
        for each in row._meta.concrete_fields
        if now[each.attname] != before[each.attname]
        and each.attname != "updated_at"  # set by each save
    }


def _save_changed(row: Model, before: dict[str, Any] | None) -> None:
    """Insert a new row, or save what has changed: to write all columns takes twice as long."""
    if row._state.adding:
        insert_rows(row)
    elif before is None:
        row.save()
    else:
        update_row(row, {*_changed(row, before), "updated_at"})


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

    return run_transaction(look)


def leading_intent(intents: Sequence[PaymentIntent]) -> PaymentIntent | None:
    """Return the intent to show: the open one, else the newest with money, else the newest.

    ``intents`` are those of one payment, oldest first.
    """
    return max(
        intents,
        key=lambda row: (row.is_open, row.holds_money, row.pk),
        default=None,
    )


def find_and_lock_payment(
    *, pk: int | None = None, order_id: Any = None, intent_id: str | None = None
) -> LockedPayment | None:
    """Lock a payment and read its rows; None if there is none.

    It is found by one of: its primary key, its order's, or the id of one of its intents at Stripe.
    Call it first in a transaction. See Note [Lock order].
    """
    find, value = next(
        (find, value)
        for find, value in (
            (_LOCK_BY_INTENT, intent_id),
            (_LOCK_BY_ORDER, order_id),
            (_LOCK_BY_PK, pk),
        )
        if value is not None
    )
    found = find(value, using=router.db_for_write(OrderPayment))
    return read_rows(found[0]) if found else None


def find_payment(order_id: Any) -> OrderPayment | None:
    """Return an order's payment, without a lock; None if there is none."""
    found = _BY_ORDER(order_id, using=router.db_for_write(OrderPayment))
    return found[0] if found else None


# Not joined with the intents: to plan this takes PostgreSQL longer than both statements together.
_BY_ORDER = PreparedQuery(
    lambda order_id: OrderPayment.objects.filter(order=order_id).order_by(),
    field=lambda: OrderPayment._meta.get_field("order"),
)


def _lock_by(lookup: str, field: Callable[[], Any]) -> PreparedQuery[OrderPayment]:
    return PreparedQuery(
        lambda value: OrderPayment.objects.locked().filter(**{lookup: value}).order_by(),
        field=field,
    )


_LOCK_BY_PK = _lock_by("pk", lambda: OrderPayment._meta.pk)
_LOCK_BY_ORDER = _lock_by("order", lambda: OrderPayment._meta.get_field("order"))
_LOCK_BY_INTENT = _lock_by(
    "payment_intents__stripe_id", lambda: PaymentIntent._meta.get_field("stripe_id")
)


def _intents_of(payment_pk: int) -> QuerySet[PaymentIntent]:
    """Return a payment's intents, oldest first, and whether facts or a write of it wait.

    The same statement looks for those, because they are needed under the lock each time.
    """
    pending = StripeAttempt.objects.intent_writes().pending().filter(order_payment=payment_pk)
    waiting = _undispatched().filter(order_payment=payment_pk)
    rows = PaymentIntent.objects.filter(order_payment=payment_pk)
    return rows.annotate(others_wait=Exists(waiting), has_pending=Exists(pending)).order_by("pk")


_INTENTS_OF = PreparedQuery(_intents_of, field=lambda: OrderPayment._meta.pk)


def read_rows(payment: OrderPayment, intents: list[PaymentIntent] | None = None) -> LockedPayment:
    """Read all rows of a payment, which the caller has locked or only displays.

    ``intents`` are the payment's, oldest first, if the caller has read them already.
    """
    if intents is None:
        intents = _INTENTS_OF(payment.pk, using=payment._state.db or DEFAULT_DB_ALIAS)
    for intent in intents:
        intent.order_payment = payment  # the locked object, not a second copy
    locked = LockedPayment(payment, intents)
    locked.others_wait = _others_wait(payment, intents)
    # Without an intent, the first one may be on its way.
    locked.may_have_pending = not intents or bool(getattr(intents[0], "has_pending", True))
    # Most payments have neither, which saves the statements.
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

    The locking statement cannot look for them: it reads other tables from its own snapshot, so on
    PostgreSQL it misses the facts of the process that held the lock before. The query of the
    intents runs under the lock. A payment without intents only has facts if it is in review.
    """
    if any(getattr(row, "others_wait", False) for row in intents):
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
    *,
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
    data = data_of_item(str(reason), reason, subject, figures)
    # Other items stay closed if staff have closed them: the same object asks only once.
    if reason == ReviewItem.Reason.DISPUTED:
        ReviewItem.objects.update_or_create(**about, defaults={"data": data, **reopened()})
        is_new = True
    else:
        _item, is_new = ReviewItem.objects.get_or_create(**about, defaults={"data": data})
    if is_new:
        locked.payment.needs_review = True
        if notifies:
            locked.add_facts(row, [(FactKind.REVIEW_NEEDED, data)])


def update_review(
    locked: LockedPayment, reason: ReviewItem.Reason, *, subject: str, **figures: Any
) -> None:
    """Write what an open item says by now, such as another deadline. A closed one is left alone."""
    items = locked.payment.review_items.open().filter(reason=reason, subject=subject)
    items.update(data=data_of_item(str(reason), reason, subject, figures))


def data_of_item(
    sentence: str, reason: ReviewItem.Reason, subject: str, figures: Figures
) -> dict[str, Any]:
    """Return the data of an item, and of the fact about it."""
    return {"sentence": sentence, "reason": str(reason), "subject": subject, **figures}


def reopened() -> dict[str, Any]:
    """Return the field values of an open item, for one that opens again."""
    return {
        "closed_at": None,
        "closed_by": None,
        "closing_data": None,
        "closed_automatically": False,
        "opened_at": timezone.now(),
    }


def close_review(
    locked: LockedPayment,
    row: PaymentIntent,
    reason: ReviewItem.Reason,
    subject: str,
    sentence: str,
    **figures: Any,
) -> None:
    """Close an item whose cause is gone. ``sentence`` is the code of why, with its figures."""
    if locked.payment.needs_review:
        why = {"sentence": sentence, **figures}
        close_items(locked, why, payment_intent=row, reason=reason, subject=subject)


def close_items(locked: LockedPayment, why: Figures, *, by: Any = None, **lookup: Any) -> bool:
    """Close the open items of the payment that ``lookup`` finds; return whether there were any.

    ``why`` is the code of a sentence (as ``sentence``) with its figures.
    ``by`` is the member of staff. Without one, the items count as closed by the app. The payment
    needs no review any more if no other item is open.
    """
    items = locked.payment.review_items.open()
    closed = items.filter(**lookup).update(
        closed_at=timezone.now(),
        closing_data=why,
        closed_by=by,
        closed_automatically=by is None,
    )
    if closed and not items.exists():
        locked.payment.needs_review = False
    if closed and locked.payment.has_unknown_intent:
        unknown = items.filter(reason=ReviewItem.Reason.UNKNOWN_INTENT)
        locked.payment.has_unknown_intent = unknown.exists()
        locked.needs_order = True  # the customer may be asked for money again
    return bool(closed)
