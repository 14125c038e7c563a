"""What may be done with a payment as its rows stand, for pages that offer it.

It is a look and no promise. The services decide again, under the lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from shop_payments.ledger.observations import IntentMoney
from shop_payments.ledger.payments import LockedPayment, read_rows
from shop_payments.lifecycle import CANCELABLE_STATUSES, CAPTURABLE_STATUSES, DisputeState
from shop_payments.models import OrderPayment, PaymentIntent


@dataclass(frozen=True, kw_only=True)
class IntentOptions:
    """Where the money of one intent is, and what may become of it."""

    intent: PaymentIntent
    money: IntentMoney
    dispute_state: DisputeState
    counts: bool
    """Whether its money counts for the order."""

    @property
    def refundable(self) -> int:
        """What may be given back now, in minor units; nothing while a bank holds the money."""
        return 0 if self.dispute_state == DisputeState.OPEN else self.money.refundable

    @property
    def can_be_captured(self) -> bool:
        """Whether money is reserved that may be taken."""
        return self.intent.status in CAPTURABLE_STATUSES

    @property
    def can_be_cancelled(self) -> bool:
        """Whether it may be closed before money comes."""
        return self.intent.status in CANCELABLE_STATUSES


def options_of(payment: OrderPayment) -> list[IntentOptions]:
    """Return what may be done with each intent of a payment: the newest first.

    Asks the database at most four times, whatever there is.
    """
    return options_in(read_rows(payment))


def options_in(found: LockedPayment) -> list[IntentOptions]:
    """Return what may be done with each intent of a payment whose rows have been read."""
    return [
        IntentOptions(
            intent=intent,
            money=found.money_of(intent),
            dispute_state=found.dispute_state_of(intent),
            counts=found.counts(intent),
        )
        for intent in reversed(found.intents)
    ]
