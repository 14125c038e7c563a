"""`expand[]`: replace ids by their objects.

The paths are checked before the operation runs, so a request with an invalid path changes nothing
(?: Stripe does not document this).

See: https://docs.stripe.com/api/expanding_objects (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..account.books import Books, Object
from ..wire.errors import InvalidRequest, NotCovered
from .base import Listing, Resources

MAX_DEPTH = 4
"""The maximum number of levels of a path. The `data` of a list counts as one level."""


def check(paths: Sequence[str], *, kind: str, listed: bool, resources: Resources) -> None:
    """Check that an object, or a list of objects, of a kind can be expanded by these paths.

    Raises:
        InvalidRequest: a path is too deep or cannot be expanded.
    """
    for path in paths:
        keys = path.split(".")
        if len(keys) > MAX_DEPTH:
            raise InvalidRequest(
                f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}"
            )
        if listed and keys.pop(0) != "data":
            raise _not_expandable(path, f" You may want to try expanding 'data.{path}' instead.")
        if not keys or not _lead_somewhere(keys, (kind,), resources):
            raise _not_expandable(path)


def _lead_somewhere(keys: Sequence[str], kinds: Collection[str], resources: Resources) -> bool:
    """Return whether an object of one of the kinds can be expanded by these keys."""
    for kind in kinds:
        if kind not in resources:  # not covered, so its keys are not known
            return True
        step = _first_step(keys, kind, resources)
        if step and (not step.rest or _lead_somewhere(step.rest, step.kinds, resources)):
            return True
    return False


class _Step(NamedTuple):
    """A step from an object to the object whose id it contains, or to a list of its objects."""

    name: str
    kinds: Collection[str]
    rest: Sequence[str]
    listing: Listing | None = None


def _first_step(keys: Sequence[str], kind: str, resources: Resources) -> _Step | None:
    expandable = resources[kind].expandable
    for length in range(1, len(keys) + 1):
        name = ".".join(keys[:length])
        if name in expandable:
            return _step(name, expandable[name], keys[length:])
    return None


def _step(name: str, target: str | tuple[str, ...] | Listing, rest: Sequence[str]) -> _Step | None:
    if not isinstance(target, Listing):
        return _Step(name, (target,) if isinstance(target, str) else target, rest)
    if rest and (rest[0] != "data" or len(rest) == 1):  # a path continues in a list's data only
        return None
    return _Step(name, (target.kind,), rest[1:], target)


def expand(books: Books, answer: Object, paths: Sequence[str], resources: Resources) -> Object:
    """Return a copy of the answer, expanded by the (checked) paths.

    Raises:
        NotCovered: an id belongs to an object that the sandbox does not cover.
    """
    expanded = copy.deepcopy(answer)
    for path in paths:
        keys = path.split(".")
        if expanded["object"] == "list":
            for item in expanded["data"]:
                _expand(books, item, keys[1:], path, resources)
        else:
            _expand(books, expanded, keys, path, resources)
    return expanded


def _expand(
    books: Books, node: Object, keys: Sequence[str], path: str, resources: Resources
) -> None:
    step = _first_step(keys, node["object"], resources)
    if step is None:  # the path fits another kind of object that this id could have
        return
    *hashes, key = step.name.split(".")
    for name in hashes:
        node = node[name] or {}
    if step.listing is not None and key not in node:
        node[key] = copy.deepcopy(step.listing.page(books, node))
    value = node.get(key)
    if value is None:
        return
    if isinstance(value, str):  # otherwise an earlier path has expanded it
        value = node[key] = copy.deepcopy(_stored(books, value, step.kinds, path, resources))
    if step.rest:
        for each in value["data"] if step.listing is not None else [value]:
            _expand(books, each, step.rest, path, resources)


def _stored(
    books: Books, object_id: str, kinds: Collection[str], path: str, resources: Resources
) -> Object:
    for kind in kinds:
        found = resources[kind].stored(books).get(object_id) if kind in resources else None
        if found is not None:
            return found
    raise NotCovered(f"expanding {path}", param="expand")


def _not_expandable(path: str, hint: str = "") -> InvalidRequest:
    return InvalidRequest(f"This property cannot be expanded ({path}).{hint}")
