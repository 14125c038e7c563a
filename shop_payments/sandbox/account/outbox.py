"""Webhook endpoints and their pending deliveries."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Deliver = Callable[[str, bytes, dict[str, str]], int]
"""Posts a body with headers to a URL and returns the HTTP status."""


@dataclass(frozen=True, kw_only=True)
class SigningSecret:
    """A secret that signs an endpoint's deliveries. The newest one does not expire."""

    value: str = field(repr=False)
    expires_at: float | None = None


@dataclass(eq=False, kw_only=True)
class WebhookEndpoint:
    """A webhook endpoint: Stripe's object, its secrets, and the function that posts to it."""

    object: dict[str, Any]
    secrets: list[SigningSecret] = field(repr=False)
    """The newest first."""
    deliver: Deliver = field(repr=False)

    @property
    def id(self) -> str:
        """Stripe's id, `we_…`."""
        return str(self.object["id"])

    @property
    def url(self) -> str:
        """The URL to which events are posted."""
        return str(self.object["url"])

    @property
    def enabled(self) -> bool:
        """Whether events are delivered to it."""
        return bool(self.object["status"] == "enabled")

    def wants(self, event_type: str) -> bool:
        """Return whether events of this type are delivered to it."""
        return self.enabled and not {"*", event_type}.isdisjoint(self.object["enabled_events"])

    def secrets_at(self, now: float) -> list[str]:
        """Return the secrets that are valid at `now`."""
        return [
            secret.value
            for secret in self.secrets
            if secret.expires_at is None or now < secret.expires_at
        ]


@dataclass(eq=False, kw_only=True)
class Delivery:
    """The delivery of one event to one endpoint."""

    event_id: str
    endpoint: WebhookEndpoint
    due_at: float
    give_up_at: float
    attempts: int = 0
    last_status: int | None = None
    """None if the last attempt got no answer."""
    doubled: bool = False
    """A second delivery by a fault, which the event's `pending_webhooks` does not count."""
    form: str = ""
    """The fault that changes the form of the event; see `webhooks.forms`."""


class Outbox:
    """The deliveries that have not arrived and have not been given up or withdrawn.

    Each endpoint has a heap, which keeps `take` fast with thousands of deliveries and lets the
    deliveries to one endpoint wait without the others. Not thread-safe: use it under the lock of
    the books.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[Delivery, int] = {}
        self._by_time: dict[WebhookEndpoint, list[tuple[float, int, Delivery]]] = {}
        """Without those being delivered. A removed delivery stays in the heap until it is due."""

    def __iter__(self) -> Iterator[Delivery]:
        """Return the deliveries in the order in which they were added."""
        return iter(self._waiting)

    def __contains__(self, delivery: object) -> bool:
        return delivery in self._waiting

    def add(self, delivery: Delivery) -> None:
        """Schedule a delivery for its due time."""
        self._waiting[delivery] = next(self._numbers)
        self._line_up(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """Schedule a delivery again that was taken and has failed."""
        self._line_up(delivery)

    def remove(self, delivery: Delivery) -> None:
        """Remove a delivery, even while it is being delivered."""
        del self._waiting[delivery]

    def due(self, now: float) -> list[WebhookEndpoint]:
        """Return the endpoints with due deliveries, the one with the oldest first."""
        for endpoint, heap in [*self._by_time.items()]:
            while heap and heap[0][2] not in self._waiting:
                heapq.heappop(heap)
            if not heap:
                del self._by_time[endpoint]
        found = [each for each, heap in self._by_time.items() if heap[0][0] <= now]
        # Deliveries with the same due time go out in the order in which they were added.
        return sorted(found, key=lambda each: self._by_time[each][0][:2])

    def take(self, endpoint: WebhookEndpoint, now: float) -> Delivery | None:
        """Take the delivery that has been due longest. No one else gets it before `put_back`."""
        if endpoint not in self.due(now):
            return None
        return heapq.heappop(self._by_time[endpoint])[2]

    def _line_up(self, delivery: Delivery) -> None:
        entry = (delivery.due_at, self._waiting[delivery], delivery)
        heapq.heappush(self._by_time.setdefault(delivery.endpoint, []), entry)
