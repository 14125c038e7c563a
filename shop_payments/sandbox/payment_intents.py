"""PaymentIntents: the operations, what they check and what they take.

See: https://docs.stripe.com/api/payment_intents (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from . import events, payment_methods
from .books import Books, Object
from .currencies import check_amount, check_currency
from .errors import InvalidRequest
from .params import (
    EXPAND,
    PAGINATION,
    Param,
    Removed,
    Schema,
    boolean,
    email,
    hash_of,
    integer,
    list_of,
    merge_metadata,
    metadata,
    one_of,
    text,
    uncovered,
)
from .payment_intent_moves import charge, find, move
from .protocol import Call, Route, paginate
from .resources import Resource

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
"""Statuses in which a parameter may be updated, where that is not OPEN_STATUSES.

The one for receipt_email is Stripe's own message, seen in solspace/craft-freeform#2644.
"""

ALWAYS_UPDATABLE = ("description", "metadata")

# Operations


def create(call: Call) -> Object:
    """POST /v1/payment_intents."""
    books, params = call.books, call.params
    _refuse_rivals(params)
    intent = _new_intent(books, params)
    if params.get("confirm"):
        _check_return_url(intent, params)
        _require_payment_method(intent, params)
    elif "return_url" in params:
        raise InvalidRequest(
            "The parameter return_url can only be used with confirm=true.", param="return_url"
        )
    _attach(books, intent, params)
    books.payment_intents[intent["id"]] = intent
    events.emit(books, "payment_intent.created", intent, call.cause)
    if params.get("confirm"):
        charge(books, intent, params, call.cause)
    return intent


def retrieve(call: Call) -> Object:
    """GET /v1/payment_intents/{id}."""
    intent = find(call.books, call.object_id)
    _check_client_secret(intent, call.params)
    return intent


def list_all(call: Call) -> Object:
    """GET /v1/payment_intents."""
    intents = call.books.payment_intents.values()
    return paginate(intents, call.params, url="/v1/payment_intents", kind="payment_intent")


def update(call: Call) -> Object:
    """POST /v1/payment_intents/{id}."""
    books, params = call.books, call.params
    intent = find(books, call.object_id)
    for name in params:
        _check_updatable(intent, name)
    _refuse_rivals(params)
    changes = _plain_changes(intent, params)
    _attach(books, intent, params)
    if changes.get("amount", intent["amount"]) != intent["amount"]:
        _ask_confirmation_again(intent)
    intent.update(changes, last_payment_error=None)  # any update clears it, Stripe says
    return intent


def confirm(call: Call) -> Object:
    """POST /v1/payment_intents/{id}/confirm."""
    books, params = call.books, call.params
    intent = find(books, call.object_id)
    _check_client_secret(intent, params)
    _check_confirmable(intent)
    _refuse_rivals(params)
    _check_return_url(intent, params)
    _require_payment_method(intent, params)
    changes = _plain_changes(intent, params)
    _attach(books, intent, params)
    intent.update(changes)
    charge(books, intent, params, call.cause)
    return intent


def cancel(call: Call) -> Object:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = find(call.books, call.object_id)
    if intent["status"] not in CANCELABLE_STATUSES:
        raise _unexpected_state(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            " Only a PaymentIntent with one of the following statuses may be canceled:"
            f" {', '.join(CANCELABLE_STATUSES)}.",
        )
    reason = call.params.get("cancellation_reason")
    move(call.books, intent, "canceled", call.cause, cancellation_reason=reason)
    return intent


# Checks


def _check_client_secret(intent: Object, params: Mapping[str, Any]) -> None:
    """Check the secret, if one is given: from a browser it has to be (see BROWSER_RETRIEVE)."""
    if params.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
        raise InvalidRequest(
            "The client_secret provided does not match the client_secret associated with the"
            " PaymentIntent.",
            code="payment_intent_invalid_parameter",  # (?): seen in another stand-in for Stripe
            param="client_secret",
        )


def _check_updatable(intent: Object, name: str) -> None:
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


def _check_confirmable(intent: Object) -> None:
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


def _require_payment_method(intent: Object, params: Mapping[str, Any]) -> None:
    if intent["payment_method"] is None and "payment_method" not in params:
        raise _unexpected_state(
            intent,
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can"
            " either update the PaymentIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method or ConfirmationToken.",
        )


def _check_return_url(intent: Object, params: Mapping[str, Any]) -> None:
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


_RIVALS = ("automatic_payment_methods", "allowed_payment_method_types", "payment_method_types")


def _refuse_rivals(params: Mapping[str, Any]) -> None:
    given = [name for name in _RIVALS if name in params]
    if len(given) > 1:
        raise InvalidRequest(
            f"You may only specify one of these parameters: {', '.join(given)}.", param=given[1]
        )


def _unexpected_state(intent: Object, message: str, *, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(
        message,
        code="payment_intent_unexpected_state",
        param=param,
        extra={"payment_intent": copy.deepcopy(intent)},
    )


# The object


def _new_intent(books: Books, params: Mapping[str, Any]) -> Object:
    intent_id = books.new_id("pi")
    currency = check_currency(params["currency"])
    intent = {
        "id": intent_id,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": check_amount(params["amount"], currency),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{intent_id}_secret_{books.token(25)}",
        "confirmation_method": "automatic",
        "created": books.now(),
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": [],
        "processing": None,
        "receipt_email": params.get("receipt_email"),
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    intent.update(_accepted_types(params))
    return intent


def _accepted_types(params: Mapping[str, Any]) -> Object:
    """Return the fields that say how one may pay: cards only, or what the account has."""
    automatic = params.get("automatic_payment_methods", {"enabled": True})
    allowed = params.get("allowed_payment_method_types")
    listed = allowed or params.get("payment_method_types")
    if listed is None and automatic["enabled"]:
        redirects = automatic.get("allow_redirects", "always")
        fields = _type_fields(ACCOUNT_PAYMENT_METHOD_TYPES)
        return {
            **fields,
            "automatic_payment_methods": {"allow_redirects": redirects, "enabled": True},
        }
    return {
        **_type_fields(tuple(listed or ("card",))),
        "allowed_payment_method_types": allowed,
        "automatic_payment_methods": None,
    }


def _type_fields(types: tuple[str, ...]) -> Object:
    options: Mapping[str, Object] = {
        "card": {
            "installments": None,
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": "automatic",
        },
        "link": {"persistent_token": None},
    }
    return {
        "payment_method_types": list(types),
        "payment_method_options": {name: options[name] for name in types},
    }


def _plain_changes(intent: Object, params: Mapping[str, Any]) -> Object:
    """Return the new values of fields that are set as given, checked against each other."""
    changes = {
        name: params[name]
        for name in ("description", "receipt_email", "capture_method")
        if name in params
    }
    if "amount" in params or "currency" in params:
        currency = check_currency(params.get("currency", intent["currency"]))
        changes["currency"] = currency
        changes["amount"] = check_amount(params.get("amount", intent["amount"]), currency)
    if "metadata" in params:
        changes["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    if "allowed_payment_method_types" in params or "payment_method_types" in params:
        changes.update(_accepted_types(params))
    return changes


def _attach(books: Books, intent: Object, params: Mapping[str, Any]) -> None:
    """Attach the payment method given, if any; from then on a confirmation is asked for."""
    if "payment_method" in params:
        payment_method = payment_methods.find_or_make(books, params["payment_method"])
        intent.update(
            payment_method=payment_method["id"],
            status="requires_confirmation",
            next_action=None,
        )


def _ask_confirmation_again(intent: Object) -> None:
    """Void an authentication that was given for another amount (?): not documented by Stripe."""
    if intent["status"] == "requires_action":
        intent.update(status="requires_confirmation", next_action=None)


# Parameters

ACCOUNT_PAYMENT_METHOD_TYPES = ("card", "link")
"""What "automatic" means in the sandbox's account."""

_TYPES = list_of(one_of(*ACCOUNT_PAYMENT_METHOD_TYPES))

_COMMON: Schema = {
    **EXPAND,
    "allowed_payment_method_types": Param(parse=_TYPES),
    "payment_method_types": Param(
        parse=_TYPES,
        removed=Removed(
            since="2026-09-30",
            code="payment_method_types_no_longer_supported",
            message=(
                "The payment_method_types parameter is no longer supported on this API version."
                " Use dynamic payment methods, or allowed_payment_method_types to name the payment"
                " method types allowed."
            ),
        ),
    ),
    "payment_method": Param(parse=text()),
    "capture_method": Param(
        parse=one_of("automatic", "automatic_async", uncovered_choices=["manual"])
    ),
    **uncovered(
        "amount_details",
        "excluded_payment_method_types",
        "hooks",
        "payment_details",
        "payment_method_data",
        "payment_method_options",
        "setup_future_usage",
        "shipping",
    ),
}
"""What create, update and confirm have in common."""

_DESCRIBING: Schema = {
    "amount": Param(parse=integer(at_least=1)),
    "currency": Param(parse=text()),
    "description": Param(parse=text(max_length=1000), unsettable=True),
    "metadata": Param(parse=metadata, unsettable=True),
    "receipt_email": Param(parse=email, unsettable=True),
    **uncovered(
        "application_fee_amount",
        "customer",
        "customer_account",
        "payment_method_configuration",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "transfer_data",
        "transfer_group",
    ),
}
"""What create and update have in common besides."""

_CONFIRMING: Schema = {
    "return_url": Param(parse=text()),
    "use_stripe_sdk": Param(parse=boolean),
    **uncovered(
        "confirmation_token",
        "error_on_requires_action",
        "mandate",
        "mandate_data",
        "off_session",
        "radar_options",
    ),
}
"""What create and confirm have in common besides."""

CREATE: Schema = {
    **_COMMON,
    **_DESCRIBING,
    **_CONFIRMING,
    "amount": Param(parse=integer(at_least=1), required=True),
    "currency": Param(parse=text(), required=True),
    "automatic_payment_methods": Param(
        parse=hash_of(
            {
                "enabled": Param(parse=boolean, required=True),
                "allow_redirects": Param(parse=one_of("always", "never")),
            }
        )
    ),
    "confirm": Param(parse=boolean),
    "confirmation_method": Param(parse=one_of("automatic", uncovered_choices=["manual"])),
    **uncovered("on_behalf_of"),
}

UPDATE: Schema = {**_COMMON, **_DESCRIBING}

CONFIRM: Schema = {
    **_COMMON,
    **_CONFIRMING,
    "receipt_email": Param(parse=email, unsettable=True),
    **uncovered("amount_to_confirm"),
}

CANCEL: Schema = {
    **EXPAND,
    "cancellation_reason": Param(
        parse=one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer")
    ),
}

RETRIEVE: Schema = {**EXPAND, "client_secret": Param(parse=text())}

LIST: Schema = {**EXPAND, **PAGINATION, **uncovered("customer", "customer_account")}

BROWSER_RETRIEVE: Schema = {**EXPAND, "client_secret": Param(parse=text(), required=True)}

_CONFIRMED_BY_BROWSERS = (
    "expand",
    "mandate_data",
    "payment_method",
    "payment_method_data",
    "payment_method_options",
    "receipt_email",
    "return_url",
    "setup_future_usage",
    "shipping",
    "use_stripe_sdk",
)
BROWSER_CONFIRM: Schema = {
    **{name: param for name, param in CONFIRM.items() if name in _CONFIRMED_BY_BROWSERS},
    **BROWSER_RETRIEVE,
}

RESOURCE = Resource(
    kind="payment_intent",
    stored=lambda books: books.payment_intents,
    expandable={
        "application": "application",
        "customer": "customer",
        "latest_charge": "charge",
        "on_behalf_of": "account",
        "payment_method": "payment_method",
        "payment_record": "payment_record",
        "review": "review",
        "source": "source",
        "transfer_data.destination": "account",
    },
    browser_keys=(
        "id",
        "object",
        "amount",
        "amount_details",
        "automatic_payment_methods",
        "canceled_at",
        "cancellation_reason",
        "capture_method",
        "client_secret",
        "confirmation_method",
        "created",
        "currency",
        "description",
        "last_payment_error",
        "livemode",
        "next_action",
        "payment_method",
        "payment_method_configuration_details",
        "payment_method_types",
        "processing",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "source",
        "status",
    ),
)


def _route(method: str, path: str, handler: Callable[[Call], Object], schema: Schema) -> Route:
    return Route(
        method=method,
        path=f"/v1/payment_intents{path}",
        handler=handler,
        schema=schema,
        returns="payment_intent",
        listed=handler is list_all,
        browser_schema=_BROWSER_SCHEMAS.get(handler),
    )


_BROWSER_SCHEMAS: Mapping[Callable[[Call], Object], Schema] = {
    retrieve: BROWSER_RETRIEVE,
    confirm: BROWSER_CONFIRM,
}

ROUTES = (
    _route("POST", "", create, CREATE),
    _route("GET", "", list_all, LIST),
    _route("GET", "/{id}", retrieve, RETRIEVE),
    _route("POST", "/{id}", update, UPDATE),
    _route("POST", "/{id}/confirm", confirm, CONFIRM),
    _route("POST", "/{id}/cancel", cancel, CANCEL),
)
