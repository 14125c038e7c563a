"""How a PaymentIntent moves from status to status, and the moves that need no request.

See: https://docs.stripe.com/payments/paymentintents/lifecycle (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from . import events, payment_methods
from .books import Books, Object
from .errors import CardDeclined, ResourceMissing, doc_url
from .payment_methods import Decline
from .protocol import Cause

EVENT_OF_STATUS = {
    "requires_payment_method": "payment_intent.payment_failed",
    "requires_action": "payment_intent.requires_action",
    "processing": "payment_intent.processing",
    "requires_capture": "payment_intent.amount_capturable_updated",
    "succeeded": "payment_intent.succeeded",
    "canceled": "payment_intent.canceled",
}
"""What Stripe tells when an intent enters a status (requires_confirmation goes unmentioned)."""

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


def find(books: Books, intent_id: str) -> Object:
    """Return the intent itself, not a copy.

    Raises:
        ResourceMissing: if there is none of that id.
    """
    intent = books.payment_intents.get(intent_id)
    if intent is None:
        raise ResourceMissing("payment_intent", intent_id, param="intent", status=404)
    return intent


def move(books: Books, intent: Object, status: str, cause: Cause, **fields: Any) -> None:
    """Enter a status with the fields that go with it, override some, and tell."""
    if status in _CHARGED and intent["status"] not in _CHARGED:
        _start_charge(books, intent)
    intent.update(status=status, next_action=None, processing=None, amount_capturable=0)
    _ENTER[status](books, intent)
    intent.update(fields)
    if status in EVENT_OF_STATUS:
        events.emit(books, EVENT_OF_STATUS[status], intent, cause)


def _enter_succeeded(books: Books, intent: Object) -> None:
    intent.update(amount_received=intent["amount"], last_payment_error=None)


def _enter_requires_capture(books: Books, intent: Object) -> None:
    intent.update(amount_capturable=intent["amount"], last_payment_error=None)


def _enter_processing(books: Books, intent: Object) -> None:
    intent.update(last_payment_error=None)


def _enter_requires_action(books: Books, intent: Object) -> None:
    _ensure_payment_method(books, intent)
    intent.update(next_action=_next_action(intent, {}), last_payment_error=None)


def _enter_requires_payment_method(books: Books, intent: Object) -> None:
    error = _last_payment_error(books, intent, ASYNCHRONOUS_FAILURE)
    intent.update(payment_method=None, last_payment_error=error)


def _enter_requires_confirmation(books: Books, intent: Object) -> None:
    _ensure_payment_method(books, intent)


def _enter_canceled(books: Books, intent: Object) -> None:
    intent.update(canceled_at=books.now())


_ENTER: Mapping[str, Callable[[Books, Object], None]] = {
    "requires_payment_method": _enter_requires_payment_method,
    "requires_confirmation": _enter_requires_confirmation,
    "requires_action": _enter_requires_action,
    "processing": _enter_processing,
    "requires_capture": _enter_requires_capture,
    "succeeded": _enter_succeeded,
    "canceled": _enter_canceled,
}


def _start_charge(books: Books, intent: Object) -> None:
    _ensure_payment_method(books, intent)
    intent["latest_charge"] = books.new_id("ch")


def _ensure_payment_method(books: Books, intent: Object) -> None:
    if intent["payment_method"] is None:
        intent["payment_method"] = payment_methods.find_or_make(books, "pm_card_visa")["id"]


# Charging


def charge(books: Books, intent: Object, params: Mapping[str, Any], cause: Cause) -> None:
    """Charge the attached card, and let its nature decide what comes of it.

    Raises:
        CardDeclined: after the intent has gone back to requires_payment_method.
    """
    card = books.cards[intent["payment_method"]]
    if card.decline is not None:
        _decline(books, intent, card.decline, cause)
    elif card.authentication_required:
        action = _next_action(intent, params)
        move(books, intent, "requires_action", cause, next_action=action)
    else:
        move(books, intent, "succeeded", cause)


def _decline(books: Books, intent: Object, decline: Decline, cause: Cause) -> None:
    charge_id = books.new_id("ch")
    error = _last_payment_error(books, intent, decline, charge_id=charge_id)
    move(
        books,
        intent,
        "requires_payment_method",
        cause,
        last_payment_error=error,
        latest_charge=charge_id,
    )
    raise CardDeclined(
        decline.message,
        code=decline.code,
        param=decline.param,
        extra={
            "charge": charge_id,
            "decline_code": decline.decline_code,
            "payment_intent": copy.deepcopy(intent),
            "payment_method": error["payment_method"],
        },
    )


def _last_payment_error(
    books: Books, intent: Object, decline: Decline, *, charge_id: str | None = None
) -> Object:
    payment_method = books.payment_methods.get(intent["payment_method"] or "")
    error = {
        "charge": charge_id,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": doc_url(decline.code),
        "message": decline.message,
        "param": decline.param,
        "payment_method": copy.deepcopy(payment_method),
        "type": "card_error" if charge_id else "invalid_request_error",
    }
    return {key: value for key, value in error.items() if value is not None}


def _next_action(intent: Object, params: Mapping[str, Any]) -> Object:
    page = f"https://sandbox.invalid/authenticate/{intent['id']}"
    if "return_url" in params and not params.get("use_stripe_sdk"):
        redirect = {"return_url": params["return_url"], "url": page}
        return {"type": "redirect_to_url", "redirect_to_url": redirect}
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }


# Levers: what happens at Stripe without a request of ours


def complete_authentication(books: Books, intent_id: str, *, succeed: bool) -> Object:
    """Let the customer pass, or fail, the authentication that the intent waits for.

    Raises:
        ValueError: if it waits for none.
    """
    intent = find(books, intent_id)
    if intent["status"] != "requires_action":
        raise ValueError(f"{intent_id} is {intent['status']}, it waits for no authentication.")
    if succeed:
        move(books, intent, "succeeded", Cause())
    else:
        error = _last_payment_error(books, intent, AUTHENTICATION_FAILED)
        move(books, intent, "requires_payment_method", Cause(), last_payment_error=error)
    return intent


def advance(books: Books, intent_id: str, status: str, fields: Mapping[str, Any]) -> Object:
    """Put the intent into a status, legal or not, with its usual fields and then `fields`.

    Raises:
        ValueError: for a status or a field that intents do not have.
    """
    intent = find(books, intent_id)
    strange = [name for name in fields if name not in intent]
    if status not in _ENTER or strange:
        raise ValueError(f"A payment intent has no {', '.join(strange) or f'status {status!r}'}.")
    move(books, intent, status, Cause(), **fields)
    return intent
