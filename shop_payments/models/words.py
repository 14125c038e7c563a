"""Codes and times as words: a status with its meaning, a code of Stripe, a moment.

A status of an intent is shown by its name, so that it can be looked up, with its meaning beside it.
Other codes of Stripe are clear enough without their underscores.
"""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.lifecycle import DisputeState, IntentStatus

_STATUSES: dict[str, Promise] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: _("the customer may try again, or use another card"),
    IntentStatus.REQUIRES_CONFIRMATION: _(
        "a card was entered, and the customer has yet to confirm"
    ),
    IntentStatus.REQUIRES_ACTION: _("the customer's bank asks them to approve the payment"),
    IntentStatus.PROCESSING: _("the bank has not answered yet, which may take days"),
    IntentStatus.REQUIRES_CAPTURE: _("the money is reserved and waits for capture"),
    IntentStatus.CANCELED: _("this payment intent will not bring any money"),
}

_DISPUTES: dict[str, Promise] = {
    DisputeState.INQUIRY: _(
        "the customer's bank asks; no money has moved, and a refund settles it"
    ),
    DisputeState.OPEN: _("the customer's bank holds the money until it has decided"),
    DisputeState.WON: _("the customer's bank has returned the money"),
    DisputeState.LOST: _("the customer's bank keeps the money"),
    DisputeState.NONE: _("it ended without a dispute"),
}


def humanize(code: str) -> str:
    """Return a code of Stripe as words."""
    return code.replace("_", " ")


def describe_status(status: str) -> str:
    """Return a status of an intent with its meaning, if it is known."""
    return _with_meaning(status, _STATUSES.get(status))


def describe_dispute(state: str) -> str:
    """Return the state of a dispute with its meaning."""
    meaning = _DISPUTES[DisputeState(state)]
    return _with_meaning(state, meaning) if state else str(meaning)


def _with_meaning(code: str, meaning: Promise | None) -> str:
    if meaning is None:
        return code
    return gettext("%(code)s (%(meaning)s)") % {"code": code, "meaning": meaning}


# --- payment methods ----------------------------------------------------------------------------

_NAMES: dict[str, str] = {
    "ach_credit_transfer": "ACH credit transfer",
    "acss_debit": "ACSS debit",
    "amex": "American Express",
    "amex_express_checkout": "Amex Express Checkout",
    "au_becs_debit": "BECS debit",
    "bacs_debit": "Bacs debit",
    "blik": "BLIK",
    "cashapp": "Cash App Pay",
    "diners": "Diners Club",
    "eftpos_au": "eftpos Australia",
    "eps": "EPS",
    "fpx": "FPX",
    "giropay": "giropay",
    "ideal": "iDEAL",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "mobilepay": "MobilePay",
    "oxxo": "OXXO",
    "p24": "Przelewy24",
    "paynow": "PayNow",
    "paypal": "PayPal",
    "promptpay": "PromptPay",
    "sepa_debit": "SEPA debit",
    "twint": "TWINT",
    "unionpay": "UnionPay",
    "upi": "UPI",
    "us_bank_account": "US bank account",
    "wechat_pay": "WeChat Pay",
}
"""Names that are written in another way than their codes."""


def method_name(code: str) -> str:
    """Return the name of a type of payment method, a card brand or a wallet."""
    name = humanize(code)
    # Brand names are the same in all languages.
    return gettext("card") if code == "card" else _NAMES.get(code, name.title())


def code_of_brand(name: str) -> str:
    """Return the code of the card brand that is written like this, in any case."""
    written = name.strip().lower()
    return next((code for code, known in _NAMES.items() if known.lower() == written), written)


def describe_method(method_type: str, card_brand: str, last4: str, wallet: str) -> str:
    """Describe how a charge was paid, for example ``Visa •4242, Apple Pay``."""
    known_brand = card_brand if card_brand != "unknown" else ""
    name = method_name(known_brand or method_type)
    text = f"{name} •{last4}" if last4 else name
    return f"{text}, {method_name(wallet)}" if wallet else text


# --- times --------------------------------------------------------------------------------------


def local_time(moment: datetime) -> datetime:
    """Return a stored time in the current time zone, always aware, so that the zone can be named.

    With ``USE_TZ = False``, stored times are naive and in the project's zone.
    """
    return timezone.localtime(_aware(moment))


def stored_moment(moment: datetime | None) -> str | None:
    """Return a time as text in ISO format with its zone, to store it among the figures."""
    return None if moment is None else _aware(moment).isoformat()


def describe_moment(stored: str) -> str:
    """Format a time of :func:`stored_moment` in the current time zone, with its name."""
    return f"{local_time(datetime.fromisoformat(stored)):%Y-%m-%d %H:%M %Z}"


def _aware(moment: datetime) -> datetime:
    if timezone.is_naive(moment):
        return timezone.make_aware(moment, timezone.get_default_timezone())
    return moment
