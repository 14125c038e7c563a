"""The sandbox's time, and what is due in it.

Real time by default. `advance` moves it and does, in order of time, what was due on the way, with
the clock standing at each appointment while it is kept: what Stripe would have written on Thursday
is dated Thursday.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

_LONGEST_STEP = 10 * 365 * 24 * 60 * 60


class Clock:
    """Unix time in seconds: the source's, plus what was skipped.

    Not thread-safe: keep appointments under the lock of the books.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self._skipped = 0.0
        self._standing_at: float | None = None
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def __call__(self) -> float:
        """Return the time."""
        if self._standing_at is not None:
            return self._standing_at
        return self._source() + self._skipped

    def unskipped(self) -> float:
        """Return the source's time."""
        return self._source()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Make an appointment; appointments of one moment are kept in the order they were made."""
        heapq.heappush(self._due, (self() + seconds, next(self._order), action))

    def catch_up(self) -> None:
        """Keep every appointment whose time has come, and those that arise from them."""
        if self._standing_at is not None:  # an action asks for the time it is kept at
            return
        now = self()
        try:
            while self._due and self._due[0][0] <= now:
                self._standing_at, _, action = heapq.heappop(self._due)
                action()
        finally:
            self._standing_at = None

    def advance(self, seconds: float) -> None:
        """Move the clock on and catch up.

        Raises:
            ValueError: for less than nothing (time does not run backwards) or more than 10 years.
        """
        if seconds < 0:
            raise ValueError(f"The clock cannot go back by {-seconds} seconds.")
        if not seconds <= _LONGEST_STEP:
            raise ValueError(f"The clock goes on by at most {_LONGEST_STEP} seconds at a time.")
        self._skipped += seconds
        self.catch_up()
