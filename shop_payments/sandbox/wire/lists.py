"""Lists of objects, a page at a time.

See: https://docs.stripe.com/api/pagination (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import InvalidRequest, ResourceMissing

_Object = dict[str, Any]


def matching(objects: Iterable[_Object], params: Mapping[str, Any], *names: str) -> list[_Object]:
    """Keep the objects with the values that the parameters of these names ask for, if sent."""
    wanted = {name: params[name] for name in names if name in params}
    return [each for each in objects if all(each[name] == wanted[name] for name in wanted)]


def paginate(
    objects: Iterable[_Object], params: Mapping[str, Any], *, url: str, kind: str
) -> _Object:
    """Return a page of `objects` (given oldest first) as Stripe's list object, newest first.

    Raises:
        InvalidRequest: if both cursors are given, or one that names no object.
    """
    if "starting_after" in params and "ending_before" in params:
        raise InvalidRequest(
            "You may only specify one of these parameters: ending_before, starting_after."
        )
    newest_first = [*objects][::-1]
    limit = params.get("limit", 10)
    if "ending_before" in params:
        end = _position(newest_first, params["ending_before"], "ending_before", kind)
        candidates = _created_within(newest_first[:end], params)
        page = candidates[-limit:]
    else:
        start = 0
        if "starting_after" in params:
            start = _position(newest_first, params["starting_after"], "starting_after", kind) + 1
        candidates = _created_within(newest_first[start:], params)
        page = candidates[:limit]
    return {"object": "list", "data": page, "has_more": len(candidates) > limit, "url": url}


def _position(objects: list[_Object], object_id: str, param: str, kind: str) -> int:
    for position, candidate in enumerate(objects):
        if candidate["id"] == object_id:
            return position
    raise ResourceMissing(kind, object_id, param=param)


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda created, bound: created == bound,
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


def _created_within(objects: list[_Object], params: Mapping[str, Any]) -> list[_Object]:
    bounds = params.get("created", {})
    return [
        candidate
        for candidate in objects
        if all(_COMPARISONS[how](candidate["created"], bound) for how, bound in bounds.items())
    ]
