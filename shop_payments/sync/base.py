"""Mirror what hangs on an intent, its refunds or disputes, from Stripe's lists of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.models import Dispute, PaymentIntent, Refund

logger = logging.getLogger("shop_payments")

_MAX_ROUNDS = 4

_Row = TypeVar("_Row", Refund, Dispute)
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Listed(Generic[_Row, _Result]):
    """One kind of object that Stripe lists by its intent, and how its rows are written."""

    ask: Callable[[str], Sequence[_Result]]
    """List those of an intent, given Stripe's id of it, newest first."""

    rows: Callable[[PaymentIntent], Any]
    """The rows of an intent, as a query set."""

    find: Callable[[LockedPayment, _Result], _Row | None]
    """Find the row of a result."""

    write: Callable[..., None]
    """Of the locked payment, the intent, its row or None, the result, and ``origin``: bring the row
    to what Stripe says, or insert it, with history and review."""

    agrees: Callable[[_Row, _Result], bool]
    """Tell whether there is nothing to write."""

    def sync(
        self, intent: PaymentIntent, *, origin: Origin, follows_up: bool = True
    ) -> Sequence[_Result]:
        """List those of an intent at Stripe, write down what has changed, and return the list.

        Without ``follows_up`` nothing is done at Stripe because of that.

        Raises:
            GatewayError: Stripe could not be asked.
        """
        for _round in range(_MAX_ROUNDS):
            known = self.versions(intent)
            results = self.ask(intent.stripe_id)
            if self.write_listed(intent, known, results, origin=origin, follows_up=follows_up):
                return results
        logger.warning("The refunds or disputes of %s keep changing", intent)
        return results

    def versions(self, intent: PaymentIntent) -> dict[Any, int]:
        """Return the versions of an intent's rows by primary key, before Stripe is asked."""
        return dict(self.rows(intent).values_list("pk", "version"))

    def write_listed(
        self,
        intent: PaymentIntent,
        known: Mapping[Any, int],
        results: Sequence[_Result],
        *,
        origin: Origin,
        follows_up: bool = True,
    ) -> bool:
        """Write what was listed, newest first; False where a row has changed since before that.

        ``known`` are the rows' versions by primary key, read before Stripe was asked.

        Raises:
            OrderUnreadable: written, but the order could not be evaluated; try again.
        """

        def write(locked: LockedPayment) -> bool:
            return self.write_into(locked, intent.stripe_id, known, results, origin=origin)

        done = change_payment(
            write, origin=origin, follows_up=follows_up, pk=intent.order_payment_id
        )
        done.raise_if_unreadable()
        return bool(done.value)

    def write_into(
        self,
        locked: LockedPayment,
        intent_id: str,
        known: Mapping[Any, int],
        results: Sequence[_Result],
        *,
        origin: Origin,
    ) -> bool:
        """Write what was listed in a unit of work; False as :meth:`write_listed`."""
        complete = True
        intent = locked.intent(intent_id)
        for result in reversed(results) if intent is not None else ():
            row = self.find(locked, result)
            if row is not None and row.version != known.get(row.pk):
                complete = False
            elif intent is not None:
                self.write(locked, intent, row, result, origin=origin)
        return complete
