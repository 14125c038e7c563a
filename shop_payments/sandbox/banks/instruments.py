"""What is behind a PaymentMethod: a card, a bank account or a page for customers to authorize on.

The test cards are in `cards`, the test accounts in `bank_accounts`.

See: https://docs.stripe.com/testing (checked 2026-11)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Decline:
    """How a payment is refused."""

    code: str
    message: str
    decline_code: str | None = None
    """Only for `card_declined` and `authentication_required`."""
    param: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    failure_code: str | None = None
    """The failure code of the charge, if it differs from `code`."""
    blocked_by: Literal["risk", "rule"] | None = None
    """Stripe Radar blocked the payment: for its risk, before the bank was asked, or by the rule for
    a failed CVC check, after the bank had approved it."""

    @property
    def is_of_card(self) -> bool:
        """Return whether the error is a `card_error`."""
        return self.decline_code is not None or self.code in _CARD_ERRORS


_CARD_ERRORS = ("expired_card", "incorrect_cvc", "processing_error")
"""Codes for which Stripe gives no decline code."""


Funding = Literal["credit", "debit", "prepaid"]
Check = Literal["pass", "fail", "unavailable"]
"""The result of a check of the CVC or the address."""

RefundBehaviour = Literal["succeeds", "pending", "fails"]
"""`pending` refunds succeed later. Refunds that `fails` succeed first and fail later."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card and what happens when it is charged."""

    number: str
    brand: str = "visa"
    country: str = "US"
    funding: Funding = "credit"
    co_brand: str | None = None
    """The second brand of a co-branded card."""
    cvc_given: bool = True
    line1_check: Check = "pass"
    """The result of the check of the first address line, if one is given."""
    postal_code_check: Check = "pass"
    """The result of the check of the postal code, if one is given."""
    decline: Decline | None = None
    risk_level: Literal["normal", "elevated", "highest"] = "normal"
    challenge: bool = False
    """The customer has to authenticate (3D Secure)."""
    challenge_off_session: bool = False
    """The bank also requires it off session, so off-session payments fail."""
    challenge_if_requested: bool = False
    """The customer has to authenticate only if the shop requests it."""
    decline_if_requested: Decline | None = None
    """The payment is declined if the shop requests an authentication."""
    frictionless: bool = False
    """The bank authenticates the customer without asking (3D Secure)."""
    supports_3ds: bool = True
    refund: RefundBehaviour = "succeeds"
    dispute: Literal["fraudulent", "product_not_received", "inquiry"] | None = None
    """The dispute that the bank opens after a charge."""
    warns: bool = False
    """The issuer sends an early fraud warning after a charge."""
    bypasses_pending: bool = False
    """The money is available immediately."""

    type = "card"

    @property
    def last4(self) -> str:
        """Return the last four digits."""
        return self.number[-4:]

    def without_cvc(self) -> Card:
        """Return the card for a payment without a CVC: what is not checked cannot fail."""
        fails = self.decline is not None and self.decline.code == "incorrect_cvc"
        return replace(self, cvc_given=False, decline=None if fails else self.decline)


@dataclass(frozen=True, kw_only=True)
class BankAccount:
    """A bank account to debit. The bank answers later."""

    type: Literal["us_bank_account", "sepa_debit"]
    number: str
    country: str
    decline: Decline | None = None
    refund: RefundBehaviour = "succeeds"
    settles_after: float | None = 180
    """Seconds until the bank's answer; None for never. In Stripe's test mode it takes minutes."""

    @property
    def last4(self) -> str:
        """Return the last four digits."""
        return self.number[-4:]

    @property
    def currency(self) -> str:
        """Return the only currency of the payment method."""
        return {"us_bank_account": "usd", "sepa_debit": "eur"}[self.type]


@dataclass(frozen=True, kw_only=True)
class RedirectMethod:
    """A payment method that customers authorize on another page, to which they are redirected."""

    type: Literal["amazon_pay"]
    decline: Decline | None = None
    refund: RefundBehaviour = "succeeds"


Instrument = Card | BankAccount | RedirectMethod
