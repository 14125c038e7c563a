"""PaymentMethods: from Stripe's test names, from numbers and from IBANs.

As with Stripe, each use of a test name (`pm_card_visa`) makes a new PaymentMethod, and one without
a customer pays, or tries to, only once.

See: https://docs.stripe.com/api/payment_methods (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..account.books import Books, Object
from ..banks.card_numbers import read_card
from ..banks.instruments import (
    ACCOUNTS,
    ACCOUNTS_BY_IBAN,
    CARDS,
    UNCOVERED_ACCOUNTS,
    UNCOVERED_CARDS,
    BankAccount,
    Card,
    Instrument,
)
from ..wire.errors import InvalidRequest, NotCovered, ResourceMissing
from ..wire.params import (
    EXPAND,
    Hash,
    Param,
    Schema,
    email,
    integer,
    merge_metadata,
    metadata,
    one_of,
    text,
    uncovered,
)
from .base import Call, Resource, routes
from .payment_method_types import CREATABLE, among

# Operations


def create(call: Call) -> Object:
    """POST /v1/payment_methods."""
    return from_data(call.books, call.params)


def retrieve(call: Call) -> Object:
    """GET /v1/payment_methods/{id}."""
    payment_method = call.books.payment_methods.get(call.object_id)
    if payment_method is None:
        raise ResourceMissing("PaymentMethod", call.object_id, param="payment_method", status=404)
    return payment_method


# For intents


def find_or_make(books: Books, name: str) -> Object:
    """Return a payment method by its id, or a new one for a test name.

    Raises:
        ResourceMissing: for anything else.
        NotCovered: for a test name whose effect the sandbox does not have.
    """
    instrument: Instrument | None = CARDS.get(name) or ACCOUNTS.get(name)
    if instrument is not None:
        return _make(books, instrument, {})
    if name in UNCOVERED_CARDS or name in UNCOVERED_ACCOUNTS:
        raise NotCovered(f"the test payment method {name}", param="payment_method")
    if name not in books.payment_methods:
        raise ResourceMissing("PaymentMethod", name, param="payment_method")
    return books.payment_methods[name]


def from_data(books: Books, data: Mapping[str, Any]) -> Object:
    """Return a new payment method for parameters by DATA.

    Raises:
        InvalidRequest: where they do not belong together.
        CardDeclined: for a card that cannot be one.
        NotCovered: for what only the real Stripe can read.
    """
    kind = data["type"]
    if kind not in data:
        raise InvalidRequest(
            f"Missing required param: {kind}.", code="parameter_missing", param=kind
        )
    if kind == "card":
        card = _card(data["card"], now=books.now())
        return _make(books, card, data, expiry=_expiry(data["card"]))
    return _make(books, _account(data), data)


def check_unused(books: Books, payment_method: Object) -> None:
    """Raise InvalidRequest for one that has had its one try."""
    if payment_method["id"] in books.used_payment_methods:
        raise InvalidRequest(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer"
            " attachment, shared with a connected account without Customer attachment, or was"
            " detached from a Customer. It may not be used again. To use a PaymentMethod multiple"
            " times, you must attach it to a Customer first."
        )


def record_attempt(books: Books, payment_method: Object, *, cvc_check: str) -> None:
    """Remember that it was charged, and what the bank said of its CVC."""
    books.used_payment_methods.add(payment_method["id"])
    if payment_method["type"] == "card" and payment_method["card"]["checks"]["cvc_check"]:
        payment_method["card"]["checks"]["cvc_check"] = cvc_check


def _card(params: Mapping[str, Any], *, now: int) -> Card:
    if "token" not in params:
        return read_card(params, now=now)
    name = f"pm_card_{params['token'].removeprefix('tok_')}"
    if name in UNCOVERED_CARDS:
        raise NotCovered(f"the test token {params['token']}", param="card[token]")
    if name not in CARDS or not params["token"].startswith("tok_"):
        raise ResourceMissing("token", params["token"], param="card[token]")
    return CARDS[name]


def _expiry(params: Mapping[str, Any]) -> tuple[int, int] | None:
    if "token" in params:
        return None
    year = params["exp_year"]
    return params["exp_month"], year + 2000 if year < 100 else year


def _account(data: Mapping[str, Any]) -> BankAccount:
    billing = data.get("billing_details") or {}
    for name in ("name", "email"):
        if not billing.get(name):
            full_name = f"billing_details[{name}]"
            raise InvalidRequest(
                f"Missing required param: {full_name}.", code="parameter_missing", param=full_name
            )
    iban = data["sepa_debit"]["iban"].replace(" ", "").upper()
    if iban not in ACCOUNTS_BY_IBAN:
        raise NotCovered("IBANs that are not among its test ones", param="sepa_debit[iban]")
    return ACCOUNTS_BY_IBAN[iban]


# The object

ADDRESS_KEYS = ("city", "country", "line1", "line2", "postal_code", "state")


def address(values: Mapping[str, Any] | None) -> Object:
    """Return an address with all its keys."""
    return {key: (values or {}).get(key) for key in ADDRESS_KEYS}


def _make(
    books: Books,
    instrument: Instrument,
    data: Mapping[str, Any],
    *,
    expiry: tuple[int, int] | None = None,
) -> Object:
    billing = data.get("billing_details") or {}
    payment_method: Object = {
        "id": books.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": data.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": address(billing.get("address")),
            **{key: billing.get(key) for key in ("email", "name", "phone", "tax_id")},
        },
        "created": books.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": merge_metadata({}, data.get("metadata", {})),
        instrument.type: (
            _card_details(books, instrument, expiry or _next_year(books))
            if isinstance(instrument, Card)
            else _account_details(books, instrument)
        ),
        "type": instrument.type,
    }
    books.payment_methods[payment_method["id"]] = payment_method
    books.instruments[payment_method["id"]] = instrument
    return payment_method


def _next_year(books: Books) -> tuple[int, int]:
    today = datetime.fromtimestamp(books.now(), tz=UTC)
    return today.month, today.year + 1


_DISPLAY_BRANDS = {
    "amex": "american_express",
    "diners": "diners_club",
    "unionpay": "union_pay",
}


def _card_details(books: Books, card: Card, expiry: tuple[int, int]) -> Object:
    month, year = expiry
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "unchecked" if card.cvc_given else None,
        },
        "country": card.country,
        "display_brand": _DISPLAY_BRANDS.get(card.brand, card.brand),
        "exp_month": month,
        "exp_year": year,
        "fingerprint": books.fingerprint(card.number),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": card.supports_3ds},
        "wallet": None,
    }


def _account_details(books: Books, account: BankAccount) -> Object:
    if account.type == "us_bank_account":
        return {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": books.fingerprint(account.number),
            "last4": account.last4,
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": {},
        }
    return {
        "bank_code": account.number[4:-10],
        "branch_code": "",
        "country": account.country,
        "fingerprint": books.fingerprint(account.number),
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": account.last4,
    }


# Parameters

ADDRESS = Hash({key: Param(parse=text()) for key in ADDRESS_KEYS})

_CARD: Schema = {
    "cvc": Param(parse=text()),
    "exp_month": Param(parse=integer()),
    "exp_year": Param(parse=integer()),
    "number": Param(parse=text()),
    "token": Param(parse=text()),
    **uncovered("networks"),
}

DATA: Schema = {
    "allow_redisplay": Param(parse=one_of("always", "limited", "unspecified")),
    "billing_details": Param(
        parse=Hash(
            {
                "address": Param(parse=ADDRESS, unsettable=True),
                "email": Param(parse=email, unsettable=True),
                "name": Param(parse=text(), unsettable=True),
                "phone": Param(parse=text(), unsettable=True),
                "tax_id": Param(parse=text()),
            }
        )
    ),
    "card": Param(parse=Hash(_CARD)),
    "metadata": Param(parse=metadata),
    "sepa_debit": Param(parse=Hash({"iban": Param(parse=text(), required=True)})),
    "type": Param(
        parse=among(CREATABLE, covered=("card", "sepa_debit")),
        required=True,
    ),
    **uncovered("radar_options", *sorted(CREATABLE - {"card", "custom", "sepa_debit"})),
}
"""What makes a payment method, here or in `payment_method_data` of an intent."""

CREATE: Schema = {
    **EXPAND,
    **DATA,
    **uncovered("custom", "customer", "payment_method"),
}

RESOURCE = Resource(
    kind="payment_method",
    stored=lambda books: books.payment_methods,
    expandable={"customer": "customer"},
    browser_keys=(
        "id",
        "object",
        "allow_redisplay",
        "billing_details",
        "card",
        "created",
        "customer",
        "livemode",
        "sepa_debit",
        "type",
        "us_bank_account",
    ),
)

ROUTES = routes(
    "/v1/payment_methods",
    "payment_method",
    ("POST", "", create, CREATE),
    ("GET", "/{id}", retrieve, EXPAND),
    browser_schemas={create: CREATE},
)
