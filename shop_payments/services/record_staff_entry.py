"""Record what only staff know: a waiver, or a settlement outside Stripe.

An entry is only a row. The balance is derived from the rows (``balance.py``), and derived again
when an entry is revoked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.exceptions import EntryRefused, IdempotencyKeyReused, Message, OrderNotFound
from shop_payments.gateway import assert_no_transaction
from shop_payments.ledger.evaluation import evaluate, newest_counted_first
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.units import Done, change_payment
from shop_payments.models import FactKind, PaymentIntent, StaffEntry
from shop_payments.money import ShownAmount, to_minor_units
from shop_payments.orders import get_order_adapter


@dataclass(frozen=True, kw_only=True)
class EntryRequest:
    """The entry that a member of staff requests."""

    amount_decimal: Decimal | None = None
    """In the payment's currency; None for the largest possible amount."""

    reason: str
    """Required; stored with the entry."""

    key: str = ""
    """An idempotency key: a repeated request with the same key records nothing more."""

    user: Any = None
    """The member of staff, if they are a user of this project."""


def waive_amount(*, order_id: object, request: EntryRequest, origin: Origin) -> StaffEntry:
    """Record that a part of what the order owes need not be paid.

    Some money must have been received, and at most the owed amount can be waived, without money
    on its way out. This is possible even if the shop wants no more money for the order.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order, or it has no payment.
        OrderUnreadable: the order could not be read, so the owed amount is not known.
        EntryRefused: nothing was received, or not so much is owed.
        AmountNotRepresentable: the currency has no such amount.
        IdempotencyKeyReused: the key belongs to another entry.
    """

    def limit(locked: LockedPayment) -> tuple[int, PaymentIntent | None]:
        balance = locked.balance()
        if not newest_counted_first(locked) or balance.paid == 0:
            raise EntryRefused(
                "No money was received for this order, so there is no rest to waive."
            )
        return balance.waivable, None

    kind = StaffEntry.Kind.WAIVER
    return _record_entry(order_id, kind, request, limit, FactKind.AMOUNT_WAIVED, origin)


def settle_outside_stripe(
    *, order_id: object, intent_id: str, request: EntryRequest, origin: Origin
) -> StaffEntry:
    """Record that money of a payment was returned without Stripe, or is kept for another purpose.

    The order no longer has that money. If it counted, the order may owe it again.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order, or it has no payment.
        OrderUnreadable: the order could not be read.
        EntryRefused: there is no such payment, or not so much of it is left.
        AmountNotRepresentable: the currency has no such amount.
        IdempotencyKeyReused: the key belongs to another entry.
    """

    def limit(locked: LockedPayment) -> tuple[int, PaymentIntent | None]:
        row = locked.intent(intent_id)
        if row is None or not row.holds_money:
            raise EntryRefused(Message(gettext_noop("No money was received with this payment.")))
        return locked.money_of(row).refundable, row

    kind = StaffEntry.Kind.SETTLEMENT
    fact = FactKind.SETTLED_OUTSIDE_STRIPE
    return _record_entry(order_id, kind, request, limit, fact, origin, intent_id=intent_id)


def revoke_staff_entry(*, entry_pk: int, reason: str, user: Any, origin: Origin) -> bool:
    """Revoke an entry; return whether it was in force before.

    Raises:
        TransactionOpenError: called inside a database transaction.
        StaffEntry.DoesNotExist: there is no such entry.
        OrderUnreadable: the order could not be read.
        EntryRefused: it is a waiver, and the shop wants no more money for the order.
        ValueError: no reason.
    """
    if not reason.strip():
        raise ValueError("revoking an entry needs a reason")
    assert_no_transaction()
    pk = StaffEntry.objects.values_list("order_payment_id", flat=True).get(pk=entry_pk)

    def revoke(locked: LockedPayment) -> bool:
        _evaluate_or_raise(locked)
        entry = next(each for each in locked.entries if each.pk == entry_pk)
        if entry.is_revoked:
            return False
        if entry.kind == StaffEntry.Kind.WAIVER and not locked.payment.is_payable:
            raise EntryRefused(
                Message(
                    gettext_noop(
                        "This order cannot be paid now, so the customer could not pay the waived "
                        "amount."
                    )
                )
            )
        entry.revoked_at, entry.revoked_by = timezone.now(), user
        entry.revocation_reason = reason.strip()[:500]
        locked.save_later(entry)
        locked.needs_order = True
        figures = {
            "sentence": f"{entry.kind}_revoked",
            "staff_entry": entry.pk,
            "amount": entry.amount,
            "currency": entry.currency,
        }
        row = next((each for each in locked.intents if each.pk == entry.payment_intent_id), None)
        locked.add_facts(row, [(FactKind.STAFF_ENTRY_REVOKED, figures)])
        return True

    return bool(change_payment(revoke, origin=origin, pk=pk).value)


# --- recording ----------------------------------------------------------------------------------

_Limit = Callable[[LockedPayment], tuple[int, PaymentIntent | None]]
"""Under the lock, return the largest possible amount and the intent that it belongs to."""


def _record_entry(
    order_id: object,
    kind: StaffEntry.Kind,
    request: EntryRequest,
    limit: _Limit,
    fact: FactKind,
    origin: Origin,
    *,
    intent_id: str = "",
) -> StaffEntry:
    if not request.reason.strip():
        raise EntryRefused(Message(gettext_noop("Give a reason.")))
    assert_no_transaction()
    key = request.key or str(uuid4())

    def record(locked: LockedPayment) -> StaffEntry:
        # Before the limit: a repeated request succeeds even if nothing is owed any more.
        known = next((each for each in locked.entries if each.request_key == key), None)
        if known is not None:
            return _check_same_entry(known, kind, request, intent_id)
        _evaluate_or_raise(locked)
        most, row = limit(locked)
        amount = _amount_to_record(request, most, row.currency if row else locked.payment.currency)
        entry = _entry(locked, kind, row, amount, request, key)
        # Not at the end of the transaction, because the history names its key.
        entry.save(force_insert=True)
        locked.entries.append(entry)
        locked.needs_order = True
        figures = {
            "staff_entry": entry.pk,
            "amount": amount,
            "currency": entry.currency,
        }
        if row is not None:
            figures["stripe_intent_id"] = row.stripe_id
        # The history shows a waiver, which has no intent, with the newest payment.
        about = row or newest_counted_first(locked)[0]
        locked.add_facts(about, [(fact, figures)])
        return entry

    pk = get_order_adapter().parse_id(order_id)
    lock = partial(_lock_existing, pk)
    done: Done[StaffEntry] = change_payment(record, origin=origin, lock=lock)
    assert done.value is not None
    return done.value


def _lock_existing(pk: object) -> LockedPayment:
    locked = None if pk is None else find_and_lock_payment(order_id=pk)
    if locked is None:
        raise OrderNotFound(Message(gettext_noop("No payment of this order was found.")))
    return locked


def _evaluate_or_raise(locked: LockedPayment) -> None:
    """Update the balance to the order's current terms."""
    if evaluate(locked) is None:
        assert locked.order_error is not None
        raise locked.order_error


def _check_same_entry(
    known: StaffEntry, kind: StaffEntry.Kind, request: EntryRequest, intent_id: str
) -> StaffEntry:
    asked = request.amount_decimal
    is_same_amount = asked is None or to_minor_units(asked, known.currency) == known.amount
    known_intent = known.payment_intent.stripe_id if known.payment_intent else ""
    if known.kind != kind or not is_same_amount or known_intent != intent_id:
        raise IdempotencyKeyReused(
            Message(gettext_noop("This idempotency key was used for another entry."))
        )
    return known


def _amount_to_record(request: EntryRequest, most: int, currency: str) -> int:
    asked = request.amount_decimal
    amount = most if asked is None else to_minor_units(asked, currency)
    if most == 0:
        raise EntryRefused(
            Message(gettext_noop("No money is left for this entry. Load the payment again."))
        )
    if not 0 < amount <= most:
        raise EntryRefused(
            Message(
                gettext_noop("Enter an amount up to %(maximum)s."),
                maximum=ShownAmount(most, currency),
            )
        )
    return amount


def _entry(
    locked: LockedPayment,
    kind: StaffEntry.Kind,
    row: PaymentIntent | None,
    amount: int,
    request: EntryRequest,
    key: str,
) -> StaffEntry:
    counts = row is not None and locked.counts(row)
    return StaffEntry(
        order_payment=locked.payment,
        payment_intent=row,
        kind=kind,
        amount=amount,
        currency=row.currency if row else locked.payment.currency,
        reason=request.reason.strip()[:500],
        total_seen=locked.payment.total if counts else None,
        request_key=key,
        actor=locked.origin.actor[:255],
        created_by=request.user,
        created_at=timezone.now(),
    )
