"""Settle an order's payment on proof from Stripe.

"This order is paid" is a hint and nothing more. The intent is fetched and the order
evaluated: it is paid only if the money that counts covers what it costs.
"""

from __future__ import annotations

from contextlib import suppress

from shop_payments.exceptions import (
    MoneyError,
    OrderUnreadable,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentMismatch,
    PaymentNotCompleted,
)
from shop_payments.gateway import PaymentIntentResult, assert_no_transaction
from shop_payments.ledger.evaluation import is_as_seen
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, leading_intent, read_rows
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.money import format_amount
from shop_payments.orders import (
    LineItem,
    find_order,
    find_visible_order,
    parse_order_id,
    read_line_items,
    read_terms,
)
from shop_payments.services.create_payment_intent import IntentView
from shop_payments.sync.payment_intents import apply_intent, refresh_intent

_MAX_ROUNDS = 4


def settle_payment(*, order_id: object, origin: Origin) -> IntentView:
    """Mark an order as paid if its payments prove it; asked again, change nothing.

    One call to Stripe where no other request works on the order: the open intent is fetched,
    otherwise the newest one.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order.
        PaymentIntentMissing: the order has no intent, or Stripe does not know it.
        PaymentNotCompleted: something is still owed.
        PaymentMismatch: the intent's money came and does not count; it is in review.
        OrderUnreadable: the shop's order could not be read.
        GatewayError: Stripe could not be asked.
    """
    assert_no_transaction()
    for _round in range(_MAX_ROUNDS):
        intents = _intents_of_order(order_id)
        row = _intent_to_fetch(intents)
        refreshed = refresh_intent(row, origin=origin)
        if refreshed is None:
            continue  # somebody was quicker: look again
        locked = refreshed.locked
        if locked is None or locked.terms is None:
            locked = _evaluate(intents, row, refreshed.intent, origin)
        view = IntentView(intent=refreshed.intent, line_items=_line_items(locked.payment))
        return _proven(locked, view)
    raise PaymentIntentInProgress("The payment is changing. Try again in a moment.")


def _evaluate(
    intents: list[PaymentIntent],
    row: PaymentIntent,
    intent: PaymentIntentResult,
    origin: Origin,
) -> LockedPayment:
    """Evaluate an order of which Stripe says nothing new: the order itself may have changed."""
    payment = row.order_payment
    with suppress(OrderUnreadable):  # that is counted below, under the lock
        payment.order = find_order(payment.order_id)
        if is_as_seen(payment, read_terms(payment.order)):
            return read_rows(payment, intents)

    def write(locked: LockedPayment) -> None:
        current = locked.intent(row.stripe_id)
        if current is not None:
            apply_intent(locked, current, intent, origin=origin)

    done = change_payment(write, origin=origin, reads_order=True, pk=row.order_payment_id)
    done.raise_if_unreadable()
    assert done.locked is not None
    return done.locked


def _proven(locked: LockedPayment, view: IntentView) -> IntentView:
    balance = locked.balance()
    if balance.owed == 0:
        return view
    outstanding = format_amount(balance.outstanding, locked.payment.currency)
    figures = {}
    if any(row.amount_received for row in locked.intents):
        figures = {"outstanding": outstanding, "payment_status": str(balance.status)}
    if view.intent.id in balance.uncounted:
        words = "Money arrived that does not fit the order; it is in review."
        raise PaymentMismatch(words, view=view, **figures)
    if view.intent.status == IntentStatus.SUCCEEDED:
        words = f"The payment is not completed: {outstanding} is outstanding."
    else:
        words = f"The payment is not completed: {view.intent.status}."
    raise PaymentNotCompleted(words, view=view, **figures)


def _intents_of_order(order_id: object) -> list[PaymentIntent]:
    """Return the rows of the order's intents, oldest first."""
    pk = parse_order_id(order_id)
    rows = PaymentIntent.objects.select_related("order_payment").order_by("pk")
    intents = [] if pk is None else list(rows.filter(order_payment__order_id=pk))
    if not intents:
        find_visible_order(pk, any_order=True)
    return intents


def _intent_to_fetch(intents: list[PaymentIntent]) -> PaymentIntent:
    """Return the intent that could prove the order's payment."""
    row = leading_intent(intents)
    if row is None or row.status == IntentStatus.MISSING:
        raise PaymentIntentMissing("The order has no payment intent.")
    return row


def _line_items(payment: OrderPayment) -> tuple[LineItem, ...]:
    """The order's lines now; none where they cannot be read.

    The order is read through the adapter, and only if the evaluation has not just done so.
    """
    cached = OrderPayment.order.is_cached(payment)
    try:
        order = payment.order if cached else find_order(payment.order_id)
        return read_line_items(order)
    except (MoneyError, OrderUnreadable):
        return ()
