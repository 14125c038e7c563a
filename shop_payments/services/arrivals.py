"""Write what arrives about an intent, which need not have a row yet.

An intent is ours if its id is in our table, or if its metadata names an attempt of our table. The
second is how one gets its row whose creation was never answered, and one whose event is quicker
than that answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.services.attempts import sent_fingerprint
from shop_payments.services.history import Origin, dispatch
from shop_payments.services.ledger import LockedPayment, find_and_lock_payment, lock_payment
from shop_payments.services.mirror import adopt_intent, find_attempt_of, write_intent
from shop_payments.services.transactions import short_transactions

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


def believe_intent(intent: PaymentIntentResult, *, origin: Origin) -> bool:
    """Write what is certainly not older than the row; False where the intent is not ours.

    That is: an intent in a final status, whoever says so.
    """
    for short in short_transactions():
        with short:
            found = find_and_lock_payment(payment_intents__stripe_id=intent.id)
            if found is None:
                attempt = find_attempt_of(intent)
                if attempt is None:
                    return False
                locked = lock_payment(attempt.order_payment_id)
            else:
                attempt, locked = None, found
            row = locked.intent(intent.id)
            if row is not None:
                write_intent(locked, row, intent, origin=origin)
            elif attempt is not None:
                _adopt(locked, attempt, intent, origin=origin)
    dispatch(locked.facts)
    return True


def adopt_unknown(
    intent: PaymentIntentResult, *, named_by: PaymentIntentResult | None = None, origin: Origin
) -> bool:
    """Give an intent of ours its row, if it still has none; False where it is not ours.

    ``named_by`` is what names the attempt, where that is not the intent as it was looked up. The
    intent may go without a row: see :func:`~shop_payments.services.mirror.adopt_intent`.
    """
    for short in short_transactions():
        with short:
            attempt = find_attempt_of(named_by or intent)
            if attempt is None:
                return False
            locked = lock_payment(attempt.order_payment_id)
            if locked.intent(intent.id) is None:
                _adopt(locked, attempt, intent, origin=origin)
    dispatch(locked.facts)
    return True


def _adopt(
    locked: LockedPayment, attempt: StripeAttempt, intent: PaymentIntentResult, *, origin: Origin
) -> PaymentIntent | None:
    fingerprint = sent_fingerprint(attempt)
    return adopt_intent(locked, attempt, intent, fingerprint=fingerprint, origin=origin)
