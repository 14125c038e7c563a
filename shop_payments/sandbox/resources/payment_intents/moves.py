"""How a PaymentIntent gets from status to status, with its charge, and the moves without a request.

See: https://docs.stripe.com/payments/paymentintents/lifecycle (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...account.books import Books, Object
from ...banks.instruments import BankAccount, Card, Decline
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
"""The event when an intent enters a status (there is none for requires_confirmation)."""

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
"""Where an intent may go from each status; staying is a move where it can be tried again."""

_CHARGED = ("processing", "requires_capture", "succeeded")
"""Statuses that share one charge: going from one to the other makes no new one."""

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
        ResourceMissing: if there is none of that id.
    """
    intent = books.payment_intents.get(intent_id)
    if intent is None:
        raise ResourceMissing("payment_intent", intent_id, param="intent", status=404)
    return intent


@dataclass(frozen=True, kw_only=True)
class Step:
    """One move of an intent: the charge first, then the intent's fields, each with its event.

    Raises:
        ValueError: from each method, for a move that Stripe's intents do not make.
    """

    books: Books
    intent: Object
    cause: Cause
    authenticated: bool = False
    """The customer has just passed 3D Secure."""
    lawful: bool = True
    """False lets a test go where Stripe never does."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields that a test wants otherwise."""

    def ask_confirmation(self, payment_method: Object) -> None:
        """Attach a payment method; from now on a confirmation is asked for."""
        self._enter("requires_confirmation", payment_method=payment_method["id"])

    def ask_action(self, next_action: Object) -> None:
        """Let the customer authenticate first."""
        self._enter("requires_action", next_action=next_action, last_payment_error=None)

    def process(self) -> None:
        """Wait for the bank."""
        if self._charge() is None:
            self._start_charge("pending")
        self._enter("processing", last_payment_error=None)

    def authorize(self) -> None:
        """Reserve the money."""
        charge = self._charge()
        if charge is None:
            self._start_charge("authorized")
        elif charge["status"] == "pending":
            # A test has forced this on a debit, which Stripe never authorizes.
            charge.update(captured=False, amount_captured=0, paid=True, status="succeeded")
        self._enter(
            "requires_capture",
            amount_capturable=self.intent["amount"],
            last_payment_error=None,
        )
        self._expire()

    def capture_part(self, amount: int) -> None:
        """Take a part of the reserved money and keep the rest reserved, as with multicapture.

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
        """Take the money: now, the part `amount` of what is reserved, or what was pending."""
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
        self._dispute()
        self._enter("succeeded", amount_received=received, last_payment_error=None)

    def decline(self, decline: Decline, *, charged: bool = True) -> Object:
        """Fail, and ask for another payment method; return the last payment error.

        Without `charged` no money was asked for.
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
        """End it; money that is reserved is released, money that is pending is called back.

        What was captured before stays, and the intent is `canceled` all the same (?): Stripe says
        neither that such an intent cannot be cancelled nor what it is afterwards.
        """
        charge = self._charge()
        if charge is not None and charge["status"] == "pending":
            charges.fail(self.books, charge, CANCELED_BEFORE_SETTLING, self.cause)
        elif charge is not None and charge["amount_captured"]:
            charges.capture(self.books, charge, charge["amount_captured"], self.cause)
        self._enter("canceled", canceled_at=self.books.now(), cancellation_reason=reason)

    def _dispute(self) -> None:
        """Let the bank of a test card that is made for it ask the money back."""
        instrument = self.books.instruments.get(self.intent["payment_method"] or "")
        if isinstance(instrument, Card) and instrument.warns:
            charge = self.books.charges[self.intent["latest_charge"]]
            radar_moves.warn(self.books, charge, self.cause)
        if not isinstance(instrument, Card) or instrument.dispute is None:
            return
        charge = self.books.charges[self.intent["latest_charge"]]
        if dispute_moves.of_charge(self.books, charge) is not None:
            return  # a test has forced the intent to succeed twice
        inquiry = instrument.dispute == "inquiry"
        dispute_moves.open_for(
            self.books,
            charge,
            "fraudulent" if inquiry else instrument.dispute,
            self.cause,
            inquiry=inquiry,
        )

    def _expire(self) -> None:
        """Make an appointment for the end of the authorization."""
        intent, charge_id = self.intent, self.intent["latest_charge"]

        def lapse() -> None:
            if intent["status"] != "requires_capture" or intent["latest_charge"] != charge_id:
                return
            step = Step(books=self.books, intent=intent, cause=Cause())
            if intent[
                "amount_received"
            ]:  # partially captured ones succeed, says multicapture's page
                step.succeed(amount=0)
            else:
                charges.expire(self.books, self.books.charges[charge_id], Cause())
                step.cancel("expired")

        self.books.clock.after(charges.AUTHORIZED_SECONDS, lapse)

    def _enter(self, status: str, **fields: Any) -> None:
        old = self.intent["status"]
        if self.lawful and status not in LEGAL_MOVES[old]:
            raise ValueError(f"A payment intent does not go from {old} to {status}.")
        plain = {"next_action": None, "processing": None, "amount_capturable": 0}
        self.intent.update({**plain, "status": status, **fields, **self.overrides})
        if status in EVENT_OF_STATUS:
            events.emit(self.books, EVENT_OF_STATUS[status], self.intent, self.cause)

    def _charge(self) -> Object | None:
        """Return the charge that goes on, if there is one."""
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
            # A card was refused by its issuer; what a bank says days later is no card_error (?).
            "type": "card_error" if decline.is_of_card and not is_debit else _INVALID,
        }
        return {key: value for key, value in error.items() if value is not None}


_INVALID = "invalid_request_error"


# What a test makes happen


def advance(books: Books, intent_id: str, status: str, fields: Mapping[str, Any]) -> Object:
    """Put the intent into a status, legal or not, with its usual fields and then `fields`.

    Raises:
        ValueError: for a status or a field that intents do not have.
    """
    intent = find(books, intent_id)
    strange = [name for name in fields if name not in intent]
    if status not in LEGAL_MOVES or strange:
        raise ValueError(f"A payment intent has no {', '.join(strange) or f'status {status!r}'}.")
    step = Step(books=books, intent=intent, cause=Cause(), lawful=False, overrides=fields)
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
    """Take a part of what is reserved and keep the rest reserved.

    Raises:
        ValueError: if not so much is reserved.
    """
    intent = find(books, intent_id)
    if not 0 < amount < intent["amount_capturable"]:
        raise ValueError(f"No part of {amount} is reserved with {intent_id}.")
    Step(books=books, intent=intent, cause=Cause()).capture_part(amount)
    return intent


_CHARGING = {
    "processing": Step.process,
    "requires_capture": Step.authorize,
    "succeeded": Step.succeed,
}


def _payment_method(books: Books, intent: Object) -> Object:
    """Return the intent's payment method; a new one if it has none."""
    if intent["payment_method"] is None:
        made = payment_methods.find_or_make(books, "pm_card_visa")
        intent["payment_method"] = made["id"]
    return books.payment_methods[intent["payment_method"]]


def next_action(books: Books, intent: Object, params: Mapping[str, Any]) -> Object:
    """Return where the customer authenticates: a page of the sandbox's own."""
    redirects = "return_url" in params and not params.get("use_stripe_sdk")
    return_url = params["return_url"] if redirects else None
    page = open_challenge(books, intent, return_url)
    if redirects:
        redirect = {"return_url": return_url, "url": page}
        return {"type": "redirect_to_url", "redirect_to_url": redirect}
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }
