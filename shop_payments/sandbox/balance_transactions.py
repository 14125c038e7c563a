"""BalanceTransactions: what each movement of money does to the account's balance.

The account settles in every currency that it takes, so nothing is converted.

See: https://docs.stripe.com/api/balance_transactions (checked 2026-11)
"""

from __future__ import annotations

from typing import Literal

from .books import Books, Object
from .currencies import is_two_decimal
from .errors import ResourceMissing
from .params import EXPAND, PAGINATION, Param, Schema, text, uncovered
from .protocol import Call, paginate, routes
from .resources import Resource

AVAILABLE_SECONDS = 2 * 24 * 60 * 60
"""How long money that came in stays pending."""

DISPUTE_FEE = 1500
"""Minor units; of currencies with two decimals."""

Kind = Literal["charge", "refund", "refund_failure", "dispute", "dispute_reversal"]
"""Stripe's reporting categories."""

_TYPES: dict[str, str] = {
    "charge": "charge",
    "refund": "refund",
    "refund_failure": "refund_failure",
    "dispute": "adjustment",
    "dispute_reversal": "adjustment",
}

# Operations


def retrieve(call: Call) -> Object:
    """GET /v1/balance_transactions/{id}."""
    transaction = call.books.balance_transactions.get(call.object_id)
    if transaction is None:
        raise ResourceMissing("balance transaction", call.object_id, param="id", status=404)
    return transaction


def list_all(call: Call) -> Object:
    """GET /v1/balance_transactions."""
    wanted = [
        transaction
        for transaction in call.books.balance_transactions.values()
        if all(
            transaction[name] == call.params.get(name, transaction[name])
            for name in ("currency", "source", "type")
        )
    ]
    return paginate(wanted, call.params, url="/v1/balance_transactions", kind="balance transaction")


# For charges, refunds and disputes


def book(
    books: Books, kind: Kind, source: Object, amount: int, *, description: str | None = None
) -> Object:
    """Move `amount` (minor units; negative: out of the balance) because of `source`."""
    fee = _fee(kind, amount, source["currency"])
    transaction: Object = {
        "id": books.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": books.now() + (AVAILABLE_SECONDS if kind == "charge" else 0),
        "balance_type": "payments",
        "created": books.now(),
        "currency": source["currency"],
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [_fee_detail(kind, fee, source["currency"])] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source["id"],
        "status": "pending" if kind == "charge" else "available",
        "type": _TYPES[kind],
    }
    books.balance_transactions[transaction["id"]] = transaction
    if kind == "charge":
        books.clock.after(AVAILABLE_SECONDS, lambda: transaction.update(status="available"))
    return transaction


def _fee(kind: Kind, amount: int, currency: str) -> int:
    """2.9% and 30 minor units for a charge, a fixed sum for a dispute; the rest is free."""
    fixed = is_two_decimal(currency)
    if kind == "charge":
        return (amount * 29 + 500) // 1000 + (30 if fixed else 0)
    return DISPUTE_FEE if kind == "dispute" and fixed else 0


def _fee_detail(kind: Kind, fee: int, currency: str) -> Object:
    return {
        "amount": fee,
        "application": None,
        "currency": currency,
        "description": "Dispute fee" if kind == "dispute" else "Stripe processing fees",
        "type": "stripe_fee",
    }


# Parameters

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "currency": Param(parse=text()),
    "source": Param(parse=text()),
    "type": Param(parse=text()),
    **uncovered("payout"),
}

RESOURCE = Resource(
    kind="balance_transaction",
    stored=lambda books: books.balance_transactions,
    expandable={"source": ("charge", "refund", "dispute")},
)

ROUTES = routes(
    "/v1/balance_transactions",
    "balance_transaction",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
)
