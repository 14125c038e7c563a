"""Faults of the real thing, on demand.

A fault waits until a request that it matches comes by. One request takes at most one fault of each
kind, the oldest; so two injected errors answer two requests, while a latency and a dropped
connection can meet in one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from .errors import IdempotencyConflict, ServerError, StripeError

FaultKind = Literal["latency", "drop_before", "drop_after", "error"]

_ERRORS: Mapping[int, tuple[Callable[..., StripeError], str, str | None]] = {
    409: (
        IdempotencyConflict,
        "This request conflicts with another one that is in progress. Please try again.",
        None,
    ),
    429: (
        StripeError,
        "Request rate limit exceeded. Learn more about rate limits here"
        " https://stripe.com/docs/rate-limits.",
        "rate_limit",
    ),
    500: (ServerError, "An unknown error occurred", None),
    503: (ServerError, "Stripe is temporarily unavailable. Please try again.", None),
}


class SandboxConnectionDropped(ConnectionResetError):
    """The connection broke before an answer; whether the request took effect is not known.

    wsgiref's server closes the socket without a word on this class of error.
    """


@dataclass(frozen=True)
class Fault:
    """Something to go wrong.

    `path` is a prefix or a glob (`/v1/payment_intents/*/confirm`); None matches all.
    `times` of None never runs out. `seconds` is the latency before the effect; `status` the HTTP
    status of an "error" (429, 500, 503 or 409).
    """

    kind: FaultKind
    method: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    times: int | None = field(default=1, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)
    status: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"Fault kind {self.kind!r}: one of {', '.join(get_args(FaultKind))}.")
        if (self.kind == "error") != (self.status in _ERRORS):
            raise ValueError(
                f'Fault("error", status=…) takes {sorted(_ERRORS)}; no other kind does.'
            )

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request meets this fault."""
        if self.method is not None and self.method.upper() != method:
            return False
        return self.path is None or path.startswith(self.path) or fnmatchcase(path, self.path)


class Faults:
    """The faults that wait for a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        """Let the fault wait for its request."""
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        """Forget all that still wait."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Trouble:
        """Return what befalls this request, and count it."""
        taken: dict[str, Fault] = {}
        with self._lock:
            left = []
            for fault, times in self._waiting:
                remaining = times
                if fault.kind not in taken and fault.matches(method, path):
                    taken[fault.kind] = fault
                    remaining = None if times is None else times - 1
                if remaining is None or remaining > 0:
                    left.append((fault, remaining))
            self._waiting = left
        return Trouble(taken)


class Trouble:
    """What befalls one request, in the order of its way through Stripe."""

    def __init__(self, faults: dict[str, Fault]) -> None:
        self._faults = faults

    def on_arrival(self) -> None:
        """Break before anything was looked at: no effect, and nothing saved under a key."""
        if "drop_before" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")
        self._raise_error(saved=False)

    def before_effect(self) -> None:
        """Wait, or fail inside the operation: no effect, and the failure is the saved answer."""
        if "latency" in self._faults:
            time.sleep(self._faults["latency"].seconds)
        self._raise_error(saved=True)

    def before_answer(self) -> None:
        """Break after the effect."""
        if "drop_after" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")

    def _raise_error(self, *, saved: bool) -> None:
        status = self._faults["error"].status if "error" in self._faults else None
        if status is not None and (status == 500) == saved:
            error, message, code = _ERRORS[status]
            raise error(message, code=code, status=status)
