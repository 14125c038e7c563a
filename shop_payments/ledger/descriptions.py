"""Texts about a payment for staff: details of history lines, problems, and what to do.

A status of an intent is shown by its name, so that it can be looked up, with its meaning beside it.
Other codes of Stripe are clear enough without their underscores.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from shop_payments.balance import Balance
from shop_payments.conf import get_config
from shop_payments.lifecycle import DisputeState, IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.money import display_amount

if TYPE_CHECKING:
    from shop_payments.gateway import LastPaymentError, PaymentIntentResult

WAIT_FOR_THE_BANK = (
    "Wait until the customer's bank has decided: a disputed payment cannot be refunded."
)
"""Put before the suggestion to refund money of such a payment."""

LOST_TO_THE_BANK = (
    "Stripe does not refund a payment that was lost in a dispute: return the money in another way"
    " and settle it outside Stripe."
)
"""Replaces the suggestion to refund money of such a payment.

See: https://docs.stripe.com/error-codes (charge_disputed; checked 2026-11)
"""

_TRACES = re.compile(r"\S+@\S+|\+?\d[\d ()./-]{4,}\d")
"""E-mail addresses; telephone, account and card numbers."""

_STATUSES: dict[str, str] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: "the customer may try again, or use another card",
    IntentStatus.REQUIRES_CONFIRMATION: "a card was entered, and the customer has yet to confirm",
    IntentStatus.REQUIRES_ACTION: "the customer's bank asks them to approve the payment",
    IntentStatus.PROCESSING: "the bank has not answered yet, which may take days",
    IntentStatus.REQUIRES_CAPTURE: "the money is reserved and waits for capture",
    IntentStatus.CANCELED: "this payment intent will not bring any money",
}


def local_time(moment: datetime) -> datetime:
    """Return a stored time in the current time zone, always aware, so that the zone can be named.

    With ``USE_TZ = False``, stored times are naive and in the project's zone.
    """
    if timezone.is_naive(moment):
        return timezone.make_aware(moment, timezone.get_default_timezone())
    return timezone.localtime(moment)


def describe_moment(moment: datetime) -> str:
    """Format a time for a stored text: in the project's time zone, with its name.

    The current zone may be that of a customer's request.
    """
    local = local_time(moment).astimezone(timezone.get_default_timezone())
    return f"{local:%Y-%m-%d %H:%M %Z}"


def humanize(code: str) -> str:
    """Return a code of Stripe as words."""
    return code.replace("_", " ")


def describe_status(status: str) -> str:
    """Return a status with its meaning, if it is known."""
    meaning = _STATUSES.get(status)
    return f"{status} ({meaning})" if meaning else status


_DISPUTES: dict[str, str] = {
    DisputeState.INQUIRY: "the customer's bank asks; no money has moved, and a refund settles it",
    DisputeState.OPEN: "the customer's bank holds the money until it has decided",
    DisputeState.WON: "the customer's bank has returned the money",
    DisputeState.LOST: "the customer's bank keeps the money",
    DisputeState.NONE: "it ended without a dispute",
}


def describe_dispute(state: str) -> str:
    """Return the state of a dispute with its meaning."""
    meaning = _DISPUTES[DisputeState(state)]
    return f"{state} ({meaning})" if state else meaning


def describe_failure(error: LastPaymentError) -> str:
    """Return Stripe's message, which is meant for the customer, with the code of the reason.

    The history is never purged, so it must not contain personal data. Stripe's messages are the
    same for all customers; addresses and numbers are removed in case one contains them.
    """
    code = error.decline_code or error.code
    return f'"{_TRACES.sub("…", error.message)}" ({code})' if error.message else code


def describe_received(intent: PaymentIntent) -> str:
    """Return how much was received, and with which payment intent."""
    received = display_amount(intent.amount_received, intent.currency)
    return f"{received} received with {intent.stripe_id}"


def describe_unknown(intent: PaymentIntentResult) -> str:
    """Return what Stripe says about an intent that has no row here."""
    amount = display_amount(intent.amount, intent.currency)
    status = describe_status(intent.status)
    words = [f"{intent.id} of {amount} names this order; its status is {status}"]
    if intent.amount_received:
        words.append(f"{display_amount(intent.amount_received, intent.currency)} received")
    if intent.amount_refunded:
        words.append(f"{display_amount(intent.amount_refunded, intent.currency)} refunded")
    if intent.is_disputed:
        words.append("disputed by the customer's bank")
    return ", ".join(words)


def describe_excess(
    intent: PaymentIntent, amount: int, balance: Balance, payment: OrderPayment
) -> tuple[str, str]:
    """Return how much more was received than the order costs, and what to do about it."""
    currency = payment.currency
    excess, total = display_amount(amount, currency), display_amount(balance.total, currency)
    detail = f"{describe_received(intent)}; the order costs {total}, so {excess} is too much"
    suggestion = f"Refund {excess}."
    if _looks_like_a_remainder(intent, balance):
        detail = (
            "OrderAdapter.total() seems to return what is left to pay, not what the order costs"
            f" in all: {detail}"
        )
        suggestion = f"If that is so, correct the adapter. Otherwise refund {excess}."
    return detail, suggestion


def _looks_like_a_remainder(intent: PaymentIntent, balance: Balance) -> bool:
    """Return whether the total fell by exactly the first payment when that was received.

    An adapter that wrongly returns the outstanding amount shows this pattern.
    """
    seen = intent.total_seen
    is_first = balance.received == intent.amount_received
    return (
        is_first
        and seen is not None
        and (balance.total == max(0, seen - intent.amount_received) != seen)
    )


def describe_uncounted(
    intent: PaymentIntent, amount: int, payment: OrderPayment
) -> tuple[str, str]:
    """Return why received money does not count, and what to do about it."""
    money = display_amount(amount, intent.currency)
    received = describe_received(intent)
    if amount != intent.amount_received:
        received = f"{received}, {money} of it is still there"
    if intent.livemode != get_config().livemode:
        return f"{received} in test mode, but the key in use is for live mode", (
            "No real money was received. Settle it outside Stripe, with that as the reason."
        )
    if not intent.has_succeeded:
        return f"{received}, and then the payment intent was cancelled", (
            f"Refund {money} and let the customer pay again. If the shop keeps it, settle it"
            " outside Stripe, with the reason."
        )
    if payment.currency and intent.currency != payment.currency:
        total = display_amount(payment.total or 0, payment.currency)
        return f"{received}, but the order costs {total}", (
            f"Refund {money} and let the customer pay again."
        )
    return f"{received}, but the shop wants no money for the order", (
        f"Refund {money}, or open the order again: then it counts."
    )


def describe_rest(balance: Balance, currency: str) -> str:
    """Return what was received and what is owed for an order that the shop no longer wants."""
    received = display_amount(balance.paid, currency)
    owed = display_amount(balance.owed, currency)
    return f"{received} received, {owed} owed, and the shop wants no more: refund or waive"
