"""What the pages say about an order: its state and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from shop_payments.balance import Refusal
from shop_payments.lifecycle import IntentStatus
from shop_payments.services import OrderView

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class State(StrEnum):
    """The value of ``data-payment-state``: a payment status of the order, or one of the others."""

    UNPAID = "unpaid"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"

    FAILED = "failed"
    IN_REVIEW = "in_review"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """The link has expired. The order's own state is not shown."""

    UNAVAILABLE = "unavailable"
    """The order could not be read, or Stripe could not be asked."""


@dataclass(frozen=True)
class Words:
    """The heading and the sentence for a state."""

    heading: _StrPromise
    sentence: _StrPromise


WORDS: dict[State, Words] = {
    State.UNPAID: Words(
        _("Not paid yet"), _("No payment for this order has been completed. You can pay it now.")
    ),
    State.PENDING: Words(
        _("Your payment is being processed"),
        _(
            "Your bank needs time to confirm the payment. With some payment methods, this takes "
            "several business days. Please do not pay again."
        ),
    ),
    State.AUTHORIZED: Words(
        _("Your payment is authorized"),
        _("The amount is reserved. The shop collects it later. You do not have to do anything."),
    ),
    State.PARTIALLY_PAID: Words(
        _("Your payment was received"), _("A part of the order is not paid yet.")
    ),
    State.PAID: Words(_("Thank you"), _("Your payment was received. The order is paid.")),
    State.PARTIALLY_REFUNDED: Words(
        _("The order is paid"), _("Your payment was received, and a part of it was refunded.")
    ),
    State.REFUNDED: Words(
        _("Your payment was refunded"),
        _("The money is on its way back to you. You do not have to pay anything."),
    ),
    State.FAILED: Words(
        _("The payment failed"),
        _("Nothing was charged. You can try again, or choose another payment method."),
    ),
    State.IN_REVIEW: Words(
        _("Your payment is being checked"),
        _(
            "A payment for this order was received. The shop will contact you. Please do not pay "
            "again."
        ),
    ),
    State.CANCELLED: Words(
        _("This order was cancelled"), _("The order can no longer be paid. Nothing was charged.")
    ),
    State.EXPIRED: Words(
        _("This payment link has expired"), _("Please ask the shop for another link.")
    ),
    State.UNAVAILABLE: Words(
        _("The payment is not available at the moment"),
        _("Please try again in a few minutes. If you have just paid, do not pay again."),
    ),
}

FREE = Words(_("Nothing to pay"), _("This order costs nothing."))

SETTLED = frozenset({State.PAID, State.PARTIALLY_REFUNDED, State.REFUNDED})
"""States that need no question to Stripe: the order is known as paid."""

_IN_REVIEW = frozenset(
    {Refusal.REFUND_PENDING, Refusal.DISPUTE_OPEN, Refusal.UNKNOWN_INTENT, Refusal.UNCOUNTED}
)
_ON_ITS_WAY = frozenset({State.PENDING, State.AUTHORIZED})


def state_of(view: OrderView) -> State:
    """Return the state of an order as it is stored here."""
    state = State(view.payment_status)
    if state in SETTLED:
        return state
    if view.refusal == Refusal.NOT_PAYABLE:
        has_money = view.needs_review or state in _ON_ITS_WAY or state == State.PARTIALLY_PAID
        return State.IN_REVIEW if has_money else State.CANCELLED
    if view.refusal in _IN_REVIEW:
        return State.IN_REVIEW
    if view.payable or state in _ON_ITS_WAY or view.refusal == Refusal.FREE:
        return state
    return State.UNAVAILABLE


def has_failed(view: OrderView) -> bool:
    """Return whether the last thing that happened is a payment that failed."""
    row = view.payment_intent
    return (
        row is not None
        and row.status == IntentStatus.REQUIRES_PAYMENT_METHOD
        and row.last_error_code != ""
    )


def words_for(state: State, view: OrderView | None) -> Words:
    """Return the words for a state."""
    if view is not None and view.refusal == Refusal.FREE:
        return FREE
    return WORDS[state]
