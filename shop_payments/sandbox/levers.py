"""What a test makes happen at Stripe, or lets Stripe do to it."""

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

    def restrict_key(self, key: str, *permissions: str) -> None:
        """Let `key` (`rk_test_…`) do only this from now on, e.g. `rak_payment_intent_write`.

        Writing includes reading. Anything else is refused with 403, as Stripe does it.

        Raises:
            ValueError: for a key of another kind.
        """
        if not key.startswith(RESTRICTED_KEY_PREFIX):
            raise ValueError(f"Restricted keys begin with {RESTRICTED_KEY_PREFIX}.")
        self._accepted.permissions[key] = frozenset(permissions)

    # Faults

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for the next request, or webhook, that it matches."""
        self._books.faults.add(fault)

    def clear_faults(self) -> None:
        """Forget the faults that still wait."""
        self._books.faults.clear()

    @property
    def faults(self) -> list[Fault]:
        """The faults that still wait, the oldest first."""
        return self._books.faults.waiting

    def forget_idempotency_keys(self) -> int:
        """Prune the keys, as Stripe does once they are a day old; return how many.

        Those whose first request still runs stay.
        """
        return self._keys.forget_all()

    # What happens at Stripe by itself

    @property
    def now(self) -> float:
        """The sandbox's time, in Unix seconds."""
        return self._books.clock()

    def advance_clock(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile happens in order, each at its own time.

        Due are the banks' answers to delayed methods and to refunds, the ends of authorizations and
        of disputes, and money that becomes available. Idempotency keys and webhook deliveries live
        by the same clock (`deliver_due` sends what the passing time has brought).

        Raises:
            ValueError: for a negative number of seconds, or more than ten years of them.
        """
        with self._books.lock:
            self._books.clock.advance(seconds)

    def complete_authentication(self, intent_id: str, succeed: bool = True) -> Object:
        """Let the customer pass or fail 3D Secure; return a copy of the intent.

        Raises:
            ValueError: if the intent does not wait for that.
            StripeError: if there is no such intent.
        """
        with self._books.lock:
            return copy.deepcopy(
                attempts.complete_authentication(self._books, intent_id, succeed=succeed)
            )

    def advance(self, intent_id: str, status: str, /, **fields: Any) -> Object:
        """Force the intent into a status, with the matching event; return a copy of it.

        The fields that usually go with the status are set; `fields` override them (for example
        `amount_received=1`). Legal transitions are not asked for: this is how a test gets what
        Stripe should never do.

        Raises:
            ValueError: for a status or field that intents do not have.
            StripeError: if there is no such intent.
        """
        with self._books.lock:
            return copy.deepcopy(moves.advance(self._books, intent_id, status, fields))

    def capture_part(self, intent_id: str, amount: int) -> Object:
        """Let somebody take a part of the reserved money and keep the rest reserved.

        That is multicapture, which shops may have without this app knowing of it. The intent stays
        in `requires_capture`, with what was received so far in `amount_received`; returns a copy of
        it. The rest is captured or cancelled over the API.

        Raises:
            ValueError: if not more than that is reserved.
            StripeError: if there is no such intent.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            return copy.deepcopy(moves.capture_part(self._books, intent_id, amount))

    def advance_refund(
        self, refund_id: str, status: str, *, failure_reason: str = "expired_or_canceled_card"
    ) -> Object:
        """Let the bank decide on a refund, with the matching events; return a copy of it.

        `failed` and `canceled` send the money back into the balance. Also a refund that succeeded
        may fail.

        Raises:
            ValueError: for a move that Stripe's refunds do not make, or a reason they do not have.
            StripeError: if there is no such refund.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            refund = refund_moves.find(self._books, refund_id)
            refund_moves.move(self._books, refund, status, Cause(), failure_reason=failure_reason)
            return copy.deepcopy(refund)

    def open_dispute(
        self, charge_id: str, reason: str = "fraudulent", *, inquiry: bool = False
    ) -> Object:
        """Let the customer's bank dispute a charge, with the matching events.

        It is about what has not been refunded; an `inquiry` only asks. Returns a copy of the
        dispute.

        Raises:
            ValueError: for a charge that took no money or is disputed already, or for a reason that
                disputes do not have.
            StripeError: if there is no such charge.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            charge = charges.find(self._books, charge_id)
            return copy.deepcopy(
                dispute_moves.open_for(self._books, charge, reason, Cause(), inquiry=inquiry)
            )

    def warn_of_fraud(self, charge_id: str) -> Object:
        """Let the issuer of the card suspect fraud in a charge; return a copy of its warning.

        Raises:
            StripeError: if there is no such charge.
        """
        with self._books.lock:
            self._books.clock.catch_up()
            charge = charges.find(self._books, charge_id)
            return copy.deepcopy(radar_moves.warn(self._books, charge, Cause()))

    def open_review(self, intent_id: str) -> Object:
        """Put a payment up for review, as in Stripe's dashboard; return a copy of the review.

        Raises:
            ValueError: if the payment has a review.
            StripeError: if there is no such intent.
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
        """Send events from now on to `url`, signed with `secret` (`whsec_…`).

        `deliver` takes URL, body and headers and returns the HTTP status; without it events are
        posted over HTTP, to this machine only.

        Raises:
            ValueError: for an address elsewhere, an empty secret, or types of events that Stripe
                does not have.
            TypeError: for one type of events instead of a collection.
        """
        if deliver is None:
            check_loopback(url)
        if not secret:
            raise ValueError("A webhook endpoint has a secret, whsec_….")
        webhook_endpoints.check_event_types(enabled_events)
        with self._books.lock:
            return webhook_endpoints.add(
                self._books,
                {"url": url, "enabled_events": list(enabled_events)},
                secret=secret,
                deliver=deliver or delivery.post_to_loopback,
            )

    def roll_webhook_secret(
        self, endpoint_id: str, secret: str | None = None, *, expires_in: float = 0.0
    ) -> str:
        """Give an endpoint a new secret, or `secret`, and return it.

        The old one goes on signing for `expires_in` seconds of the sandbox's clock; with Stripe
        that is up to a day.

        Raises:
            ValueError: for more than a day, or less than nothing.
            StripeError: if there is no such endpoint.
        """
        with self._books.lock:
            return webhook_endpoints.roll_secret(
                self._books, endpoint_id, secret, expires_in=expires_in
            )

    def remove_webhook(self, endpoint: WebhookEndpoint) -> None:
        """Send nothing more to the endpoint, not even what waits for it."""
        with self._books.lock:
            delivery.remove(self._books, endpoint)

    def deliver_due(self) -> int:
        """Deliver, in this thread, all whose time has come by the sandbox's clock.

        Returns the number of attempts, failed ones included.
        """
        with self._books.lock:
            self._books.clock.catch_up()
        return delivery.deliver_due(self._books)

    @property
    def pending_deliveries(self) -> list[Delivery]:
        """Deliveries that are still to come, or to come again."""
        with self._books.lock:
            self._books.clock.catch_up()
            return [copy.copy(delivery) for delivery in self._books.deliveries]

    @property
    def lost_deliveries(self) -> list[Delivery]:
        """Deliveries given up after three days."""
        with self._books.lock:
            return [copy.copy(delivery) for delivery in self._books.lost_deliveries]

    @property
    def events(self) -> list[Object]:
        """All events, oldest first."""
        with self._books.lock:
            self._books.clock.catch_up()
            return copy.deepcopy(list(self._books.events.values()))
