"""Settle an order's payment on proof from Stripe.

Whoever says "this order is paid" gives a hint and nothing more. The intent is fetched, and the
order is paid only if ``lifecycle.judge`` finds that it is this order's, has succeeded, and brought
what is due, in its currency and in the right mode.
"""

from __future__ import annotations

from typing import Any

from shop_payments.exceptions import (
    OrderNotFound,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentMismatch,
    PaymentNotCompleted,
)
from shop_payments.lifecycle import IntentStatus, Verdict
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.orders import get_order_adapter, take_snapshot
from shop_payments.services.history import Origin
from shop_payments.services.intents import IntentView
from shop_payments.services.mirror import leading_intent, refresh_intent

_MAX_ROUNDS = 4


class UnprovenPayment(PaymentNotCompleted):
    """Not paid (yet); ``view`` is what Stripe says now."""

    def __init__(self, message: str, view: IntentView) -> None:
        super().__init__(message)
        self.view = view


def settle_payment(*, order_id: object, origin: Origin) -> IntentView:
    """Mark an order as paid if its payment intent proves it; asked again, change nothing.

    One call to Stripe where no other request is at it.

    Raises:
        OrderNotFound: no such order.
        PaymentIntentMissing: the order has no intent, or Stripe does not know it.
        UnprovenPayment: the intent has not succeeded.
        PaymentMismatch: it has, but does not fit; the order is in review.
        GatewayError: Stripe could not be asked.
    """
    for _round in range(_MAX_ROUNDS):
        row = _intent_of_order(order_id)
        refreshed = refresh_intent(row, origin=origin)
        if refreshed is None:
            continue  # somebody was quicker, or the intent is gone: look again
        intent, row = refreshed.intent, refreshed.row
        if row.status == IntentStatus.SUCCEEDED and row.verdict != Verdict.ACCEPTED:
            raise PaymentMismatch("Money arrived that does not fit the order; it is in review.")
        view = IntentView(intent=intent, snapshot=take_snapshot(get_order_adapter(), _order(row)))
        if row.verdict != Verdict.ACCEPTED:
            raise UnprovenPayment(f"The payment is not completed: {intent.status}.", view)
        return view
    raise PaymentIntentInProgress("The payment is changing. Try again in a moment.")


def _intent_of_order(order_id: object) -> PaymentIntent:
    """Return the row of the intent that could prove this order's payment."""
    adapter = get_order_adapter()
    pk = adapter.parse_id(order_id)
    rows = PaymentIntent.objects.select_related("order_payment").order_by("pk")
    intents = [] if pk is None else list(rows.filter(order_payment__order_id=pk))
    if not intents and (pk is None or adapter.find(pk) is None):
        raise OrderNotFound("Order not found.")
    row = leading_intent(intents)
    if row is None or row.status == IntentStatus.MISSING:
        raise PaymentIntentMissing("The order has no payment intent.")
    return row


def _order(row: PaymentIntent) -> Any:
    """The order, read through the adapter, and only if the settlement has not just done so."""
    if OrderPayment.order.is_cached(row.order_payment):
        return row.order_payment.order
    return get_order_adapter().find(row.order_payment.order_id)
