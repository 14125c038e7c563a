"""Lists of objects, in pages.

See: https://docs.stripe.com/api/pagination (checked 2026-11)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from .errors import InvalidRequest, ResourceMissing

_Object = dict[str, Any]


class Rows(Protocol):
    """The objects of a list. Their positions are numbers in the order of their creation."""

    def position(self, object_id: str) -> int | None:
        """Return the position of an object; None if the list does not have it."""

    def created_between(self, earliest: float, latest: float) -> tuple[int, int]:
        """Return the first position of a period, and the first after it. Others may be between."""

    def between(self, first: int, end: int, *, newest_first: bool) -> Iterator[Any]:
        """Return the objects with positions from `first` and below `end`, as they are needed."""


def among(params: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the parameters of these names that are sent."""
    return {name: params[name] for name in names if name in params}


def paginate(
    rows: Rows,
    params: Mapping[str, Any],
    *,
    url: str,
    kind: str,
    show: Callable[[Any], _Object] = lambda item: item,
) -> _Object:
    """Return a page of the rows as Stripe's list object, newest first. `show` returns the object.

    Raises:
        InvalidRequest: both cursors are given, or there is no object with the id of a cursor.
    """
    if "starting_after" in params and "ending_before" in params:
        raise InvalidRequest(
            "You may only specify one of these parameters: ending_before, starting_after."
        )
    created = params.get("created", {})
    first, end = rows.created_between(*_period(created))
    backwards = "ending_before" in params
    if backwards:
        first = max(first, _position(rows, params["ending_before"], "ending_before", kind) + 1)
    elif "starting_after" in params:
        end = min(end, _position(rows, params["starting_after"], "starting_after", kind))
    limit = params.get("limit", 10)
    candidates = (
        item
        for item in rows.between(first, end, newest_first=not backwards)
        if all(_COMPARISONS[how](item["created"], bound) for how, bound in created.items())
    )
    found = [*islice(candidates, limit + 1)]
    page = found[:limit][::-1] if backwards else found[:limit]
    has_more = len(found) > limit
    return {"object": "list", "data": [*map(show, page)], "has_more": has_more, "url": url}


def _position(rows: Rows, object_id: str, param: str, kind: str) -> int:
    position = rows.position(object_id)
    if position is None:
        raise ResourceMissing(kind, object_id, param=param)
    return position


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda created, bound: created == bound,
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


def _period(created: Mapping[str, int]) -> tuple[float, float]:
    """Return the earliest and the latest time of creation that the bounds may allow."""
    earliest = max((created[how] for how in ("eq", "gt", "gte") if how in created), default=None)
    latest = min((created[how] for how in ("eq", "lt", "lte") if how in created), default=None)
    return -math.inf if earliest is None else earliest, math.inf if latest is None else latest
