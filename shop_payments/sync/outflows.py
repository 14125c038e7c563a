"""Refunds and disputes of a payment that existed before the payment is written here.

Note [Outflows with the payment]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
The shop may ship the goods when it is notified that an order is paid. A payment that is found late
may have been refunded meanwhile. So its refunds and disputes are listed before it is written, and
are written in the same unit of work. The facts are the same and in the same order, and a receiver
of the first fact sees all of the rows.

A fetched intent includes its charge, which shows whether there are any (``amount_refunded``,
``disputed``). So usually nothing is listed. An event only has the charge's id. Then the money is
written at once, and refunds and disputes follow with their own events.

See: https://docs.stripe.com/api/charges/object (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shop_payments.ledger.evaluation import evaluate
from shop_payments.ledger.payments import LockedPayment
from shop_payments.models import PaymentIntent
from shop_payments.sync.base import ObjectType
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.refunds import REFUNDS

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


@dataclass(frozen=True, kw_only=True)
class _Found:
    type: ObjectType[Any, Any]
    known: Mapping[Any, int]
    results: Sequence[Any]


@dataclass(frozen=True)
class Outflows:
    """The refunds and disputes of one intent, as Stripe listed them."""

    intent_id: str
    found: Sequence[_Found] = ()

    def write(self, locked: LockedPayment) -> None:
        """Write them in the unit of work that wrote their intent."""
        row = locked.intent(self.intent_id)
        if row is None or not row.holds_money or not any(each.results for each in self.found):
            return
        # The received money is recorded first, so that facts are in the order of events.
        evaluate(locked)
        for each in self.found:
            # A row that has changed since the request is newer than the list.
            each.type.write_into(locked, self.intent_id, each.known, each.results)


def look_for_outflows(
    intent: PaymentIntentResult, *, is_ours: Callable[[], bool] = lambda: True
) -> Outflows:
    """List the refunds and disputes of an intent whose money is not known here yet.

    If the money is known, the events and lists of refunds and disputes suffice. ``is_ours`` returns
    whether an intent without a row will get one: intents of other systems cost no call.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    nothing = Outflows(intent.id)
    if not intent.amount_received or not (intent.amount_refunded or intent.is_disputed):
        return nothing
    row = PaymentIntent.objects.filter(stripe_id=intent.id).first()
    is_known = row is not None and row.holds_money
    if is_known or (row is None and not is_ours()):
        return nothing
    return list_outflows(intent.id)


def list_outflows(intent_id: str) -> Outflows:
    """List the refunds and disputes of an intent.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    row = PaymentIntent.objects.filter(stripe_id=intent_id).first()
    found = []
    for each in (REFUNDS, DISPUTES):
        # Before the request: a row that changes meanwhile may be newer than the list.
        known = {} if row is None else each.versions(row)
        found.append(_Found(type=each, known=known, results=each.list_of(intent_id)))
    return Outflows(intent_id, found)
