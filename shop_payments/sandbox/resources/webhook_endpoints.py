"""Webhook endpoints: the operations and the object.

See: https://docs.stripe.com/api/webhook_endpoints (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..account.books import Books, Object
from ..account.outbox import Deliver, SigningSecret, WebhookEndpoint
from ..account.store import Store
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
from ..wire.versions import VERSIONS, refuse_uncovered
from .base import Call, Resource, routes

MAX_ENDPOINTS = 16
LONGEST_OVERLAP_SECONDS = 24 * 60 * 60

# Operations


def create(call: Call) -> Object:
    """POST /v1/webhook_endpoints. Only this answer contains the secret."""
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
    objects: Store[Object] = Store()
    for endpoint in call.books.webhook_endpoints.values():
        objects.add(endpoint.object)
    return paginate(
        objects.rows(), call.params, url="/v1/webhook_endpoints", kind="webhook_endpoint"
    )


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


# For the operations and the levers


def find(books: Books, endpoint_id: str) -> WebhookEndpoint:
    """Return the endpoint.

    Raises:
        ResourceMissing: there is no such endpoint.
    """
    endpoint = books.webhook_endpoints.get(endpoint_id)
    if endpoint is None:
        raise ResourceMissing("webhook_endpoint", endpoint_id, param="webhook_endpoint", status=404)
    return endpoint


def add(
    books: Books, params: Mapping[str, Any], *, secret: str, deliver: Deliver
) -> WebhookEndpoint:
    """Create an endpoint from the parameters of `create`."""
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
    """Raise ValueError if Stripe has no events of these types, or if there are no types."""
    if isinstance(names, str):
        raise TypeError("Pass a collection of event types, not one type.")
    if not names:
        raise ValueError("Pass at least one type of event, or '*'.")
    unknown = sorted(set(names) - EVENT_TYPES - {"*"})
    if unknown:
        raise ValueError(f"Stripe has no event of the type {', '.join(unknown)}.")


def roll_secret(books: Books, endpoint_id: str, secret: str | None, *, expires_in: float) -> str:
    """Add a new secret, let the current one expire, and return the new one.

    At Stripe, this is done in the dashboard.
    See: https://docs.stripe.com/webhooks#roll-endpoint-secrets (checked 2026-11)

    Raises:
        ValueError: `expires_in` is negative or longer than Stripe allows.
    """
    if not 0 <= expires_in <= LONGEST_OVERLAP_SECONDS:
        limit = LONGEST_OVERLAP_SECONDS
        raise ValueError(f"expires_in must be 0 to {limit} seconds, not {expires_in}.")
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
    """Accept an HTTP address of this machine."""
    value = url(raw, name)
    parts = urlsplit(value)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise InvalidRequest("Not a valid URL", code="url_invalid", param=name)
    if not is_loopback(parts.hostname):
        raise NotCovered("webhooks to other machines than this one", param=name)
    if parts.username is not None:
        raise NotCovered("webhook addresses with a password in them", param=name)
    return value


def _of_other_accounts(raw: Any, name: str) -> bool:
    """Accept false only."""
    if boolean(raw, name):
        raise NotCovered(f"{name}=true", param=name)
    return False


def _version(raw: Any, name: str) -> str:
    version: str = one_of(*sorted(VERSIONS))(raw, name)
    refuse_uncovered(version)
    return version


_COMMON: Schema = {
    **EXPAND,
    "description": Param(parse=text(), unsettable=True),
    "metadata": Param(parse=metadata, unsettable=True),
}

_EVENTS = list_of(one_of("*", *sorted(EVENT_TYPES)), at_most=len(EVENT_TYPES))

CREATE: Schema = {
    **_COMMON,
    "api_version": Param(parse=_version),
    "connect": Param(parse=_of_other_accounts),
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
