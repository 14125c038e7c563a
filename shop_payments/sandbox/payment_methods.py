"""PaymentMethods: Stripe's test cards, by the names Stripe gives them.

As with Stripe, each use of a `pm_card_…` name makes a new PaymentMethod.

See: https://docs.stripe.com/testing (checked 2026-11)
"""

from __future__ import annotations

from dataclasses import dataclass

from .books import Books, Object
from .errors import ResourceMissing
from .resources import Resource


@dataclass(frozen=True, kw_only=True)
class Decline:
    """How a card is refused."""

    code: str
    message: str
    decline_code: str | None = None
    param: str | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card and what comes of charging it."""

    last4: str
    brand: str = "visa"
    decline: Decline | None = None
    authentication_required: bool = False


def _declined(last4: str, decline_code: str, message: str) -> Card:
    return Card(
        last4=last4,
        decline=Decline(code="card_declined", decline_code=decline_code, message=message),
    )


_GENERIC = _declined("0002", "generic_decline", "Your card was declined.")
_FUNDS = _declined("9995", "insufficient_funds", "Your card has insufficient funds.")

TEST_CARDS = {
    "pm_card_visa": Card(last4="4242"),
    "pm_card_visa_debit": Card(last4="5556"),
    "pm_card_mastercard": Card(last4="4444", brand="mastercard"),
    "pm_card_amex": Card(last4="8431", brand="amex"),
    "pm_card_chargeDeclined": _GENERIC,
    "pm_card_visa_chargeDeclined": _GENERIC,
    "pm_card_chargeDeclinedInsufficientFunds": _FUNDS,
    "pm_card_visa_chargeDeclinedInsufficientFunds": _FUNDS,
    "pm_card_chargeDeclinedExpiredCard": Card(
        last4="0069",
        decline=Decline(code="expired_card", message="Your card has expired.", param="exp_month"),
    ),
    "pm_card_chargeDeclinedIncorrectCvc": Card(
        last4="0127",
        decline=Decline(
            code="incorrect_cvc", message="Your card's security code is incorrect.", param="cvc"
        ),
    ),
    "pm_card_chargeDeclinedProcessingError": Card(
        last4="0119",
        decline=Decline(
            code="processing_error",
            message=("An error occurred while processing your card. Try again in a little bit."),
        ),
    ),
    "pm_card_authenticationRequired": Card(last4="3184", authentication_required=True),
}


def find_or_make(books: Books, name: str) -> Object:
    """Return a payment method by its id, or a new one for a test card's name.

    Raises:
        ResourceMissing: for anything else.
    """
    if name in TEST_CARDS:
        return _make(books, TEST_CARDS[name])
    if name not in books.payment_methods:
        raise ResourceMissing("PaymentMethod", name, param="payment_method")
    return books.payment_methods[name]


def _make(books: Books, card: Card) -> Object:
    payment_method: Object = {
        "id": books.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "card": _card(books, card),
        "created": books.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    books.payment_methods[payment_method["id"]] = payment_method
    books.cards[payment_method["id"]] = card
    return payment_method


def _card(books: Books, card: Card) -> Object:
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass",
        },
        "country": "US",
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": books.token(16),
        "funding": "credit",
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
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
        "card.brand",
        "card.checks",
        "card.country",
        "card.display_brand",
        "card.exp_month",
        "card.exp_year",
        "card.funding",
        "card.generated_from",
        "card.last4",
        "card.networks",
        "card.regulated_status",
        "card.three_d_secure_usage",
        "card.wallet",
        "created",
        "customer",
        "livemode",
        "type",
    ),
)
