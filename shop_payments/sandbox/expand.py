"""`expand[]`: objects in the place of their ids.

The paths are checked before the operation runs, so a request that asks for what cannot be
expanded changes nothing (?: Stripe does not say).

See: https://docs.stripe.com/api/expanding_objects (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from .books import Books, Object
from .errors import InvalidRequest, NotCovered
from .resources import Resources

MAX_DEPTH = 4
"""In levels of a path; the `data` of a list counts as one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """From an object to the one whose id it holds."""

    name: str
    """Where the id is; `a.b` is the key b of the hash a."""
    kind: str
    """What the id is the id of."""


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """A path that has been checked."""

    path: str
    steps: Sequence[Step]


def check(
    paths: Sequence[str], *, kind: str, listed: bool, resources: Resources
) -> list[Expansion]:
    """Check paths against what an object, or a list of objects, of a kind has.

    Raises:
        InvalidRequest: for a path that is too deep, or not one.
    """
    return [_check(path, kind, listed, resources) for path in paths]


def _check(path: str, kind: str, listed: bool, resources: Resources) -> Expansion:
    keys = path.split(".")
    if len(keys) > MAX_DEPTH:
        raise InvalidRequest(
            f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}"
        )
    if listed and keys.pop(0) != "data":
        raise _not_expandable(path, f" You may want to try expanding 'data.{path}' instead.")
    steps: list[Step] = []
    while keys and kind in resources:  # behind a kind that is not kept, nothing can be checked
        step = _first_step(keys, kind, resources)
        if step is None:
            break
        steps.append(step)
        kind, keys = step.kind, keys[step.name.count(".") + 1 :]
    if not steps or (keys and kind in resources):
        raise _not_expandable(path)
    return Expansion(path=path, steps=steps)


def _first_step(keys: Sequence[str], kind: str, resources: Resources) -> Step | None:
    expandable = resources[kind].expandable
    for length in range(1, len(keys) + 1):
        name = ".".join(keys[:length])
        if name in expandable:
            return Step(name=name, kind=expandable[name])
    return None


def expand(
    books: Books, answer: Object, expansions: Sequence[Expansion], resources: Resources
) -> Object:
    """Return a copy of the answer with the objects in it.

    Raises:
        NotCovered: where an id is of an object that the sandbox does not keep.
    """
    expanded = copy.deepcopy(answer)
    roots = expanded["data"] if expanded["object"] == "list" else [expanded]
    for expansion in expansions:
        for root in roots:
            _expand(books, root, expansion, resources)
    return expanded


def _expand(books: Books, root: Object, expansion: Expansion, resources: Resources) -> None:
    node = root
    for step in expansion.steps:
        *hashes, key = step.name.split(".")
        for name in hashes:
            node = node[name] or {}
        value = node.get(key)
        if value is None:
            return
        if isinstance(value, str):  # else an earlier expansion has been here
            resource = resources.get(step.kind)
            found = resource.stored(books).get(value) if resource else None
            if found is None:
                raise NotCovered(f"expanding {expansion.path}", param="expand")
            node[key] = copy.deepcopy(found)
        node = node[key]


def _not_expandable(path: str, hint: str = "") -> InvalidRequest:
    return InvalidRequest(f"This property cannot be expanded ({path}).{hint}")
