"""Webhook endpoints: signed delivery, and again until the endpoint says 2xx.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from .books import Books, Object
from .loopback import check_loopback

Deliver = Callable[[str, bytes, dict[str, str]], int]
"""Posts a body with headers to a URL and returns the HTTP status."""

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 3 * 24 * 60 * 60
TIMEOUT_SECONDS = 10.0


@dataclass(eq=False, kw_only=True)
class WebhookEndpoint:
    """Where events go."""

    id: str
    url: str
    secret: str = field(repr=False)
    deliver: Deliver = field(repr=False)


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
    in_flight: bool = False


def post_to_loopback(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post over HTTP; redirects are not followed and proxies not used.

    Raises:
        OSError: if nobody answers.
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


def enqueue(books: Books, event: Object) -> None:
    """Line an event up for every endpoint there is now."""
    now = books.clock()
    for endpoint in books.webhook_endpoints:
        books.deliveries.append(
            Delivery(
                event_id=event["id"],
                endpoint=endpoint,
                due_at=now,
                give_up_at=now + GIVE_UP_AFTER_SECONDS,
            )
        )
        event["pending_webhooks"] += 1


def remove(books: Books, endpoint: WebhookEndpoint) -> None:
    """Forget the endpoint and what it has not received."""
    books.webhook_endpoints.remove(endpoint)
    for delivery in [each for each in books.deliveries if each.endpoint is endpoint]:
        books.deliveries.remove(delivery)
        books.events[delivery.event_id]["pending_webhooks"] -= 1


def deliver_due(books: Books) -> int:
    """Attempt every delivery whose time has come; return how many attempts were made."""
    attempts = 0
    while (delivery := _take_due(books)) is not None:
        _attempt(books, delivery)
        attempts += 1
    return attempts


def _take_due(books: Books) -> Delivery | None:
    with books.lock:
        now = books.clock()
        for delivery in books.deliveries:
            if delivery.due_at <= now and not delivery.in_flight:
                delivery.in_flight = True
                return delivery
    return None


def _attempt(books: Books, delivery: Delivery) -> None:
    with books.lock:
        body = json.dumps(books.events[delivery.event_id], indent=2, ensure_ascii=False).encode()
        headers = _headers(body, delivery.endpoint.secret, books.now())
    try:
        status = delivery.endpoint.deliver(delivery.endpoint.url, body, headers)
    except Exception:  # whatever the receiver does, Stripe goes on and tries again
        status = None
    with books.lock:
        _record(books, delivery, status)


def _record(books: Books, delivery: Delivery, status: int | None) -> None:
    if delivery not in books.deliveries:  # its endpoint was removed meanwhile
        return
    delivery.in_flight = False
    delivery.attempts += 1
    delivery.last_status = status
    delivery.due_at = books.clock() + _delay(delivery.attempts)
    if status is not None and 200 <= status < 300:
        books.deliveries.remove(delivery)
        books.events[delivery.event_id]["pending_webhooks"] -= 1
    elif delivery.due_at > delivery.give_up_at:
        books.deliveries.remove(delivery)
        books.lost_deliveries.append(delivery)


def _delay(attempts: int) -> float:
    """Return the seconds until the next attempt: 1, 2, 4, … up to a minute."""
    return min(FIRST_DELAY_SECONDS * (1 << min(attempts - 1, 16)), LONGEST_DELAY_SECONDS)


def _headers(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    signature = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return {
        "Accept": "*/*; q=0.5, application/xml",
        "Cache-Control": "no-cache",
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": f"t={timestamp},v1={signature}",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
