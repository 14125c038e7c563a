"""Every order in which the events of a history may arrive, and how all of them are tried.

Note [Orders of arrival]
~~~~~~~~~~~~~~~~~~~~~~~~
An event arrives at some moment after it was made, and one of them arrives twice. Which one, where,
and at which moments is drawn from the seed and from what has arrived so far. So orders that
begin alike share what happens first, and the database is taken back to where two of them part: the
5,040 orders of seven events are about 15,000 deliveries instead of 40,320.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import permutations, takewhile
from typing import NamedTuple, Protocol

from django.db import connection

from tests.reliability.histories import EVENTS


class Arrival(NamedTuple):
    """An event, by its number among those that the app acts on, and the moment of its arrival."""

    event: int
    moment: int


Arrivals = tuple[Arrival, ...]


def draw_arrivals(
    order: Sequence[int], births: Sequence[int], *, last: int, meanwhile: bool, seed: int
) -> Arrivals:
    """Draw when the events arrive, and which one arrives twice. See Note [Orders of arrival].

    ``births`` are the moments at which the events are made, ``last`` is the last moment. The events
    arrive after that one, or ``meanwhile``: half of them as soon as they can.
    """
    arrivals: list[Arrival] = []
    now = 0 if meanwhile else last
    for count in range(1, len(order) + 1):
        draw = random.Random(f"{seed} {order[:count]}")
        arriving = [order[count - 1]]
        # As likely after each of the events; after the last one for certain.
        if len(arrivals) < count and draw.random() < 1 / (len(order) - count + 1):
            arriving.append(draw.choice(order[:count]))
        for event in arriving:
            earliest = max(now, births[event])
            now = draw.choice([earliest, draw.randint(earliest, last)])
            arrivals.append(Arrival(event, now))
    return tuple(arrivals)


def draw_orders(count: int, *, seed: int, events: int = EVENTS) -> list[tuple[int, ...]]:
    """Return orders of the events, sorted, so that neighbours begin alike; all where it can."""
    orders = [*permutations(range(events))]
    if count < len(orders):
        orders = sorted(random.Random(seed).sample(orders, count))
    return orders


def as_text(arrivals: Arrivals) -> str:
    """Write arrivals down for a command line: ``0@0,3@2``, event at moment."""
    return ",".join(f"{each.event}@{each.moment}" for each in arrivals)


def from_text(text: str) -> Arrivals:
    pairs = [each.split("@") for each in text.split(",")]
    return tuple(Arrival(int(event), int(moment)) for event, moment in pairs)


class Shop(Protocol):
    """Where events arrive."""

    def deliver(self, arrival: Arrival) -> None: ...

    def check(self) -> None:
        """Judge what has come of all that has arrived."""

    def describe(self, arrivals: Arrivals) -> str: ...


def walk(orders: Iterable[Arrivals], shop: Shop) -> Counter[str]:
    """Let events arrive in each of the orders, check, and take it back; return counts.

    The database is taken back only as far as an order and the one before it differ. What fails
    says in which order.
    """
    counted: Counter[str] = Counter()
    path: list[tuple[Arrival, str]] = []
    for arrivals in orders:
        shared = _shared([arrival for arrival, _ in path], arrivals)
        _take_back(path, shared)
        try:
            for arrival in arrivals[shared:]:
                path.append((arrival, begin_to_try()))
                shop.deliver(arrival)
            shop.check()
        except Exception as error:
            error.add_note(shop.describe(arrivals))
            raise
        counted.update(orders=1, deliveries=len(arrivals) - shared)
    _take_back(path, 0)
    return counted


def begin_to_try() -> str:
    """Begin what :func:`take_back` undoes."""
    before = connection.savepoint()
    assert before is not None
    return before


def take_back(before: str) -> None:
    connection.savepoint_rollback(before)
    connection.savepoint_commit(before)


def _shared(one: Sequence[Arrival], other: Sequence[Arrival]) -> int:
    """How many arrivals they begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _take_back(path: list[tuple[Arrival, str]], length: int) -> None:
    if length < len(path):
        take_back(path[length][1])
        del path[length:]
