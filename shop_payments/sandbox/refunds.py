"""Refunds: money of a charge given back.

See: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds (checked 2026-11)
"""

from __future__ import annotations

from . import balance_transactions, disputes, events
from .books import Books, Object
from .currencies import readable
from .errors import InvalidRequest, ResourceMissing
from .params import (
    EXPAND,
    PAGINATION,
    Param,
    Schema,
    integer,
    merge_metadata,
    metadata,
    one_of,
    text,
    uncovered,
)
from .protocol import Call, Cause, paginate, routes
from .resources import Resource

DELAY_SECONDS = 60 * 60
"""How long the test cards that fail or wait do so."""

# Operations


def create(call: Call) -> Object:
    """POST /v1/refunds."""
    books, params = call.books, call.params
    charge = _charge_of(books, call)
    _check_refundable(books, charge)
    amount = _check_amount(charge, params.get("amount"))
    refund = _new_refund(books, call, charge, amount)
    books.refunds[refund["id"]] = refund
    _take(books, charge, refund)
    behaviour = books.instruments[charge["payment_method"]].refund
    if behaviour == "pending":
        refund["status"] = "pending"
        books.clock.after(DELAY_SECONDS, lambda: _succeed(books, refund))
    elif behaviour == "fails":
        books.clock.after(DELAY_SECONDS, lambda: _fail(books, charge, refund))
    events.emit(books, "refund.created", refund, call.cause)
    events.emit(books, "charge.refunded", charge, call.cause)
    return refund


def retrieve(call: Call) -> Object:
    """GET /v1/refunds/{id}."""
    return _find(call.books, call.object_id)


def update(call: Call) -> Object:
    """POST /v1/refunds/{id}."""
    refund = _find(call.books, call.object_id)
    if "metadata" in call.params:
        refund["metadata"] = merge_metadata(refund["metadata"], call.params["metadata"])
        _tell_update(call.books, refund, call.cause)
    return refund


def cancel(call: Call) -> Object:
    """POST /v1/refunds/{id}/cancel: for refunds that wait for the customer; none here does."""
    refund = _find(call.books, call.object_id)
    raise InvalidRequest(
        f"You cannot cancel this refund because it has a status of {refund['status']}. Only a"
        " refund with one of the following statuses may be canceled: requires_action.",
        code="refund_unexpected_state",
    )


def list_all(call: Call) -> Object:
    """GET /v1/refunds."""
    wanted = [
        refund
        for refund in call.books.refunds.values()
        if all(
            refund[name] == call.params.get(name, refund[name])
            for name in ("charge", "payment_intent")
        )
    ]
    return paginate(wanted, call.params, url="/v1/refunds", kind="refund")


# Checks


def _charge_of(books: Books, call: Call) -> Object:
    params = call.params
    if "charge" not in params and "payment_intent" not in params:
        raise InvalidRequest(
            "One of the following params should be provided for this request: payment_intent or"
            " charge.",
            code="parameter_missing",
        )
    if "payment_intent" not in params:
        charge = books.charges.get(params["charge"])
        if charge is None:
            raise ResourceMissing("charge", params["charge"], param="charge")
        return charge
    intent = books.payment_intents.get(params["payment_intent"])
    if intent is None:
        raise ResourceMissing("payment_intent", params["payment_intent"], param="payment_intent")
    charge = books.charges.get(intent["latest_charge"] or "")
    if charge is None or not charge["captured"] or charge["status"] != "succeeded":
        raise InvalidRequest(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            param="payment_intent",
        )
    if params.get("charge", charge["id"]) != charge["id"]:
        raise InvalidRequest("The charge is not one of the payment_intent's.", param="charge")
    return charge


def _check_refundable(books: Books, charge: Object) -> None:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise InvalidRequest(
            f"Charge {charge['id']} cannot be refunded: it has not been paid.", param="charge"
        )
    if disputes.forbid_refunds(books, charge):
        raise InvalidRequest(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    if charge["refunded"]:
        raise InvalidRequest(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )


def _check_amount(charge: Object, asked: int | None) -> int:
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    if asked is None:
        return left
    if asked > left:
        currency = charge["currency"]
        raise InvalidRequest(
            f"Refund amount ({readable(asked, currency)}) is greater than unrefunded amount"
            f" on charge ({readable(left, currency)})",
            param="amount",
        )
    return asked


def _find(books: Books, refund_id: str) -> Object:
    refund = books.refunds.get(refund_id)
    if refund is None:
        raise ResourceMissing("refund", refund_id, param="id", status=404)
    return refund


# What becomes of a refund


def _take(books: Books, charge: Object, refund: Object) -> None:
    """Take the money out of the balance and note it at the charge."""
    transaction = balance_transactions.book(
        books,
        "refund",
        refund,
        -refund["amount"],
        description=f"REFUND FOR CHARGE ({charge['id']})",
    )
    refund["balance_transaction"] = transaction["id"]
    _note_at_charge(charge, refund["amount"])


def _note_at_charge(charge: Object, amount: int) -> None:
    refunded = charge["amount_refunded"] + amount
    charge.update(amount_refunded=refunded, refunded=refunded == charge["amount_captured"])


def _succeed(books: Books, refund: Object) -> None:
    refund["status"] = "succeeded"
    _tell_update(books, refund, Cause())


def _fail(books: Books, charge: Object, refund: Object) -> None:
    """Send the money back into the balance: the customer's bank did not take it."""
    transaction = balance_transactions.book(
        books,
        "refund_failure",
        refund,
        refund["amount"],
        description=f"REFUND FAILURE FOR CHARGE ({charge['id']})",
    )
    refund.update(
        status="failed",
        failure_reason="expired_or_canceled_card",
        failure_balance_transaction=transaction["id"],
    )
    _note_at_charge(charge, -refund["amount"])
    events.emit(books, "refund.failed", refund, Cause())
    _tell_update(books, refund, Cause())


def _tell_update(books: Books, refund: Object, cause: Cause) -> None:
    events.emit(books, "refund.updated", refund, cause)
    events.emit(books, "charge.refund.updated", refund, cause)


# The object


def _new_refund(books: Books, call: Call, charge: Object, amount: int) -> Object:
    payment_method = books.payment_methods[charge["payment_method"]]
    kind = payment_method["type"]
    return {
        "id": books.new_id("re" if kind == "card" else "pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": books.now(),
        "currency": charge["currency"],
        "customer": None,
        "customer_account": None,
        "destination_details": _destination(kind),
        "metadata": merge_metadata({}, call.params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": call.params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _destination(kind: str) -> Object | None:
    if kind != "card":
        return None  # Stripe has no details of refunds to debited accounts
    return {
        "card": {
            "reference_status": "pending",
            "reference_type": "acquirer_reference_number",
            "type": "refund",
        },
        "type": "card",
    }


# Parameters

CREATE: Schema = {
    **EXPAND,
    "amount": Param(parse=integer(at_least=1)),
    "charge": Param(parse=text()),
    "payment_intent": Param(parse=text()),
    "metadata": Param(parse=metadata, unsettable=True),
    "reason": Param(parse=one_of("duplicate", "fraudulent", "requested_by_customer")),
    **uncovered(
        "currency",
        "customer",
        "instructions_email",
        "origin",
        "refund_application_fee",
        "reverse_transfer",
    ),
}

UPDATE: Schema = {**EXPAND, "metadata": Param(parse=metadata, unsettable=True)}

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "charge": Param(parse=text()),
    "payment_intent": Param(parse=text()),
}

RESOURCE = Resource(
    kind="refund",
    stored=lambda books: books.refunds,
    expandable={
        "balance_transaction": "balance_transaction",
        "charge": "charge",
        "customer": "customer",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
        "payment_method": "payment_method",
        "source_transfer_reversal": "transfer_reversal",
        "transfer_reversal": "transfer_reversal",
    },
)

ROUTES = routes(
    "/v1/refunds",
    "refund",
    ("POST", "", create, CREATE),
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
    ("POST", "/{id}", update, UPDATE),
    ("POST", "/{id}/cancel", cancel, EXPAND),
)
