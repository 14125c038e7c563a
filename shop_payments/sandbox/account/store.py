"""The objects of one kind: by id, in the order of their creation, and by the keys of lists.

A list of a few objects among 50,000 must not look at all of them. So an object is also found by
its position: the number of objects that were created before it. An index has the positions of the
objects with the same value of a key, and the latest times of creation have their order.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ..wire.lists import Rows


class Stored(Protocol):
    """What is stored: a dictionary, or anything with the keys `id`, `created` and the indexed."""

    def __getitem__(self, name: str, /) -> Any: ...


Item = TypeVar("Item", bound=Stored)

Positions = Sequence[int]
"""Positions in ascending order."""


class Store(Mapping[str, Item], Generic[Item]):
    """Objects by id, oldest first. They are added and never removed, except all at once.

    The values of indexed keys must not change.
    """

    def __init__(self, *indexed: str) -> None:
        self._indexed = indexed
        self.clear()

    def clear(self) -> None:
        """Forget all objects."""
        self._items: list[Item] = []
        self._position: dict[str, int] = {}
        self._latest = array("q")
        """For each object the latest time of creation so far, which has the order of positions."""
        self._lag = 0
        """By how many seconds the time of an object is earlier than that of an object before it.

        What happens moments after an answer may be dated a second before it, and the computer's
        clock may be set back.
        """
        self._indexes: dict[str, dict[Any, array[int]]] = {name: {} for name in self._indexed}

    def __getitem__(self, object_id: str) -> Item:
        return self._items[self._position[object_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._position)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item) -> None:
        """Add a new object."""
        position, created = len(self._items), item["created"]
        latest = max(created, self._latest[-1]) if self._latest else created
        self._lag = max(self._lag, latest - created)
        self._position[item["id"]] = position
        self._items.append(item)
        self._latest.append(latest)
        for name, index in self._indexes.items():
            index.setdefault(item[name], array("q")).append(position)

    def where(self, name: str, value: Any) -> list[Item]:
        """Return the objects with this value of an indexed key, oldest first."""
        return [self._items[position] for position in self._indexes[name].get(value, ())]

    def values_of(self, name: str) -> Iterable[Any]:
        """Return the different values of an indexed key."""
        return self._indexes[name].keys()

    def rows(
        self,
        wanted: Mapping[str, Any] | None = None,
        *,
        among: Iterable[str] | None = None,
        keep: Callable[[Item], bool] = lambda item: True,
    ) -> Rows:
        """Return the objects with these values of indexed keys that `keep` accepts, for a list.

        A frozenset stands for any of its elements. `among` are ids in the order of creation: only
        these objects are looked at.
        """
        wants = {
            name: value if isinstance(value, frozenset) else frozenset((value,))
            for name, value in (wanted or {}).items()
        }
        runs: list[Positions] = [range(len(self._items))]
        if among is not None:
            runs = [[self._position[object_id] for object_id in among]]
        for name, values in wants.items():
            index = self._indexes[name]
            found = [index[value] for value in values if value in index]
            if sum(map(len, found)) <= sum(map(len, runs)):
                runs = [*found]

        def fits(item: Item) -> bool:
            return all(item[name] in values for name, values in wants.items()) and keep(item)

        return _Rows(self, runs, fits)

    def position(self, object_id: str) -> int | None:
        """Return the position of an object; None if there is no such object."""
        return self._position.get(object_id)

    def at(self, position: int) -> Item:
        """Return the object at a position."""
        return self._items[position]

    def created_between(self, earliest: float, latest: float) -> tuple[int, int]:
        """Return the positions of the first object created in a period and of the first after it.

        There may be others between them.
        """
        first = bisect_left(self._latest, earliest)
        return first, bisect_right(self._latest, latest + self._lag)


class _Rows(Generic[Item]):
    """Some objects of a store: those at the positions of the runs that fit."""

    def __init__(
        self, store: Store[Item], runs: Sequence[Positions], fits: Callable[[Item], bool]
    ) -> None:
        self._store = store
        self._runs = runs
        self._fits = fits

    def position(self, object_id: str) -> int | None:
        position = self._store.position(object_id)
        if position is None or not self._fits(self._store.at(position)):
            return None
        return position

    def created_between(self, earliest: float, latest: float) -> tuple[int, int]:
        return self._store.created_between(earliest, latest)

    def between(self, first: int, end: int, *, newest_first: bool) -> Iterator[Item]:
        parts = [_part(run, first, end, newest_first=newest_first) for run in self._runs]
        positions = heapq.merge(*parts, reverse=newest_first)
        return filter(self._fits, map(self._store.at, positions))


def _part(run: Positions, first: int, end: int, *, newest_first: bool) -> Iterator[int]:
    """Return the positions of a run in [first, end), without a copy: a run may be long."""
    indexes = range(bisect_left(run, first), bisect_left(run, end))
    return (run[index] for index in (reversed(indexes) if newest_first else indexes))
