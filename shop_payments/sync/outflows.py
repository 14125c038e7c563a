"""What has gone back of a payment before it is written here: refunds and disputes.

Note [Outflows with the payment]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
The shop may ship the goods when it is notified that an order is paid. A payment that is found late
may have been refunded meanwhile. So its refunds and disputes are listed before it is written, and
are written in the same unit of work: the facts are the same and in the same order, and a receiver
of the first one finds all of the rows.

Stripe's charge, which comes with a fetched intent, says whether there are any (``amount_refunded``,
``disputed``). So nothing is listed in the ordinary case. An event has only the charge's id: there
the money is written at once, and what has gone back follows with its own events.

See: https://docs.stripe.com/api/charges/object (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shop_payments.ledger.evaluation import evaluate
from shop_payments.ledger.facts import Origin
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

    def write(self, locked: LockedPayment, *, origin: Origin) -> None:
        """Write them in the unit of work that has written their intent."""
        row = locked.intent(self.intent_id)
        if row is None or not row.holds_money or not any(each.results for each in self.found):
            return
        # What came is recorded before what went back.
        evaluate(locked, origin=origin)
        for each in self.found:
            # A row that has changed since is newer than this.
            each.type.write_into(locked, self.intent_id, each.known, each.results, origin=origin)


def look_for_outflows(
    intent: PaymentIntentResult, *, is_ours: Callable[[], bool] = lambda: True
) -> Outflows:
    """List the refunds and disputes of an intent whose money is not known here yet.

    One that is known is left to the events and lists of refunds and disputes. ``is_ours`` tells
    whether an intent without a row is to get one: those of other systems cost no call.

    Raises:
        GatewayError: Stripe could not be asked.
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
        GatewayError: Stripe could not be asked.
    """
    row = PaymentIntent.objects.filter(stripe_id=intent_id).first()
    found = []
    for each in (REFUNDS, DISPUTES):
        known = {} if row is None else each.versions(row)
        found.append(_Found(type=each, known=known, results=each.list_of(intent_id)))
    return Outflows(intent_id, found)
