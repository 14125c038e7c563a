"""Walk through Stripe's lists, with our rows as they were before each page.

What a page says is as fresh as a fetch, so it is written by the same rule (Note [Whose word counts]
in ``services/mirror.py``): only onto a row that is still what it was before the page was asked for.
Which rows a page will hold is not known then. But lists go from the newest to the oldest, so it is
at most the next hundred of ours; a few more are read, for those that were created within the same
second. A row that was not read, or has changed since, is looked at once more by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from django.db.models import Model, QuerySet

from shop_payments.services.reconcile.sweep import Sweep

if TYPE_CHECKING:
    from shop_payments.gateway import Page

_FEW = 100
"""So many old objects are fetched one by one; for more it is cheaper to list further back."""

_READ_AHEAD = 300
"""Rows to read before a page of a hundred is asked for."""


class _Listed(Protocol):
    @property
    def created_at(self) -> datetime: ...


_M = TypeVar("_M", bound=Model)
_T = TypeVar("_T", bound=_Listed)


def pages(
    sweep: Sweep, ask: Callable[..., Page[_T]], rows: QuerySet[_M], since: datetime
) -> Iterator[tuple[list[_M], Sequence[_T]]]:
    """Yield each page with the rows that it may be about, as they were before it was asked for.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = rows.order_by("-stripe_created_at", "-pk")
    after = ""
    while True:
        before = list(ours[:_READ_AHEAD])
        page = ask(since=since, after=after)
        sweep.report.pages += 1
        yield before, page.items
        if not page.after:
            return
        after = page.after
        if page.items:
            ours = ours.filter(stripe_created_at__lte=page.items[-1].created_at)
        sweep.tell(f"… page {sweep.report.pages + 1}")


def span(since: datetime, unsettled: QuerySet[_M]) -> tuple[datetime, list[_M]]:
    """Say where the list begins, and which older rows are to be looked at one by one."""
    older = unsettled.filter(stripe_created_at__lt=since).order_by("stripe_created_at")
    few = list(older[: _FEW + 1])
    if len(few) <= _FEW:
        return since, few
    oldest: Any = few[0]
    return oldest.stripe_created_at, []
