"""Refunds: the operations and the object.

See: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..account.books import Books, Object
from ..banks.currencies import check_step, readable
from ..wire.errors import InvalidRequest, ResourceMissing
from ..wire.lists import among, paginate
from ..wire.params import (
    CURSORS,
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
from . import dispute_moves, events, radar_moves, refund_moves
from .base import Call, Resource, Route, routes
from .refund_moves import find

# Operations


def create(call: Call) -> Object:
    """POST /v1/refunds."""
    books, params = call.books, call.params
    charge = _charge_of(books, params)
    _check_refundable(books, charge)
    amount = _check_amount(charge, params.get("amount"))
    old = copy.deepcopy(charge)
    refund = _new_refund(books, charge, amount, params)
    books.refunds.add(refund)
    refund_moves.take(books, refund)
    if refund["reason"] == "fraudulent":
        charge["fraud_details"] = {"user_report": "fraudulent"}
    events.emit(books, "refund.created", refund, call.cause)
    changed = events.differences(old, charge)
    events.emit(books, "charge.refunded", charge, call.cause, previous=changed)
    if charge["refunded"]:
        dispute_moves.close_inquiry(books, charge, call.cause)
    as_fraud = refund["reason"] == "fraudulent"
    reason = "refunded_as_fraud" if as_fraud else "refunded"
    radar_moves.after_outflow(books, charge, reason, call.cause)
    refund_moves.schedule(books, refund)
    return refund


def retrieve(call: Call) -> Object:
    """GET /v1/refunds/{id}."""
    return find(call.books, call.object_id)


def update(call: Call) -> Object:
    """POST /v1/refunds/{id}."""
    refund = find(call.books, call.object_id)
    if "metadata" in call.params:
        old = copy.deepcopy(refund)
        refund["metadata"] = merge_metadata(refund["metadata"], call.params["metadata"])
        refund_moves.emit_update(call.books, old, refund, call.cause)
    return refund


def cancel(call: Call) -> Object:
    """POST /v1/refunds/{id}/cancel, for refunds in `requires_action`.

    See: https://docs.stripe.com/api/refunds/cancel (checked 2026-11)
    """
    refund = find(call.books, call.object_id)
    if refund["status"] != "requires_action":
        raise InvalidRequest("Canceling this refund is unsupported.")
    refund_moves.move(call.books, refund, "canceled", call.cause)
    return refund


def list_all(call: Call) -> Object:
    """GET /v1/refunds."""
    wanted = call.books.refunds.rows(among(call.params, "charge", "payment_intent"))
    return paginate(wanted, call.params, url="/v1/refunds", kind="refund")


def list_of_charge(call: Call) -> Object:
    """GET /v1/charges/{id}/refunds."""
    charge = call.books.charges.get(call.object_id)
    if charge is None:
        raise ResourceMissing("charge", call.object_id, param="charge", status=404)
    return page_of_charge(call.books, charge, call.params)


def page_of_charge(books: Books, charge: Object, params: Mapping[str, Any] | None = None) -> Object:
    """Return a page of a charge's refunds, which is also its expanded key `refunds`."""
    wanted = books.refunds.rows({"charge": charge["id"]})
    url = f"/v1/charges/{charge['id']}/refunds"
    return paginate(wanted, params or {}, url=url, kind="refund")


# Checks


def _charge_of(books: Books, params: Mapping[str, Any]) -> Object:
    if "charge" in params and "payment_intent" in params:  # (?): Stripe does not document it
        raise InvalidRequest(
            "You may only specify one of these parameters: charge, payment_intent.",
            param="payment_intent",
        )
    if "charge" in params:
        charge = books.charges.get(params["charge"])
        if charge is None:  # Stripe calls the parameter "id" in this error
            raise ResourceMissing("charge", params["charge"], param="id", status=404)
        return charge
    if "payment_intent" not in params:
        raise InvalidRequest(
            "One of the following params should be provided for this request: payment_intent or"
            " charge."
        )
    intent = books.payment_intents.get(params["payment_intent"])
    if intent is None:
        raise ResourceMissing("payment_intent", params["payment_intent"], param="payment_intent")
    charge = books.charges.get(intent["latest_charge"] or "")
    if charge is None:
        raise _no_charge(intent["id"])
    return charge


def _no_charge(intent_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
    )


def _check_refundable(books: Books, charge: Object) -> None:
    if charge["status"] != "succeeded":
        raise _no_charge(charge["payment_intent"])
    if not charge["captured"] and not charge["amount_captured"]:
        raise InvalidRequest(
            f"This uncaptured Charge was created by a PaymentIntent ({charge['payment_intent']})."
            " You must cancel the PaymentIntent to reverse the authorization instead of refunding"
            " the Charge directly. For more information, see"
            " https://stripe.com/docs/payments/place-a-hold-on-a-payment-method"
        )
    if dispute_moves.forbid_refunds(books, charge):
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
    currency = charge["currency"]
    check_step(asked, currency, param="amount")
    if asked > left:
        raise InvalidRequest(
            f"Refund amount ({_money(asked, currency)}) is greater than unrefunded amount"
            f" on charge ({_money(left, currency)})",
            param="amount",
        )
    return asked


_SIGNS = {"eur": "€", "gbp": "£", "usd": "$"}


def _money(amount: int, currency: str) -> str:
    """Return an amount as in Stripe's messages about refunds, such as "$30.00"."""
    number, _, code = readable(amount, currency).partition(" ")
    return f"{_SIGNS[code]}{number}" if code in _SIGNS else f"{number} {code}"


# The object


def _new_refund(books: Books, charge: Object, amount: int, params: Mapping[str, Any]) -> Object:
    method = charge["payment_method_details"]["type"]
    refund = {
        "id": books.new_id("re" if method == "card" else "pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": books.now(),
        "currency": charge["currency"],
        "customer": None,
        "customer_account": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    if method == "card":  # refunds of debits have no such details
        refund["destination_details"] = copy.deepcopy(_CARD_DESTINATION)
    if method != "card" or books.instruments[charge["payment_method"]].refund == "pending":
        refund.update(status="pending", pending_reason="processing")
    return refund


_CARD_DESTINATION = {
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

ROUTES = (
    *routes(
        "/v1/refunds",
        "refund",
        ("POST", "", create, CREATE),
        ("GET", "", list_all, LIST),
        ("GET", "/{id}", retrieve, EXPAND),
        ("POST", "/{id}", update, UPDATE),
        ("POST", "/{id}/cancel", cancel, EXPAND),
    ),
    Route(
        method="GET",
        path="/v1/charges/{id}/refunds",
        schema={**EXPAND, **CURSORS},
        handler=list_of_charge,
        returns="refund",
        listed=True,
    ),
)
