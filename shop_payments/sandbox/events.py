"""Events: what happened to an object, kept as it stood then.

See: https://docs.stripe.com/api/events (checked 2026-11)
"""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase

from . import webhooks
from .books import Books, Object
from .errors import InvalidRequest, ResourceMissing
from .params import EXPAND, PAGINATION, Param, list_of, text, uncovered
from .protocol import Call, Cause, Route, paginate
from .resources import Resource
from .versions import DEFAULT_VERSION


def emit(books: Books, event_type: str, subject: Object, cause: Cause) -> None:
    """Record an event with a snapshot of `subject` and line it up for every webhook endpoint."""
    event: Object = {
        "id": books.new_id("evt"),
        "object": "event",
        "api_version": DEFAULT_VERSION,
        "created": books.now(),
        "data": {"object": copy.deepcopy(subject)},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": cause.request_id, "idempotency_key": cause.idempotency_key},
        "type": event_type,
    }
    books.events[event["id"]] = event
    webhooks.enqueue(books, event)


def retrieve(call: Call) -> Object:
    """GET /v1/events/{id}."""
    event = call.books.events.get(call.object_id)
    if event is None:
        raise ResourceMissing("event", call.object_id, param="id", status=404)
    return event


def list_all(call: Call) -> Object:
    """GET /v1/events. Unlike Stripe's, the sandbox's events do not vanish after 30 days."""
    if "type" in call.params and "types" in call.params:
        raise InvalidRequest("You may only specify one of these parameters: type, types.")
    patterns = call.params.get("types") or [call.params.get("type", "*")]
    wanted = [
        event
        for event in call.books.events.values()
        if any(fnmatchcase(event["type"], pattern) for pattern in patterns)
    ]
    return paginate(wanted, call.params, url="/v1/events", kind="event")


RESOURCE = Resource(kind="event", stored=lambda books: books.events, expandable={})

ROUTES = (
    Route(
        method="GET",
        path="/v1/events",
        handler=list_all,
        returns="event",
        listed=True,
        schema={
            **PAGINATION,
            **EXPAND,
            "type": Param(parse=text()),
            "types": Param(parse=list_of(text(), at_most=20)),
            **uncovered("delivery_success"),
        },
    ),
    Route(method="GET", path="/v1/events/{id}", handler=retrieve, schema=EXPAND, returns="event"),
)
