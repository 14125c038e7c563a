"""What the parts of a sweep share, and its report."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError
from django.db.models import Model, QuerySet
from django.utils import timezone

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayUnavailable,
    ShopPaymentsError,
    SweepRunning,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.transactions import is_unavailable
from shop_payments.models import Source, SweepState

logger = logging.getLogger("shop_payments")

_ORIGIN = Origin(source=Source.RECONCILE, actor="shop_payments_reconcile")

_T = TypeVar("_T")
_M = TypeVar("_M", bound=Model)

_BATCH = 500
"""Rows to read at once."""

_ALIVE_EVERY = 30.0
"""Seconds after which a running sweep shows that it is alive."""

_PROGRESS_EVERY = 100
"""Objects between two lines of progress. At Stripe's rate, a line comes every four seconds."""

MAX_CONSECUTIVE_FAILURES = 3
"""After this many failed calls in a row, the next sweep does the rest of a part."""


@dataclass
class Report:
    """The results of a sweep, or what a dry run would do."""

    attempts: int = 0
    """Attempts that were unresolved and whose outcome is known now."""

    intents: int = 0
    """Our payment intents that had changed at Stripe."""

    methods: int = 0
    """Payments whose method, such as the card, was filled in."""

    objects: Counter[str] = field(default_factory=Counter)
    """Their objects that had changed, by the plural of the type, such as ``refunds``."""

    orphans: int = 0
    """Intents of ours that another one had replaced, and that were cancelled."""

    unknown: int = 0
    """Intents without a row that name an order of ours, so that staff are asked."""

    cancellations: int = 0
    """Cancellations that the shop had requested."""

    abandoned: int = 0
    """Intents closed after ``ABANDONED_AFTER_DAYS`` without activity."""

    orders: int = 0
    """Orders that could be read again and were evaluated."""

    missed_events: int = 0
    """Events that Stripe lists and that had never arrived."""

    events: int = 0
    """Webhook events that had failed and were processed."""

    events_set_aside: int = 0
    """Webhook events that were set aside for staff."""

    facts: int = 0
    """Notifications that were sent again."""

    pages: int = 0
    """Pages of Stripe's lists that were requested."""

    reviews_opened: int = 0
    """Review items that were opened during the sweep and are still open."""

    problems: list[str] = field(default_factory=list)
    """Descriptions of what failed."""

    @property
    def needs_staff(self) -> bool:
        """Whether staff should look at the result."""
        return bool(self.problems or self.events_set_aside or self.reviews_opened or self.unknown)


@dataclass
class Sweep:
    """One run."""

    since: datetime
    """Where Stripe's lists begin."""

    dry_run: bool
    report_progress: Callable[[str], None]
    state: SweepState
    compares_lists: bool
    """Whether Stripe's lists of objects are compared with our rows."""

    newest_event: str = ""
    """The newest event at Stripe before the lists were compared, if that has to be stored."""

    has_left_rest: bool = False
    """Whether a part ended early, so that the next sweep has to do the rest."""

    report: Report = field(default_factory=Report)
    origin: Origin = field(default=_ORIGIN)
    _consecutive_failures: int = 0
    _showed_at: float = field(default_factory=time.monotonic)

    def save(self, **progress: Any) -> None:
        """Store the progress of this sweep; a dry run stores nothing."""
        if not self.dry_run:
            SweepState.objects.filter(pk=self.state.pk).update(**progress)

    def show_alive(self) -> None:
        """Keep other sweeps from starting.

        Raises:
            SweepRunning: another one has started, because this one seemed to have ended.
        """
        if self.dry_run or time.monotonic() - self._showed_at < _ALIVE_EVERY:
            return
        self._showed_at = time.monotonic()
        if not self.state.acquire(timezone.now()):
            raise SweepRunning("Another sweep has started meanwhile, and does the rest.")

    def count_page(self) -> None:
        """Count a page of one of Stripe's lists."""
        self.show_alive()
        self.report.pages += 1
        self.report_progress(f"… page {self.report.pages}")

    def try_to(self, what: str, work: Callable[[], object]) -> bool:
        """Do one piece of work. A failure is recorded, not raised; return False then.

        Raises:
            GatewayUnavailable: Stripe does not answer at all.
            GatewayBusy: Stripe accepts no more requests now.
            GatewayAuthenticationError: Stripe does not accept the key at all.
            OperationalError, InterfaceError: the database is unavailable, or refuses repeatedly.
            InternalError: it is read-only.
            SweepRunning: another sweep does the rest.
        """
        self.show_alive()
        try:
            work()
        except SweepRunning:
            raise
        except Exception as error:
            # A failure with one object must not stop the work on the others.
            self.record_failure(what, error)
            self._give_up_after(error)
            return False
        self._consecutive_failures = 0
        return True

    def _give_up_after(self, error: Exception) -> None:
        """Raise if further calls would most likely fail as well."""
        if isinstance(error, GatewayUnavailable):
            leave: Exception = GatewayUnavailable("Stripe does not answer; the rest was not tried")
        elif isinstance(error, GatewayBusy) and error.http_status == 429:  # not 409, of one object
            leave = GatewayBusy("Stripe gets too many requests; the rest was not tried")
        elif isinstance(error, GatewayAuthenticationError) and error.http_status == 401:  # not 403
            leave = GatewayAuthenticationError(
                "Stripe does not accept the key; the rest was not tried"
            )
        elif isinstance(error, (OperationalError, InterfaceError)):
            leave = error
        else:
            self._consecutive_failures = 0
            return
        self._consecutive_failures += 1
        if self._consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            self._consecutive_failures = 0
            raise leave

    def one_by_one(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yield the items, and report the progress from time to time."""
        for number, item in enumerate(items):
            if number and number % _PROGRESS_EVERY == 0:
                self.report_progress(f"… {number} done")
            yield item

    def each_of(self, rows: QuerySet[_M]) -> Iterator[_M]:
        """Yield rows by primary key, and report the progress.

        They are read in batches, because there may be very many. Not ``iterator()``: other
        statements run between the batches, and a pooler may give them other connections.
        """
        return self.one_by_one(_in_batches(rows))

    def record_failure(self, what: str, error: Exception, *, of_rest: bool = False) -> None:
        """Record a failure and its reason. ``of_rest`` means that nothing after it was tried.

        Raises:
            Exception: ``error``, if the database is unavailable.
        """
        if is_unavailable(error):
            raise error
        self.has_left_rest |= of_rest
        if isinstance(error, GatewayError):
            why = error.in_full  # with the request id, which Stripe's support asks for
        elif isinstance(error, ShopPaymentsError):
            why = str(error)
        elif isinstance(error, (OperationalError, InterfaceError)):
            # For example, a lock is held for too long. The database's message may quote a row.
            why = f"the database refused ({type(error.__cause__ or error).__name__})"
            why += "; the rest was not tried" if of_rest else ""
        else:
            logger.error("%s could not be reconciled", what, exc_info=error)
            why = f"{type(error).__name__}, see the log"
        self.add_problem(f"{what}: {why}")

    def add_problem(self, words: str) -> None:
        """Record a problem."""
        self.report.problems.append(words)


def _in_batches(rows: QuerySet[_M]) -> Iterator[_M]:
    rows, rest = rows.order_by("pk"), rows.order_by("pk")
    while batch := list(rest[:_BATCH]):
        yield from batch
        rest = rows.filter(pk__gt=batch[-1].pk)
