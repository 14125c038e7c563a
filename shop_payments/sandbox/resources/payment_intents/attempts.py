"""Confirm an intent: the result depends on its test card or bank account.

See: https://docs.stripe.com/payments/3d-secure/authentication-flow (checked 2026-11)
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...account.books import Books, Object
from ...banks.instruments import BankAccount, Card, Decline, Instrument, RedirectMethod
from ...wire.errors import CardDeclined
from ...wire.messages import Cause
from .moves import ASYNCHRONOUS_FAILURE, AUTHENTICATION_FAILED, Step, find, next_action

AUTHENTICATION_REQUIRED = Decline(
    code="authentication_required",
    decline_code="authentication_required",
    message="Your card was declined. This transaction requires authentication.",
)

AUTHENTICATION_NOT_HANDLED = Decline(
    code="authentication_required",
    decline_code="authentication_not_handled",
    message=(
        "This payment required an authentication action to complete, but"
        " `error_on_requires_action` was set. When you're ready, you can upgrade your integration"
        " to handle actions at"
        " https://stripe.com/docs/payments/payment-intents/upgrade-to-handle-actions."
    ),
)


def attempt(books: Books, intent: Object, params: Mapping[str, Any], cause: Cause) -> None:
    """Charge the attached payment method, or ask the customer to authenticate first.

    Raises:
        CardDeclined: it was declined; the intent is back in `requires_payment_method`.
    """
    step = Step(books=books, intent=intent, cause=cause)
    instrument = books.instruments[intent["payment_method"]]
    off_session = bool(params.get("off_session"))
    if _is_authenticated(books, intent) or _is_frictionless(instrument):
        _charge(replace(step, authenticated=True), instrument)
    elif (decline := _decline_of_request(intent, instrument)) and not off_session:
        _refuse(step, decline)
    elif not _asks_authentication(intent, instrument, off_session=off_session):
        _charge(step, instrument)
    elif off_session:
        _refuse(step, AUTHENTICATION_REQUIRED, charged=False)
    elif params.get("error_on_requires_action"):
        _refuse(step, AUTHENTICATION_NOT_HANDLED, charged=False)
    else:
        step.ask_action(next_action(books, intent, params))


def complete_authentication(books: Books, intent_id: str, *, succeed: bool) -> Object:
    """Complete or fail the authentication of an intent in `requires_action`.

    Raises:
        ValueError: the intent is in another status.
    """
    intent = find(books, intent_id)
    if intent["status"] != "requires_action":
        raise ValueError(f"{intent_id} is {intent['status']}, it waits for no authentication.")
    step = Step(books=books, intent=intent, cause=Cause())
    if succeed and intent["confirmation_method"] == "manual":
        books.authenticated[intent_id] = _what_is_charged(intent)
        step.ask_confirmation(books.payment_methods[intent["payment_method"]])
    elif succeed:
        with contextlib.suppress(CardDeclined):  # no request is waiting for the error
            _charge(replace(step, authenticated=True), books.instruments[intent["payment_method"]])
    elif isinstance(books.instruments[intent["payment_method"]], RedirectMethod):
        step.decline(ASYNCHRONOUS_FAILURE, charged=False)
    else:
        step.decline(AUTHENTICATION_FAILED, charged=False)
    return intent


def _is_authenticated(books: Books, intent: Object) -> bool:
    """Return whether the customer has authenticated this charge. It counts for one confirmation."""
    return books.authenticated.pop(intent["id"], None) == _what_is_charged(intent)


def _is_frictionless(instrument: Instrument) -> bool:
    return isinstance(instrument, Card) and instrument.frictionless


def _what_is_charged(intent: Object) -> tuple[str, int, str]:
    return intent["payment_method"], intent["amount"], intent["currency"]


def _asks_authentication(intent: Object, instrument: Instrument, *, off_session: bool) -> bool:
    if not isinstance(instrument, Card):
        return isinstance(instrument, RedirectMethod)
    if off_session:
        return instrument.challenge_off_session
    is_requested = instrument.challenge_if_requested and _requests_authentication(intent)
    return instrument.challenge or is_requested


def _decline_of_request(intent: Object, instrument: Instrument) -> Decline | None:
    if not isinstance(instrument, Card) or not _requests_authentication(intent):
        return None
    return instrument.decline_if_requested


def _requests_authentication(intent: Object) -> bool:
    """Return whether the shop asks for 3D Secure where the card allows it.

    See: https://docs.stripe.com/payments/3d-secure/authentication-flow#manual-three-ds (checked
    2026-11)
    """
    options = intent["payment_method_options"].get("card", {})
    return options.get("request_three_d_secure") in ("any", "challenge")


def _charge(step: Step, instrument: Instrument) -> None:
    if isinstance(instrument, BankAccount):
        step.process()
        _await_bank(step, instrument)
    elif instrument.decline is not None:
        _refuse(step, instrument.decline)
    elif step.intent["capture_method"] == "manual":
        step.authorize()
    else:
        step.succeed()


def _await_bank(step: Step, account: BankAccount) -> None:
    """Schedule the bank's answer."""
    if account.settles_after is None:
        return
    intent, charge_id = step.intent, step.intent["latest_charge"]

    def apply_answer() -> None:
        if intent["status"] != "processing" or intent["latest_charge"] != charge_id:
            return  # the intent was canceled meanwhile, or a test has moved it
        later = Step(books=step.books, intent=intent, cause=Cause())
        if account.decline is None:
            later.succeed()
        else:
            later.decline(account.decline)

    step.books.clock.after(account.settles_after, apply_answer)


def _refuse(step: Step, decline: Decline, *, charged: bool = True) -> None:
    error = step.decline(decline, charged=charged)
    raise CardDeclined(
        decline.message,
        code=decline.code,
        param=decline.param,
        extra={
            **{key: error[key] for key in _SHARED if key in error},
            "payment_intent": copy.deepcopy(step.intent),
        },
    )


_SHARED = ("advice_code", "charge", "decline_code", "network_decline_code", "payment_method")
"""The keys that the answer shares with the intent's last payment error."""
