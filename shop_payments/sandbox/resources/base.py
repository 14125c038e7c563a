"""How a Stripe object declares its operations (`Route`) and its kind (`Resource`).

See: https://docs.stripe.com/api (checked 2026-11)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..account.books import Books, Object
from ..wire.messages import Cause
from ..wire.params import Schema

# Operations


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that passed validation, as its route's handler gets it."""

    books: Books
    params: Mapping[str, Any]
    object_id: str
    """The id in the address; empty where the route has none."""
    cause: Cause
    publishable: bool
    """Whether a browser asks."""


Handler = Callable[[Call], Object]
"""Runs under the lock of the books; validates first, then changes."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation of the API: how it is addressed, what it takes, what it does."""

    method: str
    path: str
    """E.g. `/v1/payment_intents/{id}/confirm`."""
    schema: Schema
    handler: Handler
    returns: str
    """The kind of the object in the answer, or of the objects in its list."""
    listed: bool = False
    """The answer is a list."""
    browser_schema: Schema | None = None
    """What a publishable key may send; None refuses such keys."""

    def schema_for(self, *, publishable: bool) -> Schema:
        """Return what the bearer of a secret, or of a publishable, key may send."""
        return self.browser_schema or {} if publishable else self.schema

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.path).replace(r"\{id\}", "(?P<id>[^/]+)"))

    def match(self, method: str, path: str) -> str | None:
        """Return the id in the address ("" without one), or None if it is not this route's."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return found.groupdict().get("id", "") if found else None


def routes(
    base: str,
    kind: str,
    *operations: tuple[str, str, Handler, Schema],
    browser_schemas: Mapping[Handler, Schema] | None = None,
) -> tuple[Route, ...]:
    """Return the routes of a kind of object, given as method, path under `base`, handler, schema.

    The GET of `base` itself is a list.
    """
    return tuple(
        Route(
            method=method,
            path=base + path,
            handler=handler,
            schema=schema,
            returns=kind,
            listed=method == "GET" and path == "",
            browser_schema=(browser_schemas or {}).get(handler),
        )
        for method, path, handler, schema in operations
    )


# Kinds of objects


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

_FINGERPRINT = "fingerprint"
"""Hidden wherever it stands: it shows which customers share a card."""


def for_browser(node: Any, resources: Resources) -> Any:
    """Return an answer without the keys that a publishable key does not get to see.

    The keys are those of Stripe.js's results; whether Stripe leaves out more, or less, of what
    has been added since is not documented (?).
    See: https://docs.stripe.com/keys (checked 2026-11)
    """
    if isinstance(node, list):
        return [for_browser(item, resources) for item in node]
    if not isinstance(node, dict):
        return node
    resource = resources.get(str(node.get("object")))
    shown = (resource and resource.browser_keys) or node.keys()
    return {
        key: for_browser(value, resources)
        for key, value in node.items()
        if key in shown and key != _FINGERPRINT
    }
