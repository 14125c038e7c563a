"""The balance of the account: the sums of its balance transactions.

See: https://docs.stripe.com/api/balance (checked 2026-11)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..account.books import Books, Object
from ..wire.params import EXPAND
from .base import Call, Resource, routes


def retrieve(call: Call) -> Object:
    """GET /v1/balance."""
    return {
        "object": "balance",
        "available": _sums(call.books, "available"),
        "livemode": False,
        "pending": _sums(call.books, "pending"),
    }


def _sums(books: Books, status: str) -> list[Object]:
    """Return the net amounts by currency. An account without money has 0 in its currency."""
    booked = books.balance_transactions.values()
    currencies: Iterable[str] = sorted({each["currency"] for each in booked}) or ["usd"]
    sums: Counter[str] = Counter()
    for each in booked:
        if each["status"] == status:
            sums[each["currency"]] += each["net"]
    # Everything counts as `card`, except money from payment methods that the sandbox does not have.
    return [
        {"amount": sums[name], "currency": name, "source_types": {"card": sums[name]}}
        for name in currencies
    ]


RESOURCE = Resource(kind="balance", stored=lambda books: {}, expandable={})

# Not a list, so the path is not the base.
ROUTES = routes("/v1", "balance", ("GET", "/balance", retrieve, EXPAND))
