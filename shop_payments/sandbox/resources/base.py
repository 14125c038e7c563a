"""What the protocol has to know of a kind of object, declared beside its operations.

Which of its keys hold the id of another object that `expand[]` puts in its place, and which of
its keys a browser gets to see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..account.books import Books, Object


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list of other objects that an object shows only where it is expanded."""

    kind: str
    """Of the objects in the list."""
    page: Callable[[Books, Object], Object]
    """Takes the object; returns the first page of its list."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of object."""

    kind: str
    """Stripe's name for it, the value of its key `object`."""
    stored: Callable[[Books], Mapping[str, Object]]
    """Finds the objects of this kind in the books, by id."""
    expandable: Mapping[str, str | tuple[str, ...] | Listing]
    """Kind, or kinds, of the object behind each key that can be expanded.

    `a.b` is the key b of the hash a.
    """
    browser_keys: Collection[str] = ()
    """Keys that an answer to a publishable key keeps; none stands for all."""


Resources = Mapping[str, Resource]
"""By kind."""
