"""Go through Stripe's lists, with our rows as they were before each page.

A page is as fresh as a fetch, so the same rule applies (Note [Which message counts] in
``sync/payment_intents.py``): it is written only to rows that have not changed since before the
request. The rows on a page are not known before the request. But lists go from the newest to the
oldest object, so they are at most the next hundred of our rows. A few more are read, for objects
that were created within the same second. An object whose row was not read, or has changed since, is
fetched individually.

Lists are ordered by the time of creation, and open objects may be of any age. Listing back to the
oldest one may take many pages without interest, and fetching each takes a call for each. So a page
is requested from the newest open object down to the last one that a hundred of our objects reach.
If other systems use the account, the page may end earlier, and the next page begins there. Each
page shows at least one open object, so there are never more calls than with fetching, and one for a
hundred if they are close together. (Objects that a page should show but does not are fetched, as
are those beyond the rows that were read if several hundred were created within one second.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from django.db.models import Model, Q, QuerySet

from shop_payments.maintenance.reconcile.sweep import Sweep

if TYPE_CHECKING:
    from shop_payments.gateway import Page

_PAGE = 100
"""Objects on a page."""

_READ_AHEAD = 300
"""Rows to read before a page is requested."""

_SECOND = timedelta(seconds=1)

_NEWEST_FIRST = ("-stripe_created_at", "-pk")


class _Listed(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def created_at(self) -> datetime: ...


_M = TypeVar("_M", bound=Model)
_T = TypeVar("_T", bound=_Listed)


@dataclass(frozen=True, kw_only=True)
class Seen(Generic[_M, _T]):
    """A page of Stripe's list, with our rows."""

    before: Sequence[_M]
    """The rows that may be on the page, as they were before the request."""

    found: Sequence[_T]

    not_shown: Sequence[_M] = ()
    """Open rows that the page should have shown. Each has to be fetched to find out why."""


def pages(
    sweep: Sweep, ask: Callable[..., Page[_T]], *, rows: QuerySet[_M], unsettled: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    """Yield the pages since ``sweep.since``, and older pages with objects that are unsettled here.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    yield from _recent(sweep, ask, rows)
    older = unsettled.filter(stripe_created_at__lt=sweep.since)
    yield from older_pages(sweep, ask, rows=rows, wanted=older)


def _recent(
    sweep: Sweep, ask: Callable[..., Page[_T]], rows: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    ours = rows.order_by(*_NEWEST_FIRST)
    after = ""
    while True:
        before = list(ours[:_READ_AHEAD])
        page = ask(since=sweep.since, after=after)
        sweep.count_page()
        yield Seen(before=before, found=page.items)
        if not page.after:
            return
        after = page.after
        if page.items:
            # Not ``lt``: the next page may begin within the same second.
            ours = ours.filter(stripe_created_at__lte=page.items[-1].created_at)


def older_pages(
    sweep: Sweep, ask: Callable[..., Page[_T]], *, rows: QuerySet[_M], wanted: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    """Yield pages that show the wanted rows, whatever their age.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    waiting = wanted
    end: Page[_T] | None = None
    while batch := list(waiting.order_by(*_NEWEST_FIRST)[:_PAGE]):
        until = _created_at(batch[0])
        ours = rows.filter(stripe_created_at__lte=until).order_by(*_NEWEST_FIRST)
        before = list(ours[:_READ_AHEAD])
        # If all objects on the page are ours, it ends here.
        reach = _created_at(before[:_PAGE][-1])
        batch = [row for row in batch if _created_at(row) >= reach]
        after = _continued(end, until)
        page = end = ask(since=_created_at(batch[-1]), until=until, after=after)
        done = _within(page, batch)
        shown = {each.id for each in page.items}
        not_shown = [row for row in done if _stripe_id(row) not in shown]
        sweep.count_page()
        yield Seen(before=before, found=page.items, not_shown=not_shown)
        # By position, not by state: rows that stay as they are must not be asked for again.
        waiting = wanted.filter(_is_older_than(done[-1]))


def _continued(end: Page[_T] | None, until: datetime) -> str:
    """Return the last object of the page before, if the next page would begin with the same ones.

    A request for objects until a second includes the next one (``gateway.calls.created_within``),
    in which the page before may have ended.
    """
    last = end.items[-1] if end is not None and end.items else None
    is_close = last is not None and until <= last.created_at <= until + _SECOND
    return last.id if last is not None and is_close else ""


def _within(page: Page[_T], wanted: list[_M]) -> list[_M]:
    """Return the wanted rows that a page covers. The first one always counts, to make progress."""
    if not page.after:
        return wanted
    shown = {each.id for each in page.items}
    end = min((each.created_at for each in page.items), default=_created_at(wanted[0]))
    further = takewhile(lambda row: _stripe_id(row) in shown or _created_at(row) > end, wanted[1:])
    return [wanted[0], *further]


def _is_older_than(row: Model) -> Q:
    created_at = _created_at(row)
    # With "or" between the times, the database would begin at the newest row again for each page.
    is_older = Q(stripe_created_at__lt=created_at) | Q(pk__lt=row.pk)
    return Q(stripe_created_at__lte=created_at) & is_older


def _stripe_id(row: Any) -> str:
    stripe_id: str = row.stripe_id
    return stripe_id


def _created_at(row: Any) -> datetime:
    moment: datetime = row.stripe_created_at
    return moment
