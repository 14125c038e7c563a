"""Disputes: a customer's bank asks the money of a charge back.

They are made by charging a test card. Evidence decides them: `winning_evidence` or
`losing_evidence` as `evidence[uncategorized_text]`, as in Stripe's test mode.

See: https://docs.stripe.com/api/disputes and https://docs.stripe.com/testing#disputes
(checked 2026-11)
"""

from __future__ import annotations

from . import balance_transactions, events
from .books import Books, Object
from .errors import InvalidRequest, ResourceMissing
from .params import (
    EXPAND,
    PAGINATION,
    Param,
    Schema,
    boolean,
    hash_of,
    merge_metadata,
    metadata,
    text,
    uncovered,
)
from .protocol import Call, Cause, paginate, routes
from .resources import Resource

ANSWER_SECONDS = 7 * 24 * 60 * 60
"""How long the account may wait with its evidence."""

DECISION_SECONDS = 60
"""How long the bank looks at evidence that decides by itself; Stripe's test mode takes moments."""

WINNING, LOSING = "winning_evidence", "losing_evidence"

_INQUIRY = "warning_"
_ANSWERABLE = ("needs_response", "warning_needs_response")

# Operations


def retrieve(call: Call) -> Object:
    """GET /v1/disputes/{id}."""
    return _find(call.books, call.object_id)


def list_all(call: Call) -> Object:
    """GET /v1/disputes."""
    wanted = [
        dispute
        for dispute in call.books.disputes.values()
        if all(
            dispute[name] == call.params.get(name, dispute[name])
            for name in ("charge", "payment_intent")
        )
    ]
    return paginate(wanted, call.params, url="/v1/disputes", kind="dispute")


def update(call: Call) -> Object:
    """POST /v1/disputes/{id}: evidence, which is submitted unless `submit` is false."""
    books, params = call.books, call.params
    dispute = _find(books, call.object_id)
    if "metadata" in params:
        dispute["metadata"] = merge_metadata(dispute["metadata"], params["metadata"])
    if "evidence" in params:
        _check_answerable(dispute)
        dispute["evidence"].update(params["evidence"])
        dispute["evidence_details"]["has_evidence"] = True
    if "evidence" in params and params.get("submit", True):
        _submit(books, dispute)
    events.emit(books, "charge.dispute.updated", dispute, call.cause)
    return dispute


def close(call: Call) -> Object:
    """POST /v1/disputes/{id}/close: accept the loss."""
    dispute = _find(call.books, call.object_id)
    _check_answerable(dispute)
    _lose(call.books, dispute, call.cause)
    return dispute


# For charges


def open_for(books: Books, charge: Object, reason: str, cause: Cause) -> None:
    """Dispute a charge that has just succeeded; `inquiry` as reason only asks."""
    is_inquiry = reason == "inquiry"
    dispute = _new_dispute(books, charge, "fraudulent" if is_inquiry else reason)
    books.disputes[dispute["id"]] = dispute
    charge["disputed"] = True
    if is_inquiry:
        dispute.update(status="warning_needs_response", is_charge_refundable=True)
    else:
        _move_money(books, dispute, "dispute")
    events.emit(books, "charge.dispute.created", dispute, cause)
    if not is_inquiry:
        events.emit(books, "charge.dispute.funds_withdrawn", dispute, cause)


def forbid_refunds(books: Books, charge: Object) -> bool:
    """Tell whether a dispute of the charge stands in the way of refunds."""
    return any(
        dispute["charge"] == charge["id"] and not dispute["is_charge_refundable"]
        for dispute in books.disputes.values()
    )


# What becomes of a dispute


def _submit(books: Books, dispute: Object) -> None:
    prefix = _INQUIRY if dispute["status"].startswith(_INQUIRY) else ""
    dispute["status"] = f"{prefix}under_review"
    details = dispute["evidence_details"]
    details.update(submission_count=details["submission_count"] + 1, submission_method="manual")
    outcome = {WINNING: _win, LOSING: _lose}.get(dispute["evidence"]["uncategorized_text"])
    if outcome is not None:
        books.clock.after(DECISION_SECONDS, lambda: outcome(books, dispute, Cause()))


def _win(books: Books, dispute: Object, cause: Cause) -> None:
    was_inquiry = dispute["status"].startswith(_INQUIRY)
    dispute["status"] = "warning_closed" if was_inquiry else "won"
    if not was_inquiry:
        _move_money(books, dispute, "dispute_reversal")
    dispute["is_charge_refundable"] = True
    events.emit(books, "charge.dispute.closed", dispute, cause)
    if not was_inquiry:
        events.emit(books, "charge.dispute.funds_reinstated", dispute, cause)


def _lose(books: Books, dispute: Object, cause: Cause) -> None:
    """Lose; an inquiry that is lost becomes a dispute that is."""
    if dispute["status"].startswith(_INQUIRY):
        _move_money(books, dispute, "dispute")
    dispute.update(status="lost", is_charge_refundable=False)
    events.emit(books, "charge.dispute.closed", dispute, cause)


def _move_money(books: Books, dispute: Object, kind: balance_transactions.Kind) -> None:
    amount = dispute["amount"] if kind == "dispute_reversal" else -dispute["amount"]
    words = "reversal" if kind == "dispute_reversal" else "withdrawal"
    transaction = balance_transactions.book(
        books, kind, dispute, amount, description=f"Chargeback {words} for {dispute['charge']}"
    )
    dispute["balance_transactions"].append(transaction)


def _check_answerable(dispute: Object) -> None:
    if dispute["status"] not in _ANSWERABLE:
        raise InvalidRequest(
            f"This dispute is already {dispute['status']}; it takes no more evidence."
        )


def _find(books: Books, dispute_id: str) -> Object:
    dispute = books.disputes.get(dispute_id)
    if dispute is None:
        raise ResourceMissing("dispute", dispute_id, param="id", status=404)
    return dispute


# The object

_EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)


def _new_dispute(books: Books, charge: Object, reason: str) -> Object:
    card = charge["payment_method_details"]["card"]
    return {
        "id": books.new_id("dp"),
        "object": "dispute",
        "amount": charge["amount_captured"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": books.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": books.now() + ANSWER_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": card["brand"],
                "case_type": "chargeback",
                "network": card["brand"],
                "network_reason_code": "10.4" if reason == "fraudulent" else "13.1",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }


# Parameters

UPDATE: Schema = {
    **EXPAND,
    "evidence": Param(
        parse=hash_of(
            {
                **{
                    name: Param(parse=text(max_length=20000), unsettable=True) for name in _EVIDENCE
                },
                **uncovered("enhanced_evidence", "appeal"),
            }
        )
    ),
    "metadata": Param(parse=metadata, unsettable=True),
    "submit": Param(parse=boolean),
    **uncovered("intended_submission_method"),
}

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "charge": Param(parse=text()),
    "payment_intent": Param(parse=text()),
}

RESOURCE = Resource(
    kind="dispute",
    stored=lambda books: books.disputes,
    expandable={"charge": "charge", "payment_intent": "payment_intent"},
)

ROUTES = routes(
    "/v1/disputes",
    "dispute",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
    ("POST", "/{id}", update, UPDATE),
    ("POST", "/{id}/close", close, EXPAND),
)
