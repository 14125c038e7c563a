"""Charges: one for each attempt to charge a payment method.

Payment intents create them. The API only reads them.

See: https://docs.stripe.com/api/charges (checked 2026-11)
"""

from __future__ import annotations

import copy
from typing import Literal
from uuid import UUID

from ..account.books import Books, Object
from ..banks.instruments import Card, Decline, Instrument
from ..wire.errors import ResourceMissing
from ..wire.lists import among, paginate
from ..wire.messages import Cause
from ..wire.params import EXPAND, PAGINATION, Param, Schema, text, uncovered
from . import balance_transactions, events, payment_methods, refunds
from .base import Call, Listing, Resource, routes

AUTHORIZED_SECONDS = 7 * 24 * 60 * 60
"""Seconds for which an authorization of a card is valid.

See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
"""

DESCRIPTOR = "SANDBOX"
"""The account's statement descriptor, which customers see on their statements."""

# Operations


def retrieve(call: Call) -> Object:
    """GET /v1/charges/{id}."""
    return find(call.books, call.object_id)


def find(books: Books, charge_id: str) -> Object:
    """Return the charge itself, not a copy.

    Raises:
        ResourceMissing: there is no such charge.
    """
    charge = books.charges.get(charge_id)
    if charge is None:
        raise ResourceMissing("charge", charge_id, param="id", status=404)
    return charge


def list_all(call: Call) -> Object:
    """GET /v1/charges."""
    intent_id = call.params.get("payment_intent")
    if intent_id is not None and intent_id not in call.books.payment_intents:
        raise ResourceMissing("payment_intent", intent_id, param="payment_intent")
    wanted = call.books.charges.rows(among(call.params, "payment_intent"))
    return paginate(wanted, call.params, url="/v1/charges", kind="charge")


# For payment intents

Kind = Literal["captured", "authorized", "pending", "failed"]
"""The first state of a charge. A `pending` charge waits for a bank."""


def start(
    books: Books,
    intent: Object,
    cause: Cause,
    *,
    kind: Kind,
    decline: Decline | None = None,
    authenticated: bool = False,
) -> Object:
    """Create a charge of the intent's payment method, and emit its event.

    A charge of the kind `failed` needs a `decline`.
    """
    instrument = books.instruments[intent["payment_method"]]
    charge = _new_charge(books, intent)
    books.charges.add(charge)
    intent["latest_charge"] = charge["id"]
    check = "fail" if decline and decline.code == "incorrect_cvc" else "pass"
    payment_method = books.payment_methods[intent["payment_method"]]
    payment_methods.record_attempt(books, payment_method, cvc_check=check)
    charge["payment_method_details"] = _details(
        books, charge, failed=kind == "failed", authenticated=authenticated
    )
    match kind:
        case "captured":
            charge.update(captured=True, amount_captured=charge["amount"])
            if intent["capture_method"] == "automatic_async":
                books.clock.after(0, lambda: _credit_later(books, charge))
            else:
                _credit(books, charge)
        case "authorized":
            # A test may force this on a debit, which Stripe never authorizes.
            if isinstance(instrument, Card):
                card = charge["payment_method_details"]["card"]
                card["capture_before"] = charge["created"] + AUTHORIZED_SECONDS
        case "pending":
            charge.update(captured=True, amount_captured=charge["amount"])
            charge.update(paid=False, status="pending")
        case "failed":
            assert decline is not None
            _record_decline(charge, instrument, decline)
    event_types = {"pending": "charge.pending", "failed": "charge.failed"}
    events.emit(books, event_types.get(kind, "charge.succeeded"), charge, cause)
    return charge


def settle(books: Books, charge: Object, cause: Cause) -> None:
    """Make a pending charge succeed, and emit the event."""
    charge.update(paid=True, status="succeeded")
    _credit(books, charge)
    details = charge["payment_method_details"]
    if details["type"] == "us_bank_account":
        details["us_bank_account"]["payment_reference"] = books.digits(15)
    events.emit(books, "charge.succeeded", charge, cause)


def fail(books: Books, charge: Object, decline: Decline, cause: Cause) -> None:
    """Make a pending charge fail, and emit the event."""
    charge.update(amount_captured=0, captured=False)
    _record_decline(charge, books.instruments[charge["payment_method"]], decline)
    events.emit(books, "charge.failed", charge, cause)


def capture(books: Books, charge: Object, amount: int, cause: Cause) -> None:
    """Capture `amount` (minor units) in all, release the rest, and emit the event.

    Since 2025-03-31.basil, the released rest is not a refund: neither `amount_refunded` nor the
    balance shows it. See: https://docs.stripe.com/changelog/basil (checked 2026-11)
    """
    new = amount - charge["amount_captured"]
    is_refunded = 0 < charge["amount_refunded"] == amount
    charge.update(captured=True, amount_captured=amount, refunded=is_refunded)
    if new:
        _credit(books, charge, new)
    events.emit(books, "charge.captured", charge, cause)


def capture_part(books: Books, charge: Object, amount: int, cause: Cause) -> None:
    """Capture `amount` (minor units) in all, keep the rest authorized, and emit the event.

    `captured` stays False until nothing is authorized any more.
    See: https://docs.stripe.com/payments/multicapture (checked 2026-11)
    """
    old = copy.deepcopy(charge)
    charge["amount_captured"] = amount
    _credit(books, charge, amount - old["amount_captured"])
    changed = events.differences(old, charge)
    events.emit(books, "charge.updated", charge, cause, previous=changed)


def expire(books: Books, charge: Object, cause: Cause) -> None:
    """Emit the event of an expired authorization. The charge itself does not change.

    See: https://docs.stripe.com/changelog/basil (checked 2026-11)
    """
    events.emit(books, "charge.expired", charge, cause)


def _credit_later(books: Books, charge: Object) -> None:
    """Book the money of an asynchronous capture after the answer, and emit the event.

    See: https://docs.stripe.com/payments/payment-intents/asynchronous-capture (checked 2026-11)
    """
    _credit(books, charge)
    events.emit(books, "charge.updated", charge, Cause(), previous={"balance_transaction": None})


def _credit(books: Books, charge: Object, amount: int | None = None) -> None:
    instrument = books.instruments[charge["payment_method"]]
    transaction = balance_transactions.book(
        books,
        "charge",
        charge,
        charge["amount_captured"] if amount is None else amount,
        method=instrument.type,
        description=charge["description"],
        at_once=isinstance(instrument, Card) and instrument.bypasses_pending,
    )
    charge["balance_transaction"] = transaction["id"]


# The object


def _new_charge(books: Books, intent: Object) -> Object:
    payment_method = books.payment_methods[intent["payment_method"]]
    suffix = intent["statement_descriptor_suffix"]
    is_card = payment_method["type"] == "card"
    return {
        "id": books.new_id("ch" if is_card else "py"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": copy.deepcopy(payment_method["billing_details"]),
        "calculated_statement_descriptor": _descriptor(suffix) if is_card else None,
        "captured": False,
        "created": books.now(),
        "currency": intent["currency"],
        "customer": None,
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _approved(books.instruments[payment_method["id"]]),
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": payment_method["id"],
        "payment_method_details": None,
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": copy.deepcopy(intent["shipping"]),
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": suffix,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def _descriptor(suffix: str | None) -> str:
    return f"{DESCRIPTOR}* {suffix}".upper() if suffix else DESCRIPTOR


def _approved(instrument: Instrument) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": instrument.risk_level if isinstance(instrument, Card) else "not_assessed",
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def _record_decline(charge: Object, instrument: Instrument, decline: Decline) -> None:
    charge.update(
        failure_code=decline.failure_code or decline.code,
        failure_message=decline.message,
        paid=False,
        status="failed",
    )
    charge["outcome"] = {
        **_approved(instrument),
        "advice_code": decline.advice_code,
        "network_decline_code": decline.network_decline_code,
        **(_BLOCKED[decline.blocked_by] if decline.blocked_by else _refused_by_bank(decline)),
    }


_BLOCKED = {
    "risk": {
        "network_status": "not_sent_to_network",
        "reason": "highest_risk_level",
        "seller_message": "Stripe blocked this payment as too risky.",
        "type": "blocked",
    },
    # (?): taken from what Stripe documents for payments that a rule blocks. See:
    # https://docs.stripe.com/declines#blocked-payments (checked 2026-11)
    "rule": {
        "network_status": "reversed_after_approval",
        "reason": "rule",
        "seller_message": "Stripe blocked this payment.",
        "type": "blocked",
    },
}


def _refused_by_bank(decline: Decline) -> Object:
    reason = decline.decline_code or decline.failure_code or decline.code
    return {
        "network_status": "declined_by_network",
        "reason": reason,
        "seller_message": (
            "The bank did not return any further details with this decline."
            if reason == "generic_decline"
            else f"The bank returned the decline code `{reason}`."
        ),
        "type": "issuer_declined",
    }


def _details(books: Books, charge: Object, *, failed: bool, authenticated: bool) -> Object:
    payment_method = books.payment_methods[charge["payment_method"]]
    kind = payment_method["type"]
    known = payment_method[kind]
    if kind == "card":
        details = _card_details(books, known, charge["amount"], failed=failed)
        instrument = books.instruments[payment_method["id"]]
        frictionless = isinstance(instrument, Card) and instrument.frictionless
        flow = "frictionless" if frictionless else "challenge"
        details["three_d_secure"] = _three_d_secure(books, known, flow) if authenticated else None
    elif kind == "us_bank_account":
        details = {
            **{key: known[key] for key in _US_BANK_ACCOUNT_KEYS},
            "expected_debit_date": None,
            "mandate": books.new_id("mandate"),
            "payment_reference": None,
        }
    elif kind == "amazon_pay":
        details = {"funding": copy.deepcopy(_FUNDING), "transaction_id": books.digits(16)}
    else:
        details = {
            **{key: known[key] for key in _SEPA_DEBIT_KEYS},
            "expected_debit_date": None,
            "mandate": books.new_id("mandate"),
        }
    return {kind: details, "type": kind}


_CARD_KEYS = (
    "brand",
    "checks",
    "country",
    "exp_month",
    "exp_year",
    "fingerprint",
    "funding",
    "last4",
    "regulated_status",
    "wallet",
)
_FUNDING = {
    "card": {
        "brand": "visa",
        "country": "US",
        "exp_month": 12,
        "exp_year": 2040,
        "funding": "credit",
        "last4": "4242",
    },
    "type": "card",
}
"""The card behind the customer's account at Amazon."""
_US_BANK_ACCOUNT_KEYS = (
    "account_holder_type",
    "account_type",
    "bank_name",
    "fingerprint",
    "last4",
    "routing_number",
)
_SEPA_DEBIT_KEYS = ("bank_code", "branch_code", "country", "fingerprint", "last4")


def _card_details(books: Books, card: Object, amount: int, *, failed: bool) -> Object:
    return {
        **copy.deepcopy({key: card[key] for key in _CARD_KEYS}),
        "amount_authorized": None if failed else amount,
        "authorization_code": books.digits(6),
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": books.digits(15),
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "transaction_link_id": None,
    }


def _three_d_secure(books: Books, card: Object, flow: str) -> Object:
    return {
        "authentication_flow": flow,
        "electronic_commerce_indicator": "02" if card["brand"] == "mastercard" else "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": str(UUID(int=books.random.getrandbits(128), version=4)),
        "version": "2.2.0",
    }


# Parameters

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "payment_intent": Param(parse=text()),
    **uncovered("customer", "transfer_group"),
}

RESOURCE = Resource(
    kind="charge",
    stored=lambda books: books.charges,
    expandable={
        "application": "application",
        "application_fee": "application_fee",
        "balance_transaction": "balance_transaction",
        "customer": "customer",
        "failure_balance_transaction": "balance_transaction",
        "on_behalf_of": "account",
        "payment_intent": "payment_intent",
        "refunds": Listing(kind="refund", page=refunds.page_of_charge),
        "review": "review",
        "source_transfer": "transfer",
        "transfer": "transfer",
        "transfer_data.destination": "account",
    },
)

ROUTES = routes(
    "/v1/charges",
    "charge",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
)
