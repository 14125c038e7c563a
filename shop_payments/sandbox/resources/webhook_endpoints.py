"""WebhookEndpoints: where events are posted to, and what signs them.

See: https://docs.stripe.com/api/webhook_endpoints (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..account.books import Books, Object
from ..account.outbox import Deliver, SigningSecret, WebhookEndpoint
from ..webhooks.delivery import post_to_loopback, remove
from ..wire.errors import InvalidRequest, NotCovered, ResourceMissing
from ..wire.event_types import EVENT_TYPES
from ..wire.lists import paginate
from ..wire.loopback import is_loopback
from ..wire.params import (
    CURSORS,
    EXPAND,
    Param,
    Schema,
    boolean,
    list_of,
    merge_metadata,
    metadata,
    one_of,
    text,
    url,
)
from ..wire.versions import VERSIONS
from .base import Call, Resource, routes

MAX_ENDPOINTS = 16
LONGEST_OVERLAP_SECONDS = 24 * 60 * 60

# Operations


def create(call: Call) -> Object:
    """POST /v1/webhook_endpoints; the only answer with the secret in it."""
    if len(call.books.webhook_endpoints) >= MAX_ENDPOINTS:
        raise InvalidRequest(
            f"You have reached the maximum of {MAX_ENDPOINTS} test webhook endpoints."
        )
    secret = _new_secret(call.books)
    endpoint = add(call.books, call.params, secret=secret, deliver=post_to_loopback)
    return {**endpoint.object, "secret": secret}


def retrieve(call: Call) -> Object:
    """GET /v1/webhook_endpoints/{id}."""
    return find(call.books, call.object_id).object


def list_all(call: Call) -> Object:
    """GET /v1/webhook_endpoints."""
    objects = [endpoint.object for endpoint in call.books.webhook_endpoints.values()]
    return paginate(objects, call.params, url="/v1/webhook_endpoints", kind="webhook_endpoint")


def update(call: Call) -> Object:
    """POST /v1/webhook_endpoints/{id}."""
    params = call.params
    updated = find(call.books, call.object_id).object
    changes = {
        name: params[name] for name in ("url", "enabled_events", "description") if name in params
    }
    if "metadata" in params:
        changes["metadata"] = merge_metadata(updated["metadata"], params["metadata"])
    if "disabled" in params:
        changes["status"] = "disabled" if params["disabled"] else "enabled"
    updated.update(changes)
    return updated


def delete(call: Call) -> Object:
    """DELETE /v1/webhook_endpoints/{id}."""
    endpoint = find(call.books, call.object_id)
    remove(call.books, endpoint)
    return {"id": endpoint.id, "object": "webhook_endpoint", "deleted": True}


# What the levers share with them


def find(books: Books, endpoint_id: str) -> WebhookEndpoint:
    """Return the endpoint.

    Raises:
        ResourceMissing: if there is none of that id.
    """
    endpoint = books.webhook_endpoints.get(endpoint_id)
    if endpoint is None:
        raise ResourceMissing("webhook_endpoint", endpoint_id, param="webhook_endpoint", status=404)
    return endpoint


def add(
    books: Books, params: Mapping[str, Any], *, secret: str, deliver: Deliver
) -> WebhookEndpoint:
    """Make an endpoint of parameters as `create` takes them."""
    endpoint = WebhookEndpoint(
        object={
            "id": books.new_id("we"),
            "object": "webhook_endpoint",
            "api_version": params.get("api_version"),
            "application": None,
            "created": books.now(),
            "description": params.get("description"),
            "enabled_events": params["enabled_events"],
            "livemode": False,
            "metadata": merge_metadata({}, params.get("metadata")),
            "status": "enabled",
            "url": params["url"],
        },
        secrets=[SigningSecret(value=secret)],
        deliver=deliver,
    )
    books.webhook_endpoints[endpoint.id] = endpoint
    return endpoint


def check_event_types(names: Collection[str]) -> None:
    """Raise ValueError for types of events that Stripe does not have, or for none at all."""
    if isinstance(names, str):
        raise TypeError("The types of events are a collection, not one type.")
    strange = sorted(set(names) - EVENT_TYPES - {"*"})
    if strange or not names:
        raise ValueError(f"There is no event of the type {', '.join(strange) or 'given'}.")


def roll_secret(books: Books, endpoint_id: str, secret: str | None, *, expires_in: float) -> str:
    """Put a new secret before those that still sign; return it. Stripe's dashboard does this.

    Raises:
        ValueError: if the one before is to live for longer than Stripe allows.
    """
    if not 0 <= expires_in <= LONGEST_OVERLAP_SECONDS:
        raise ValueError(f"expires_in is 0 to {LONGEST_OVERLAP_SECONDS} seconds, not {expires_in}.")
    endpoint = find(books, endpoint_id)
    current, *older = endpoint.secrets
    expiring = SigningSecret(value=current.value, expires_at=books.clock() + expires_in)
    new = secret or _new_secret(books)
    endpoint.secrets = [SigningSecret(value=new), expiring, *older]
    return new


def _new_secret(books: Books) -> str:
    return f"whsec_{books.token(32)}"


# Parameters


def _url(raw: Any, name: str) -> str:
    """Take an HTTP address of this machine."""
    value = url(raw, name)
    parts = urlsplit(value)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise InvalidRequest("Not a valid URL", code="url_invalid", param=name)
    if not is_loopback(parts.hostname):
        raise NotCovered("webhooks to other machines than this one", param=name)
    if parts.username is not None:
        raise NotCovered("webhook addresses with a password in them", param=name)
    return value


_COMMON: Schema = {
    **EXPAND,
    "description": Param(parse=text(), unsettable=True),
    "metadata": Param(parse=metadata, unsettable=True),
}

_EVENTS = list_of(one_of("*", *sorted(EVENT_TYPES)), at_most=len(EVENT_TYPES))

CREATE: Schema = {
    **_COMMON,
    "api_version": Param(parse=one_of(*sorted(VERSIONS))),
    "connect": Param(parse=one_of("false", uncovered_choices=["true"])),
    "enabled_events": Param(parse=_EVENTS, required=True),
    "url": Param(parse=_url, required=True),
}

UPDATE: Schema = {
    **_COMMON,
    "disabled": Param(parse=boolean),
    "enabled_events": Param(parse=_EVENTS),
    "url": Param(parse=_url),
}

LIST: Schema = {**EXPAND, **CURSORS}

RESOURCE = Resource(
    kind="webhook_endpoint",
    stored=lambda books: {
        endpoint.id: endpoint.object for endpoint in books.webhook_endpoints.values()
    },
    expandable={},
)


ROUTES = routes(
    "/v1/webhook_endpoints",
    "webhook_endpoint",
    ("POST", "", create, CREATE),
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
    ("POST", "/{id}", update, UPDATE),
    ("DELETE", "/{id}", delete, {}),
)
