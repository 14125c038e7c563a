"""Walk through Stripe's lists, with our rows as they were before each page.

What a page says is as fresh as a fetch, so it is written by the same rule (Note [Whose word counts]
in ``sync/payment_intents.py``): only onto a row that is still what it was before the page was asked
for.
Which rows a page will hold is not known then. But lists go from the newest to the oldest, so it is
at most the next hundred of ours; a few more are read, for those that were created within the same
second. A row that was not read, or has changed since, is looked at once more by itself.

Lists go by the time of creation, and what is open here may be of any age. To list back to the
oldest may be many pages that show nothing of interest; to fetch each is a call for each. So a page
is asked for from the newest of them down to the last one that a hundred of our objects reach. With
others' objects on the account it may end before that, and the next one begins where it ended. Each
page shows at least one of them, so it is never more calls than to fetch them, and one for a hundred
where they lie close together. (Where more than a hundred were created within one second, those that
the page has no room for are fetched, as are those that it should show and does not.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from django.db.models import Model, Q, QuerySet

from shop_payments.maintenance.reconcile.sweep import Sweep

if TYPE_CHECKING:
    from shop_payments.gateway import Page

_PAGE = 100
"""Objects on a page."""

_READ_AHEAD = 300
"""Rows to read before a page is asked for."""

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
    """A page of Stripe's, and what is known of it here."""

    before: Sequence[_M]
    """The rows that it may be about, as they were before it was asked for."""

    found: Sequence[_T]

    not_shown: Sequence[_M] = ()
    """Open rows that it should have shown: only a look at each can tell why it has not."""


def pages(
    sweep: Sweep, ask: Callable[..., Page[_T]], *, rows: QuerySet[_M], unsettled: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    """Yield what was created since ``sweep.since``, and older pages with what is unsettled here.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    yield from _recent(sweep, ask, rows)
    yield from _older(sweep, ask, rows, unsettled.filter(stripe_created_at__lt=sweep.since))


def _recent(
    sweep: Sweep, ask: Callable[..., Page[_T]], rows: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    ours = rows.order_by(*_NEWEST_FIRST)
    after = ""
    while True:
        before = list(ours[:_READ_AHEAD])
        page = ask(since=sweep.since, after=after)
        yield _seen(sweep, Seen(before=before, found=page.items))
        if not page.after:
            return
        after = page.after
        if page.items:
            ours = ours.filter(stripe_created_at__lte=page.items[-1].created_at)


def _older(
    sweep: Sweep, ask: Callable[..., Page[_T]], rows: QuerySet[_M], unsettled: QuerySet[_M]
) -> Iterator[Seen[_M, _T]]:
    waiting = unsettled
    while wanted := list(waiting.order_by(*_NEWEST_FIRST)[:_PAGE]):
        until = _created_at(wanted[0])
        ours = rows.filter(stripe_created_at__lte=until).order_by(*_NEWEST_FIRST)
        before = list(ours[:_READ_AHEAD])
        reach = _created_at(before[:_PAGE][-1])
        wanted = [row for row in wanted if _created_at(row) >= reach]
        page = ask(since=_created_at(wanted[-1]), until=until)
        done = _within(page, wanted)
        shown = {each.id for each in page.items}
        not_shown = [row for row in done if _stripe_id(row) not in shown]
        yield _seen(sweep, Seen(before=before, found=page.items, not_shown=not_shown))
        waiting = unsettled.filter(_is_older_than(done[-1]))


def _within(page: Page[_T], wanted: list[_M]) -> list[_M]:
    """Return how far down the wanted rows a page goes; the first always counts as done."""
    if not page.after:
        return wanted
    shown = {each.id for each in page.items}
    end = min((each.created_at for each in page.items), default=_created_at(wanted[0]))
    further = takewhile(lambda row: _stripe_id(row) in shown or _created_at(row) > end, wanted[1:])
    return [wanted[0], *further]


def _is_older_than(row: Model) -> Q:
    created_at = _created_at(row)
    return Q(stripe_created_at__lt=created_at) | Q(stripe_created_at=created_at, pk__lt=row.pk)


def _stripe_id(row: Any) -> str:
    stripe_id: str = row.stripe_id
    return stripe_id


def _created_at(row: Any) -> datetime:
    moment: datetime = row.stripe_created_at
    return moment


def _seen(sweep: Sweep, seen: Seen[_M, _T]) -> Seen[_M, _T]:
    sweep.report.pages += 1
    sweep.report_progress(f"… page {sweep.report.pages}")
    return seen
