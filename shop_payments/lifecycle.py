"""Stripe's statuses and their legal transitions, and the payment statuses of an order.

Note [Observed transitions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~
``TRANSITIONS`` is Stripe's table of single steps. We see only some of them: between two messages,
an intent may have taken several steps. So a row may move from ``old`` to ``new`` if a chain of
single steps leads there, and never out of a final status.

Unknown statuses (Stripe may add some) are stored, count as open, and may lead anywhere.

See: https://docs.stripe.com/payments/paymentintents/lifecycle (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


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
    belongs to another account). It counts as closed, but any later message is applied again."""


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
"""Intents with these statuses do not count as open. All others do, even with unknown statuses."""

UPDATABLE_STATUSES = frozenset(
    {_S.REQUIRES_PAYMENT_METHOD, _S.REQUIRES_CONFIRMATION, _S.REQUIRES_ACTION}
)
"""Statuses in which Stripe accepts a new amount."""


CAPTURABLE_STATUSES = frozenset({_S.REQUIRES_CAPTURE})
"""Statuses in which the money is authorized and can be captured."""

CANCELABLE_STATUSES = UPDATABLE_STATUSES | CAPTURABLE_STATUSES | {_S.PROCESSING}
"""Statuses in which Stripe may accept a cancellation (processing: some payment methods only)."""


def is_open(status: str) -> bool:
    """Return whether an intent in ``status`` may still take money."""
    return status not in CLOSED_STATUSES


def holds_money(status: str, received: int) -> bool:
    """Return whether an intent has ended with money; ``received`` is in minor units.

    A captured intent ends as ``succeeded``. But with several captures, it stays in
    ``requires_capture`` until the last one. It can be cancelled then, and the captured part stays.

    See: https://docs.stripe.com/payments/multicapture (Final capture) and
    https://docs.stripe.com/api/payment_intents/cancel (checked 2026-11)
    """
    return status == _S.SUCCEEDED or (status == _S.CANCELED and received > 0)


def can_observe(old: str, new: str) -> bool:
    """Return whether a row may move from ``old`` to ``new``. See Note [Observed transitions]."""
    return _can_observe(TRANSITIONS, old, new)


def _can_observe(steps: Mapping[str, frozenset[str]], old: str, new: str) -> bool:
    if old == new or (old in steps and not steps[old]):
        return False  # nothing leads out of a final status
    if old not in steps or new not in steps:
        return True  # Stripe has added a status
    return new in _reachable(steps, old)


def _reachable(steps: Mapping[str, frozenset[str]], start: str) -> set[str]:
    seen: set[str] = set()
    frontier = [start]
    while frontier:
        for status in steps[frontier.pop()] - seen:
            seen.add(status)
            frontier.append(status)
    return seen


class RefundStatus(StrEnum):
    """Stripe's statuses of a Refund, and two of our own."""

    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    REQUESTED = "requested"
    """Ours: committed here. Stripe may not know it yet."""

    REFUSED = "refused"
    """Ours: Stripe refused it, and no money moved."""


_R = RefundStatus

REFUND_TRANSITIONS: dict[str, frozenset[str]] = {
    _R.REQUESTED: frozenset(
        {_R.PENDING, _R.REQUIRES_ACTION, _R.SUCCEEDED, _R.FAILED, _R.CANCELED, _R.REFUSED}
    ),
    _R.PENDING: frozenset({_R.REQUIRES_ACTION, _R.SUCCEEDED, _R.FAILED, _R.CANCELED}),
    _R.REQUIRES_ACTION: frozenset({_R.PENDING, _R.SUCCEEDED, _R.FAILED, _R.CANCELED}),
    _R.SUCCEEDED: frozenset({_R.FAILED}),
    _R.FAILED: frozenset(),
    _R.CANCELED: frozenset(),
    _R.REFUSED: frozenset(),
}
"""A refund that has succeeded may still fail, if the customer's bank returns the money.

See: https://docs.stripe.com/refunds#failed-refunds (checked 2026-11)
"""

RETURNED_REFUND_STATUSES = frozenset({_R.FAILED, _R.CANCELED, _R.REFUSED})
"""Statuses in which the shop has the money (again)."""


SETTLED_REFUND_STATUSES = RETURNED_REFUND_STATUSES | {_R.SUCCEEDED}
"""Statuses without an expected change. Only a refund that has succeeded may still change."""


def can_observe_refund(old: str, new: str) -> bool:
    """Return whether a refund may move from ``old`` to ``new``. See Note [Observed transitions]."""
    return _can_observe(REFUND_TRANSITIONS, old, new)


class DisputeStatus(StrEnum):
    """Stripe's statuses of a Dispute. Newer statuses are tolerated."""

    WARNING_NEEDS_RESPONSE = "warning_needs_response"
    WARNING_UNDER_REVIEW = "warning_under_review"
    WARNING_CLOSED = "warning_closed"
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    PREVENTED = "prevented"


class DisputeState(StrEnum):
    """The state of an order's disputes, shown beside its payment status."""

    NONE = ""
    """Never disputed, or an inquiry that ended without a dispute."""

    INQUIRY = "inquiry"
    """The bank asks. No money has moved, and a refund would settle it."""

    OPEN = "open"
    """The money is withheld until the bank decides. A refund would pay twice."""

    WON = "won"
    LOST = "lost"


_D = DisputeStatus

_STATE_OF_DISPUTE: dict[str, DisputeState] = {
    _D.WARNING_NEEDS_RESPONSE: DisputeState.INQUIRY,
    _D.WARNING_UNDER_REVIEW: DisputeState.INQUIRY,
    _D.WARNING_CLOSED: DisputeState.NONE,
    _D.PREVENTED: DisputeState.NONE,
    _D.NEEDS_RESPONSE: DisputeState.OPEN,
    _D.UNDER_REVIEW: DisputeState.OPEN,
    _D.WON: DisputeState.WON,
    _D.LOST: DisputeState.LOST,
}

DECIDED_DISPUTE_STATUSES = frozenset(
    status
    for status, state in _STATE_OF_DISPUTE.items()
    if state not in {DisputeState.INQUIRY, DisputeState.OPEN}
)
"""Statuses in which the bank has decided, or had nothing to decide. An appeal may change them."""

ANSWERED_DISPUTE_STATUSES = DECIDED_DISPUTE_STATUSES | {_D.UNDER_REVIEW, _D.WARNING_UNDER_REVIEW}
"""Statuses in which staff have nothing to do: evidence can be submitted only once."""

_MOST_SERIOUS_FIRST = (
    DisputeState.OPEN,
    DisputeState.INQUIRY,
    DisputeState.LOST,
    DisputeState.WON,
    DisputeState.NONE,
)


def dispute_state(status: str) -> DisputeState:
    """Return what a dispute in ``status`` means; an unknown status counts as open."""
    return _STATE_OF_DISPUTE.get(status, DisputeState.OPEN)


class PaymentStatus(StrEnum):
    """The payment status of an order, derived in ``balance.py``.

    Before goods go out, call ``services.may_release(order_id)``.
    """

    UNPAID = "unpaid"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


def most_serious_dispute(statuses: Iterable[str]) -> DisputeState:
    """Return the state of the most serious dispute, given the statuses of all disputes."""
    states = {dispute_state(status) for status in statuses}
    return next((state for state in _MOST_SERIOUS_FIRST if state in states), DisputeState.NONE)
