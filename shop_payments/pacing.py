"""Keep a long run of calls to Stripe within its rate.

See: https://docs.stripe.com/rate-limits (checked 2026-11)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Pace:
    """At most ``per_second`` turns within any second; whoever is slower never waits."""

    def __init__(
        self,
        per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._turns: deque[float] = deque(maxlen=per_second)
        self._clock, self._sleep = clock, sleep

    def wait(self) -> None:
        """Return when it is the next call's turn."""
        if len(self._turns) == self._turns.maxlen:
            pause = self._turns[0] + 1 - self._clock()
            if pause > 0:
                self._sleep(pause)
        self._turns.append(self._clock())


_PACE: ContextVar[Pace | None] = ContextVar("shop_payments_pace", default=None)


@contextmanager
def keeping(pace: Pace) -> Iterator[None]:
    """Have every request to Stripe within the block wait for its turn."""
    token = _PACE.set(pace)
    try:
        yield
    finally:
        _PACE.reset(token)


def wait_for_turn() -> None:
    """Return when the next request may be sent: at once, unless within :func:`keeping`."""
    pace = _PACE.get()
    if pace is not None:
        pace.wait()
