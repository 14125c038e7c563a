"""The parameters of the operations on PaymentIntents.

See: https://docs.stripe.com/api/payment_intents (checked 2026-11)
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ...wire.errors import InvalidRequest, NotCovered
from ...wire.params import (
    EXPAND,
    PAGINATION,
    Hash,
    Param,
    Removed,
    Schema,
    boolean,
    email,
    integer,
    list_of,
    metadata,
    one_of,
    text,
    uncovered,
    url,
)
from ..payment_method_types import ALLOWABLE, EXCLUDABLE, OPTIONAL, among
from ..payment_methods import ADDRESS, DATA


def off_session(raw: Any, name: str) -> bool:
    """Accept a boolean, or one of the words `one_off` and `recurring`."""
    return raw in ("one_off", "recurring") or boolean(raw, name)


def descriptor_suffix(raw: Any, name: str) -> str:
    """Accept a statement descriptor suffix.

    See: https://docs.stripe.com/get-started/account/statement-descriptors (checked 2026-11)
    """
    value: str = text(max_length=22)(raw, name)
    if re.search(r"[<>\\'\"*]", value) or not re.search(r"[A-Za-z]", value):
        raise InvalidRequest(
            "The statement descriptor must contain at least one letter, and none of the characters"
            " <, >, \\, ', \", *.",
            param=name,
        )
    return value


def final_capture(raw: Any, name: str) -> bool:
    """Accept true only, because the API covers one capture for each authorization."""
    if not boolean(raw, name):
        raise NotCovered(f"{name}=false", param=name)
    return True


_TYPES = list_of(among(ALLOWABLE))

_SHIPPING = Hash(
    {
        "address": Param(parse=ADDRESS, required=True),
        "name": Param(parse=text(), required=True),
        "carrier": Param(parse=text()),
        "phone": Param(parse=text()),
        "tracking_number": Param(parse=text()),
    }
)


def _mandate(online: Schema) -> Param:
    """Declare a mandate. `online` are the parameters of a mandate that was accepted online."""
    acceptance = {
        "type": Param(parse=one_of("offline", "online"), required=True),
        "accepted_at": Param(parse=integer()),
        "offline": Param(parse=Hash({})),
        "online": Param(parse=Hash(online)),
    }
    customer_acceptance = Param(parse=Hash(acceptance), required=True)
    return Param(parse=Hash({"customer_acceptance": customer_acceptance}), unsettable=True)


_CARD: Schema = {
    "request_three_d_secure": Param(parse=one_of("any", "automatic", "challenge")),
    **uncovered(
        "capture_method",
        "cvc_token",
        "installments",
        "mandate_options",
        "moto",
        "network",
        "request_extended_authorization",
        "request_incremental_authorization",
        "request_multicapture",
        "request_overcapture",
        "require_cvc_recollection",
        "setup_credential_usage",
        "setup_future_usage",
        "statement_descriptor_suffix_kana",
        "statement_descriptor_suffix_kanji",
        "stored_credential_usage",
        "three_d_secure",
    ),
}


def _options(card: Schema) -> Param:
    """Declare the options of payment method types."""
    return Param(
        parse=Hash(
            {"card": Param(parse=Hash(card), unsettable=True), **uncovered(*(OPTIONAL - {"card"}))}
        )
    )


_COMMON: dict[str, Param] = {
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
    "excluded_payment_method_types": Param(parse=list_of(among(EXCLUDABLE)), unsettable=True),
    "payment_method": Param(parse=text()),
    "payment_method_data": Param(parse=Hash(DATA)),
    "capture_method": Param(parse=one_of("automatic", "automatic_async", "manual")),
    "setup_future_usage": Param(parse=one_of("off_session", "on_session"), unsettable=True),
    "shipping": Param(parse=_SHIPPING, unsettable=True),
    "payment_method_options": _options(_CARD),
    **uncovered("amount_details", "hooks", "payment_details"),
}
"""Parameters of create, update and confirm."""

_DESCRIBING: dict[str, Param] = {
    "amount": Param(parse=integer(at_least=1)),
    "currency": Param(parse=text()),
    "description": Param(parse=text(max_length=1000)),
    "metadata": Param(parse=metadata, unsettable=True),
    "receipt_email": Param(parse=email, unsettable=True),
    "statement_descriptor_suffix": Param(parse=descriptor_suffix),
    **uncovered(
        "application_fee_amount",
        "customer",
        "customer_account",
        "payment_method_configuration",
        "statement_descriptor",
        "transfer_data",
        "transfer_group",
    ),
}
"""Further parameters of create and update."""

CONFIRM_ONLY: Schema = {
    "error_on_requires_action": Param(parse=boolean),
    "mandate_data": _mandate(
        {
            "ip_address": Param(parse=text()),
            "user_agent": Param(parse=text()),
            "infer_from_client": Param(parse=boolean),
        }
    ),
    "off_session": Param(parse=off_session),
    "return_url": Param(parse=url),
}
"""Parameters that need `confirm=true` when an intent is created."""

_CONFIRMING: Schema = {
    **CONFIRM_ONLY,
    "use_stripe_sdk": Param(parse=boolean),
    **uncovered("confirmation_token", "mandate", "radar_options"),
}
"""Further parameters of create and confirm."""

CREATE: Schema = {
    **{name: replace(param, unsettable=False) for name, param in (_COMMON | _DESCRIBING).items()},
    **_CONFIRMING,
    "amount": Param(parse=integer(at_least=1), required=True),
    "currency": Param(parse=text(), required=True),
    "mandate_data": _mandate(
        {
            "ip_address": Param(parse=text(), required=True),
            "user_agent": Param(parse=text(), required=True),
        }
    ),
    "automatic_payment_methods": Param(
        parse=Hash(
            {
                "enabled": Param(parse=boolean, required=True),
                "allow_redirects": Param(parse=one_of("always", "never")),
            }
        )
    ),
    "confirm": Param(parse=boolean),
    "confirmation_method": Param(parse=one_of("automatic", "manual")),
    **uncovered("on_behalf_of"),
}

UPDATE: Schema = {**_COMMON, **_DESCRIBING}

CONFIRM: Schema = {
    **_COMMON,
    **_CONFIRMING,
    "receipt_email": Param(parse=email, unsettable=True),
    **uncovered("amount_to_confirm"),
}

CAPTURE: Schema = {
    **EXPAND,
    "amount_to_capture": Param(parse=integer()),
    "final_capture": Param(parse=final_capture),
    "metadata": Param(parse=metadata, unsettable=True),
    "statement_descriptor_suffix": Param(parse=descriptor_suffix),
    **uncovered(
        "amount_details",
        "application_fee_amount",
        "hooks",
        "payment_details",
        "statement_descriptor",
        "transfer_data",
    ),
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
    **{
        name: param
        for name, param in CONFIRM.items()
        if name in _CONFIRMED_BY_BROWSERS or not param.covered
    },
    **BROWSER_RETRIEVE,
    "payment_method_options": _options({**_CARD, **uncovered("cvc")}),
    **uncovered("save_payment_method", "set_as_default_payment_method", "source", "source_data"),
}
"""The last parameters are those of Stripe's SDKs for iOS and Android.

See: STPPaymentIntentConfirmParams.swift of stripe/stripe-ios and ConfirmPaymentIntentParams.kt of
stripe/stripe-android (checked 2026-11)
"""
