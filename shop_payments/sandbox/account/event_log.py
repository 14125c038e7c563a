"""The events of one account.

An event is a snapshot of an object, and most events of a type differ in a few values only. So they
are stored compressed: there are several for each payment, and few of them are read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..wire.lists import Rows
from ..wire.packing import Packer
from .store import Store

Object = dict[str, Any]


@dataclass(slots=True, eq=False, kw_only=True)
class StoredEvent:
    """An event, with what lists and deliveries need of it."""

    id: str
    type: str
    created: int
    packed: bytes
    pending_webhooks: int = 0

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class EventLog(Mapping[str, StoredEvent]):
    """Events by id, oldest first."""

    def __init__(self) -> None:
        self._packer = Packer()
        self._events: Store[StoredEvent] = Store("type")
        self._undelivered: dict[str, StoredEvent] = {}

    def __getitem__(self, event_id: str) -> StoredEvent:
        return self._events[event_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Object) -> StoredEvent:
        """Add a snapshot of an event. It has no pending webhooks yet."""
        text = json.dumps(event, separators=(",", ":")).encode()
        stored = StoredEvent(
            id=event["id"],
            type=event["type"],
            created=event["created"],
            packed=self._packer.pack(event["type"], text),
        )
        self._events.add(stored)
        return stored

    def read(self, stored: StoredEvent) -> Object:
        """Return the event. It is a new object each time."""
        event: Object = json.loads(self._packer.unpack(stored.type, stored.packed))
        event["pending_webhooks"] = stored.pending_webhooks
        return event

    def read_all(self) -> list[Object]:
        """Return all events, oldest first."""
        return [self.read(stored) for stored in self._events.values()]

    def expect_delivery(self, stored: StoredEvent) -> None:
        """Count an endpoint to which the event must be delivered."""
        stored.pending_webhooks += 1
        self._undelivered[stored.id] = stored

    def record_delivery(self, event_id: str) -> None:
        """Count an endpoint for which the event is no longer pending."""
        stored = self._events[event_id]
        stored.pending_webhooks -= 1
        if not stored.pending_webhooks:
            del self._undelivered[event_id]

    def types(self) -> list[str]:
        """Return the types of the events."""
        return [*self._events.values_of("type")]

    def rows(
        self,
        *,
        types: frozenset[str] | None = None,
        delivered: bool | None = None,
        keep: Callable[[StoredEvent], bool],
    ) -> Rows:
        """Return the events of these types, delivered or not (None: both), for a list."""
        wanted = {} if types is None else {"type": types}
        if delivered is None:
            return self._events.rows(wanted, keep=keep)
        return self._events.rows(
            wanted,
            keep=lambda stored: (stored.pending_webhooks == 0) == delivered and keep(stored),
            among=None if delivered else self._undelivered,
        )
