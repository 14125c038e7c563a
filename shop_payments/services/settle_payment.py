"""Settle an order's payment on proof from Stripe.

The request "this order is paid" is only a hint. The intent is fetched and the order evaluated. It
is paid only if its counted money covers the total.
"""

from __future__ import annotations

from contextlib import suppress

from django.utils.translation import gettext_noop

from shop_payments.exceptions import (
    Message,
    MoneyError,
    OrderUnreadable,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentMismatch,
    PaymentNotCompleted,
)
from shop_payments.gateway import PaymentIntentResult, assert_no_transaction
from shop_payments.ledger.evaluation import has_same_terms
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
    """Mark an order as paid if its payments prove it. Repeated calls change nothing.

    There is one call to Stripe, unless another request works on the order: the open intent is
    fetched, otherwise the newest one.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order.
        PaymentIntentMissing: the order has no intent, or Stripe does not know it.
        PaymentNotCompleted: the order still owes something.
        PaymentMismatch: the intent's money was received but does not count; it is in review.
        OrderUnreadable: the shop's order could not be read.
        GatewayError: the request to Stripe failed.
    """
    assert_no_transaction()
    for _round in range(_MAX_ROUNDS):
        intents = _intents_of_order(order_id)
        row = _intent_to_fetch(intents)
        refreshed = refresh_intent(row, origin=origin)
        if refreshed is None:
            continue  # another process changed the row meanwhile: look again
        locked = refreshed.locked
        # The sync of the intent reads the order only if money has moved.
        if locked is None or locked.terms is None:
            locked = _evaluate_if_changed(intents, row, refreshed.intent, origin)
        if locked is None:
            continue  # the payment was deleted
        view = IntentView(intent=refreshed.intent, line_items=_line_items(locked.payment))
        return _check_paid(locked, view)
    raise PaymentIntentInProgress(
        Message(gettext_noop("The payment is changing. Try again in a moment."))
    )


def _evaluate_if_changed(
    intents: list[PaymentIntent],
    row: PaymentIntent,
    intent: PaymentIntentResult,
    origin: Origin,
) -> LockedPayment | None:
    """Evaluate the order if its terms have changed; None if its payment was deleted.

    The sync of the intent has not read the order.
    """
    payment = row.order_payment
    with suppress(OrderUnreadable):  # the evaluation below counts the failure, under the lock
        payment.order = find_order(payment.order_id)
        if has_same_terms(payment, read_terms(payment.order)):
            return read_rows(payment, intents)

    def write(locked: LockedPayment) -> None:
        current = locked.intent(row.stripe_id)
        if current is not None:
            apply_intent(locked, current, intent)

    done = change_payment(write, origin=origin, reads_order=True, pk=row.order_payment_id)
    done.raise_if_unreadable()
    return done.locked


def _check_paid(locked: LockedPayment, view: IntentView) -> IntentView:
    balance = locked.balance()
    if balance.owed == 0:
        return view
    outstanding = format_amount(balance.outstanding, locked.payment.currency)
    figures = {}
    if any(row.amount_received for row in locked.intents):
        figures = {"outstanding": outstanding, "payment_status": str(balance.status)}
    if view.intent.id in balance.uncounted:
        words = "The payment was received but does not count for the order. It is in review."
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
        find_visible_order(pk, any_order=True)  # raises OrderNotFound
    return intents


def _intent_to_fetch(intents: list[PaymentIntent]) -> PaymentIntent:
    """Return the intent that could prove the order's payment."""
    row = leading_intent(intents)
    if row is None or row.status == IntentStatus.MISSING:
        raise PaymentIntentMissing("The order has no payment intent.")
    return row


def _line_items(payment: OrderPayment) -> tuple[LineItem, ...]:
    """Return the order's current line items; none if they cannot be read.

    The adapter finds the order only if the evaluation has not just done so.
    """
    cached = OrderPayment.order.is_cached(payment)
    try:
        order = payment.order if cached else find_order(payment.order_id)
        return read_line_items(order)
    except (MoneyError, OrderUnreadable):
        return ()
