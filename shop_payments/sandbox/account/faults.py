"""Faults of the real thing, on demand.

A fault waits until a request, or a webhook, that it matches comes by. Each takes at most one fault
of a kind, the oldest; so two injected errors answer two requests, while a latency and a dropped
connection can meet in one. A fault with a rate befalls some of what it matches: which, the seed
decides.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from ..wire.errors import IdempotencyConflict, InvalidRequest, ServerError, StripeError
from ..wire.event_types import EVENT_TYPES

RequestFaultKind = Literal[
    "latency",
    "drop_before",
    "drop_after",
    "error",
    "error_after",
    "refused",
    "effect_later",
    "unlisted",
    "another_account",
    "forget_idempotency_keys",
]
WebhookFaultKind = Literal[
    "webhook_lost",
    "webhook_doubled",
    "webhook_delayed",
    "webhook_reordered",
    "webhook_old",
    "webhook_thin",
    "webhook_of_account",
]
FaultKind = RequestFaultKind | WebhookFaultKind

REQUEST_FAULTS: tuple[str, ...] = get_args(RequestFaultKind)
WEBHOOK_FAULTS: tuple[str, ...] = get_args(WebhookFaultKind)
_TIMED = ("latency", "effect_later", "unlisted", "webhook_delayed", "webhook_reordered")
_METHODS = ("GET", "POST", "DELETE")
_LONGEST_SECONDS = 3 * 24 * 60 * 60
"""After as long Stripe has given up on a webhook."""
_AS_USUAL = -sys.maxsize


def _rate_limit() -> StripeError:
    return StripeError(
        "Request rate limit exceeded. Learn more about rate limits here"
        " https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        status=429,
        headers={"stripe-rate-limited-reason": "global-rate"},
    )


def _lock_timeout() -> StripeError:
    return StripeError(
        "This object cannot be accessed right now because another API request or Stripe process is"
        " currently accessing it. If you see this error intermittently, retry the request. If you"
        " see this error frequently and are making multiple concurrent requests to a single"
        " object, make your requests serially or at a lower rate.",
        code="lock_timeout",
        status=429,
        headers={"stripe-should-retry": "true"},
    )


def _conflict() -> StripeError:
    return IdempotencyConflict(
        "This request conflicts with another one that is in progress. Please try again.",
        status=409,
    )


def unknown_error() -> StripeError:
    """Return Stripe's 500, which says nothing of what was done."""
    return ServerError("An unknown error occurred", status=500)


def _refusal(param: str | None) -> StripeError:
    """Return Stripe's 400 for a change that the object does not take: Stripe documents few of them.

    See: https://github.com/jcberquist/stripe-cfml/pull/55 (an intent's currency; checked 2026-11)
    """
    return InvalidRequest("This object cannot be changed that way.", param=param)


def _unavailable() -> StripeError:
    return ServerError("Stripe is temporarily unavailable. Please try again.", status=503)


_ERRORS: Mapping[tuple[int | None, str | None], Callable[[], StripeError]] = {
    (409, None): _conflict,
    (429, None): _rate_limit,
    (429, "rate_limit"): _rate_limit,
    (429, "lock_timeout"): _lock_timeout,
    (500, None): unknown_error,
    (503, None): _unavailable,
}


class SandboxConnectionDropped(ConnectionResetError):
    """The connection broke before an answer; whether the request took effect is not known.

    wsgiref's server closes the socket without a word on this class of error.
    """


@dataclass(frozen=True)
class Fault:
    """Something to go wrong, with a request (`method`, `path`) or with a webhook (`type`).

    Raises:
        ValueError: for what makes no sense.
    """

    kind: FaultKind
    method: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    """A prefix or a glob, e.g. `/v1/payment_intents/*/confirm`; None matches all."""
    type: str | None = field(default=None, kw_only=True)
    """The type of the event, or a glob of types, e.g. `payment_intent.*`; None matches all."""
    times: int | None = field(default=_AS_USUAL, kw_only=True)
    """How often; None is without end. Once if not given, or without end with a rate."""
    rate: float | None = field(default=None, kw_only=True)
    """The share of what matches, above 0 and up to 1; None is all of it."""
    seconds: float = field(default=0.0, kw_only=True)
    """How long a latency is, or a webhook's delay, or the window that webhooks are shuffled in; or
    after how long an effect comes, or an object is listed, by the sandbox's clock."""
    status: int | None = field(default=None, kw_only=True)
    """The HTTP status of an error: 409, 429, 500 or 503."""
    code: str | None = field(default=None, kw_only=True)
    """Stripe's code of an error, where a status has several: 429 is rate_limit or lock_timeout."""
    param: str | None = field(default=None, kw_only=True)
    """The parameter that a refusal names; None where it names none."""

    def __post_init__(self) -> None:
        if self.times == _AS_USUAL:
            object.__setattr__(self, "times", 1 if self.rate is None else None)
        for wrong in (*self._wrong_targets(), *self._wrongs()):
            raise ValueError(f"Fault {self.kind!r}: {wrong}.")

    def _wrong_targets(self) -> Iterable[str]:
        if self.kind not in REQUEST_FAULTS + WEBHOOK_FAULTS:
            yield f"the kinds are {', '.join(REQUEST_FAULTS + WEBHOOK_FAULTS)}"
        if self.kind in WEBHOOK_FAULTS and (self.method or self.path):
            yield "method and path are for requests; a webhook has a type"
        if self.kind in REQUEST_FAULTS and self.type:
            yield "type is for webhooks; a request has a method and a path"
        if self.method is not None and self.method.upper() not in _METHODS:
            yield f"the methods are {', '.join(_METHODS)}, not {self.method!r}"
        if self.path is not None and not self.path.startswith(("/", "*")):
            yield f"path begins with /, not {self.path!r}"
        if self.type is not None and not any(fnmatchcase(each, self.type) for each in EVENT_TYPES):
            yield f"there is no event of the type {self.type!r}"

    def _wrongs(self) -> Iterable[str]:
        if self.kind == "error" and (self.status, self.code) not in _ERRORS:
            yield "it takes status 409, 429 (code rate_limit or lock_timeout), 500 or 503"
        if self.kind != "error" and (self.status is not None or self.code is not None):
            yield "status and code are for the kind error"
        if self.kind != "refused" and self.param is not None:
            yield "param is for the kind refused"
        if self.kind in _TIMED and not 0 < self.seconds <= _LONGEST_SECONDS:
            yield f"seconds are above 0 and at most {_LONGEST_SECONDS}, not {self.seconds}"
        if self.kind not in _TIMED and self.seconds != 0:
            yield f"seconds are for {', '.join(_TIMED)}"
        if self.times is not None and self.times < 1:
            yield f"times is 1 or more, or without end, not {self.times}"
        if self.rate is not None and not 0 < self.rate <= 1:
            yield f"rate is above 0 and at most 1, not {self.rate}"

    def meets_request(self, method: str, path: str) -> bool:
        """Return whether the fault is for such requests."""
        if self.kind not in REQUEST_FAULTS:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        return self.path is None or path.startswith(self.path) or fnmatchcase(path, self.path)

    def meets_webhook(self, event_type: str) -> bool:
        """Return whether the fault is for webhooks with such events."""
        if self.kind not in WEBHOOK_FAULTS:
            return False
        return self.type is None or fnmatchcase(event_type, self.type)


_FORMS = ("webhook_old", "webhook_thin", "webhook_of_account")


@dataclass(frozen=True)
class Trip:
    """How a webhook travels."""

    delays: tuple[float, ...]
    """After how many seconds it is delivered, each time that it is."""
    form: str
    """The fault that says in which form it comes; empty for Stripe's usual one."""


class Faults:
    """The faults that wait."""

    def __init__(self, random: random.Random, sleep: Callable[[float], None] = time.sleep) -> None:
        self._random = random
        self._sleep = sleep
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let the fault wait for what it matches."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all that still wait."""
        with self._lock:
            self._waiting.clear()

    @property
    def waiting(self) -> list[Fault]:
        """Those that wait, the oldest first, with the times that are left."""
        with self._lock:
            return list(self._waiting)

    def for_request(self, method: str, path: str) -> Trouble:
        """Return what befalls this request, and count it."""
        with self._lock:
            taken = self._take(lambda fault: fault.meets_request(method, path))
            return Trouble(taken, self._sleep)

    def for_webhook(self, event_type: str) -> Trip:
        """Return when and in which form a webhook is delivered."""
        with self._lock:
            taken = self._take(lambda fault: fault.meets_webhook(event_type))
            form = next((kind for kind in _FORMS if kind in taken), "")
            if "webhook_lost" in taken:
                return Trip((), form)
            deliveries = 2 if "webhook_doubled" in taken else 1
            return Trip(tuple(self._delay(taken) for _ in range(deliveries)), form)

    def _delay(self, taken: Mapping[str, Fault]) -> float:
        delay = taken["webhook_delayed"].seconds if "webhook_delayed" in taken else 0.0
        if "webhook_reordered" in taken:
            delay += self._random.uniform(0, taken["webhook_reordered"].seconds)
        return delay

    def _take(self, meets: Callable[[Fault], bool]) -> dict[str, Fault]:
        taken: dict[str, Fault] = {}
        left: list[Fault] = []
        for fault in self._waiting:
            if fault.kind in taken or not meets(fault) or not self._strikes(fault):
                left.append(fault)
                continue
            taken[fault.kind] = fault
            if fault.times is None:
                left.append(fault)
            elif fault.times > 1:
                left.append(replace(fault, times=fault.times - 1))
        self._waiting = left
        return taken

    def _strikes(self, fault: Fault) -> bool:
        return fault.rate is None or self._random.random() < fault.rate


class Trouble:
    """What befalls one request, in the order of its way through Stripe."""

    def __init__(self, faults: Mapping[str, Fault], sleep: Callable[[float], None]) -> None:
        self._faults = faults
        self._sleep = sleep

    @property
    def forgets_keys(self) -> bool:
        """Whether Stripe has pruned its idempotency keys just before."""
        return "forget_idempotency_keys" in self._faults

    @property
    def effect_delay(self) -> float | None:
        """After how many seconds the effect comes that a 500 has hidden; None for at once."""
        fault = self._faults.get("effect_later")
        return fault.seconds if fault else None

    @property
    def unlisted_for(self) -> float | None:
        """For how many seconds what is made is missing from lists; None for not at all."""
        fault = self._faults.get("unlisted")
        return fault.seconds if fault else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether another account answers, as with another account's key."""
        return "another_account" in self._faults

    def on_arrival(self) -> None:
        """Break before anything was looked at: no effect, and nothing saved under a key."""
        if "drop_before" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")
        self._raise_error(saved=False)

    def before_effect(self) -> None:
        """Wait, or fail inside the operation: no effect, and the failure is the saved answer."""
        if "latency" in self._faults:
            self._sleep(self._faults["latency"].seconds)
        self._raise_error(saved=True)
        if "refused" in self._faults:
            raise _refusal(self._faults["refused"].param)

    def after_effect(self) -> None:
        """Fail when all is done: the failure is the saved answer, and nothing is undone."""
        if "error_after" in self._faults:
            raise unknown_error()

    def before_answer(self) -> None:
        """Break after the effect."""
        if "drop_after" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")

    def _raise_error(self, *, saved: bool) -> None:
        fault = self._faults.get("error")
        if fault is not None and (fault.status == 500) == saved:
            raise _ERRORS[fault.status, fault.code]()
