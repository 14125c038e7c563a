"""Settle an order's payment on proof from Stripe.

Whoever says "this order is paid" gives a hint and nothing more. The intent is fetched, and the
order is paid only if ``lifecycle.judge`` finds that it is this order's, has succeeded, and brought
what is due, in its currency and in the right mode.
"""

from __future__ import annotations

import logging

from django.db import DatabaseError

from shop_payments.exceptions import (
    MoneyError,
    OrderNotFound,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentMismatch,
    PaymentNotCompleted,
)
from shop_payments.gateway import assert_no_transaction
from shop_payments.lifecycle import IntentStatus, Verdict
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.orders import LineItem, get_order_adapter
from shop_payments.services.history import Origin
from shop_payments.services.intents import IntentView
from shop_payments.services.ledger import leading_intent
from shop_payments.services.mirror import refresh_intent

logger = logging.getLogger("shop_payments")

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
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order.
        PaymentIntentMissing: the order has no intent, or Stripe does not know it.
        UnprovenPayment: the intent has not succeeded.
        PaymentMismatch: it has, but does not fit; the order is in review.
        GatewayError: Stripe could not be asked.
    """
    assert_no_transaction()
    for _round in range(_MAX_ROUNDS):
        row = _intent_of_order(order_id)
        refreshed = refresh_intent(row, origin=origin)
        if refreshed is None:
            continue  # somebody was quicker: look again
        intent, row = refreshed.intent, refreshed.row
        if row.status == IntentStatus.SUCCEEDED and row.verdict != Verdict.ACCEPTED:
            raise PaymentMismatch("Money arrived that does not fit the order; it is in review.")
        view = IntentView(intent=intent, line_items=_line_items(row))
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


def _line_items(row: PaymentIntent) -> tuple[LineItem, ...]:
    """The order's lines now; none where the order has since become one that cannot be read.

    The order is read through the adapter, and only if the settlement has not just done so.
    """
    adapter, payment = get_order_adapter(), row.order_payment
    cached = OrderPayment.order.is_cached(payment)
    try:
        order = payment.order if cached else adapter.find(payment.order_id)
        if order is None:
            return ()
        return tuple(adapter.line_items(order))
    except MoneyError:
        return ()
    except DatabaseError:
        raise
    except Exception:
        logger.exception("The lines of order %s cannot be read", payment.order_id)
        return ()
