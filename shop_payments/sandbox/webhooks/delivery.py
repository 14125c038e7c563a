"""Webhooks: signed delivery, and again until the endpoint says 2xx.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Sequence

from ..account.books import Books, Object
from ..account.faults import Trip
from ..account.outbox import Delivery, WebhookEndpoint
from ..wire.loopback import check_loopback
from .forms import in_form

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
GIVE_UP_AFTER_SECONDS = 3 * 24 * 60 * 60
TIMEOUT_SECONDS = 10.0


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
    """Line an event up for every endpoint that wants it now, as the faults allow."""
    for endpoint in books.webhook_endpoints.values():
        if endpoint.wants(event["type"]):
            trip = books.faults.for_webhook(event["type"])
            _line_up(books, event, endpoint, trip)
            event["pending_webhooks"] += 1


def _line_up(books: Books, event: Object, endpoint: WebhookEndpoint, trip: Trip) -> None:
    now = books.clock()
    line_up = books.deliveries.add if trip.delays else books.lost_deliveries.append
    for number, delay in enumerate(trip.delays or (0.0,)):
        line_up(
            Delivery(
                event_id=event["id"],
                endpoint=endpoint,
                due_at=now + delay,
                give_up_at=now + GIVE_UP_AFTER_SECONDS,
                doubled=number > 0,
                form=trip.form,
            )
        )


def remove(books: Books, endpoint: WebhookEndpoint) -> None:
    """Forget the endpoint and what it has not received."""
    del books.webhook_endpoints[endpoint.id]
    for delivery in [each for each in books.deliveries if each.endpoint is endpoint]:
        _settle(books, delivery)


def _settle(books: Books, delivery: Delivery) -> None:
    books.deliveries.remove(delivery)
    if not delivery.doubled:
        books.events[delivery.event_id]["pending_webhooks"] -= 1


def deliver_due(books: Books) -> int:
    """Attempt every delivery whose time has come; return how many attempts were made."""
    attempts = 0
    while (delivery := _take_due(books)) is not None:
        _attempt(books, delivery)
        attempts += 1
    return attempts


def _take_due(books: Books) -> Delivery | None:
    """Return the delivery that has been due for longest; it is on its way then."""
    with books.lock:
        while (delivery := books.deliveries.take(books.clock())) is not None:
            if delivery.endpoint.enabled:
                return delivery
            _give_up(books, delivery)  # disabled when its time came: Stripe tries no more
    return None


def _give_up(books: Books, delivery: Delivery) -> None:
    books.deliveries.remove(delivery)
    books.lost_deliveries.append(delivery)


def _attempt(books: Books, delivery: Delivery) -> None:
    endpoint = delivery.endpoint
    with books.lock:
        event = books.events[delivery.event_id]
        version = endpoint.object["api_version"] or event["api_version"]
        shown = in_form(books, {**event, "api_version": version}, delivery.form)
        body = json.dumps(shown, indent=2, ensure_ascii=False).encode()
        # The receiver compares with its own clock, which nobody has put forward.
        signed_at = int(books.clock.unskipped())
        headers = _headers(body, endpoint.secrets_at(books.clock()), signed_at)
    try:
        status = endpoint.deliver(endpoint.url, body, headers)
    except Exception:  # whatever the receiver does, Stripe goes on and tries again
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
    elif delivery.due_at > delivery.give_up_at:
        _give_up(books, delivery)
    else:
        books.deliveries.put_back(delivery)


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
    """Return the header with a v1 for each secret, and the fake v0 that test mode sends besides."""
    schemes = [
        f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets
    ]
    return ",".join([f"t={timestamp}", *schemes, f"v0={hashlib.sha256(signed).hexdigest()}"])
