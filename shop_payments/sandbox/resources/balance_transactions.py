"""Balance transactions: each movement of money on the account's balance.

The account settles in every currency, so nothing is converted. Its fees are those of an account in
the United States.

See: https://docs.stripe.com/api/balance_transactions and
https://docs.stripe.com/reports/reporting-categories (checked 2026-11)
"""

from __future__ import annotations

from typing import Literal

from ..account.books import Books, Object
from ..banks.currencies import is_two_decimal
from ..wire.errors import ResourceMissing
from ..wire.lists import among, paginate
from ..wire.params import EXPAND, PAGINATION, Param, Schema, text, uncovered
from .base import Call, Resource, routes

DAY = 24 * 60 * 60

AVAILABLE_DAYS = 2
"""Days for which received money is pending. Days begin at midnight, UTC."""

DISPUTE_FEE = 1500
"""Minor units, for currencies with two decimals."""

Kind = Literal["charge", "refund", "refund_failure", "dispute", "dispute_reversal"]
"""Stripe's reporting categories."""

_TYPES: dict[str, tuple[str, str]] = {
    "charge": ("charge", "payment"),
    "refund": ("refund", "payment_refund"),
    "refund_failure": ("refund_failure", "refund_failure"),  # (?) for other methods than cards
    "dispute": ("adjustment", "adjustment"),
    "dispute_reversal": ("adjustment", "adjustment"),
}
"""The types of each category: for cards, and for other payment methods."""

# Operations


def retrieve(call: Call) -> Object:
    """GET /v1/balance_transactions/{id}."""
    transaction = call.books.balance_transactions.get(call.object_id)
    if transaction is None:
        raise ResourceMissing("balance transaction", call.object_id, param="id", status=404)
    return transaction


def list_all(call: Call) -> Object:
    """GET /v1/balance_transactions."""
    chosen = among(call.params, "currency", "source", "type")
    wanted = call.books.balance_transactions.rows(chosen)
    return paginate(wanted, call.params, url="/v1/balance_transactions", kind="balance transaction")


# For charges, refunds and disputes


def book(
    books: Books,
    kind: Kind,
    source: Object,
    amount: int,
    *,
    method: str = "card",
    description: str | None = None,
    at_once: bool = False,
) -> Object:
    """Book a movement of `amount` (minor units, negative for money that leaves) for `source`.

    `method` is the type of the payment method. With `at_once`, received money is available
    immediately.
    """
    currency = source["currency"]
    fee = _fee(kind, amount, currency, method)
    today = books.now() // DAY * DAY
    waits = kind == "charge" and not at_once
    transaction: Object = {
        "id": books.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": today + (AVAILABLE_DAYS * DAY if waits else 0),
        "balance_type": "payments",
        "created": books.now(),
        "currency": currency,
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [_fee_detail(kind, fee, currency)] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source["id"],
        "status": "pending" if waits else "available",
        "type": _TYPES[kind][method != "card"],
    }
    books.balance_transactions.add(transaction)
    if waits:
        books.clock.after(
            transaction["available_on"] - books.clock(),
            lambda: transaction.update(status="available"),
        )
    return transaction


def _fee(kind: Kind, amount: int, currency: str, method: str) -> int:
    """Return Stripe's fee in minor units: a share of a charge, or a fixed fee for a dispute.

    See: https://stripe.com/pricing (checked 2026-11)
    """
    fixed = is_two_decimal(currency)
    if kind == "dispute":
        return DISPUTE_FEE if fixed else 0
    if kind != "charge":
        return 0
    if method == "us_bank_account":
        return min(_per_mille(amount, 8), 500)
    if method == "sepa_debit":
        return _per_mille(amount, 8) + 30
    return _per_mille(amount, 29) + (30 if fixed else 0)


def _per_mille(amount: int, share: int) -> int:
    """Return the share, rounded to the nearest minor unit."""
    return (amount * share + 500) // 1000


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
