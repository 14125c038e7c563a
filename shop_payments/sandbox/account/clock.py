"""The sandbox's clock and its scheduled actions.

The clock shows real time by default. `advance` moves it forward and runs the actions that become
due, in order. While an action runs, the clock stands at its due time, which dates the new objects.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

_LONGEST_STEP = 10 * 365 * 24 * 60 * 60


class Clock:
    """Unix time in seconds: the source's time plus the seconds that were skipped.

    Not thread-safe: use it under the lock of the books.
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
        """Return the time without the skipped seconds."""
        return self._source()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action. Actions with the same due time run in the order of scheduling."""
        heapq.heappush(self._due, (self() + seconds, next(self._order), action))

    def catch_up(self) -> None:
        """Run all due actions, including those that they schedule."""
        if self._standing_at is not None:  # called by an action, while the loop below runs
            return
        now = self()
        try:
            while self._due and self._due[0][0] <= now:
                self._standing_at, _, action = heapq.heappop(self._due)
                action()
        finally:
            self._standing_at = None

    def advance(self, seconds: float) -> None:
        """Advance the clock and run the actions that become due.

        Raises:
            ValueError: `seconds` is negative or more than ten years.
        """
        if seconds < 0:
            raise ValueError(f"The clock cannot go back by {-seconds} seconds.")
        if not seconds <= _LONGEST_STEP:
            raise ValueError(f"The clock can advance by at most {_LONGEST_STEP} seconds at a time.")
        self._skipped += seconds
        self.catch_up()
