"""Apply messages about intents, also about those that have no row yet.

An intent is ours if its id is in our table, or if its metadata names an attempt of our table. By
its metadata, an intent gets a row whose creation was never answered, or whose event is faster than
the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment, lock_payment
from shop_payments.ledger.units import Done, change_payment
from shop_payments.lifecycle import holds_money
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.sync.fingerprints import sent_fingerprint
from shop_payments.sync.outflows import look_for_outflows
from shop_payments.sync.payment_intents import (
    apply_intent,
    complete_charge_times,
    find_attempt_of,
    insert_intent,
    lacks_charge_times,
)

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


def apply_final_state(
    intent: PaymentIntentResult, *, origin: Origin, record: Callable[[bool], None] | None = None
) -> bool:
    """Apply an intent in a final status, from an event or a retrieval; False if it is not ours.

    A final status is never outdated. An intent with money is evaluated again even if nothing is
    new, because the order may have changed. ``record`` runs at the end of the same transaction, and
    is told whether that is all there is to do.

    Raises:
        OrderUnreadable: applied, but the order could not be evaluated; try again.
        GatewayError: fetching its refunds and disputes, or the charge times of the order's other
            payments, failed.
    """
    outflows = look_for_outflows(intent, is_ours=lambda: find_attempt_of(intent) is not None)

    def lock() -> LockedPayment | None:
        found = find_and_lock_payment(intent_id=intent.id)
        if found is not None:
            return found
        attempt = find_attempt_of(intent)
        return None if attempt is None else lock_payment(attempt.order_payment_id)

    def write(locked: LockedPayment) -> bool:
        row = locked.intent(intent.id)
        if row is not None:
            apply_intent(locked, row, intent)
        elif (attempt := find_attempt_of(intent)) is not None:
            # Looked up again, because another process may have used the attempt before the lock.
            _insert(locked, attempt, intent)
        outflows.write(locked)
        return True

    reads_order = holds_money(intent.status, intent.amount_received)

    def finish(done: Done[bool]) -> None:
        if record is not None:
            record(done.is_complete and not lacks_charge_times(done.locked))

    done = change_payment(write, origin=origin, lock=lock, reads_order=reads_order, also=finish)
    # After the commit, because it calls Stripe.
    complete_charge_times(done.locked)
    done.raise_if_unreadable()
    return done.locked is not None


def insert_missing_intent(
    intent: PaymentIntentResult, *, named_by: PaymentIntentResult | None = None, origin: Origin
) -> bool:
    """Insert the row of an intent of ours, if it still has none; False if it is not ours.

    ``named_by`` is the version of the intent whose metadata names the attempt, if that is not
    ``intent`` itself. The intent may stay without a row: see
    :func:`~shop_payments.sync.payment_intents.insert_intent`.

    Raises:
        OrderUnreadable: written, but the order could not be evaluated; try again.
        GatewayError: fetching its refunds and disputes failed.
    """
    names = named_by or intent
    outflows = look_for_outflows(intent, is_ours=lambda: find_attempt_of(names) is not None)
    attempt: StripeAttempt | None = None

    def lock() -> LockedPayment | None:
        nonlocal attempt
        attempt = find_attempt_of(names)
        return None if attempt is None else lock_payment(attempt.order_payment_id)

    def write(locked: LockedPayment) -> None:
        if attempt is not None and locked.intent(intent.id) is None:
            _insert(locked, attempt, intent)
            outflows.write(locked)

    done = change_payment(write, origin=origin, lock=lock)
    done.raise_if_unreadable()
    return done.locked is not None


def _insert(
    locked: LockedPayment, attempt: StripeAttempt, intent: PaymentIntentResult
) -> PaymentIntent | None:
    fingerprint = sent_fingerprint(attempt)
    return insert_intent(locked, attempt, intent, fingerprint=fingerprint)
