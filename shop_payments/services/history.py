"""Facts: written with the change they describe, told to the host after the commit.

Note [Telling the host]
~~~~~~~~~~~~~~~~~~~~~~~
A fact is inserted in the transaction that makes it true and dispatched once that transaction is
committed. ``dispatched_at`` is set when every receiver has returned. A process killed in between,
or a receiver that raises, leaves it empty, and the sweeper tells it again: exactly once where
nothing failed, at least once where something did.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shop_payments import signals
from shop_payments.models import (
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Source,
)
from shop_payments.orders import get_order_adapter

if TYPE_CHECKING:
    from django.dispatch import Signal

logger = logging.getLogger("shop_payments")

SIGNALS: dict[str, Signal] = {
    FactKind.PAYMENT_RECEIVED: signals.payment_received,
    FactKind.ORDER_PAID: signals.order_paid,
    FactKind.PAYMENT_FAILED: signals.payment_failed,
    FactKind.PAYMENT_PROCESSING: signals.payment_processing,
    FactKind.PAYMENT_AUTHORIZED: signals.payment_authorized,
    FactKind.ORDER_REFUNDED: signals.order_refunded,
    FactKind.REFUND_FAILED: signals.refund_failed,
    FactKind.DISPUTE_OPENED: signals.dispute_opened,
    FactKind.DISPUTE_CLOSED: signals.dispute_closed,
    FactKind.REVIEW_NEEDED: signals.review_needed,
}
"""The facts that the host is told of."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a change comes from, for the history."""

    source: Source
    actor: str = ""
    """Who: a user, an API key's prefix, an event's id."""


def build_fact(
    kind: FactKind,
    *,
    order_payment: OrderPayment,
    payment_intent: PaymentIntent | None,
    origin: Origin,
    request_id: str = "",
    **data: Any,
) -> PaymentHistory:
    """Return a fact, to be inserted in the transaction that makes it true."""
    return PaymentHistory(
        kind=kind,
        order_payment=order_payment,
        payment_intent=payment_intent,
        source=origin.source,
        actor=origin.actor[:255],
        request_id=request_id[:255],
        data=data,
        needs_dispatch=kind in SIGNALS,
    )


def dispatch(facts: Iterable[PaymentHistory]) -> None:
    """Notify the host of committed facts, in order. See Note [Telling the host].

    Never raises: a receiver's exception is logged, and the fact stays undispatched.
    """
    waiting = [fact for fact in facts if fact.needs_dispatch and fact.dispatched_at is None]
    delivered = [fact for fact in waiting if _dispatch_one(fact)]
    try:
        PaymentHistory.objects.mark_dispatched(delivered)
    except Exception:
        # The payment is committed and stays; whatever is broken here must not undo the answer.
        logger.exception("Facts were dispatched and could not be marked; they are sent again")


def _dispatch_one(fact: PaymentHistory) -> bool:
    try:
        order = fact.order_payment.order
        return _tell_adapter(fact, order) & _tell_receivers(fact, order)
    except Exception:
        logger.exception("Fact %s could not be dispatched; it stays undispatched", fact.fact_id)
        return False


def _tell_adapter(fact: PaymentHistory, order: Any) -> bool:
    about: dict[str, Any] = {
        "order_payment": fact.order_payment,
        "payment_intent": fact.payment_intent,
        "amount": fact.data.get("amount"),
        "fact_id": fact.fact_id,
    }
    data = fact.data
    try:
        if fact.kind == FactKind.PAYMENT_RECEIVED:
            get_order_adapter().on_payment_received(order, outstanding=data["outstanding"], **about)
        elif fact.kind == FactKind.ORDER_PAID:
            get_order_adapter().on_paid(order, total=data["total"], **about)
        elif fact.kind == FactKind.ORDER_REFUNDED:
            get_order_adapter().on_refunded(order, goods=data["goods"], **about)
    except Exception:
        logger.exception(
            "OrderAdapter raised for %s of order %s, fact %s",
            fact.kind,
            fact.order_payment.order_id,
            fact.fact_id,
        )
        return False
    return True


def _tell_receivers(fact: PaymentHistory, order: Any) -> bool:
    answers = SIGNALS[fact.kind].send_robust(
        sender=OrderPayment,
        order=order,
        order_payment=fact.order_payment,
        payment_intent=fact.payment_intent,
        fact_id=fact.fact_id,
        data=fact.data,
    )
    failures = [(receiver, answer) for receiver, answer in answers if isinstance(answer, Exception)]
    for receiver, error in failures:
        logger.error(
            "Receiver %r raised for fact %s, which stays undispatched",
            receiver,
            fact.fact_id,
            exc_info=error,
        )
    return not failures
