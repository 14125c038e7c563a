"""Events: what happened to an object, kept as it stood then.

See: https://docs.stripe.com/api/events (checked 2026-11)
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from ..account.books import Books, Object
from ..webhooks.delivery import enqueue
from ..wire.errors import InvalidRequest, ResourceMissing
from ..wire.lists import paginate
from ..wire.messages import Cause
from ..wire.params import EXPAND, PAGINATION, Param, Schema, boolean, list_of, text
from ..wire.versions import DEFAULT_VERSION
from .base import Call, Resource, routes

KEPT_SECONDS = 30 * 24 * 60 * 60
"""How long Stripe lists and retrieves an event."""


def emit(
    books: Books,
    event_type: str,
    subject: Object,
    cause: Cause,
    *,
    previous: Mapping[str, Any] | None = None,
) -> None:
    """Record an event with a snapshot of `subject` and line it up for every webhook endpoint.

    `previous` holds what changed as it was before; `*.updated` and refund events have it.
    """
    data = {"object": copy.deepcopy(subject)}
    if previous is not None:
        data["previous_attributes"] = copy.deepcopy(dict(previous))
    event: Object = {
        "id": books.new_id("evt"),
        "object": "event",
        "api_version": DEFAULT_VERSION,
        "created": books.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": cause.request_id, "idempotency_key": cause.idempotency_key},
        "type": event_type,
    }
    books.events[event["id"]] = event
    enqueue(books, event)


def differences(old: Object, new: Object) -> Object:
    """Return what has changed between two states of an object, as it was before."""
    keys = (*new, *(key for key in old if key not in new))
    return {key: old.get(key) for key in keys if old.get(key) != new.get(key)}


def retrieve(call: Call) -> Object:
    """GET /v1/events/{id}."""
    event = call.books.events.get(call.object_id)
    if event is None or not _is_kept(call, event):
        raise ResourceMissing("event", call.object_id, param="id", status=404)
    return event


def list_all(call: Call) -> Object:
    """GET /v1/events."""
    params = call.params
    if "type" in params and "types" in params:
        raise InvalidRequest("You may only specify one of these parameters: type, types.")
    wanted = [
        event
        for event in call.books.events.values()
        if _is_kept(call, event) and _is_wanted(event, params)
    ]
    return paginate(wanted, params, url="/v1/events", kind="event")


def _is_kept(call: Call, event: Object) -> bool:
    return bool(event["created"] > call.books.now() - KEPT_SECONDS)


def _is_wanted(event: Object, params: Mapping[str, Any]) -> bool:
    if "type" in params and not _matches(params["type"], event["type"]):
        return False
    if "types" in params and event["type"] not in params["types"]:
        return False
    delivered = event["pending_webhooks"] == 0
    return bool(params.get("delivery_success", delivered) == delivered)


def _matches(pattern: str, event_type: str) -> bool:
    """Return whether a type is the one named, or of the group that a `*` stands for."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), event_type) is not None


# Parameters

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "delivery_success": Param(parse=boolean),
    "type": Param(parse=text()),
    "types": Param(parse=list_of(text(), at_most=20)),
}

RESOURCE = Resource(kind="event", stored=lambda books: books.events, expandable={})

ROUTES = routes(
    "/v1/events",
    "event",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
)
