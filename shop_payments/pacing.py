"""Keep a long series of calls to Stripe within its rate limit.

See: https://docs.stripe.com/rate-limits (checked 2026-11)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar


class Pace:
    """Allow at most ``per_second`` turns within any second. Slower callers never wait.

    A second is counted from the end of a turn, when its request has certainly reached Stripe.
    Counted from the beginning, a slow request could arrive at the same time as later ones.
    """

    def __init__(
        self,
        per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._turns: deque[float] = deque(maxlen=per_second)
        self._clock, self._sleep = clock, sleep

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the next call's turn, then run the block."""
        if len(self._turns) == self._turns.maxlen:
            pause = self._turns[0] + 1 - self._clock()
            if pause > 0:
                self._sleep(pause)
        try:
            yield
        finally:
            self._turns.append(self._clock())


_PACE: ContextVar[Pace | None] = ContextVar("shop_payments_pace", default=None)


@contextmanager
def keeping(pace: Pace) -> Iterator[None]:
    """Make each request to Stripe within the block wait for its turn."""
    token = _PACE.set(pace)
    try:
        yield
    finally:
        _PACE.reset(token)


@contextmanager
def taking_turns() -> Iterator[None]:
    """Run the block, a request, when it may be sent: at once, unless within :func:`keeping`."""
    pace = _PACE.get()
    with pace.turn() if pace is not None else nullcontext():
        yield
