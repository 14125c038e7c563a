"""Objects as older versions of Stripe's API show them.

Stripe stores an object once, and shows it in the version of the request, event or endpoint. Only
changes of what the sandbox covers are here. A field that a newer version has added is in the
answers of older versions, too: Stripe calls that compatible.

See: https://docs.stripe.com/changelog/2022-11-15, https://docs.stripe.com/changelog/basil and
https://docs.stripe.com/upgrades (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .books import Books, Object

_LISTED = 10
"""How many objects a list inside another object shows, as the first page of a list does."""


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What a version has changed in a kind of object."""

    since: str
    kind: str
    undo: Callable[[Books, Object], None]
    """Changes a copy of the object to what older versions show."""


def shown_in(version: str, body: Object, books: Books) -> Object:
    """Return an answer or an event as an API version shows it. `body` is not changed."""
    changes = [each for each in _CHANGES if version < each.since]
    if not changes:
        return body
    shown = copy.deepcopy(body)
    _undo(shown, changes, books)
    return shown


def _undo(value: Any, changes: Iterable[_Change], books: Books) -> None:
    """Change all objects in a value: also expanded ones, and those of lists and events."""
    if isinstance(value, list):
        for each in value:
            _undo(each, changes, books)
    elif isinstance(value, dict):
        for change in changes:
            if value.get("object") == change.kind:
                change.undo(books, value)
        for name, each in value.items():
            if name != "metadata":  # it may have a key `object`
                _undo(each, changes, books)


def _add_invoice(books: Books, about: Object) -> None:
    about.setdefault("invoice", None)


def _name_expiry(books: Books, intent: Object) -> None:
    if intent["cancellation_reason"] == "expired":
        intent["cancellation_reason"] = "automatic"


def _add_charges(books: Books, intent: Object) -> None:
    latest = intent["latest_charge"]
    last = latest["id"] if isinstance(latest, dict) else latest
    charges = books.charges.where("payment_intent", intent["id"])
    # An event shows the charges that there were, though as they are now.
    known = [each["id"] for each in charges]
    shown = charges[: known.index(last) + 1] if last in known else []
    intent["charges"] = _list(shown, f"/v1/charges?payment_intent={intent['id']}")


def _add_refunds(books: Books, charge: Object) -> None:
    refunds = books.refunds.where("charge", charge["id"])
    charge.setdefault("refunds", _list(refunds, f"/v1/charges/{charge['id']}/refunds"))


def _list(found: list[Object], url: str) -> Object:
    page = copy.deepcopy(found[: -_LISTED - 1 : -1])
    return {"object": "list", "data": page, "has_more": len(found) > _LISTED, "url": url}


_CHANGES = (
    _Change(since="2022-11-15", kind="payment_intent", undo=_add_charges),
    _Change(since="2022-11-15", kind="charge", undo=_add_refunds),
    _Change(since="2025-03-31", kind="payment_intent", undo=_add_invoice),
    _Change(since="2025-03-31", kind="charge", undo=_add_invoice),
    _Change(since="2025-03-31", kind="payment_intent", undo=_name_expiry),
)
