"""Levers: what a test can make happen at Stripe."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from .account.books import Books, Object
from .account.faults import Fault
from .account.outbox import Deliver, Delivery, WebhookEndpoint
from .resources import charges, dispute_moves, radar_moves, refund_moves, webhook_endpoints
from .resources.payment_intents import attempts, moves
from .webhooks import delivery
from .wire.idempotency import IdempotencyKeys
from .wire.keys import RESTRICTED_KEY_PREFIX, AcceptedKeys
from .wire.loopback import check_loopback
from .wire.messages import Cause


class Levers:
    """The levers of one test account, for tests and for the control route."""

    def __init__(self, *, books: Books, keys: IdempotencyKeys, accepted: AcceptedKeys) -> None:
        self._books = books
        self._keys = keys
        self._accepted = accepted
        self._background = delivery.BackgroundDeliveries(books)

    def restrict_key(self, key: str, *permissions: str) -> None:
        """Restrict `key` (`rk_test_…`) to these permissions, such as `rak_payment_intent_write`.

        A write permission includes reading. Other requests are refused with 403.

        Raises:
            ValueError: the key is not a restricted key.

        See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)
        """
        if not key.startswith(RESTRICTED_KEY_PREFIX):
            raise ValueError(f"Restricted keys begin with {RESTRICTED_KEY_PREFIX}.")
        self._accepted.permissions[key] = frozenset(permissions)

    # Faults

    def inject(self, fault: Fault) -> None:
        """Add a fault for the next request or webhook that it matches."""
        self._books.faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all pending faults."""
        self._books.faults.clear()

    @property
    def faults(self) -> list[Fault]:
        """The pending faults, oldest first."""
        return self._books.faults.waiting

    def forget_idempotency_keys(self) -> int:
        """Prune the idempotency keys, as Stripe may once they are a day old; return how many.

        Keys whose first request is still running are kept.
        """
        return self._keys.forget_all()

    # Events at Stripe and at banks

    @property
    def now(self) -> float:
        """The sandbox's time (Unix time in seconds)."""
        return self._books.clock()

    def advance_clock(self, seconds: float) -> None:
        """Advance the clock. Everything that becomes due happens in order, each at its own time.

        This includes the banks' answers to debits and refunds, expiring authorizations, deadlines
        of disputes, and money that becomes available. Idempotency keys and webhook deliveries use
        the same clock; `deliver_due` then sends the webhooks.

        Raises:
            ValueError: `seconds` is negative or more than ten years.
        """
        with self._books.lock:
            self._books.clock.advance(seconds)

    def complete_authentication(self, intent_id: str, succeed: bool = True) -> Object:
        """Complete 3D Secure as the customer, or fail it; return a copy of the intent.

        Raises:
            ValueError: the intent is not in `requires_action`.
            StripeError: there is no such intent.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            return copy.deepcopy(
                attempts.complete_authentication(self._books, intent_id, succeed=succeed)
            )

    def advance(self, intent_id: str, status: str, /, **fields: Any) -> Object:
        """Force the intent into a status, with the matching event; return a copy of it.

        The fields that usually go with the status are set. `fields` override them (for example
        `amount_received=1`). Any transition is allowed, so a test can produce what Stripe should
        never do.

        Raises:
            ValueError: payment intents have no such status or field.
            StripeError: there is no such intent.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            return copy.deepcopy(moves.advance(self._books, intent_id, status, fields))

    def capture_part(self, intent_id: str, amount: int) -> Object:
        """Capture a part (minor units) of an authorization and keep the rest authorized.

        This is multicapture. The app does not use it, but someone else may. The intent stays in
        `requires_capture`, and `amount_received` is the sum of the captures; returns a copy of the
        intent. The rest can be captured or cancelled over the API.

        Raises:
            ValueError: `amount` is not less than the authorized rest.
            StripeError: there is no such intent.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            return copy.deepcopy(moves.capture_part(self._books, intent_id, amount))

    def advance_refund(
        self, refund_id: str, status: str, *, failure_reason: str = "expired_or_canceled_card"
    ) -> Object:
        """Move a refund to a status as the bank does, with the events; return a copy of it.

        `failed` and `canceled` return the money to the balance. A refund that has succeeded may
        still fail.

        Raises:
            ValueError: Stripe's refunds have no such transition or failure reason.
            StripeError: there is no such refund.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            refund = refund_moves.find(self._books, refund_id)
            refund_moves.move(self._books, refund, status, Cause(), failure_reason=failure_reason)
            return copy.deepcopy(refund)

    def open_dispute(
        self, charge_id: str, reason: str = "fraudulent", *, inquiry: bool = False
    ) -> Object:
        """Dispute a charge as the customer's bank does, with the events; return a copy.

        The amount is what has not been refunded. An `inquiry` moves no money.

        Raises:
            ValueError: the charge took no money or is disputed, or there is no such reason.
            StripeError: there is no such charge.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            charge = charges.find(self._books, charge_id)
            return copy.deepcopy(
                dispute_moves.open_for(self._books, charge, reason, Cause(), inquiry=inquiry)
            )

    def warn_of_fraud(self, charge_id: str) -> Object:
        """Create an early fraud warning for a charge; return a copy of it.

        Raises:
            StripeError: there is no such charge.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            charge = charges.find(self._books, charge_id)
            return copy.deepcopy(radar_moves.warn(self._books, charge, Cause()))

    def open_review(self, intent_id: str) -> Object:
        """Open a review of a payment, as in Stripe's dashboard; return a copy of it.

        Raises:
            ValueError: the payment already has a review.
            StripeError: there is no such intent.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            intent = moves.find(self._books, intent_id)
            return copy.deepcopy(radar_moves.open_review(self._books, intent, Cause()))

    # Webhooks

    def add_webhook(
        self,
        url: str,
        secret: str,
        *,
        deliver: Deliver | None = None,
        enabled_events: Collection[str] = ("*",),
    ) -> WebhookEndpoint:
        """Send all further events to `url`, signed with `secret` (`whsec_…`).

        The events have the account's API version.
        `deliver` takes URL, body and headers and returns the HTTP status. Without it, events are
        posted over HTTP, to this machine only.

        Raises:
            ValueError: the URL is not on this machine, the secret is empty, or Stripe has no such
                type of event.
            TypeError: `enabled_events` is a string instead of a collection.
        """
        if deliver is None:
            check_loopback(url)
        if not secret:
            raise ValueError("A webhook endpoint needs a secret, such as whsec_….")
        webhook_endpoints.check_event_types(enabled_events)
        with self._books.lock:
            return webhook_endpoints.add(
                self._books,
                {
                    "url": url,
                    "enabled_events": list(enabled_events),
                    "api_version": self._books.api_version,
                },
                secret=secret,
                deliver=deliver or delivery.post_to_loopback,
            )

    def roll_webhook_secret(
        self, endpoint_id: str, secret: str | None = None, *, expires_in: float = 0.0
    ) -> str:
        """Replace an endpoint's secret by `secret` or a new one, and return it.

        The old secret also signs for `expires_in` seconds of the sandbox's clock, a day at most.

        Raises:
            ValueError: `expires_in` is negative or more than a day.
            StripeError: there is no such endpoint.

        See: https://docs.stripe.com/webhooks#roll-endpoint-secrets (checked 2026-11)
        """
        with self._books.lock:
            return webhook_endpoints.roll_secret(
                self._books, endpoint_id, secret, expires_in=expires_in
            )

    def remove_webhook(self, endpoint: WebhookEndpoint) -> None:
        """Remove the endpoint and its pending deliveries."""
        with self._books.lock:
            delivery.remove(self._books, endpoint)

    def deliver_due(self) -> int:
        """Make all due deliveries in this thread; return the number of attempts, failed or not."""
        with self._books.lock:
            self._books.clock.catch_up()
        return delivery.deliver_due(self._books)

    def deliver_in_background(self) -> None:
        """Make all due deliveries in threads, so that a slow endpoint delays no other."""
        with self._books.lock:
            self._books.clock.catch_up()
        self._background.start_due()

    def stop_delivering(self, seconds: float) -> None:
        """Stop the deliveries in the background; wait for those under way for some seconds."""
        self._background.stop(seconds)

    @property
    def pending_deliveries(self) -> list[Delivery]:
        """Deliveries that are due later or will be retried."""
        with self._books.lock:
            self._books.clock.catch_up()
            return [copy.copy(delivery) for delivery in self._books.deliveries]

    @property
    def lost_deliveries(self) -> list[Delivery]:
        """Deliveries that were given up, or lost by a fault."""
        with self._books.lock:
            return [copy.copy(delivery) for delivery in self._books.lost_deliveries]

    @property
    def events(self) -> list[Object]:
        """Copies of all events, oldest first."""
        with self._books.lock:
            self._books.clock.catch_up()
            return self._books.events.read_all()
