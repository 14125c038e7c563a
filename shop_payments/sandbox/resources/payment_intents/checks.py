"""Checks of a PaymentIntent's status and of its parameters together, with Stripe's messages."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ...account.books import Books, Object
from ...banks.currencies import check_minimum, check_step
from ...wire.errors import InvalidRequest
from .. import payment_methods
from ..payment_method_types import DEBITS, REDIRECTS

OPEN_STATUSES = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE_STATUSES = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)

UPDATABLE_IN: Mapping[str, tuple[str, ...]] = {
    "receipt_email": (*OPEN_STATUSES, "requires_capture", "succeeded"),
}
"""The statuses in which a parameter may be updated, if they are not OPEN_STATUSES.

Those for receipt_email come from Stripe's message in solspace/craft-freeform#2644.
"""

ALWAYS_UPDATABLE = ("description", "metadata")

_EXCLUSIVE = (
    (
        "automatic_payment_methods",
        "allowed_payment_method_types",
        "payment_method_types",
    ),
    (
        "excluded_payment_method_types",
        "allowed_payment_method_types",
        "payment_method_types",
    ),
    ("payment_method", "payment_method_data"),
)

_CURRENCY_OF_DEBIT = {"us_bank_account": "usd", "sepa_debit": "eur"}


# By state


def check_updatable(intent: Object, name: str) -> None:
    """Raise InvalidRequest if the status does not allow changing this parameter."""
    statuses = UPDATABLE_IN.get(name, OPEN_STATUSES)
    if name in ALWAYS_UPDATABLE or intent["status"] in statuses:
        return
    raise _unexpected_state(
        intent,
        f"This PaymentIntent's {name} could not be updated because it has a status of"
        f" {intent['status']}. You may only update the {name} of a PaymentIntent with one of the"
        f" following statuses: {', '.join(statuses)}.",
        param=name,
    )


def check_confirmable(intent: Object) -> None:
    """Raise InvalidRequest if the intent can no longer be confirmed."""
    if intent["status"] in OPEN_STATUSES:
        return
    if intent["status"] == "succeeded":
        reason = "it has already succeeded after being previously confirmed."
    else:
        reason = (
            f"it has a status of {intent['status']}. Only a PaymentIntent with one of the"
            f" following statuses may be confirmed: {', '.join(OPEN_STATUSES)}."
        )
    raise _unexpected_state(intent, f"You cannot confirm this PaymentIntent because {reason}")


def check_confirmer(intent: Object, *, publishable: bool) -> None:
    """Raise InvalidRequest if a browser confirms an intent with `confirmation_method=manual`."""
    if publishable and intent["confirmation_method"] == "manual":
        raise InvalidRequest(
            f"This PaymentIntent {intent['id']} cannot be confirmed using your publishable key"
            " because its `confirmation_method` is set to `manual`. Please use your secret key"
            " instead, or create a PaymentIntent with `confirmation_method` set to `automatic`."
        )


def check_capturable(intent: Object, amount: int) -> None:
    """Raise InvalidRequest if the amount is not authorized."""
    if intent["status"] == "succeeded":
        raise _unexpected_state(
            intent,
            "The remaining amount on this PaymentIntent could not be captured because the remainder"
            " of the authorized amount has been released.",
        )
    if intent["status"] != "requires_capture":
        raise _unexpected_state(
            intent,
            "This PaymentIntent could not be captured because it has a status of"
            f" {intent['status']}. Only a PaymentIntent with one of the following statuses may be"
            " captured: requires_capture.",
        )
    _check_capture_amount(intent, amount)


def _check_capture_amount(intent: Object, amount: int) -> None:
    shown = {"payment_intent": copy.deepcopy(intent)}
    if amount < 0:
        raise InvalidRequest("Invalid non-negative integer", param="amount_to_capture", extra=shown)
    if amount == 0:  # Stripe calls the parameter "amount" in this error
        raise InvalidRequest(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
            extra=shown,
        )
    currency = intent["currency"]
    check_step(amount, currency, param="amount_to_capture")
    if amount < intent["amount_capturable"]:
        # The smallest charge is also the smallest part that can be captured. See:
        # https://github.com/woocommerce/woocommerce-gateway-stripe/pull/3903 (checked 2026-11)
        check_minimum(amount, currency, param="amount_to_capture")
    if amount > intent["amount_capturable"]:
        raise InvalidRequest(
            "The payment could not be captured because the requested capture amount is greater than"
            " the amount you can capture for this charge.",
            code="amount_too_large",
            param="amount_to_capture",
            extra=shown,
        )


def check_cancelable(intent: Object) -> None:
    """Raise InvalidRequest if the intent has succeeded or was canceled."""
    if intent["status"] not in CANCELABLE_STATUSES:
        raise _unexpected_state(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            " Only a PaymentIntent with one of the following statuses may be canceled:"
            f" {', '.join(CANCELABLE_STATUSES)}.",
        )


def check_payable(books: Books, intent: Object, params: Mapping[str, Any]) -> None:
    """Raise InvalidRequest if there is no usable payment method."""
    if "payment_method" in params or "payment_method_data" in params:
        return
    if intent["payment_method"] is None:
        raise _unexpected_state(
            intent,
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can"
            " either update the PaymentIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method or ConfirmationToken.",
        )
    payment_methods.check_unused(books, books.payment_methods[intent["payment_method"]])


def check_mandate(intent: Object, payment_method: Object, params: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a debit without a mandate of the customer."""
    if payment_method["type"] in DEBITS and not params.get("mandate_data"):
        raise InvalidRequest(
            "This PaymentIntent requires a mandate, but no existing mandate was found. Collect"
            " mandate acceptance from the customer and try again, providing acceptance data in the"
            " mandate_data parameter.",
            extra={"payment_intent": copy.deepcopy(intent)},
        )


def check_redirect(payment_method: Object, params: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a redirect without an address to return to (?: the words)."""
    if payment_method["type"] in REDIRECTS and "return_url" not in params:
        raise InvalidRequest(
            "A `return_url` must be provided for payment methods that redirect the customer"
            f" ({payment_method['type']}).",
            code="parameter_missing",
            param="return_url",
        )


def _unexpected_state(intent: Object, message: str, *, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(
        message,
        code="payment_intent_unexpected_state",
        param=param,
        extra={"payment_intent": copy.deepcopy(intent)},
    )


# By parameters


def check_client_secret(intent: Object, params: Mapping[str, Any]) -> None:
    """Check the client secret if it is given. BROWSER_RETRIEVE makes it required in browsers."""
    if params.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
        raise InvalidRequest(
            "The client_secret provided does not match the client_secret associated with the"
            " PaymentIntent.",
            code="payment_intent_invalid_parameter",  # (?): taken from another mock of Stripe
            param="client_secret",
        )


def check_return_url(intent: Object, params: Mapping[str, Any]) -> None:
    """Raise InvalidRequest if the customer may be redirected and there is no `return_url`."""
    automatic = intent["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] != "never" and "return_url" not in params:
        raise InvalidRequest(
            "A `return_url` must be specified because this Payment Intent is configured to"
            " automatically accept the payment methods enabled in the Dashboard, some of which may"
            " require a full page redirect to succeed. If you do not want to accept redirect-based"
            " payment methods, set `automatic_payment_methods[enabled]` to `true` and"
            " `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents"
            " and Payment Intents.",
            param="return_url",
        )


def refuse_exclusive(params: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for parameters that exclude each other."""
    for names in _EXCLUSIVE:
        given = [name for name in names if name in params]
        if len(given) > 1:
            raise InvalidRequest(
                f"You may only specify one of these parameters: {', '.join(given)}.",
                param=given[1],
            )


def check_types(intent: Object) -> None:
    """Raise InvalidRequest if a payment method type does not fit the rest of the intent."""
    for name in intent["payment_method_types"]:
        currency = _CURRENCY_OF_DEBIT.get(name)
        if currency is None:
            continue
        if currency != intent["currency"]:
            raise InvalidRequest(
                f"The currency provided ({intent['currency']}) is invalid for one of the payment"
                f" methods: {name}. Payments with {name} support the following currencies:"
                f" {currency}.",
                param="currency",
            )
        if intent["capture_method"] == "manual":
            raise InvalidRequest(
                f"The payment method type {name} does not support capture_method=manual.",
                code="payment_intent_invalid_parameter",
                param="capture_method",
            )


def check_allowed(intent: Object, payment_method: Object) -> None:
    """Raise InvalidRequest if the intent does not accept this type of payment method."""
    kind, types = payment_method["type"], intent["payment_method_types"]
    if kind not in types:
        raise InvalidRequest(
            f"The PaymentMethod provided ({kind}) is not allowed for this PaymentIntent. Please"
            f" attach a PaymentMethod of one of the following types: {', '.join(types)}."
            " Alternatively, update the allowed payment_method_types for this PaymentIntent to"
            f' include "{kind}".',
            param="payment_method",
        )
