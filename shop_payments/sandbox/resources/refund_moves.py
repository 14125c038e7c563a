"""The transitions of refunds, and what they do to the balance.

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
"""Seconds until refunds to the test cards for pending and failing refunds succeed or fail."""

DEBIT_SECONDS = 3 * 24 * 60 * 60
"""Seconds for which a refund to a bank account is pending."""

REFERENCE_SECONDS = 3 * 24 * 60 * 60
"""Seconds until a card refund has its reference number, with which its bank can trace it."""

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
"""The allowed transitions. A refund that has succeeded may still fail."""


def find(books: Books, refund_id: str) -> Object:
    """Return the refund itself, not a copy.

    Raises:
        ResourceMissing: there is no such refund.
    """
    refund = books.refunds.get(refund_id)
    if refund is None:
        raise ResourceMissing("refund", refund_id, param="refund", status=404)
    return refund


def take(books: Books, refund: Object) -> None:
    """Take the money out of the balance and add it to the charge's refunded amount."""
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
    """Schedule the later transitions, which depend on the card or the bank account."""
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
    """Move the refund to a status, return the money if it failed, and emit the events.

    Raises:
        ValueError: refunds have no such transition or failure reason.
    """
    old = copy.deepcopy(refund)
    if status not in LEGAL_MOVES[old["status"]]:
        raise ValueError(f"A refund does not go from {old['status']} to {status}.")
    if failure_reason not in FAILURE_REASONS:
        raise ValueError(f"A refund does not fail for '{failure_reason}'.")
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
    """Fail the pending refunds of a charge, because a dispute has withdrawn the money."""
    for refund in books.refunds.where("charge", charge["id"]):
        if refund["status"] == "pending":
            reason = "charge_for_pending_refund_disputed"
            move(books, refund, "failed", Cause(), failure_reason=reason)


def emit_update(books: Books, old: Object, refund: Object, cause: Cause) -> None:
    """Emit the update events with the changes since the old state."""
    changed = events.differences(old, refund)
    for event_type in ("refund.updated", "charge.refund.updated"):
        events.emit(books, event_type, refund, cause, previous=changed)


def _move_if_it_can(books: Books, refund: Object, status: str) -> None:
    if status in LEGAL_MOVES[refund["status"]]:  # a test or a dispute may have moved it meanwhile
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
