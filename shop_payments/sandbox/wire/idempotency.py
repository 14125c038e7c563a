"""Idempotency keys, as Stripe keeps them for API v1.

The answer is saved from the moment an operation begins to run, whatever it is (402 and 500 too);
nothing is saved when parameters fail validation or requests conflict. A request that comes while
the first one runs gets 409. The first request holds its key and no other lock, so one slow
operation stalls no other. Browsers must not see what a server was answered, so the two have
separate keys (?: Stripe does not say).

See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import IdempotencyConflict, InvalidRequest
from .messages import SandboxResponse

KEPT_SECONDS = 24 * 60 * 60
MAX_KEY_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What running an operation gave."""

    response: SandboxResponse
    saved: bool


_Name = tuple[bool, str]
"""Whether a browser asks, and its key."""


@dataclass
class _Use:
    path: str
    params: Mapping[str, Any]
    request_id: str
    acquired_at: float
    response: SandboxResponse | None = None
    """None while the first request runs."""


class IdempotencyKeys:
    """The keys of one account, for 24 hours by the sandbox's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[_Name, _Use] = {}

    def run(
        self,
        key: str,
        *,
        publishable: bool,
        path: str,
        params: Mapping[str, Any],
        request_id: str,
        execute: Callable[[], Outcome],
    ) -> SandboxResponse:
        """Execute once per key; later requests get the saved answer.

        Raises:
            InvalidRequest: if the key is too long.
            IdempotencyConflict: 400 for other parameters or another path, 409 while in use.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise InvalidRequest(
                f"Idempotency-Key must be at most {MAX_KEY_LENGTH} characters, but you passed in"
                f" one that is {len(key)} characters."
            )
        use = _Use(path, params, request_id, self._clock())
        name = publishable, key
        earlier = self._acquire(name, use)
        if earlier is not None:
            return _replay(key, earlier, use)
        return self._run_first(name, use, execute)

    def forget_all(self) -> int:
        """Forget the keys whose first request is done; return how many there were."""
        with self._lock:
            done = [name for name, use in self._uses.items() if use.response is not None]
            for name in done:
                del self._uses[name]
        return len(done)

    def _acquire(self, name: _Name, use: _Use) -> _Use | None:
        """Take the key, or return who took it before (a copy, so it no longer changes)."""
        with self._lock:
            self._forget_old(use.acquired_at)
            earlier = self._uses.setdefault(name, use)
            return None if earlier is use else replace(earlier)

    def _run_first(self, name: _Name, use: _Use, execute: Callable[[], Outcome]) -> SandboxResponse:
        outcome = None
        try:
            outcome = execute()
        finally:
            with self._lock:
                if outcome is not None and outcome.saved:
                    outcome = replace(outcome, response=_final(outcome.response))
                    use.response = outcome.response
                else:
                    self._uses.pop(name, None)
        return _with_headers(outcome.response, name[1], use.request_id)

    def _forget_old(self, now: float) -> None:
        old = []
        for name, use in self._uses.items():  # the oldest first
            if now - use.acquired_at < KEPT_SECONDS:
                break
            if use.response is not None:
                old.append(name)
        for name in old:
            del self._uses[name]


def _replay(key: str, earlier: _Use, use: _Use) -> SandboxResponse:
    if earlier.path != use.path:
        raise IdempotencyConflict(
            "Keys for idempotent requests can only be used for the same endpoint they were first"
            f" used for ('{use.path}' vs '{earlier.path}'). Try using a key other than '{key}'"
            " if you meant to execute a different request."
        )
    if earlier.params != use.params:
        raise IdempotencyConflict(
            "Keys for idempotent requests can only be used with the same parameters they were"
            f" first used with. Try using a key other than '{key}' if you meant to execute a"
            " different request."
        )
    if earlier.response is None:
        raise IdempotencyConflict(
            "There is currently another in-progress request using this Idempotent Key (that"
            " probably means you submitted twice, and the other request is still going through):"
            f" {key}. Please try again later.",
            code="idempotency_key_in_use",
            status=409,
            headers={"stripe-should-retry": "true"},
        )
    response = _with_headers(earlier.response, key, earlier.request_id)
    return replace(response, headers={**response.headers, "idempotent-replayed": "true"})


def _final(response: SandboxResponse) -> SandboxResponse:
    """Say that a retry would get the same answer."""
    return replace(response, headers={"stripe-should-retry": "false", **response.headers})


def _with_headers(response: SandboxResponse, key: str, original: str) -> SandboxResponse:
    headers = {**response.headers, "idempotency-key": key, "original-request": original}
    return replace(response, headers=headers)
