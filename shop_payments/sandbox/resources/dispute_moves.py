"""The transitions of disputes, and what they do to the balance.

A chargeback withdraws the money immediately and returns it if it is won. An inquiry moves no money
unless it escalates.

See: https://docs.stripe.com/disputes/how-disputes-work (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..account.books import Books, Object
from ..wire.messages import Cause
from . import balance_transactions, events, radar_moves, refund_moves

DAY = 24 * 60 * 60

ANSWER_DAYS = 8
"""Whole days in which evidence is accepted. The last one ends at midnight, UTC."""

INQUIRY_DAYS = 120
"""Days after which an inquiry that has not escalated is closed."""

DECISION_SECONDS = 5
"""Seconds until the bank decides on test evidence. In Stripe's test mode it takes moments."""

WINNING, LOSING, ESCALATING = "winning_evidence", "losing_evidence", "escalate_inquiry_evidence"

REASONS: Mapping[str, str] = {
    "credit_not_processed": "13.6",
    "duplicate": "12.6.1",
    "fraudulent": "10.4",
    "general": "10.4",
    "product_not_received": "13.1",
    "product_unacceptable": "13.3",
    "subscription_canceled": "13.2",
    "unrecognized": "10.4",
}
"""The reasons for a dispute, with Visa's reason codes."""

CLOSED = ("won", "lost", "warning_closed")

_NEEDS_RESPONSE = "needs_response"
_INQUIRY = "warning_"


def is_inquiry(dispute: Object) -> bool:
    """Return whether the dispute is an inquiry that has not escalated."""
    return bool(dispute["status"].startswith(_INQUIRY))


def takes_evidence(dispute: Object) -> bool:
    """Return whether the bank still waits for evidence."""
    return (
        bool(dispute["status"].endswith(_NEEDS_RESPONSE))
        and not dispute["evidence_details"]["past_due"]
    )


def of_charge(books: Books, charge: Object) -> Object | None:
    """Return the charge's dispute, if there is one; the sandbox covers one for each charge."""
    return next(iter(books.disputes.where("charge", charge["id"])), None)


def forbid_refunds(books: Books, charge: Object) -> bool:
    """Return whether a dispute of the charge forbids refunds."""
    dispute = of_charge(books, charge)
    return dispute is not None and not dispute["is_charge_refundable"]


def open_for(
    books: Books, charge: Object, reason: str, cause: Cause, *, inquiry: bool = False
) -> Object:
    """Dispute the amount of a card charge that has not been refunded.

    Raises:
        ValueError: the charge cannot be disputed, or there is no such reason.
    """
    _check_disputable(books, charge, reason)
    dispute = _new_dispute(books, charge, reason, inquiry=inquiry)
    books.disputes.add(dispute)
    charge["disputed"] = True
    if not inquiry:
        _move_money(books, dispute, "dispute")
    events.emit(books, "charge.dispute.created", dispute, cause)
    if not inquiry:
        events.emit(books, "charge.dispute.funds_withdrawn", dispute, cause)
        refund_moves.fail_pending(books, charge)
    radar_moves.after_outflow(books, charge, "disputed", cause)
    _await_deadline(books, dispute)
    return dispute


def submit(books: Books, dispute: Object) -> None:
    """Submit the evidence to the bank. As in Stripe's test mode, some texts decide the dispute.

    See: https://docs.stripe.com/testing#disputes (checked 2026-11)
    """
    dispute["status"] = dispute["status"].replace(_NEEDS_RESPONSE, "under_review")
    dispute["evidence_details"].update(
        submission_count=dispute["evidence_details"]["submission_count"] + 1,
        submission_method="manual",
    )
    outcome = _outcome(dispute)
    if outcome is None:
        return

    def decide() -> None:
        if dispute["status"].endswith("under_review"):  # a refund may have closed the inquiry
            outcome(books, dispute, Cause())

    books.clock.after(DECISION_SECONDS, decide)


def _outcome(dispute: Object) -> Any:
    words = dispute["evidence"]["uncategorized_text"]
    if is_inquiry(dispute):
        return {WINNING: close, LOSING: close, ESCALATING: _escalate}.get(words)
    return {WINNING: _win, LOSING: lose}.get(words)


def lose(books: Books, dispute: Object, cause: Cause) -> None:
    """Close a dispute as lost: the customer keeps the money."""
    dispute["status"] = "lost"
    events.emit(books, "charge.dispute.closed", dispute, cause)


def close(books: Books, dispute: Object, cause: Cause) -> None:
    """Close an inquiry."""
    dispute["status"] = "warning_closed"
    events.emit(books, "charge.dispute.closed", dispute, cause)


def close_inquiry(books: Books, charge: Object, cause: Cause) -> None:
    """Close the charge's inquiry, if it has one, because the charge was refunded in full."""
    dispute = of_charge(books, charge)
    if dispute is not None and is_inquiry(dispute) and dispute["status"] not in CLOSED:
        close(books, dispute, cause)


def _win(books: Books, dispute: Object, cause: Cause) -> None:
    dispute.update(status="won", is_charge_refundable=True)
    _move_money(books, dispute, "dispute_reversal")
    events.emit(books, "charge.dispute.funds_reinstated", dispute, cause)
    events.emit(books, "charge.dispute.closed", dispute, cause)


def _escalate(books: Books, dispute: Object, cause: Cause) -> None:
    """Turn an inquiry into a chargeback of the amount that has not been refunded."""
    old = copy.deepcopy(dispute)
    charge = books.charges[dispute["charge"]]
    dispute.update(
        status=_NEEDS_RESPONSE,
        amount=charge["amount_captured"] - charge["amount_refunded"],
        is_charge_refundable=False,
    )
    dispute["payment_method_details"]["card"].update(
        case_type="chargeback", network_reason_code=REASONS[dispute["reason"]]
    )
    dispute["evidence_details"].update(due_by=_due_by(books), past_due=False)
    _move_money(books, dispute, "dispute")
    emit_update(books, old, dispute, cause)
    events.emit(books, "charge.dispute.funds_withdrawn", dispute, cause)
    refund_moves.fail_pending(books, charge)
    _await_deadline(books, dispute)


def emit_update(books: Books, old: Object, dispute: Object, cause: Cause) -> None:
    """Emit the update event with the changes since the old state."""
    changed = events.differences(old, dispute)
    events.emit(books, "charge.dispute.updated", dispute, cause, previous=changed)


def _await_deadline(books: Books, dispute: Object) -> None:
    """Schedule what happens if no evidence is submitted in time."""
    due_by = dispute["evidence_details"]["due_by"]

    def miss() -> None:
        if not takes_evidence(dispute) or dispute["evidence_details"]["due_by"] != due_by:
            return
        old = copy.deepcopy(dispute)
        dispute["evidence_details"]["past_due"] = True
        if is_inquiry(dispute):
            emit_update(books, old, dispute, Cause())
        else:
            lose(books, dispute, Cause())

    def rest() -> None:
        if is_inquiry(dispute) and dispute["status"] not in CLOSED:
            close(books, dispute, Cause())

    books.clock.after(due_by + 1 - books.clock(), miss)
    if is_inquiry(dispute):
        books.clock.after(INQUIRY_DAYS * DAY, rest)


def _move_money(books: Books, dispute: Object, kind: balance_transactions.Kind) -> None:
    amount = dispute["amount"] if kind == "dispute_reversal" else -dispute["amount"]
    words = "reversal" if kind == "dispute_reversal" else "withdrawal"
    transaction = balance_transactions.book(
        books, kind, dispute, amount, description=f"Chargeback {words} for {dispute['charge']}"
    )
    dispute["balance_transactions"].append(transaction)


def _check_disputable(books: Books, charge: Object, reason: str) -> None:
    if reason not in REASONS:
        reasons = ", ".join(REASONS)
        raise ValueError(f"A charge is not disputed for '{reason}'. The reasons are {reasons}.")
    if charge["payment_method_details"]["type"] != "card":
        raise ValueError("The sandbox disputes charges of cards only.")
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise ValueError(f"No money was taken by {charge['id']}.")
    if charge["refunded"]:
        raise ValueError(f"{charge['id']} has been refunded, so nothing is left to dispute.")
    if of_charge(books, charge) is not None:
        raise ValueError(f"{charge['id']} has a dispute. The sandbox covers one for each charge.")


# The object

FILES = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)
TEXTS = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)


def _due_by(books: Books) -> int:
    return (books.now() // DAY + ANSWER_DAYS + 1) * DAY - 1


def _new_dispute(books: Books, charge: Object, reason: str, *, inquiry: bool) -> Object:
    card = charge["payment_method_details"]["card"]
    return {
        "id": books.new_id("du"),
        "object": "dispute",
        "amount": charge["amount_captured"] - charge["amount_refunded"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": books.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(sorted(FILES + TEXTS)), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": _due_by(books),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": card["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": card["network"],
                "network_reason_code": "10" if inquiry else REASONS[reason],
            },
            "type": "card",
        },
        "reason": reason,
        "status": f"{_INQUIRY}{_NEEDS_RESPONSE}" if inquiry else _NEEDS_RESPONSE,
    }
