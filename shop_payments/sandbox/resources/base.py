"""Declarations of a kind of object (`Resource`) and its operations (`Route`).

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
    """A valid request, for the handler of its route."""

    books: Books
    params: Mapping[str, Any]
    object_id: str
    """The id in the path; empty if the route has none."""
    cause: Cause
    publishable: bool
    """Whether the request has a publishable key."""
    api_version: str
    """The API version of the request."""


Handler = Callable[[Call], Object]
"""Runs under the lock of the books. It validates everything before it changes anything."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """An operation of the API: its address, its parameters and its handler."""

    method: str
    path: str
    """For example `/v1/payment_intents/{id}/confirm`."""
    schema: Schema
    handler: Handler
    returns: str
    """The kind of object in the answer, or in its list."""
    listed: bool = False
    """Whether the answer is a list."""
    browser_schema: Schema | None = None
    """The parameters for a publishable key; None refuses publishable keys."""

    def schema_for(self, *, publishable: bool) -> Schema:
        """Return the parameters for a secret key or for a publishable key."""
        return self.browser_schema or {} if publishable else self.schema

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.path).replace(r"\{id\}", "(?P<id>[^/]+)"))

    def match(self, method: str, path: str) -> str | None:
        """Return the id in the path ("" if it has none), or None if the route does not match."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return found.groupdict().get("id", "") if found else None


def routes(
    base: str,
    kind: str,
    *operations: tuple[str, str, Handler, Schema],
    browser_schemas: Mapping[Handler, Schema] | None = None,
) -> tuple[Route, ...]:
    """Return the routes of a kind of object. `operations` are method, sub-path, handler, schema.

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
    """A list of other objects that an object shows only if it is expanded."""

    kind: str
    """The kind of the objects in the list."""
    page: Callable[[Books, Object], Object]
    """A function of the object; returns the first page of its list."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of object."""

    kind: str
    """Stripe's name, which is the value of the key `object`."""
    stored: Callable[[Books], Mapping[str, Object]]
    """Returns the objects of this kind by id."""
    expandable: Mapping[str, str | tuple[str, ...] | Listing]
    """The keys that can be expanded, and the kind or kinds of the object behind each.

    `a.b` is the key b of the hash a.
    """
    browser_keys: Collection[str] = ()
    """The keys that an answer to a publishable key shows; empty means all."""


Resources = Mapping[str, Resource]
"""By kind."""

_FINGERPRINT = "fingerprint"
"""Hidden in all objects, because it shows which customers share a card."""


def for_browser(node: Any, resources: Resources) -> Any:
    """Return an answer without the keys that are hidden from publishable keys.

    The visible keys are those of Stripe.js's results. Stripe does not document which newer keys are
    visible (?). See: https://docs.stripe.com/keys (checked 2026-11)
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
