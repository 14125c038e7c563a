"""What staff read of a payment: the end of a history line, what does not fit, and what to do.

A status of an intent keeps its name, so that it can be looked up, and says beside it what it means.
Other codes of Stripe's speak for themselves, without their underscores.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shop_payments.lifecycle import Claim, DisputeState, IntentStatus, Verdict
from shop_payments.models import PaymentIntent, ReviewItem
from shop_payments.money import display_amount

if TYPE_CHECKING:
    from shop_payments.gateway import LastPaymentError

SUGGESTIONS: dict[str, str] = {
    ReviewItem.Reason.AMOUNT_MISMATCH: (
        "Compare the order with the payment; refund the difference or collect what is missing."
    ),
    ReviewItem.Reason.CURRENCY_MISMATCH: "Refund the payment and let the customer pay again.",
    ReviewItem.Reason.WRONG_MODE: (
        "Check STRIPE_SECRET_KEY and the webhook endpoint: one is in test mode, one in live mode."
    ),
    ReviewItem.Reason.PAID_TWICE: "Refund this payment; the order keeps the first one.",
    ReviewItem.Reason.ORDER_NOT_PAYABLE: "Refund the payment, or take the order up again.",
    ReviewItem.Reason.INTENT_MISSING: (
        "Check that STRIPE_SECRET_KEY belongs to the account that took the payment. Decide only if"
        " it does, or if that account takes no money any more: the order then gets a new payment."
    ),
    ReviewItem.Reason.AUTHORIZATION_EXPIRES: "Capture the payment now, or cancel it.",
    ReviewItem.Reason.REFUND_FAILED: (
        "The money is back in the Stripe balance. Agree with the customer on another way."
    ),
    ReviewItem.Reason.DISPUTED: (
        "Answer with evidence in Stripe's dashboard before it is due, or accept the loss there."
    ),
}
"""What a person may do, by the reason of the review."""

_TRACES = re.compile(r"\S+@\S+|\+?\d[\d ()./-]{4,}\d")
"""E-mail addresses; numbers of telephones, accounts and cards."""

_STATUSES: dict[str, str] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: "the customer may try again, or with another card",
    IntentStatus.REQUIRES_CONFIRMATION: "a card is there, and the customer has yet to confirm",
    IntentStatus.REQUIRES_ACTION: "the customer's bank asks them to approve the payment",
    IntentStatus.PROCESSING: "the bank is at it, which may take days",
    IntentStatus.REQUIRES_CAPTURE: "the money is reserved and waits for capture",
    IntentStatus.CANCELED: "no money will come of this payment intent",
}


def speak(code: str) -> str:
    """Say a code of Stripe's as words."""
    return code.replace("_", " ")


def describe_status(status: str) -> str:
    """Name a status and say what it means, as far as it is known."""
    meaning = _STATUSES.get(status)
    return f"{status} ({meaning})" if meaning else status


_DISPUTES: dict[str, str] = {
    DisputeState.INQUIRY: "the customer's bank asks; no money has moved, and a refund settles it",
    DisputeState.OPEN: "the customer's bank holds the money until it has decided",
    DisputeState.WON: "the customer's bank has given the money back",
    DisputeState.LOST: "the customer's bank keeps the money",
    DisputeState.NONE: "it came to nothing",
}


def describe_dispute(state: str) -> str:
    """Name the state of a dispute and say what it means."""
    meaning = _DISPUTES[DisputeState(state)]
    return f"{state} ({meaning})" if state else meaning


def describe_failure(error: LastPaymentError) -> str:
    """Quote Stripe's words, which are meant for the customer, and name the reason's code.

    The history stays for ever, and may hold nothing by which a person can be found. Stripe's words
    are the same for everybody; an address or a number that is among them all the same is left out.
    """
    code = error.decline_code or error.code
    return f'"{_TRACES.sub("…", error.message)}" ({code})' if error.message else code


def describe_received(intent: PaymentIntent) -> str:
    """Say how much has come, and with which payment intent."""
    received = display_amount(intent.amount_received, intent.currency)
    return f"{received} received with {intent.stripe_id}"


def describe_misfit(intent: PaymentIntent, claim: Claim, *, paid_by: PaymentIntent | None) -> str:
    """Say why money that has come does not pay its order.

    ``paid_by`` is the intent that had paid the order before.
    """
    due = str(claim.amount_due) if claim.amount_due else "an amount that cannot be paid"
    mode, other = ("live", "test") if intent.livemode else ("test", "live")
    reasons = {
        Verdict.WRONG_MODE: f"in {mode} mode, but the key in use is for {other} mode",
        Verdict.PAID_TWICE: f"but {paid_by.stripe_id if paid_by else 'another'} had paid the order",
        Verdict.ORDER_NOT_PAYABLE: "but the order was cancelled, empty or free by then",
    }
    because = reasons.get(Verdict(intent.verdict), f"but {due} was due")
    comma = "" if intent.verdict == Verdict.WRONG_MODE else ","
    return f"{describe_received(intent)}{comma} {because}"
