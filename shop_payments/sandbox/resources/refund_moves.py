"""What becomes of a refund: the money leaves the balance, arrives, or comes back.

See: https://docs.stripe.com/refunds#failed-refunds (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from ..account.books import Books, Object
from ..wire.errors import ResourceMissing
from ..wire.messages import Cause
from . import balance_transactions, events

TEST_CARD_SECONDS = 60 * 60
"""How long a refund to the test cards waits before it succeeds, or fails."""

DEBIT_SECONDS = 3 * 24 * 60 * 60
"""How long a refund to a bank account is pending."""

REFERENCE_SECONDS = 3 * 24 * 60 * 60
"""When a card's bank has given a refund the number under which the customer can ask for it."""

FAILURE_REASONS = (
    "charge_for_pending_refund_disputed",
    "declined",
    "expired_or_canceled_card",
    "insufficient_funds",
    "lost_or_stolen_card",
    "merchant_request",
    "unknown",
)

LEGAL_MOVES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"requires_action", "succeeded", "failed", "canceled"}),
    "requires_action": frozenset({"pending", "succeeded", "failed", "canceled"}),
    "succeeded": frozenset({"failed"}),
    "failed": frozenset(),
    "canceled": frozenset(),
}
"""Where a refund may go from each status: also one that succeeded may come back."""


def find(books: Books, refund_id: str) -> Object:
    """Return the refund itself, not a copy.

    Raises:
        ResourceMissing: if there is none of that id.
    """
    refund = books.refunds.get(refund_id)
    if refund is None:
        raise ResourceMissing("refund", refund_id, param="refund", status=404)
    return refund


def take(books: Books, refund: Object) -> None:
    """Take the money out of the balance and add it to what the charge has refunded."""
    charge = books.charges[refund["charge"]]
    transaction = balance_transactions.book(
        books,
        "refund",
        refund,
        -refund["amount"],
        method=charge["payment_method_details"]["type"],
        description=_description("REFUND FOR CHARGE", charge),
    )
    refund["balance_transaction"] = transaction["id"]
    _add_refunded(charge, refund["amount"])


def schedule(books: Books, refund: Object) -> None:
    """Make the appointments for what the card, or the account, is known to do with refunds."""
    instrument = books.instruments[refund["payment_method"]]
    later = {"pending": "succeeded", "fails": "failed"}.get(instrument.refund)
    if instrument.type != "card":
        seconds, later = DEBIT_SECONDS, later or "succeeded"
    else:
        seconds = TEST_CARD_SECONDS
        books.clock.after(REFERENCE_SECONDS, lambda: _learn_reference(books, refund))
    if later is not None:
        status = later
        books.clock.after(seconds, lambda: _move_if_it_can(books, refund, status))


def move(
    books: Books,
    refund: Object,
    status: str,
    cause: Cause,
    *,
    failure_reason: str = "expired_or_canceled_card",
) -> None:
    """Put the refund into a status, with the money's way back, and emit the events.

    Raises:
        ValueError: for a move, or a reason, that refunds do not have.
    """
    old = copy.deepcopy(refund)
    if status not in LEGAL_MOVES[old["status"]]:
        raise ValueError(f"A refund does not go from {old['status']} to {status}.")
    if failure_reason not in FAILURE_REASONS:
        raise ValueError(f"A refund does not fail for {failure_reason!r}.")
    refund["status"] = status
    refund.pop("pending_reason", None)
    if status == "pending":
        refund["pending_reason"] = "processing"
    if status in ("failed", "canceled"):
        _give_back(books, refund)
    if status == "failed":
        refund["failure_reason"] = failure_reason
        events.emit(books, "refund.failed", refund, cause)
    emit_update(books, old, refund, cause)


def fail_pending(books: Books, charge: Object) -> None:
    """Fail what is still on its way: the customer's bank has fetched the money itself."""
    for refund in list(books.refunds.values()):
        if refund["charge"] == charge["id"] and refund["status"] == "pending":
            reason = "charge_for_pending_refund_disputed"
            move(books, refund, "failed", Cause(), failure_reason=reason)


def emit_update(books: Books, old: Object, refund: Object, cause: Cause) -> None:
    """Emit the events with what has changed since the old state."""
    changed = events.differences(old, refund)
    for event_type in ("refund.updated", "charge.refund.updated"):
        events.emit(books, event_type, refund, cause, previous=changed)


def _move_if_it_can(books: Books, refund: Object, status: str) -> None:
    if status in LEGAL_MOVES[refund["status"]]:  # a test may have moved it meanwhile
        move(books, refund, status, Cause())


def _learn_reference(books: Books, refund: Object) -> None:
    if refund["status"] != "succeeded":
        return
    old = copy.deepcopy(refund)
    refund["destination_details"]["card"].update(
        reference=books.digits(23), reference_status="available"
    )
    emit_update(books, old, refund, Cause())


def _give_back(books: Books, refund: Object) -> None:
    charge = books.charges[refund["charge"]]
    transaction = balance_transactions.book(
        books,
        "refund_failure",
        refund,
        refund["amount"],
        method=charge["payment_method_details"]["type"],
        description=_description("REFUND FAILURE FOR CHARGE", charge),
    )
    refund["failure_balance_transaction"] = transaction["id"]
    _add_refunded(charge, -refund["amount"])


def _add_refunded(charge: Object, amount: int) -> None:
    refunded = charge["amount_refunded"] + amount
    is_all = charge["captured"] and refunded == charge["amount_captured"]
    charge.update(amount_refunded=refunded, refunded=is_all)


def _description(words: str, charge: Object) -> str:
    return f"{words} ({charge['description']})" if charge["description"] else words
