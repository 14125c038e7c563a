"""Idempotency keys, as in Stripe's API v1.

Once an operation has begun, its answer is saved, even a 402 or a 500. Nothing is saved if the
parameters are invalid or if requests conflict. A request gets 409 while the first request with its
key is running. The first request holds no lock except its key, so a slow operation does not delay
others. Browsers and servers have separate keys, because a browser must not see a server's answer
(?: Stripe does not document this).

See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import IdempotencyConflict, InvalidRequest
from .messages import SandboxResponse
from .packing import Packer

KEPT_SECONDS = 24 * 60 * 60
"""Stripe keeps keys for at least 24 hours. The sandbox prunes them as early as Stripe may."""

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The answer of an operation, and whether it is saved under the key."""

    response: SandboxResponse
    saved: bool


_Name = tuple[bool, str]
"""Whether the request has a publishable key, and its idempotency key."""


@dataclass(slots=True)
class _Use:
    path: str
    params: bytes
    """A digest. Keys are kept for a day, and parameters may be long."""
    request_id: str
    acquired_at: float
    response: SandboxResponse | None = None
    """Its body is packed. None while the first request is running."""


class IdempotencyKeys:
    """The idempotency keys of one account, kept for 24 hours of the sandbox's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[_Name, _Use] = {}
        self._packer = Packer()

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
        """Execute the operation once for each key, and return the saved answer afterwards.

        Raises:
            InvalidRequest: the key is too long.
            IdempotencyConflict: 400 for other parameters or another path, 409 while in use.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise InvalidRequest(
                f"Idempotency-Key must be at most {MAX_KEY_LENGTH} characters, but you passed in"
                f" one that is {len(key)} characters."
            )
        use = _Use(path, _digest(params), request_id, self._clock())
        name = publishable, key
        earlier = self._acquire(name, use)
        if earlier is not None:
            return self._replay(key, earlier, use)
        return self._run_first(name, use, execute)

    def forget_all(self) -> int:
        """Prune the keys whose first request is finished; return how many."""
        with self._lock:
            done = [name for name, use in self._uses.items() if use.response is not None]
            for name in done:
                del self._uses[name]
        return len(done)

    def _acquire(self, name: _Name, use: _Use) -> _Use | None:
        """Acquire the key and return None, or return a copy of the earlier use."""
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
                    packed = self._packer.pack(_kind(use), outcome.response.body)
                    use.response = replace(outcome.response, body=packed)
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

    def _replay(self, key: str, earlier: _Use, use: _Use) -> SandboxResponse:
        saved = _saved(key, earlier, use)
        with self._lock:
            body = self._packer.unpack(_kind(earlier), saved.body)
        response = _with_headers(replace(saved, body=body), key, earlier.request_id)
        return replace(response, headers={**response.headers, "idempotent-replayed": "true"})


def _digest(params: Mapping[str, Any]) -> bytes:
    text = json.dumps(params, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _kind(use: _Use) -> str:
    """Return what answers of similar requests have in common: the first words of their paths."""
    return use.path.split("/")[2]


def _saved(key: str, earlier: _Use, use: _Use) -> SandboxResponse:
    """Return the saved (packed) answer.

    Raises:
        IdempotencyConflict: the request is another one, or the first one is running.
    """
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
    return earlier.response


def _final(response: SandboxResponse) -> SandboxResponse:
    """Add the header that advises against a retry, which would get the same answer.

    See: https://docs.stripe.com/error-low-level (`Stripe-Should-Retry`; checked 2026-11)
    """
    return replace(response, headers={"stripe-should-retry": "false", **response.headers})


def _with_headers(response: SandboxResponse, key: str, original: str) -> SandboxResponse:
    headers = {**response.headers, "idempotency-key": key, "original-request": original}
    return replace(response, headers=headers)
