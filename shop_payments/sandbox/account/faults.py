"""Faults that Stripe or the network may have, on demand.

A fault is pending until a request or a webhook matches it. A request or webhook takes at most one
fault of each kind, the oldest. So two injected errors are the answers to two requests, but a
latency and a dropped connection can affect the same request. A fault with a rate affects a random
share of what it matches; the seed decides which.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
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
"""Three days, after which Stripe gives up a webhook.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""
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
    """Return Stripe's 500, which does not say whether the operation had an effect.

    See: https://docs.stripe.com/error-low-level#server-errors (checked 2026-11)
    """
    return ServerError("An unknown error occurred", status=500)


def _refusal(param: str | None) -> StripeError:
    """Return Stripe's 400 for a change that the object does not allow.

    Stripe documents few of them. See: https://github.com/jcberquist/stripe-cfml/pull/55 (the
    currency of a payment intent; checked 2026-11)
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
    """The connection broke before the answer; the client cannot know if there was an effect.

    It is a ConnectionError, for which wsgiref's server closes the socket without printing anything.
    """


_MAX_LENGTH = 500
"""Characters of a path or another text. A long glob takes minutes to compile."""


@dataclass(frozen=True)
class Fault:
    """A fault of a request (`method`, `path`) or of a webhook (`type`).

    Raises:
        ValueError: the fields contradict each other.
    """

    kind: FaultKind
    method: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    """A prefix or a glob, such as `/v1/payment_intents/*/confirm`; None matches all."""
    type: str | None = field(default=None, kw_only=True)
    """A type of event or a glob, such as `payment_intent.*`; None matches all."""
    times: int | None = field(default=_AS_USUAL, kw_only=True)
    """How often; None means always. The default is once, or always for a fault with a rate."""
    rate: float | None = field(default=None, kw_only=True)
    """The share of matching requests, above 0 and at most 1; None means all of them."""
    seconds: float = field(default=0.0, kw_only=True)
    """The duration of a latency or a delay, the period in which webhooks are shuffled, or the time
    until an effect happens or an object is listed, by the sandbox's clock."""
    status: int | None = field(default=None, kw_only=True)
    """The HTTP status of an error: 409, 429, 500 or 503."""
    code: str | None = field(default=None, kw_only=True)
    """Stripe's error code if a status has several: 429 is rate_limit or lock_timeout."""
    param: str | None = field(default=None, kw_only=True)
    """The parameter that a refusal names; None if it names none."""

    def __post_init__(self) -> None:
        if self.times == _AS_USUAL:
            object.__setattr__(self, "times", 1 if self.rate is None else None)
        for wrong in chain(self._wrong_targets(), self._wrongs()):
            raise ValueError(f"Fault '{self.kind}': {wrong}.")

    def _wrong_targets(self) -> Iterable[str]:
        if self.kind not in REQUEST_FAULTS + WEBHOOK_FAULTS:
            yield f"the kinds are {', '.join(REQUEST_FAULTS + WEBHOOK_FAULTS)}"
        if any(len(text or "") > _MAX_LENGTH for text in (self.path, self.type, self.param)):
            yield f"path, type and param have at most {_MAX_LENGTH} characters"
        if self.kind in WEBHOOK_FAULTS and (self.method or self.path):
            yield "method and path are for requests; use type for a webhook"
        if self.kind in REQUEST_FAULTS and self.type:
            yield "type is for webhooks; use method and path for a request"
        if self.method is not None and self.method.upper() not in _METHODS:
            yield f"the methods are {', '.join(_METHODS)}, not '{self.method}'"
        if self.path is not None and not self.path.startswith(("/", "*")):
            yield f"path must begin with / or *, not '{self.path}'"
        if self.type is not None and not any(fnmatchcase(each, self.type) for each in EVENT_TYPES):
            yield f"Stripe has no event of the type '{self.type}'"

    def _wrongs(self) -> Iterable[str]:
        if self.kind == "error" and (self.status, self.code) not in _ERRORS:
            yield "status must be 409, 429 (code rate_limit or lock_timeout), 500 or 503"
        if self.kind != "error" and (self.status is not None or self.code is not None):
            yield "status and code are for the kind error"
        if self.kind != "refused" and self.param is not None:
            yield "param is for the kind refused"
        if self.kind in _TIMED and not 0 < self.seconds <= _LONGEST_SECONDS:
            yield f"seconds must be above 0 and at most {_LONGEST_SECONDS}, not {self.seconds}"
        if self.kind not in _TIMED and self.seconds != 0:
            yield f"seconds are for {', '.join(_TIMED)}"
        if self.times is not None and self.times < 1:
            yield f"times must be 1 or more, or forever, not {self.times}"
        if self.rate is not None and not 0 < self.rate <= 1:
            yield f"rate must be above 0 and at most 1, not {self.rate}"

    def matches_request(self, method: str, path: str) -> bool:
        """Return whether the fault is for this request."""
        if self.kind not in REQUEST_FAULTS:
            return False
        if self.method is not None and self.method.upper() != method:
            return False
        return self.path is None or path.startswith(self.path) or fnmatchcase(path, self.path)

    def matches_webhook(self, event_type: str) -> bool:
        """Return whether the fault is for webhooks with this type of event."""
        if self.kind not in WEBHOOK_FAULTS:
            return False
        return self.type is None or fnmatchcase(event_type, self.type)


_FORMS = ("webhook_old", "webhook_thin", "webhook_of_account")


@dataclass(frozen=True)
class DeliveryPlan:
    """The deliveries of an event to one endpoint."""

    delays: tuple[float, ...]
    """The seconds until each delivery."""
    form: str
    """The fault that changes the form of the event; empty for the usual form."""


class Faults:
    """The pending faults."""

    def __init__(self, random: random.Random, sleep: Callable[[float], None] = time.sleep) -> None:
        self._random = random
        self._sleep = sleep
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Remove all pending faults."""
        with self._lock:
            self._waiting.clear()

    @property
    def waiting(self) -> list[Fault]:
        """The pending faults, oldest first, with the remaining `times`."""
        with self._lock:
            return list(self._waiting)

    def for_request(self, method: str, path: str) -> RequestFaults:
        """Return the faults of this request, and count them."""
        with self._lock:
            taken = self._take(lambda fault: fault.matches_request(method, path))
            return RequestFaults(taken, self._sleep)

    def for_webhook(self, event_type: str) -> DeliveryPlan:
        """Return when and in which form a webhook is delivered."""
        with self._lock:
            taken = self._take(lambda fault: fault.matches_webhook(event_type))
            form = next((kind for kind in _FORMS if kind in taken), "")
            if "webhook_lost" in taken:
                return DeliveryPlan((), form)
            deliveries = 2 if "webhook_doubled" in taken else 1
            return DeliveryPlan(tuple(self._delay(taken) for _ in range(deliveries)), form)

    def _delay(self, taken: Mapping[str, Fault]) -> float:
        delay = taken["webhook_delayed"].seconds if "webhook_delayed" in taken else 0.0
        if "webhook_reordered" in taken:
            delay += self._random.uniform(0, taken["webhook_reordered"].seconds)
        return delay

    def _take(self, matches: Callable[[Fault], bool]) -> dict[str, Fault]:
        taken: dict[str, Fault] = {}
        left: list[Fault] = []
        for fault in self._waiting:
            if fault.kind in taken or not matches(fault) or not self._is_drawn(fault):
                left.append(fault)
                continue
            taken[fault.kind] = fault
            if fault.times is None:
                left.append(fault)
            elif fault.times > 1:
                left.append(replace(fault, times=fault.times - 1))
        self._waiting = left
        return taken

    def _is_drawn(self, fault: Fault) -> bool:
        return fault.rate is None or self._random.random() < fault.rate


class RequestFaults:
    """The faults of one request, in the order in which a request passes them."""

    def __init__(self, faults: Mapping[str, Fault], sleep: Callable[[float], None]) -> None:
        self._faults = faults
        self._sleep = sleep

    @property
    def forgets_keys(self) -> bool:
        """Whether Stripe prunes its idempotency keys before this request."""
        return "forget_idempotency_keys" in self._faults

    @property
    def effect_delay(self) -> float | None:
        """The seconds until the effect of a request that got a 500; None for no delay."""
        fault = self._faults.get("effect_later")
        return fault.seconds if fault else None

    @property
    def unlisted_for(self) -> float | None:
        """The seconds for which lists do not show a new object; None for no delay."""
        fault = self._faults.get("unlisted")
        return fault.seconds if fault else None

    @property
    def is_other_account(self) -> bool:
        """Whether another account answers, as with a key of another account."""
        return "another_account" in self._faults

    def on_arrival(self) -> None:
        """Fail before the request is read: no effect, and no saved answer."""
        if "drop_before" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")
        self._raise_error(saved=False)

    def before_effect(self) -> None:
        """Wait, or fail inside the operation: no effect, but the error is the saved answer."""
        if "latency" in self._faults:
            self._sleep(self._faults["latency"].seconds)
        self._raise_error(saved=True)
        if "refused" in self._faults:
            raise _refusal(self._faults["refused"].param)

    def after_effect(self) -> None:
        """Fail after the operation: the effect stays, and the error is the saved answer."""
        if "error_after" in self._faults:
            raise unknown_error()

    def before_answer(self) -> None:
        """Drop the connection after the effect."""
        if "drop_after" in self._faults:
            raise SandboxConnectionDropped("The sandbox dropped the connection, as injected.")

    def _raise_error(self, *, saved: bool) -> None:
        fault = self._faults.get("error")
        # Stripe saves a 500 under the idempotency key, but not the others: they come before the
        # operation begins. See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
        if fault is not None and (fault.status == 500) == saved:
            raise _ERRORS[fault.status, fault.code]()
