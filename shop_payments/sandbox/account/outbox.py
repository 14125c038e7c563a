"""The deliveries still to come, and which of them is due next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..webhooks.delivery import Delivery


class Outbox:
    """Deliveries from when they are lined up until they arrive, are given up or are withdrawn.

    Taking the next one does not look at all the others: a backlog of thousands costs each of them
    its own share. Not thread-safe: use it under the lock of the books.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[Delivery, int] = {}
        self._by_time: list[tuple[float, int, Delivery]] = []
        """Without those on their way. What was withdrawn stays in it until its time comes."""

    def __iter__(self) -> Iterator[Delivery]:
        """Return them in the order in which they were added."""
        return iter(self._waiting)

    def __contains__(self, delivery: object) -> bool:
        return delivery in self._waiting

    def add(self, delivery: Delivery) -> None:
        """Line up a delivery for the time at which it is due."""
        self._waiting[delivery] = next(self._numbers)
        self._line_up(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """Line up once more what was taken and has not arrived."""
        self._line_up(delivery)

    def remove(self, delivery: Delivery) -> None:
        """Forget a delivery, wherever it is."""
        del self._waiting[delivery]

    def take(self, now: float) -> Delivery | None:
        """Return what has been due for longest; nobody gets it again before it is put back."""
        while self._by_time and self._by_time[0][0] <= now:
            _due_at, _number, delivery = heapq.heappop(self._by_time)
            if delivery in self._waiting:
                return delivery
        return None

    def _line_up(self, delivery: Delivery) -> None:
        # What is due at the same moment goes in the order in which it was added.
        entry = (delivery.due_at, self._waiting[delivery], delivery)
        heapq.heappush(self._by_time, entry)
