"""Deliver signed events, and retry until the endpoint answers with 2xx.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from ..account.books import Books
from ..account.event_log import StoredEvent
from ..account.faults import DeliveryPlan
from ..account.outbox import Delivery, WebhookEndpoint
from ..wire.loopback import check_loopback
from .forms import in_form

logger = logging.getLogger("shop_payments.sandbox")

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 3 * 24 * 60 * 60
TIMEOUT_SECONDS = 10.0


def post_to_loopback(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post over HTTP, without following redirects and without a proxy.

    Raises:
        OSError: there is no answer.
    """
    check_loopback(url)
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - checked above
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def enqueue(books: Books, event: StoredEvent) -> None:
    """Schedule an event for every endpoint that is enabled for its type, subject to faults."""
    for endpoint in books.webhook_endpoints.values():
        if endpoint.wants(event.type):
            plan = books.faults.for_webhook(event.type)
            _schedule(books, event, endpoint, plan)
            books.events.expect_delivery(event)


def enqueue_again(books: Books, event: StoredEvent, endpoint: WebhookEndpoint) -> None:
    """Schedule an event for one endpoint once more, whatever types it is enabled for."""
    _schedule(books, event, endpoint, books.faults.for_webhook(event.type))
    books.events.expect_delivery(event)


def _schedule(
    books: Books, event: StoredEvent, endpoint: WebhookEndpoint, plan: DeliveryPlan
) -> None:
    now = books.clock()
    add = books.deliveries.add if plan.delays else books.lost_deliveries.append
    for number, delay in enumerate(plan.delays or (0.0,)):
        add(
            Delivery(
                event_id=event.id,
                endpoint=endpoint,
                due_at=now + delay,
                give_up_at=now + GIVE_UP_AFTER_SECONDS,
                doubled=number > 0,
                form=plan.form,
            )
        )


def remove(books: Books, endpoint: WebhookEndpoint) -> None:
    """Remove the endpoint and its pending deliveries."""
    del books.webhook_endpoints[endpoint.id]
    for delivery in [each for each in books.deliveries if each.endpoint is endpoint]:
        _settle(books, delivery)


def _settle(books: Books, delivery: Delivery) -> None:
    books.deliveries.remove(delivery)
    if not delivery.doubled:
        books.events.record_delivery(delivery.event_id)


def deliver_due(books: Books) -> int:
    """Attempt every due delivery; return the number of attempts."""
    attempts = 0
    while (delivery := _take_due(books)) is not None:
        _attempt(books, delivery)
        attempts += 1
    return attempts


def _take_due(books: Books, only: WebhookEndpoint | None = None) -> Delivery | None:
    """Take the delivery that has been due longest, if there is one, or of those to one endpoint."""
    with books.lock:
        now, waiting = books.clock(), books.deliveries
        while due := [only] if only else waiting.due(now):
            delivery = waiting.take(due[0], now)
            if delivery is None or delivery.endpoint.enabled:
                return delivery
            _give_up(books, delivery)  # Stripe does not retry deliveries to disabled endpoints
    return None


class BackgroundDeliveries:
    """Delivers in threads, one for each endpoint, so that a slow endpoint delays no other."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._lock = threading.Lock()
        self._busy: dict[WebhookEndpoint, threading.Thread] = {}
        self._is_stopped = False

    def start_due(self) -> None:
        """Start a thread for each endpoint that has due deliveries and no thread."""
        with self._books.lock:
            due = self._books.deliveries.due(self._books.clock())
        with self._lock:
            self._is_stopped = False
            for endpoint in due:
                if endpoint not in self._busy:
                    thread = threading.Thread(
                        target=self._deliver, args=(endpoint,), name="sandbox-webhooks", daemon=True
                    )
                    self._busy[endpoint] = thread
                    thread.start()

    def stop(self, seconds: float) -> None:
        """Start no further attempt, and wait for those under way, for so many seconds at most."""
        end = time.monotonic() + seconds
        with self._lock:
            self._is_stopped = True
            threads = [*self._busy.values()]
        for thread in threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def _deliver(self, endpoint: WebhookEndpoint) -> None:
        try:
            while not self._is_stopped and (delivery := _take_due(self._books, endpoint)):
                _attempt(self._books, delivery)
        finally:
            with self._lock:
                del self._busy[endpoint]


def _give_up(books: Books, delivery: Delivery) -> None:
    books.deliveries.remove(delivery)
    books.lost_deliveries.append(delivery)


def _attempt(books: Books, delivery: Delivery) -> None:
    endpoint = delivery.endpoint
    with books.lock:
        event = books.events.read(books.events[delivery.event_id])
        version = endpoint.object["api_version"] or event["api_version"]
        shown = in_form(books, event, version, delivery.form)
        body = json.dumps(shown, indent=2, ensure_ascii=False).encode()
        # The receiver checks the time with its own clock, which `advance_clock` does not change.
        signed_at = int(books.clock.unskipped())
        headers = _headers(body, endpoint.secrets_at(books.clock()), signed_at)
    try:
        status = endpoint.deliver(endpoint.url, body, headers)
    except Exception:  # Stripe retries after any failure of the receiver
        status = None
    with books.lock:
        _record(books, delivery, status)


def _record(books: Books, delivery: Delivery, status: int | None) -> None:
    if delivery not in books.deliveries:  # its endpoint was removed meanwhile
        return
    delivery.attempts += 1
    delivery.last_status = status
    delivery.due_at = books.clock() + _delay(delivery.attempts)
    if status is not None and 200 <= status < 300:
        _settle(books, delivery)
        return
    if is_last := delivery.due_at > delivery.give_up_at:
        _give_up(books, delivery)
    else:
        books.deliveries.put_back(delivery)
    _log_failure(books, delivery, is_last=is_last)


def _log_failure(books: Books, delivery: Delivery, *, is_last: bool) -> None:
    # At INFO, because tests and the demo make deliveries fail on purpose. The command prints it.
    logger.info(
        "Delivery failed: event=%s type=%s url=%s status=%s next_try=%s",
        delivery.event_id,
        books.events[delivery.event_id].type,
        delivery.endpoint.url,
        delivery.last_status or "none",
        "never" if is_last else f"{_delay(delivery.attempts):.0f}s",
    )


def _delay(attempts: int) -> float:
    """Return the seconds until the next attempt: 1, 2, 4, … up to a minute."""
    return min(FIRST_DELAY_SECONDS * (1 << min(attempts - 1, 16)), LONGEST_DELAY_SECONDS)


def _headers(body: bytes, secrets: Sequence[str], timestamp: int) -> dict[str, str]:
    return {
        "Accept": "*/*; q=0.5, application/xml",
        "Cache-Control": "no-cache",
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": _signature(b"%d." % timestamp + body, secrets, timestamp),
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }


def _signature(signed: bytes, secrets: Sequence[str], timestamp: int) -> str:
    """Return the header with a v1 for each secret, and a fake v0 as Stripe sends in test mode.

    See: https://docs.stripe.com/webhooks#verify-manually (checked 2026-11)
    """
    schemes = [
        f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets
    ]
    return ",".join([f"t={timestamp}", *schemes, f"v0={hashlib.sha256(signed).hexdigest()}"])
