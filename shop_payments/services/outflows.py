"""What has gone back of a payment before it is written here: refunds and disputes.

Note [Outflows with the payment]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
The shop may ship the goods when it is notified that an order is paid. A payment that is found late
may have been refunded meanwhile. So its refunds and disputes are listed before it is written, and
are written in the same unit of work: the facts are the same and in the same order, and whoever is
notified of the first one finds all of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shop_payments.models import PaymentIntent
from shop_payments.services.disputes import DISPUTES
from shop_payments.services.evaluation import evaluate
from shop_payments.services.history import Origin
from shop_payments.services.ledger import LockedPayment
from shop_payments.services.listed import Listed
from shop_payments.services.refunds import REFUNDS


@dataclass(frozen=True, kw_only=True)
class _Found:
    listed: Listed[Any, Any]
    known: Mapping[Any, int]
    results: Sequence[Any]


@dataclass(frozen=True)
class Outflows:
    """The refunds and disputes of one intent, as Stripe listed them."""

    intent_id: str
    found: Sequence[_Found] = ()

    def write(self, locked: LockedPayment, *, origin: Origin) -> None:
        """Write them in the unit of work that has written their intent."""
        if locked.intent(self.intent_id) is None or not any(each.results for each in self.found):
            return
        # What came is recorded before what went back.
        evaluate(locked, origin=origin)
        for each in self.found:
            # A row that has changed since is newer than this.
            each.listed.write_into(locked, self.intent_id, each.known, each.results, origin=origin)


def list_outflows(intent_id: str) -> Outflows:
    """List the refunds and disputes of an intent.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    row = PaymentIntent.objects.filter(stripe_id=intent_id).first()
    found = []
    for listed in (REFUNDS, DISPUTES):
        known = {} if row is None else listed.versions(row)
        found.append(_Found(listed=listed, known=known, results=listed.ask(intent_id)))
    return Outflows(intent_id, found)
