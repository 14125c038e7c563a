"""Sync the objects that belong to a payment intent, such as its refunds and disputes.

There is one :class:`ObjectType` for each type. It defines how Stripe lists the objects and how
their rows are written. Webhooks and the sweep find the types in ``registry.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import router

from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.models import PaymentIntent
from shop_payments.prepared import PreparedQuery

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from shop_payments.gateway import Page, PaymentIntentResult

logger = logging.getLogger("shop_payments")

_TRIES = 4

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")


@cache
def _versions_of(model: Any) -> PreparedQuery[Any]:
    return PreparedQuery(
        lambda pk: model.objects.filter(payment_intent=pk).only("pk", "version").order_by(),
        field=lambda: PaymentIntent._meta.pk,
    )


@dataclass(frozen=True, kw_only=True)
class ObjectType(Generic[_Row, _Result]):
    """One type of objects that belong to a payment intent."""

    singular: str
    """For staff, as is :attr:`plural`."""

    plural: str

    events: tuple[str, ...]
    """The prefixes of its event types. An event is only a hint to list the intent's objects."""

    listed_events: tuple[str, ...]
    """The event types that the sweep asks Stripe for. Together they cover all changes."""

    list_of: Callable[[str], Sequence[_Result]]
    """List the objects of an intent at Stripe, given the intent's id, newest first."""

    page: Callable[..., Page[_Result]]
    """List one page of the account's objects that were created in a period."""

    intent_of: Callable[[str], PaymentIntentResult | None]
    """Fetch the intent of an object at Stripe, given the object's id."""

    rows: Callable[[], QuerySet[Any]]
    """All rows with an id of Stripe."""

    unsettled: Callable[[], QuerySet[Any]]
    """Rows that may still change."""

    is_optional: bool = False
    """Whether the sweep leaves them out if the key has no permission to list them."""

    lists_open_only: bool = False
    """Whether :attr:`page` leaves out settled objects, so that absence proves nothing."""

    unsent: Callable[[], QuerySet[Any]] | None = None
    """Rows without an id, whose objects Stripe may have created already."""

    find: Callable[[LockedPayment, _Result], _Row | None]
    """Find the row of an object."""

    apply: Callable[..., None]
    """Given the locked payment, the intent, the row or None, and the object: update or insert the
    row, with history and review items."""

    agrees: Callable[[_Row, _Result], bool]
    """Return whether the row equals the object, so that there is nothing to write."""

    def sync(
        self, intent: PaymentIntent, *, origin: Origin, follows_up: bool = True
    ) -> Sequence[_Result]:
        """List the objects of an intent at Stripe, write the changes, and return the list.

        Without ``follows_up``, no follow-up runs.

        Raises:
            GatewayError: the request to Stripe failed.
        """
        for _round in range(_TRIES):
            # Before the request: a row that changes during it may be newer than the list.
            known = self.versions(intent)
            results = self.list_of(intent.stripe_id)
            if self.write_listed(intent, known, results, origin=origin, follows_up=follows_up):
                return results
        logger.warning("The %s of %s keep changing", self.plural, intent)
        return results

    def versions(self, intent: PaymentIntent) -> dict[Any, int]:
        """Return the versions of an intent's rows by primary key, to be read before a request.

        They include rows whose objects Stripe does not know yet.
        """
        model: Any = self.rows().model
        rows = _versions_of(model)(intent.pk, using=router.db_for_write(model))
        return {row.pk: row.version for row in rows}

    def write_listed(
        self,
        intent: PaymentIntent,
        known: Mapping[Any, int],
        results: Sequence[_Result],
        *,
        origin: Origin,
        follows_up: bool = True,
    ) -> bool:
        """Write the objects of a list, newest first; False if a row has changed meanwhile.

        ``known`` are the rows' versions by primary key, read before the request.

        Raises:
            OrderUnreadable: written, but the order could not be evaluated; try again.
        """

        def write(locked: LockedPayment) -> bool:
            return self.write_into(locked, intent.stripe_id, known, results)

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
    ) -> bool:
        """Do the same as :meth:`write_listed`, in the caller's unit of work."""
        complete = True
        # The row under the lock, not the caller's older copy.
        intent = locked.intent(intent_id)
        # Oldest first, so that facts are in the order in which things happened.
        for result in reversed(results) if intent is not None else ():
            row: Any = self.find(locked, result)
            if row is not None and row.version != known.get(row.pk):
                complete = False  # the row may be newer than the list, so list again
            elif intent is not None:
                self.apply(locked, intent, row, result)
        return complete
