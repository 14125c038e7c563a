"""PaymentIntents: the operations and the object.

See: https://docs.stripe.com/api/payment_intents (checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ...account.books import Books, Object
from ...banks.currencies import check_amount, check_currency
from ...wire.errors import InvalidRequest, NotCovered
from ...wire.lists import paginate
from ...wire.messages import Cause
from ...wire.params import merge_metadata
from .. import events, payment_methods
from ..base import Call, Resource, routes
from ..payment_method_types import AUTOMATIC, type_fields
from . import checks
from .attempts import attempt
from .moves import Step, find
from .params import (
    BROWSER_CONFIRM,
    BROWSER_RETRIEVE,
    CANCEL,
    CAPTURE,
    CONFIRM,
    CONFIRM_ONLY,
    CREATE,
    LIST,
    RETRIEVE,
    UPDATE,
)

# Operations


def create(call: Call) -> Object:
    """POST /v1/payment_intents."""
    books, params = call.books, {**_defaults(call.api_version), **call.params}
    confirm_now = bool(params.get("confirm"))
    checks.refuse_exclusive(call.params)
    if not confirm_now:
        _refuse_confirming(params)
    intent = _new_intent(books, params)
    intent |= _options(intent, params)
    checks.check_types(intent)
    if confirm_now:
        checks.check_return_url(intent, params)
        checks.check_payable(books, intent, params)
    payment_method = _find_payment_method(call, intent)
    if confirm_now:
        _check_mandate(books, intent, payment_method, params)
    books.payment_intents.add(intent)
    if not confirm_now:
        _attach(books, intent, payment_method, call.cause)
    events.emit(books, "payment_intent.created", intent, call.cause)
    if confirm_now:
        _attach(books, intent, payment_method, call.cause)
        attempt(books, intent, params, call.cause)
    return intent


def retrieve(call: Call) -> Object:
    """GET /v1/payment_intents/{id}."""
    intent = find(call.books, call.object_id)
    checks.check_client_secret(intent, call.params)
    return intent


def list_all(call: Call) -> Object:
    """GET /v1/payment_intents."""
    intents = call.books.payment_intents.rows()
    return paginate(intents, call.params, url="/v1/payment_intents", kind="payment_intent")


def update(call: Call) -> Object:
    """POST /v1/payment_intents/{id}."""
    books, params = call.books, call.params
    intent = find(books, call.object_id)
    for name in params:
        checks.check_updatable(intent, name)
    changes = _checked_changes(intent, params)
    payment_method = _find_payment_method(call, {**intent, **changes})
    if any(changes.get(name, intent[name]) != intent[name] for name in ("amount", "currency")):
        _ask_confirmation_again(intent)
    # Stripe: the error is cleared when the intent is later updated.
    # See: https://docs.stripe.com/api/payment_intents/object (checked 2026-11)
    intent.update(changes, last_payment_error=None)
    _attach(books, intent, payment_method, call.cause)
    return intent


def confirm(call: Call) -> Object:
    """POST /v1/payment_intents/{id}/confirm."""
    books, params = call.books, call.params
    intent = find(books, call.object_id)
    checks.check_client_secret(intent, params)
    checks.check_confirmer(intent, publishable=call.publishable)
    checks.check_confirmable(intent)
    checks.check_return_url(intent, params)
    checks.check_payable(books, intent, params)
    changes = _checked_changes(intent, params)
    payment_method = _find_payment_method(call, {**intent, **changes})
    _check_mandate(books, intent, payment_method, params)
    intent.update(changes)
    _attach(books, intent, payment_method, call.cause)
    attempt(books, intent, params, call.cause)
    return intent


def capture(call: Call) -> Object:
    """POST /v1/payment_intents/{id}/capture."""
    intent = find(call.books, call.object_id)
    amount = call.params.get("amount_to_capture", intent["amount_capturable"])
    checks.check_capturable(intent, amount)
    if amount < intent["amount_capturable"]:
        _refuse_release(call, "capturing a part")
    intent.update(_plain_changes(intent, call.params))
    Step(books=call.books, intent=intent, cause=call.cause).succeed(amount=amount)
    return intent


def cancel(call: Call) -> Object:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = find(call.books, call.object_id)
    checks.check_cancelable(intent)
    if intent["status"] == "requires_capture":
        _refuse_release(call, "canceling an authorization")
    step = Step(books=call.books, intent=intent, cause=call.cause)
    step.cancel(call.params.get("cancellation_reason"))
    return intent


def _refuse_release(call: Call, what: str) -> None:
    """Raise NotCovered if Stripe refunds in this version what it releases since 2025-03-31.basil.

    See: https://docs.stripe.com/changelog/basil/2025-03-31/
    remove-refund-from-partial-capture-and-payment-cancellation-flow (checked 2026-11)
    """
    if call.api_version < "2025-03-31":
        raise NotCovered(f"{what} in API versions before 2025-03-31.basil, which makes a refund")


def _refuse_confirming(params: Mapping[str, Any]) -> None:
    for name in CONFIRM_ONLY:
        if name in params:
            raise InvalidRequest(
                f"The parameter {name} can only be used with confirm=true.", param=name
            )


# Payment methods


def _find_payment_method(call: Call, intent: Mapping[str, Any]) -> Object | None:
    """Return the payment method in the parameters, checked against the changed intent."""
    books, params = call.books, call.params
    if "payment_method_data" in params:
        data = params["payment_method_data"]
        found = payment_methods.from_data(books, data, api_version=call.api_version)
    elif "payment_method" in params:
        found = payment_methods.find_or_make(books, params["payment_method"])
        payment_methods.check_unused(books, found)
    elif intent["payment_method"] is not None:
        checks.check_allowed(dict(intent), books.payment_methods[intent["payment_method"]])
        return None
    else:
        return None
    checks.check_allowed(dict(intent), found)
    return found


def _check_mandate(
    books: Books, intent: Object, given: Object | None, params: Mapping[str, Any]
) -> None:
    """Check that the payment method has a mandate, or an address to return to, if it needs one."""
    payment_method = given or books.payment_methods[intent["payment_method"]]
    checks.check_mandate(intent, payment_method, params)
    checks.check_redirect(payment_method, params)


def _attach(books: Books, intent: Object, payment_method: Object | None, cause: Cause) -> None:
    """Attach the payment method, if there is one, and require a confirmation."""
    if payment_method is not None:
        Step(books=books, intent=intent, cause=cause).ask_confirmation(payment_method)


def _ask_confirmation_again(intent: Object) -> None:
    """Discard an authentication of another amount or currency (?): Stripe does not document it."""
    if intent["status"] == "requires_action":
        intent.update(status="requires_confirmation", next_action=None)


# The object


def _defaults(api_version: str) -> dict[str, Any]:
    """Return the defaults of older API versions.

    See: https://docs.stripe.com/changelog/2024-04-10/automatic-sync-default-paymentintents and
    https://docs.stripe.com/changelog/2023-08-16/automatic-payment-methods (checked 2026-11)
    """
    defaults: dict[str, Any] = {}
    if api_version < "2024-04-10":
        defaults["capture_method"] = "automatic"
    if api_version < "2023-08-16":
        defaults["automatic_payment_methods"] = {"enabled": False}  # only cards
    return defaults


def _new_intent(books: Books, params: Mapping[str, Any]) -> Object:
    intent_id = books.new_id("pi")
    currency = check_currency(params["currency"])
    return {
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
        "confirmation_method": params.get("confirmation_method", "automatic"),
        "created": books.now(),
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": merge_metadata({}, params.get("metadata")),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "processing": None,
        "receipt_email": params.get("receipt_email"),
        "review": None,
        "setup_future_usage": params.get("setup_future_usage"),
        "shipping": _shipping(params.get("shipping")),
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **_accepted_types(params),
    }


PAYMENT_METHOD_CONFIGURATION = {"id": "pmc_1SandboxSandboxSandbox0", "parent": None}
"""The account's settings for automatic payment methods."""


def _accepted_types(params: Mapping[str, Any]) -> Object:
    """Return the fields about payment method types: those in the parameters, or automatic ones."""
    automatic = params.get("automatic_payment_methods", {"enabled": True})
    allowed = params.get("allowed_payment_method_types")
    listed = allowed or params.get("payment_method_types")
    if listed is None and automatic["enabled"]:
        excluded = params.get("excluded_payment_method_types")
        redirects = automatic.get("allow_redirects", "always")
        return {
            **type_fields(name for name in AUTOMATIC if name not in (excluded or ())),
            "automatic_payment_methods": {"allow_redirects": redirects, "enabled": True},
            "excluded_payment_method_types": excluded,
            "payment_method_configuration_details": copy.copy(PAYMENT_METHOD_CONFIGURATION),
        }
    return {
        **type_fields(listed or ("card",)),
        "allowed_payment_method_types": allowed,
        "automatic_payment_methods": None,
        "excluded_payment_method_types": None,
        "payment_method_configuration_details": None,
    }


def _checked_changes(intent: Object, params: Mapping[str, Any]) -> Object:
    """Return the changes of an update or a confirmation, checked against the rest of the intent."""
    checks.refuse_exclusive(params)
    changes = {**_plain_changes(intent, params), **_changed_types(intent, params)}
    changes |= _options({**intent, **changes}, params)
    checks.check_types({**intent, **changes})
    return changes


_SET_AS_GIVEN = (
    "capture_method",
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor_suffix",
)


def _plain_changes(intent: Object, params: Mapping[str, Any]) -> Object:
    """Return the new values of the fields that the parameters set directly."""
    changes = {name: params[name] for name in _SET_AS_GIVEN if name in params}
    if "amount" in params or "currency" in params:
        currency = check_currency(params.get("currency", intent["currency"]))
        changes["currency"] = currency
        changes["amount"] = check_amount(params.get("amount", intent["amount"]), currency)
    if "metadata" in params:
        changes["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    if "shipping" in params:
        changes["shipping"] = _shipping(params["shipping"])
    return changes


def _changed_types(intent: Object, params: Mapping[str, Any]) -> Object:
    if "allowed_payment_method_types" in params or "payment_method_types" in params:
        return _accepted_types(params)
    if "excluded_payment_method_types" not in params:
        return {}
    if intent["automatic_payment_methods"] is None:
        raise InvalidRequest(
            "excluded_payment_method_types can only be used with automatic payment methods.",
            param="excluded_payment_method_types",
        )
    return _accepted_types(
        {**params, "automatic_payment_methods": intent["automatic_payment_methods"]}
    )


def _options(intent: Object, params: Mapping[str, Any]) -> Object:
    """Return the options of payment method types, if the parameters set one.

    What Stripe answers if the intent does not take that type is not documented (?).
    """
    given = params.get("payment_method_options", {}).get("card")
    if given is None:
        return {}
    options = intent["payment_method_options"]
    if "card" not in options:
        raise InvalidRequest(
            "payment_method_options[card] needs an intent that takes cards.",
            param="payment_method_options[card]",
        )
    return {"payment_method_options": {**options, "card": {**options["card"], **given}}}


def _shipping(values: Mapping[str, Any] | None) -> Object | None:
    if values is None:
        return None
    keys = ("carrier", "name", "phone", "tracking_number")
    return {
        "address": payment_methods.address(values["address"]),
        **{key: values.get(key) for key in keys},
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


ROUTES = routes(
    "/v1/payment_intents",
    "payment_intent",
    ("POST", "", create, CREATE),
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, RETRIEVE),
    ("POST", "/{id}", update, UPDATE),
    ("POST", "/{id}/confirm", confirm, CONFIRM),
    ("POST", "/{id}/capture", capture, CAPTURE),
    ("POST", "/{id}/cancel", cancel, CANCEL),
    browser_schemas={retrieve: BROWSER_RETRIEVE, confirm: BROWSER_CONFIRM},
)
