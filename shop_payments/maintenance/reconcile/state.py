"""One sweep at a time, and where it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import SweepRunning
from shop_payments.models import SweepState
from shop_payments.models.words import local_time

COMPARED_EVERY = timedelta(hours=24)
"""Stripe's lists show what has no event, such as an object that was deleted."""

_LOOK_BACK = timedelta(hours=72)
"""Stripe stops redelivering a webhook after three days."""


@contextmanager
def acquired_state(*, dry_run: bool) -> Iterator[SweepState]:
    """Let the block sweep in the mode of the key in use, unless another process is sweeping.

    Two sweeps at once would be safe, but would exceed the rate of requests to Stripe. So a dry run,
    which writes nothing, runs beside another sweep.

    Raises:
        SweepRunning: another process is sweeping.
    """
    livemode = get_config().livemode
    rows = SweepState.objects.filter(livemode=livemode)
    if dry_run:
        yield rows.first() or SweepState(livemode=livemode)
        return
    state, _is_new = SweepState.objects.get_or_create(livemode=livemode)
    now = timezone.now()
    if state.is_acquired(now) or not state.acquire(now):
        state.refresh_from_db()
        moment = local_time(state.acquired_at or now)
        raise SweepRunning(f"Another sweep is running; it was alive at {moment:%H:%M:%S %Z}.")
    try:
        yield state
    finally:
        # Unless it lasted so long that another one has started.
        mine = rows.filter(acquired_at=state.acquired_at)
        mine.update(acquired_at=None, finished_at=timezone.now())


def must_compare_lists(state: SweepState, now: datetime) -> bool:
    """Return whether it is time to compare Stripe's lists again."""
    return state.compared_at is None or abs(now - state.compared_at) >= COMPARED_EVERY


def beginning_of_lists(state: SweepState, now: datetime) -> datetime:
    """Return where Stripe's lists begin, so that there is no gap since they were last compared."""
    compared_at = state.compared_at or now
    return min(now, compared_at + COMPARED_EVERY) - _LOOK_BACK
