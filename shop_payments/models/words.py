"""Codes, amounts and times as words: a status with its meaning, a code of Stripe, a moment.

A status of an intent is shown by its name, so that it can be looked up, with its meaning beside it.
Other codes of Stripe are clear enough without their underscores, in English. Those that Stripe
documents are translated; a newer one is shown in English.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from django.db.models import Model
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from shop_payments.lifecycle import DisputeState, IntentStatus
from shop_payments.money import format_amount

_STATUSES: dict[str, Promise] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: _("the customer may try again, or use another card"),
    IntentStatus.REQUIRES_CONFIRMATION: _(
        "a card was entered, but the customer has not confirmed the payment yet"
    ),
    IntentStatus.REQUIRES_ACTION: _("the customer's bank asks them to approve the payment"),
    IntentStatus.PROCESSING: _("the bank has not answered yet, which may take days"),
    IntentStatus.REQUIRES_CAPTURE: _("the money is reserved and waits for capture"),
    IntentStatus.CANCELED: _("no money will be received with this payment intent"),
}

_DISPUTES: dict[str, Promise] = {
    DisputeState.INQUIRY: _(
        "the customer's bank has made an inquiry; no money has moved, and a refund settles the "
        "inquiry"
    ),
    DisputeState.OPEN: _("the customer's bank holds the money until it has decided"),
    DisputeState.WON: _("the customer's bank has returned the money"),
    DisputeState.LOST: _("the customer's bank keeps the money"),
    DisputeState.NONE: _("the inquiry ended without a dispute"),
}


_CODES = frozenset(
    (
        # Statuses of payment intents, refunds and disputes, and states of disputes.
        gettext_noop("requires payment method"),
        gettext_noop("requires confirmation"),
        gettext_noop("requires action"),
        gettext_noop("processing"),
        gettext_noop("requires capture"),
        gettext_noop("succeeded"),
        gettext_noop("canceled"),
        gettext_noop("missing"),
        gettext_noop("pending"),
        gettext_noop("failed"),
        gettext_noop("requested"),
        gettext_noop("refused"),
        gettext_noop("warning needs response"),
        gettext_noop("warning under review"),
        gettext_noop("warning closed"),
        gettext_noop("needs response"),
        gettext_noop("under review"),
        gettext_noop("prevented"),
        gettext_noop("inquiry"),
        gettext_noop("open"),
        gettext_noop("won"),
        gettext_noop("lost"),
        # Why a payment intent was cancelled, or a refund was made.
        gettext_noop("abandoned"),
        gettext_noop("automatic"),
        gettext_noop("duplicate"),
        gettext_noop("expired"),
        gettext_noop("expired uncaptured charge"),
        gettext_noop("failed invoice"),
        gettext_noop("fraudulent"),
        gettext_noop("requested by customer"),
        gettext_noop("void invoice"),
        # Why a refund failed.
        gettext_noop("charge for pending refund disputed"),
        gettext_noop("declined"),
        gettext_noop("expired or canceled card"),
        gettext_noop("insufficient funds"),
        gettext_noop("lost or stolen card"),
        gettext_noop("merchant request"),
        gettext_noop("unknown"),
        # Why a payment is disputed.
        gettext_noop("bank cannot process"),
        gettext_noop("check returned"),
        gettext_noop("credit not processed"),
        gettext_noop("customer initiated"),
        gettext_noop("debit not authorized"),
        gettext_noop("general"),
        gettext_noop("incorrect account details"),
        gettext_noop("noncompliant"),
        gettext_noop("product not received"),
        gettext_noop("product unacceptable"),
        gettext_noop("subscription canceled"),
        gettext_noop("unrecognized"),
        # Early fraud warnings, and reviews of Radar.
        gettext_noop("card never received"),
        gettext_noop("fraudulent card application"),
        gettext_noop("made with counterfeit card"),
        gettext_noop("made with lost card"),
        gettext_noop("made with stolen card"),
        gettext_noop("misc"),
        gettext_noop("unauthorized use of card"),
        gettext_noop("acknowledged"),
        gettext_noop("approved"),
        gettext_noop("disputed"),
        gettext_noop("manual"),
        gettext_noop("payment never settled"),
        gettext_noop("redacted"),
        gettext_noop("refunded"),
        gettext_noop("refunded as fraud"),
        gettext_noop("rule"),
        # What moved on the Stripe balance, and what was looked up.
        gettext_noop("charge"),
        gettext_noop("charge failure"),
        gettext_noop("dispute"),
        gettext_noop("dispute reversal"),
        gettext_noop("fee"),
        gettext_noop("partial capture reversal"),
        gettext_noop("refund"),
        gettext_noop("refund failure"),
        gettext_noop("disputes"),
        gettext_noop("early fraud warnings"),
        gettext_noop("refunds"),
        gettext_noop("reviews"),
        # Why a payment was declined, or a request was refused.
        gettext_noop("amount too large"),
        gettext_noop("amount too small"),
        gettext_noop("approve with id"),
        gettext_noop("authentication not handled"),
        gettext_noop("authentication required"),
        gettext_noop("call issuer"),
        gettext_noop("card declined"),
        gettext_noop("card not supported"),
        gettext_noop("card velocity exceeded"),
        gettext_noop("charge already refunded"),
        gettext_noop("charge disputed"),
        gettext_noop("currency not supported"),
        gettext_noop("do not honor"),
        gettext_noop("do not try again"),
        gettext_noop("duplicate transaction"),
        gettext_noop("expired card"),
        gettext_noop("generic decline"),
        gettext_noop("incorrect cvc"),
        gettext_noop("incorrect number"),
        gettext_noop("incorrect pin"),
        gettext_noop("incorrect zip"),
        gettext_noop("invalid account"),
        gettext_noop("invalid amount"),
        gettext_noop("invalid cvc"),
        gettext_noop("invalid expiry month"),
        gettext_noop("invalid expiry year"),
        gettext_noop("invalid number"),
        gettext_noop("invalid pin"),
        gettext_noop("issuer not available"),
        gettext_noop("lost card"),
        gettext_noop("merchant blacklist"),
        gettext_noop("new account information available"),
        gettext_noop("no action taken"),
        gettext_noop("not permitted"),
        gettext_noop("offline pin required"),
        gettext_noop("online or offline pin required"),
        gettext_noop("payment intent authentication failure"),
        gettext_noop("payment intent payment attempt failed"),
        gettext_noop("payment method not available"),
        gettext_noop("payment method provider decline"),
        gettext_noop("pickup card"),
        gettext_noop("pin try exceeded"),
        gettext_noop("processing error"),
        gettext_noop("reenter transaction"),
        gettext_noop("resource missing"),
        gettext_noop("restricted card"),
        gettext_noop("revocation of all authorizations"),
        gettext_noop("revocation of authorization"),
        gettext_noop("security violation"),
        gettext_noop("service not allowed"),
        gettext_noop("stolen card"),
        gettext_noop("stop payment order"),
        gettext_noop("testmode decline"),
        gettext_noop("transaction not allowed"),
        gettext_noop("try again later"),
        gettext_noop("withdrawal count limit exceeded"),
    )
)
"""Stripe's codes without their underscores, as far as they are translated.

See: https://docs.stripe.com/declines/codes and the pages of the objects (checked 2026-11)
"""


def humanize(code: str) -> str:
    """Return a code of Stripe as words, in the active language if it is a known one."""
    words = code.replace("_", " ")
    # Not any text: a newer code may happen to be a word that means something else here.
    return gettext(words) if words in _CODES else words


def describe_status(status: str) -> str:
    """Return a status of an intent with its meaning, if it is known."""
    return _with_meaning(humanize(status), _STATUSES.get(status))


def describe_dispute(state: str) -> str:
    """Return the state of a dispute with its meaning."""
    meaning = _DISPUTES[DisputeState(state)]
    return _with_meaning(humanize(state), meaning) if state else str(meaning)


def _with_meaning(words: str, meaning: Promise | None) -> str:
    if meaning is None:
        return words
    return gettext("%(code)s (%(meaning)s)") % {"code": words, "meaning": meaning}


# --- an order that could not be read ------------------------------------------------------------

_READ = {
    "amount_to_pay_now": _("the amount to pay now"),
    "capture_method": _("how its money is captured"),
    "is_payable": _("whether it can be paid"),
    "line_items": _("its lines"),
    "number": _("its number"),
    "receipt_email": _("its e-mail address"),
    "total": _("its total"),
}
"""What the shop's code was asked for, by the method of ``OrderAdapter``."""


def describe_unreadable(method: str, cause: str) -> str:
    """Return why an order could not be read, given the parts of ``OrderUnreadable``."""
    if cause == "negative_total":
        return gettext("The shop's code reports a total below 0 for the order")
    if cause == "currency_changed":
        return gettext("The order's currency has changed since the order was paid")
    what = _READ.get(method)
    if what is None:
        return gettext("The shop's code failed while reading the order")
    return gettext("The shop's code failed while reading the order (%(what)s)") % {"what": what}


# --- choices ------------------------------------------------------------------------------------


def choice_label(row: Model, name: str) -> str:
    """Return the label of a field's value, as ``get_FOO_display()`` does.

    Django's method translates the labels of all choices each time, which took up to a third of the
    time of a list.
    """
    value = getattr(row, name)
    return str(_labels_of(type(row), name).get(value, value))


@cache
def _labels_of(model: type[Model], name: str) -> dict[Any, Any]:
    field: Any = model._meta.get_field(name)
    return dict(field.flatchoices)


# --- amounts ------------------------------------------------------------------------------------


def amount_words(amount: int, currency: str) -> str:
    """Return minor units with their currency, with the decimal separator of the active language.

    Errors of the API and files use ``money.display_amount``, which always writes a point.
    """
    return f"{amount_number(amount, currency)} {currency.upper()}"


def amount_number(amount: int, currency: str) -> str:
    """Return minor units as :func:`amount_words` does, without the currency."""
    # Without thousands separators, so that staff can copy it into a form.
    separator = str(formats.get_format("DECIMAL_SEPARATOR"))
    return format_amount(amount, currency).replace(".", separator)


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


def describe_payment(
    amount: int, currency: str, method: str, paid_at: datetime | None, created_at: datetime
) -> str:
    """Describe a payment by what people know: its amount, how it was paid, and the day."""
    day = formats.date_format(local_time(paid_at or created_at).date())
    return ", ".join(filter(None, [amount_words(amount, currency), method, day]))


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
    """Format a time of :func:`stored_moment` as :func:`moment_words` does."""
    return moment_words(datetime.fromisoformat(stored))


def moment_words(moment: datetime) -> str:
    """Format a time in the active language and the current time zone, with the zone's name."""
    local = local_time(moment)
    # Without its zone, localize() does not convert it a second time.
    return f"{formats.localize(local.replace(tzinfo=None))} {local.tzname()}"


def _aware(moment: datetime) -> datetime:
    if timezone.is_naive(moment):
        return timezone.make_aware(moment, timezone.get_default_timezone())
    return moment
