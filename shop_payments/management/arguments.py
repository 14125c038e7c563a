"""Arguments that several commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.utils import timezone

_MOST_HOURS = 24 * 366 * 10

_YEARS = range(2000, 2100)
"""Stripe has nothing before them; and 0001 or 9999 is a typing error."""


def read_whole_number(text: str) -> int:
    """Read a whole number; -1 where it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return -1
    return int(text)


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return what reads a whole number from ``lowest`` to ``highest``."""

    def read(text: str) -> int:
        number = read_whole_number(text)
        if not lowest <= number <= highest:
            raise ArgumentTypeError(f"a whole number from {lowest} to {highest} is wanted")
        return number

    return read


def day(text: str) -> date:
    """Read a day.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        on = date.fromisoformat(text)
    except ValueError:
        on = date.min
    if on.year not in _YEARS:
        raise ArgumentTypeError("a day like 2026-11-24 is wanted")
    return on


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
        hours = read_whole_number(text)
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
