"""Webhook endpoints, and the deliveries that they wait for."""

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
    """What signs an endpoint's deliveries: the newest without end, older ones for a while."""

    value: str = field(repr=False)
    expires_at: float | None = None


@dataclass(eq=False, kw_only=True)
class WebhookEndpoint:
    """Where events go: Stripe's object, and what of it no answer shows."""

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
        """Where events are posted."""
        return str(self.object["url"])

    @property
    def enabled(self) -> bool:
        """Whether anything is delivered at all."""
        return bool(self.object["status"] == "enabled")

    def wants(self, event_type: str) -> bool:
        """Return whether events of the type go there."""
        return self.enabled and not {"*", event_type}.isdisjoint(self.object["enabled_events"])

    def secrets_at(self, now: float) -> list[str]:
        """Return the secrets that sign a delivery at that time."""
        return [
            secret.value
            for secret in self.secrets
            if secret.expires_at is None or now < secret.expires_at
        ]


@dataclass(eq=False, kw_only=True)
class Delivery:
    """One event on its way to one endpoint."""

    event_id: str
    endpoint: WebhookEndpoint
    due_at: float
    give_up_at: float
    attempts: int = 0
    last_status: int | None = None
    """None if the last attempt got no answer."""
    doubled: bool = False
    """It comes besides the delivery that the event's `pending_webhooks` counts."""
    form: str = ""
    """The fault that says in which form it comes; see `webhooks.forms`."""


class Outbox:
    """Deliveries from when they are lined up until they arrive, are given up or are withdrawn.

    Taking the next one does not look at all the others: a backlog of thousands costs each of them
    its own share. Not thread-safe: use it under the lock of the books.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[Delivery, int] = {}
        self._by_time: list[tuple[float, int, Delivery]] = []
        """Without those on their way. What was withdrawn stays in it until its time comes."""

    def __iter__(self) -> Iterator[Delivery]:
        """Return them in the order in which they were added."""
        return iter(self._waiting)

    def __contains__(self, delivery: object) -> bool:
        return delivery in self._waiting

    def add(self, delivery: Delivery) -> None:
        """Line up a delivery for the time at which it is due."""
        self._waiting[delivery] = next(self._numbers)
        self._line_up(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """Line up once more what was taken and has not arrived."""
        self._line_up(delivery)

    def remove(self, delivery: Delivery) -> None:
        """Forget a delivery, wherever it is."""
        del self._waiting[delivery]

    def take(self, now: float) -> Delivery | None:
        """Return what has been due for longest; nobody gets it again before it is put back."""
        while self._by_time and self._by_time[0][0] <= now:
            _due_at, _number, delivery = heapq.heappop(self._by_time)
            if delivery in self._waiting:
                return delivery
        return None

    def _line_up(self, delivery: Delivery) -> None:
        # What is due at the same moment goes in the order in which it was added.
        entry = (delivery.due_at, self._waiting[delivery], delivery)
        heapq.heappush(self._by_time, entry)
