"""The sweep, run a little later, and lines to Stripe on which something happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.utils import timezone

from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.cancellations import abandoned_intents, close_abandoned_intent
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import PaymentHistory, Source, StripeAttempt
from shop_payments.sandbox import SandboxResponse
from tests.books import everything
from tests.support import call_stripe, writes

API = Origin(source=Source.API)
LATER = timedelta(minutes=2)
"""After which an attempt is not taken to be in progress any more."""


def sweep(*, after: timedelta = LATER, hours: int = 72, dry_run: bool = False) -> Report:
    """Run the sweep a little later."""
    with time_machine.travel(datetime.now(UTC) + after):
        since = timezone.now() - timedelta(hours=hours)
        return reconcile(since=since, dry_run=dry_run)


def cancel_abandoned_intents(*, older_than: datetime, origin: Origin) -> int:
    """Cancel what had no activity since then, as the sweep does; return the number."""
    rows = abandoned_intents(older_than=older_than).select_related("order_payment")
    return sum(close_abandoned_intent(row, origin=origin) for row in rows.order_by("pk"))


def assert_converged(stripe: Any, *, after: timedelta = LATER) -> None:
    """A second sweep changes no row and writes nothing at Stripe."""
    rows, sent = everything(), writes(stripe)

    again = sweep(after=after)

    assert everything() == rows
    assert writes(stripe) == sent
    assert (again.problems, again.reviews_opened) == ([], 0)
    assert not StripeAttempt.objects.pending().exists()
    assert not PaymentHistory.objects.undispatched().exists()


def statuses(stripe: Any) -> list[str]:
    """The statuses of all intents at Stripe, oldest first."""
    found = call_stripe(stripe, "GET", "payment_intents", limit="100")["data"]
    return [intent["status"] for intent in found][::-1]


class Meanwhile:
    """A line to Stripe on which something happens once, just before a request or its answer."""

    def __init__(self, stripe: Any, request: str, act: Callable[[], Any], *, answer: bool = False):
        self._stripe, self._request, self._act, self._answer = stripe, request, act, answer
        self._is_done = False

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        path = url.partition("/v1/")[2]
        is_now = not self._is_done and self._request in f"{method.upper()} {path}"
        self._is_done = self._is_done or is_now
        if is_now and not self._answer:
            self._act()
        answer = self._stripe.handle(method, url, headers, body)
        if is_now and self._answer:
            self._act()
        return answer


class Refusing:
    """A Stripe that refuses some requests, and counts them."""

    def __init__(
        self, stripe: Any, is_refused: Callable[[str], bool], *, status: int, code: str = ""
    ) -> None:
        self._stripe, self._is_refused, self._status, self._code = stripe, is_refused, status, code
        self.refused = 0

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        if self._is_refused(url.partition("/v1/")[2].partition("?")[0]):
            self.refused += 1
            error = {"type": "invalid_request_error", "code": self._code, "message": "No."}
            return SandboxResponse(self._status, {}, json.dumps({"error": error}).encode())
        return self._stripe.handle(method, url, headers, body)
