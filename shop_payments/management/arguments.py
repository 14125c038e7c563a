"""Arguments that several commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.utils import timezone

_MOST_HOURS = 24 * 366 * 10


def day(text: str) -> date:
    """Read a day.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError("a day like 2026-11-24 is wanted") from None


def midnight(on: date) -> datetime:
    """Return when a day begins, in the project's time zone."""
    begins = datetime.combine(on, time.min)
    return timezone.make_aware(begins) if settings.USE_TZ else begins


def moment(text: str) -> datetime:
    """Read a day (its beginning, in the project's time zone) or a number of hours (ago).

    Raises:
        ArgumentTypeError: it is neither, or a day to come.
    """
    if text.isascii() and text.isdigit():
        hours = int(text) if len(text) < 9 else 0
        if not 1 <= hours <= _MOST_HOURS:
            raise ArgumentTypeError(f"a number of hours from 1 to {_MOST_HOURS} is wanted")
        return hours_ago(hours)
    try:
        begins = midnight(day(text))
    except ArgumentTypeError:
        raise ArgumentTypeError("a day like 2026-11-24 or a number of hours is wanted") from None
    if begins > timezone.now():
        raise ArgumentTypeError(f"{text} has not begun yet")
    return begins


def hours_ago(hours: int) -> datetime:
    """Return the moment so many hours ago."""
    return timezone.now() - timedelta(hours=hours)
