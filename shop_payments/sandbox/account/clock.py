"""The sandbox's clock and its scheduled actions.

The clock shows real time by default. `advance` moves it forward and runs the actions that become
due, in order. While an action runs, the clock stands at its due time, which dates the new objects.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

_LONGEST_STEP = 10 * 365 * 24 * 60 * 60


class Clock:
    """Unix time in seconds: the source's time plus the seconds that were skipped.

    Not thread-safe: use it under `lock`, except to read the time. While the lock is held, the clock
    stands. So what a request does has one time, and what is due a moment after it comes after it.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self.lock = _StandingLock(self)
        self._source = source
        self._skipped = 0.0
        self._standing_at: float | None = None
        self._is_catching_up = False
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def __call__(self) -> float:
        """Return the time."""
        standing_at = self._standing_at  # read once: another thread may release the lock
        return self._source() + self._skipped if standing_at is None else standing_at

    def stand_at(self, seconds: float | None) -> None:
        """Let the clock stand at a time, or let it go on."""
        self._standing_at = seconds

    def unskipped(self) -> float:
        """Return the time without the skipped seconds."""
        return self._source()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action. Actions with the same due time run in the order of scheduling."""
        heapq.heappush(self._due, (self() + seconds, next(self._order), action))

    def catch_up(self) -> None:
        """Run all due actions, including those that they schedule."""
        if self._is_catching_up:  # called by an action, while the loop below runs
            return
        now, stood_at = self(), self._standing_at
        self._is_catching_up = True
        try:
            while self._due and self._due[0][0] <= now:
                self._standing_at, _, action = heapq.heappop(self._due)
                action()
        finally:
            self._is_catching_up = False
            self._standing_at = stood_at

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
        if self._standing_at is not None:
            self._standing_at += seconds
        self.catch_up()


class _StandingLock:
    """A reentrant lock under which a clock stands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._depth = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._clock.stand_at(self._clock())

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._clock.stand_at(None)
        self._lock.release()
