"""Arguments that several commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import date, datetime, timedelta

from django.utils import timezone

from shop_payments.days import midnight

_MOST_HOURS = 24 * 366 * 10

_YEARS = range(2000, 2100)
"""Stripe has no objects from before 2000. A year like 0001 or 9999 is a typing error."""


def read_whole_number(text: str) -> int:
    """Parse a whole number; -1 if it is not one."""
    # isdigit() also accepts digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return -1
    return int(text)


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a function that parses a whole number from ``lowest`` to ``highest``."""

    def read(text: str) -> int:
        number = read_whole_number(text)
        if not lowest <= number <= highest:
            raise ArgumentTypeError(f"expected a whole number from {lowest} to {highest}")
        return number

    return read


def day(text: str) -> date:
    """Parse a day.

    Raises:
        ArgumentTypeError: the text is not a day.
    """
    try:
        on = date.fromisoformat(text)
    except ValueError:
        on = date.min
    if on.year not in _YEARS:
        raise ArgumentTypeError("expected a day like 2026-11-24")
    return on


def moment(text: str) -> datetime:
    """Parse a day (its beginning, in the project's time zone) or a number of hours (ago).

    Raises:
        ArgumentTypeError: the text is neither, or the day is in the future.
    """
    if text.isascii() and text.isdigit():
        hours = read_whole_number(text)
        if not 1 <= hours <= _MOST_HOURS:
            raise ArgumentTypeError(f"expected a number of hours from 1 to {_MOST_HOURS}")
        return hours_ago(hours)
    try:
        begins = midnight(day(text))
    except ArgumentTypeError:
        raise ArgumentTypeError("expected a day like 2026-11-24 or a number of hours") from None
    if begins > timezone.now():
        raise ArgumentTypeError(f"{text} has not begun yet")
    return begins


def hours_ago(hours: int) -> datetime:
    """Return the time that many hours ago."""
    return timezone.now() - timedelta(hours=hours)
