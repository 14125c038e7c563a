"""Statuses, their legal transitions, and what an order's rows amount to: pure functions.

Note [Observed transitions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~
``TRANSITIONS`` is Stripe's table of single steps. What we see is a sample of them: between two
looks an intent may have gone through several. A row may therefore move from ``old`` to ``new``
wherever a chain of single steps leads there, and never out of a final status.

Unknown statuses (Stripe may add some) are stored, count as open, and may lead anywhere.

See: https://docs.stripe.com/payments/paymentintents/lifecycle (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from shop_payments.money import Money


class IntentStatus(StrEnum):
    """Stripe's statuses of a PaymentIntent, and one of our own."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"

    MISSING = "missing"
    """Ours: Stripe has no such test-mode object any more (its test data was deleted, or the key
    belongs to another account). Closed, but whatever Stripe says later is believed again."""


_S = IntentStatus

TRANSITIONS: dict[str, frozenset[str]] = {
    _S.REQUIRES_PAYMENT_METHOD: frozenset(
        {
            _S.REQUIRES_CONFIRMATION,
            _S.REQUIRES_ACTION,
            _S.PROCESSING,
            _S.REQUIRES_CAPTURE,
            _S.SUCCEEDED,
            _S.CANCELED,
        }
    ),
    _S.REQUIRES_CONFIRMATION: frozenset(
        {
            _S.REQUIRES_ACTION,
            _S.PROCESSING,
            _S.REQUIRES_CAPTURE,
            _S.SUCCEEDED,
            _S.REQUIRES_PAYMENT_METHOD,
            _S.CANCELED,
        }
    ),
    _S.REQUIRES_ACTION: frozenset(
        {
            _S.PROCESSING,
            _S.REQUIRES_CAPTURE,
            _S.SUCCEEDED,
            _S.REQUIRES_PAYMENT_METHOD,
            _S.REQUIRES_CONFIRMATION,
            _S.CANCELED,
        }
    ),
    _S.PROCESSING: frozenset(
        {_S.SUCCEEDED, _S.REQUIRES_PAYMENT_METHOD, _S.REQUIRES_CAPTURE, _S.CANCELED}
    ),
    _S.REQUIRES_CAPTURE: frozenset({_S.SUCCEEDED, _S.PROCESSING, _S.CANCELED}),
    _S.SUCCEEDED: frozenset(),
    _S.CANCELED: frozenset(),
}
"""Stripe's legal single steps."""

FINAL_STATUSES = frozenset({_S.SUCCEEDED, _S.CANCELED})
"""Statuses that Stripe never changes; an event about one needs no fetch."""

CLOSED_STATUSES = FINAL_STATUSES | {_S.MISSING}
"""What does not count as the order's open intent. Everything else does, unknown ones included."""

UPDATABLE_STATUSES = frozenset(
    {_S.REQUIRES_PAYMENT_METHOD, _S.REQUIRES_CONFIRMATION, _S.REQUIRES_ACTION}
)
"""Where Stripe lets the amount of an intent be changed."""


def is_open(status: str) -> bool:
    """Tell whether an intent in ``status`` may still take money."""
    return status not in CLOSED_STATUSES


def can_step(old: str, new: str) -> bool:
    """Tell whether ``old`` → ``new`` is one of Stripe's single steps."""
    return new in TRANSITIONS.get(old, frozenset())


def can_observe(old: str, new: str) -> bool:
    """Tell whether a row may move from ``old`` to ``new``. See Note [Observed transitions]."""
    if old == new or old in FINAL_STATUSES:
        return False
    if old not in TRANSITIONS or new not in TRANSITIONS:
        return True
    return new in _reachable(old)


def _reachable(start: str) -> set[str]:
    seen: set[str] = set()
    frontier = [start]
    while frontier:
        for status in TRANSITIONS[frontier.pop()] - seen:
            seen.add(status)
            frontier.append(status)
    return seen


class Verdict(StrEnum):
    """What a succeeded intent means for its order."""

    NONE = ""
    """Not succeeded, so not judged."""

    ACCEPTED = "accepted"
    """Proof: this is the order's payment."""

    AMOUNT_MISMATCH = "amount_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"
    WRONG_MODE = "wrong_mode"
    PAID_TWICE = "paid_twice"
    ORDER_NOT_PAYABLE = "order_not_payable"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What Stripe says of an intent that succeeded."""

    amount_received: int
    currency: str
    livemode: bool


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the order wants at the moment of judgement."""

    amount_due: Money | None
    """None where the shop cannot even say it in the currency's minor units."""

    livemode: bool
    """The mode of the key in use."""

    payable: bool
    already_paid: bool


def judge(proof: Proof, claim: Claim) -> Verdict:
    """Decide whether a succeeded intent pays its order.

    The mode comes first: a test payment proves nothing whatever its amount. ``already_paid``
    comes before the amounts, so that a second full payment is called by its name.
    """
    if proof.livemode != claim.livemode:
        return Verdict.WRONG_MODE
    if claim.already_paid:
        return Verdict.PAID_TWICE
    if not claim.payable:
        return Verdict.ORDER_NOT_PAYABLE
    if claim.amount_due is None or proof.currency != claim.amount_due.currency:
        return Verdict.CURRENCY_MISMATCH if claim.amount_due else Verdict.AMOUNT_MISMATCH
    if proof.amount_received != claim.amount_due.amount:
        return Verdict.AMOUNT_MISMATCH
    return Verdict.ACCEPTED


class PaymentStatus(StrEnum):
    """The payment status of an order. Only ``paid`` releases goods."""

    UNPAID = "unpaid"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


@dataclass(frozen=True, kw_only=True)
class IntentFacts:
    """The part of a mirrored intent that decides the payment status."""

    status: str
    verdict: str


def derive_payment_status(intents: Iterable[IntentFacts]) -> PaymentStatus:
    """Compute the payment status of an order from its mirrored intents, in any order."""
    facts = list(intents)
    if any(intent.verdict == Verdict.ACCEPTED for intent in facts):
        return PaymentStatus.PAID
    statuses = {intent.status for intent in facts}
    if IntentStatus.REQUIRES_CAPTURE in statuses:
        return PaymentStatus.AUTHORIZED
    if IntentStatus.PROCESSING in statuses:
        return PaymentStatus.PENDING
    return PaymentStatus.UNPAID
