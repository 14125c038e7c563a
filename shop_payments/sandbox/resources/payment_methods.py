"""PaymentMethods: from Stripe's test names, card numbers, tokens and IBANs.

As at Stripe, each use of a test name (`pm_card_visa`) creates a new PaymentMethod. Without a
customer, a PaymentMethod can be used for one attempt.

See: https://docs.stripe.com/api/payment_methods (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..account.books import Books, Object
from ..banks.bank_accounts import ACCOUNTS, ACCOUNTS_BY_IBAN, UNCOVERED_ACCOUNTS
from ..banks.card_numbers import read_card
from ..banks.cards import CARDS, UNCOVERED_CARDS
from ..banks.instruments import BankAccount, Card, Instrument, RedirectMethod
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
from .payment_method_types import CREATABLE, REDIRECTS, among

# Operations


def create(call: Call) -> Object:
    """POST /v1/payment_methods."""
    return from_data(call.books, call.params, api_version=call.api_version)


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
        ResourceMissing: there is no such payment method.
        NotCovered: the sandbox does not cover this test name.
    """
    instrument: Instrument | None = CARDS.get(name) or ACCOUNTS.get(name)
    if instrument is not None:
        return _make(books, instrument, {})
    lacking = UNCOVERED_CARDS.get(name) or UNCOVERED_ACCOUNTS.get(name)
    if lacking:
        raise NotCovered(f"the test payment method {name} ({lacking})", param="payment_method")
    if name not in books.payment_methods:
        raise ResourceMissing("PaymentMethod", name, param="payment_method")
    return books.payment_methods[name]


def from_data(books: Books, data: Mapping[str, Any], *, api_version: str) -> Object:
    """Return a new payment method from parameters of the schema DATA.

    Raises:
        InvalidRequest: the parameters do not fit together.
        CardDeclined: the card details are invalid.
        NotCovered: the sandbox does not cover this token or IBAN.
    """
    kind = data["type"]
    if kind in REDIRECTS:  # its hash is empty, so a form cannot contain it
        return _make(books, RedirectMethod(type=kind), data)
    if kind not in data:
        raise _missing(kind)
    if kind == "card":
        card = _card(data["card"], now=books.now())
        return _make(books, card, data, expiry=_expiry(data["card"]))
    account = _account(data)
    _check_address(account, data["billing_details"], api_version)
    return _make(books, account, data)


def check_unused(books: Books, payment_method: Object) -> None:
    """Raise InvalidRequest if the payment method has been used before.

    The message is Stripe's. See: https://www.drupal.org/node/3464286 (checked 2026-11)
    """
    if payment_method["id"] in books.used_payment_methods:
        raise InvalidRequest(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer"
            " attachment, shared with a connected account without Customer attachment, or was"
            " detached from a Customer. It may not be used again. To use a PaymentMethod multiple"
            " times, you must attach it to a Customer first."
        )


def record_attempt(books: Books, payment_method: Object, *, cvc_check: str) -> None:
    """Record that the payment method was used, and the results of the checks of a card."""
    books.used_payment_methods.add(payment_method["id"])
    card = books.instruments[payment_method["id"]]
    if isinstance(card, Card):
        results = {
            "address_line1_check": card.line1_check,
            "address_postal_code_check": card.postal_code_check,
            "cvc_check": cvc_check,
        }
        checks = payment_method["card"]["checks"]
        # What was not given is not checked. See: https://docs.stripe.com/testing (checked 2026-11)
        checks.update({name: result for name, result in results.items() if checks[name]})


def _card(params: Mapping[str, Any], *, now: int) -> Card:
    if "token" not in params:
        return read_card(params, now=now)
    name = f"pm_card_{params['token'].removeprefix('tok_')}"
    if name in UNCOVERED_CARDS:
        lacking = UNCOVERED_CARDS[name]
        raise NotCovered(f"the test token {params['token']} ({lacking})", param="card[token]")
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
            raise _missing(f"billing_details[{name}]")
    iban = data["sepa_debit"]["iban"].replace(" ", "").upper()
    if iban in UNCOVERED_ACCOUNTS:
        lacking = UNCOVERED_ACCOUNTS[iban]
        raise NotCovered(f"the test IBAN {iban} ({lacking})", param="sepa_debit[iban]")
    if iban not in ACCOUNTS_BY_IBAN:
        raise NotCovered("IBANs that are not among its test ones", param="sepa_debit[iban]")
    return ACCOUNTS_BY_IBAN[iban]


_OUTSIDE_EEA = ("CH", "GB", "GI")
"""The countries of test IBANs that are not in the European Economic Area."""


def _check_address(account: BankAccount, billing: Mapping[str, Any], api_version: str) -> None:
    """Raise InvalidRequest if the address lacks what a debit from outside the EEA needs.

    See: https://docs.stripe.com/changelog/endive/2026-09-30/require-sepa-direct-debit-address-fields
    (checked 2026-11)
    """
    if account.country not in _OUTSIDE_EEA:
        return
    required = ["country", "line1"]
    if api_version >= "2026-09-30":
        required += ["city", "postal_code"]
    for name in required:
        if not (billing.get("address") or {}).get(name):
            raise _missing(f"billing_details[address][{name}]")


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required param: {name}.", code="parameter_missing", param=name)


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
        instrument.type: _type_details(books, instrument, expiry, billing.get("address") or {}),
        "type": instrument.type,
    }
    books.payment_methods.add(payment_method)
    books.instruments[payment_method["id"]] = instrument
    return payment_method


def _type_details(
    books: Books,
    instrument: Instrument,
    expiry: tuple[int, int] | None,
    billing_address: Mapping[str, Any],
) -> Object:
    match instrument:
        case Card():
            checks = _checks(instrument, billing_address)
            return _card_details(books, instrument, expiry or _next_year(books), checks)
        case BankAccount():
            return _account_details(books, instrument)
        case RedirectMethod():
            return {}


def _next_year(books: Books) -> tuple[int, int]:
    today = datetime.fromtimestamp(books.now(), tz=UTC)
    return today.month, today.year + 1


_DISPLAY_BRANDS = {
    "amex": "american_express",
    "diners": "diners_club",
    "eftpos_au": "eftpos_australia",
    "unionpay": "union_pay",
}


def _checks(card: Card, billing_address: Mapping[str, Any]) -> Object:
    """Return the checks of what is given, before the bank has made them."""
    given = {
        "address_line1_check": billing_address.get("line1"),
        "address_postal_code_check": billing_address.get("postal_code"),
        "cvc_check": card.cvc_given,
    }
    return {name: "unchecked" if value else None for name, value in given.items()}


def _card_details(books: Books, card: Card, expiry: tuple[int, int], checks: Object) -> Object:
    month, year = expiry
    brands = [card.brand, *([card.co_brand] if card.co_brand else [])]
    return {
        "brand": card.brand,
        "checks": checks,
        "country": card.country,
        "display_brand": _DISPLAY_BRANDS.get(brands[-1], brands[-1]),
        "exp_month": month,
        "exp_year": year,
        "fingerprint": books.fingerprint(card.number),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": brands, "preferred": None},
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
    "amazon_pay": Param(parse=Hash({})),
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
        parse=among(CREATABLE, covered=("card", "sepa_debit", *REDIRECTS)),
        required=True,
    ),
    **uncovered("radar_options", *sorted(CREATABLE - {"card", "custom", "sepa_debit", *REDIRECTS})),
}
"""Parameters of a new payment method, also in `payment_method_data` of an intent."""

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
        "amazon_pay",
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
