"""The actions that a payment's rows allow, for pages that offer them.

The result may be outdated when the form is sent. The services decide again, under the lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from shop_payments.ledger.observations import IntentMoney
from shop_payments.ledger.payments import LockedPayment, read_rows
from shop_payments.lifecycle import CANCELABLE_STATUSES, CAPTURABLE_STATUSES, DisputeState
from shop_payments.models import OrderPayment, PaymentIntent


@dataclass(frozen=True, kw_only=True)
class IntentOptions:
    """Where the money of one intent is, and which actions are possible."""

    intent: PaymentIntent
    money: IntentMoney
    dispute_state: DisputeState
    counts: bool
    """Whether its money counts for the order."""

    @property
    def refundable(self) -> int:
        """The amount that can be refunded now, in minor units; 0 while a bank holds the money."""
        return 0 if self.dispute_state == DisputeState.OPEN else self.money.refundable

    @property
    def can_be_captured(self) -> bool:
        """Whether money is reserved that can be captured."""
        return self.intent.status in CAPTURABLE_STATUSES

    @property
    def can_be_cancelled(self) -> bool:
        """Whether it can be cancelled before money comes."""
        return self.intent.status in CANCELABLE_STATUSES


def options_of(payment: OrderPayment) -> list[IntentOptions]:
    """Return the options of each intent of a payment, newest first, with at most four queries."""
    return options_in(read_rows(payment))


def options_in(found: LockedPayment) -> list[IntentOptions]:
    """Return the options of each intent of a payment whose rows have been read, newest first."""
    return [
        IntentOptions(
            intent=intent,
            money=found.money_of(intent),
            dispute_state=found.dispute_state_of(intent),
            counts=found.counts(intent),
        )
        for intent in reversed(found.intents)
    ]
