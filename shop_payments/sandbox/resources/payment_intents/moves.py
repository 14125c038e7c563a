"""The transitions of a PaymentIntent and its charge, including those that tests force.

See: https://docs.stripe.com/payments/paymentintents/lifecycle (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...account.books import Books, Object
from ...banks.instruments import BankAccount, Card, Decline, RedirectMethod
from ...wire.errors import ResourceMissing, doc_url
from ...wire.messages import Cause
from .. import charges, dispute_moves, events, payment_methods, radar_moves
from .challenges import open_challenge

EVENT_OF_STATUS = {
    "requires_payment_method": "payment_intent.payment_failed",
    "requires_action": "payment_intent.requires_action",
    "processing": "payment_intent.processing",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "succeeded": "payment_intent.succeeded",
    "canceled": "payment_intent.canceled",
}
"""The event of entering a status. There is none for requires_confirmation."""

_LEGAL_MOVES = {
    "requires_payment_method": (
        "requires_payment_method requires_confirmation requires_action processing requires_capture"
        " succeeded canceled"
    ),
    "requires_confirmation": (
        "requires_payment_method requires_confirmation requires_action processing requires_capture"
        " succeeded canceled"
    ),
    "requires_action": (
        "requires_payment_method requires_confirmation requires_action processing requires_capture"
        " succeeded canceled"
    ),
    "processing": "requires_payment_method requires_capture succeeded canceled",
    "requires_capture": "processing succeeded canceled",
    "succeeded": "",
    "canceled": "",
}
LEGAL_MOVES: Mapping[str, frozenset[str]] = {
    status: frozenset(targets.split()) for status, targets in _LEGAL_MOVES.items()
}
"""The allowed transitions. An intent may stay in a status in which it can be tried again."""

_CHARGED = ("processing", "requires_capture", "succeeded")
"""Statuses that share a charge: a transition between them creates no new charge."""

AUTHENTICATION_FAILED = Decline(
    code="payment_intent_authentication_failure",
    message=(
        "We are unable to authenticate your payment method. Please choose a different payment"
        " method and try again."
    ),
)

ASYNCHRONOUS_FAILURE = Decline(
    code="payment_intent_payment_attempt_failed", message="The payment failed."
)

CANCELED_BEFORE_SETTLING = Decline(
    code="payment_intent_payment_attempt_failed", message="The payment was canceled."
)


def find(books: Books, intent_id: str) -> Object:
    """Return the intent itself, not a copy.

    Raises:
        ResourceMissing: there is no such intent.
    """
    intent = books.payment_intents.get(intent_id)
    if intent is None:
        raise ResourceMissing("payment_intent", intent_id, param="intent", status=404)
    return intent


@dataclass(frozen=True, kw_only=True)
class Step:
    """A transition of an intent: first the charge, then the intent, each with its event.

    Raises:
        ValueError: from each method, if Stripe's intents have no such transition.
    """

    books: Books
    intent: Object
    cause: Cause
    authenticated: bool = False
    """Whether the customer has just completed 3D Secure."""
    checked: bool = True
    """False allows transitions that Stripe's intents do not have, for tests."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Values of fields that a test sets."""

    def ask_confirmation(self, payment_method: Object) -> None:
        """Attach a payment method and require a confirmation."""
        self._enter("requires_confirmation", payment_method=payment_method["id"])

    def ask_action(self, next_action: Object) -> None:
        """Require an authentication by the customer."""
        self._enter("requires_action", next_action=next_action, last_payment_error=None)

    def process(self) -> None:
        """Wait for the bank's answer to a debit."""
        if self._charge() is None:
            self._start_charge("pending")
        self._enter("processing", last_payment_error=None)

    def authorize(self) -> None:
        """Authorize the money, which can be captured later."""
        charge = self._charge()
        if charge is None:
            self._start_charge("authorized")
        elif charge["status"] == "pending":
            # Only a test can force this: Stripe does not authorize debits. Without the update, the
            # charge would stay pending, and a capture would book the whole amount, not its own.
            charge.update(captured=False, amount_captured=0, paid=True, status="succeeded")
        self._enter(
            "requires_capture",
            amount_capturable=self.intent["amount"],
            last_payment_error=None,
        )
        self._schedule_expiry()

    def capture_part(self, amount: int) -> None:
        """Capture a part (minor units) and keep the rest authorized, as with multicapture.

        See: https://docs.stripe.com/payments/multicapture (checked 2026-11)
        """
        charge = self._charge()
        assert charge is not None
        old = copy.deepcopy(self.intent)
        received = self.intent["amount_received"] + amount
        charges.capture_part(self.books, charge, received, self.cause)
        capturable = self.intent["amount_capturable"] - amount
        self.intent.update(amount_capturable=capturable, amount_received=received)
        changed = events.differences(old, self.intent)
        event_type = EVENT_OF_STATUS["requires_capture"]
        events.emit(self.books, event_type, self.intent, self.cause, previous=changed)

    def succeed(self, *, amount: int | None = None) -> None:
        """Charge, settle a pending charge, or capture `amount` (minor units)."""
        if amount is None:
            received = self.intent["amount"]
        else:
            received = self.intent["amount_received"] + amount
        charge = self._charge()
        if charge is None:
            self._start_charge("captured")
        elif charge["status"] == "pending":
            charges.settle(self.books, charge, self.cause)
        elif not charge["captured"]:
            charges.capture(self.books, charge, received, self.cause)
        self._schedule_consequences()
        self._enter("succeeded", amount_received=received, last_payment_error=None)

    def decline(self, decline: Decline, *, charged: bool = True) -> Object:
        """Fail, and require another payment method; return the last payment error.

        Without `charged` there is no failed charge.
        """
        charge = self._charge()
        if charge is not None and charge["status"] == "pending":
            charges.fail(self.books, charge, decline, self.cause)
        elif charged:
            charge = charges.start(
                self.books, self.intent, self.cause, kind="failed", decline=decline
            )
        error = self._last_payment_error(decline, charge)
        self._enter("requires_payment_method", payment_method=None, last_payment_error=error)
        return error

    def cancel(self, reason: str | None) -> None:
        """Cancel: release authorized money, and fail a pending charge.

        Money that was captured before stays captured, and the intent becomes `canceled` (?): Stripe
        does not document what happens to such an intent.
        """
        charge = self._charge()
        if charge is not None and charge["status"] == "pending":
            charges.fail(self.books, charge, CANCELED_BEFORE_SETTLING, self.cause)
        elif charge is not None and charge["amount_captured"]:
            charges.capture(self.books, charge, charge["amount_captured"], self.cause)
        self._enter("canceled", canceled_at=self.books.now(), cancellation_reason=reason)

    def _schedule_consequences(self) -> None:
        """Schedule the warning and the dispute of test cards that have one.

        They come after the answer, moments later. The events of a payment are in this order:
        charge.succeeded, payment_intent.succeeded, charge.updated (the balance transaction),
        radar.early_fraud_warning.created, charge.dispute.created, charge.dispute.funds_withdrawn.
        See: https://hackage.haskell.org/package/stripe-tests (waits 20 seconds for the dispute),
        https://github.com/stripe-archive/accept-a-card-payment/issues/23,
        https://github.com/pinax/pinax-stripe-light/issues/590 (checked 2026-11)
        """
        books, intent = self.books, self.intent
        instrument = books.instruments[intent["payment_method"]]
        charge = books.charges[intent["latest_charge"]]

        def follow() -> None:
            if isinstance(instrument, Card) and instrument.warns:
                radar_moves.warn(books, charge, Cause())
            if isinstance(instrument, Card) and instrument.dispute is not None:
                # A test may have disputed or refunded the charge meanwhile.
                with suppress(ValueError):
                    _open_dispute(books, charge, instrument.dispute)

        books.clock.after(0, follow)

    def _schedule_expiry(self) -> None:
        """Schedule the expiry of the authorization."""
        intent, charge_id = self.intent, self.intent["latest_charge"]

        def expire() -> None:
            if intent["status"] != "requires_capture" or intent["latest_charge"] != charge_id:
                return
            step = Step(books=self.books, intent=intent, cause=Cause())
            # A partially captured intent succeeds.
            # See: https://docs.stripe.com/payments/multicapture (checked 2026-11)
            if intent["amount_received"]:
                step.succeed(amount=0)
            else:
                charges.expire(self.books, self.books.charges[charge_id], Cause())
                step.cancel("expired")

        self.books.clock.after(charges.AUTHORIZED_SECONDS, expire)

    def _enter(self, status: str, **fields: Any) -> None:
        old = self.intent["status"]
        if self.checked and status not in LEGAL_MOVES[old]:
            raise ValueError(f"A payment intent does not go from {old} to {status}.")
        plain = {"next_action": None, "processing": None, "amount_capturable": 0}
        self.intent.update({**plain, "status": status, **fields, **self.overrides})
        if status in EVENT_OF_STATUS:
            events.emit(self.books, EVENT_OF_STATUS[status], self.intent, self.cause)

    def _charge(self) -> Object | None:
        """Return the charge of the current attempt, if there is one."""
        if self.intent["status"] not in _CHARGED:
            return None
        return self.books.charges[self.intent["latest_charge"]]

    def _start_charge(self, kind: charges.Kind) -> None:
        charges.start(
            self.books, self.intent, self.cause, kind=kind, authenticated=self.authenticated
        )

    def _last_payment_error(self, decline: Decline, charge: Object | None) -> Object:
        payment_method = self.books.payment_methods.get(self.intent["payment_method"] or "")
        is_debit = isinstance(
            self.books.instruments.get(self.intent["payment_method"] or ""), BankAccount
        )
        error = {
            "advice_code": decline.advice_code,
            "charge": charge and charge["id"],
            "code": decline.code,
            "decline_code": decline.decline_code,
            "doc_url": doc_url(decline.code),
            "message": decline.message,
            "network_decline_code": decline.network_decline_code,
            "param": decline.param,
            "payment_method": copy.deepcopy(payment_method),
            "payment_method_type": payment_method and payment_method["type"],
            # The answer of a bank to a debit is not a card_error (?).
            "type": "card_error" if decline.is_of_card and not is_debit else _INVALID,
        }
        return {key: value for key, value in error.items() if value is not None}


_INVALID = "invalid_request_error"


def _open_dispute(books: Books, charge: Object, dispute: str) -> None:
    inquiry = dispute == "inquiry"
    reason = "fraudulent" if inquiry else dispute
    dispute_moves.open_for(books, charge, reason, Cause(), inquiry=inquiry)


# Levers


def advance(books: Books, intent_id: str, status: str, fields: Mapping[str, Any]) -> Object:
    """Force the intent into a status, with its usual fields, overridden by `fields`.

    Raises:
        ValueError: payment intents have no such status or field.
    """
    intent = find(books, intent_id)
    strange = [name for name in fields if name not in intent]
    if status not in LEGAL_MOVES or strange:
        what = ", ".join(strange) or f"status '{status}'"
        raise ValueError(f"A payment intent has no {what}.")
    step = Step(books=books, intent=intent, cause=Cause(), checked=False, overrides=fields)
    match status:
        case "requires_payment_method":
            step.decline(ASYNCHRONOUS_FAILURE, charged=False)
        case "requires_confirmation":
            step.ask_confirmation(_payment_method(books, intent))
        case "requires_action":
            _payment_method(books, intent)
            step.ask_action(next_action(books, intent, {}))
        case "canceled":
            step.cancel(None)
        case _:
            _payment_method(books, intent)
            _CHARGING[status](step)
    return intent


def capture_part(books: Books, intent_id: str, amount: int) -> Object:
    """Capture a part (minor units) of an authorization and keep the rest authorized.

    Raises:
        ValueError: `amount` is not less than the authorized rest.
    """
    intent = find(books, intent_id)
    if not 0 < amount < intent["amount_capturable"]:
        raise ValueError(f"{amount} is not a part of the authorized amount of {intent_id}.")
    Step(books=books, intent=intent, cause=Cause()).capture_part(amount)
    return intent


_CHARGING = {
    "processing": Step.process,
    "requires_capture": Step.authorize,
    "succeeded": Step.succeed,
}


def _payment_method(books: Books, intent: Object) -> Object:
    """Return the intent's payment method, or attach a new one."""
    if intent["payment_method"] is None:
        made = payment_methods.find_or_make(books, "pm_card_visa")
        intent["payment_method"] = made["id"]
    return books.payment_methods[intent["payment_method"]]


def next_action(books: Books, intent: Object, params: Mapping[str, Any]) -> Object:
    """Return the next action: a link to the sandbox's page for 3D Secure or a redirect."""
    redirects = "return_url" in params and (
        not params.get("use_stripe_sdk")
        or isinstance(books.instruments[intent["payment_method"]], RedirectMethod)
    )
    return_url = params["return_url"] if redirects else None
    page = open_challenge(books, intent, return_url)
    if redirects:
        redirect = {"return_url": return_url, "url": page}
        return {"type": "redirect_to_url", "redirect_to_url": redirect}
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }
