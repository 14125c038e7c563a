"""What the parts of a sweep share: what is wanted, and what came of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db import InterfaceError, OperationalError

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayUnavailable,
    ShopPaymentsError,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.transactions import is_away
from shop_payments.models import Source

logger = logging.getLogger("shop_payments")

_ORIGIN = Origin(source=Source.RECONCILE, actor="shop_payments_reconcile")

_T = TypeVar("_T")

_TOLD_AFTER = 100
"""After so many the sweep tells how far it is: at Stripe's rate, every four seconds at least."""

TRIES_IN_VAIN = 3
"""After so many calls in vain, the rest of a part is left to the next sweep."""


@dataclass
class Report:
    """What a sweep has done, or in a dry run would do."""

    attempts: int = 0
    """Calls to Stripe whose outcome is known now."""

    intents: int = 0
    """Payment intents of ours that had moved at Stripe."""

    objects: Counter[str] = field(default_factory=Counter)
    """What belongs to them and had moved, by the plural of its type: ``refunds``, ``disputes``."""

    orphans: int = 0
    """Intents of ours that lost their place to another one, cancelled."""

    unknown: int = 0
    """Intents that name an order of ours and are not known here, so that staff are asked."""

    cancellations: int = 0
    """Cancellations that the shop wanted."""

    abandoned: int = 0
    """Intents closed that nobody has touched for ``ABANDONED_AFTER_DAYS``."""

    orders: int = 0
    """Orders that could be read again, and were evaluated."""

    events: int = 0
    """Webhook events that could be processed at last."""

    events_set_aside: int = 0
    """Webhook events that wait for a person now."""

    facts: int = 0
    """Signals that were sent again."""

    pages: int = 0
    """Pages that were listed at Stripe."""

    reviews_opened: int = 0
    """Review items that were opened meanwhile, and are open."""

    problems: list[str] = field(default_factory=list)
    """What could not be done, in words."""

    @property
    def needs_person(self) -> bool:
        """Whether somebody should look."""
        return bool(self.problems or self.events_set_aside or self.reviews_opened or self.unknown)


@dataclass
class Sweep:
    """One run."""

    since: datetime
    dry_run: bool
    report_progress: Callable[[str], None]
    report: Report = field(default_factory=Report)
    origin: Origin = field(default=_ORIGIN)
    _in_vain: int = 0

    def try_to(self, what: str, work: Callable[[], object]) -> bool:
        """Do one thing; note what goes wrong instead of raising. False where it did.

        Raises:
            GatewayUnavailable: Stripe does not answer at all.
            GatewayBusy: Stripe takes no more requests now.
            GatewayAuthenticationError: Stripe does not take the key at all.
            OperationalError, InterfaceError: the database is away, or refuses again and again.
            InternalError: it takes no writes.
        """
        try:
            work()
        except Exception as error:
            # One object that cannot be handled must not keep the others from being so.
            self.record_failure(what, error)
            self._give_up_after(error)
            return False
        self._in_vain = 0
        return True

    def _give_up_after(self, error: Exception) -> None:
        """Raise, where the next call would most likely be in vain as well."""
        if isinstance(error, GatewayUnavailable):
            leave: Exception = GatewayUnavailable("Stripe does not answer; the rest is left")
        elif isinstance(error, GatewayBusy) and error.http_status == 429:  # not 409, of one object
            leave = GatewayBusy("Stripe gets too many requests; the rest is left")
        elif isinstance(error, GatewayAuthenticationError) and error.http_status == 401:  # not 403
            leave = GatewayAuthenticationError("Stripe does not take the key; the rest is left")
        elif isinstance(error, (OperationalError, InterfaceError)):
            leave = error
        else:
            self._in_vain = 0
            return
        self._in_vain += 1
        if self._in_vain == TRIES_IN_VAIN:
            self._in_vain = 0
            raise leave

    def one_by_one(self, items: Sequence[_T]) -> Iterator[_T]:
        """Go through what has to be done, and tell now and then how far it is."""
        for number, item in enumerate(items):
            if number and number % _TOLD_AFTER == 0:
                self.report_progress(f"… {number} of {len(items)}")
            yield item

    def record_failure(self, what: str, error: Exception, *, of_rest: bool = False) -> None:
        """Note what could not be done, and why; ``of_rest`` where nothing after it was tried.

        Raises:
            Exception: ``error``, where the database is away.
        """
        if is_away(error):
            raise error
        if isinstance(error, GatewayError):
            why = error.in_full  # with what Stripe's people ask for
        elif isinstance(error, ShopPaymentsError):
            why = str(error)
        elif isinstance(error, (OperationalError, InterfaceError)):
            # Somebody holds a lock for too long, say. Not in the database's words: they may quote
            # a row.
            why = f"the database refused ({type(error.__cause__ or error).__name__})"
            why += "; the rest is left" if of_rest else ""
        else:
            logger.error("%s could not be reconciled", what, exc_info=error)
            why = f"{type(error).__name__}, see the log"
        self.problem(f"{what}: {why}")

    def problem(self, words: str) -> None:
        """Note what could not be done."""
        self.report.problems.append(words)
