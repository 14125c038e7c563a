"""Events: snapshots of objects when they change.

See: https://docs.stripe.com/api/events (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..account.books import Books, Object
from ..account.event_log import EventLog, StoredEvent
from ..webhooks.delivery import enqueue, enqueue_again
from ..wire.errors import InvalidRequest, ResourceMissing
from ..wire.lists import paginate
from ..wire.messages import Cause
from ..wire.params import EXPAND, PAGINATION, Param, Schema, boolean, list_of, text, uncovered
from .base import Call, Resource, Route, routes

KEPT_SECONDS = 30 * 24 * 60 * 60
"""Seconds for which events can be listed and retrieved."""


def emit(
    books: Books,
    event_type: str,
    subject: Object,
    cause: Cause,
    *,
    previous: Mapping[str, Any] | None = None,
) -> None:
    """Record an event with a snapshot of `subject`, and schedule its deliveries.

    `previous` contains the old values of changed keys, for `*.updated` and refund events.
    """
    data: Object = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Object = {
        "id": books.new_id("evt"),
        "object": "event",
        "api_version": books.api_version,
        "created": books.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": cause.request_id, "idempotency_key": cause.idempotency_key},
        "type": event_type,
    }
    enqueue(books, books.events.add(event))


def differences(old: Object, new: Object) -> Object:
    """Return the old values of the keys that differ between two states of an object."""
    keys = (*new, *(key for key in old if key not in new))
    return {key: old.get(key) for key in keys if old.get(key) != new.get(key)}


def retrieve(call: Call) -> Object:
    """GET /v1/events/{id}."""
    event = call.books.events.get(call.object_id)
    if event is None or not _is_kept(call, event):
        raise ResourceMissing("event", call.object_id, param="id", status=404)
    return call.books.events.read(event)


def list_all(call: Call) -> Object:
    """GET /v1/events."""
    params = call.params
    if "type" in params and "types" in params:
        raise InvalidRequest("You may only specify one of these parameters: type, types.")
    log = call.books.events
    rows = log.rows(
        types=_types(log, params),
        delivered=params.get("delivery_success"),
        keep=lambda event: _is_kept(call, event),
    )
    return paginate(rows, params, url="/v1/events", kind="event", show=log.read)


def retry(call: Call) -> Object:
    """POST /v1/events/{id}/retry, which `stripe events resend` calls."""
    books, endpoint_id = call.books, call.params["webhook_endpoint"]
    retrieve(call)
    endpoint = books.webhook_endpoints.get(endpoint_id)
    if endpoint is None:
        raise ResourceMissing("webhook endpoint", endpoint_id, param="webhook_endpoint")
    enqueue_again(books, books.events[call.object_id], endpoint)
    return retrieve(call)


def _is_kept(call: Call, event: StoredEvent) -> bool:
    return event.created > call.books.now() - KEPT_SECONDS


def _types(log: EventLog, params: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the types that the parameters ask for; None for all."""
    if "type" in params:
        return frozenset(each for each in log.types() if _matches(params["type"], each))
    return frozenset(params["types"]) if "types" in params else None


def _matches(pattern: str, event_type: str) -> bool:
    """Return whether a type matches a pattern, in which `*` stands for any characters.

    Each part between stars is searched once, so many stars take no more time than one. A regular
    expression would try every way to divide the type among them.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == event_type
    last = parts.pop()
    if not event_type.startswith(first) or not event_type.endswith(last):
        return False
    at, end = len(first), len(event_type) - len(last)
    for part in parts:
        found = event_type.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


# Parameters

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "delivery_success": Param(parse=boolean),
    "type": Param(parse=text()),
    "types": Param(parse=list_of(text(), at_most=20)),
}

RETRY: Schema = {
    **EXPAND,
    **uncovered("account", "for_stripecli"),
    "webhook_endpoint": Param(parse=text(), required=True),
}

RESOURCE = Resource(kind="event", stored=lambda books: {}, expandable={})  # no object names one

ROUTES = routes(
    "/v1/events",
    "event",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
)

RETRY_ROUTE = Route(
    method="POST", path="/v1/events/{id}/retry", schema=RETRY, handler=retry, returns="event"
)
"""See: events_resend.go of https://github.com/stripe/stripe-cli (checked 2026-11)"""
