"""Take money that was authorized, in full or in part.

An authorization is no payment: the money stays with the customer until it is captured, and lapses
after some days. The order is paid when Stripe says that the money was taken.

See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
"""

from __future__ import annotations

from decimal import Decimal

from shop_payments.exceptions import (
    OrderAlreadyPaid,
    PaymentMismatch,
    PaymentNotCapturable,
    UnexpectedState,
)
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.lifecycle import CAPTURABLE_STATUSES, IntentStatus
from shop_payments.models import FactKind, PaymentIntent, StripeAttempt
from shop_payments.money import Money, display_amount, to_minor_units
from shop_payments.orders import get_order_adapter, take_snapshot
from shop_payments.services.history import Origin, add_fact
from shop_payments.services.ledger import LockedPayment, leading_intent
from shop_payments.services.writes import save_write, write_until_done


def capture_payment(
    *, order_id: object, amount_decimal: Decimal | None = None, origin: Origin
) -> PaymentIntent:
    """Take the authorized money of an order; return its intent, which then has succeeded.

    ``amount_decimal``, in the payment's currency, takes a part of it, once: Stripe gives the rest
    back to the customer. None takes all of it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order, or nothing was ever tried for it.
        OrderAlreadyPaid: the money was taken before.
        PaymentNotCapturable: nothing is authorized, or not so much; the shop does not want the
            order's money any more; or the order has changed since and no amount is given.
        AmountNotRepresentable: the currency has no such amount.
        PaymentMismatch: the money was taken and does not fit the order; it is in review.
        PaymentIntentInProgress: another request is at this payment.
        GatewayError: Stripe refused, or could not be reached; asking again is safe.
    """
    assert_no_transaction()
    get_gateway()

    def decide(locked: LockedPayment) -> StripeAttempt:
        return _decide(locked, amount_decimal, origin)

    try:
        locked = write_until_done(order_id=order_id, decide=decide, origin=origin)
    except UnexpectedState as error:
        raise PaymentNotCapturable(f"Stripe does not take this payment: {error}") from None
    return _proven(locked)


def _proven(locked: LockedPayment) -> PaymentIntent:
    intent = locked.accepted_intent
    if intent is not None:
        return intent
    leading = leading_intent(locked.intents)
    if leading is not None and leading.status == IntentStatus.SUCCEEDED:
        raise PaymentMismatch("The money was taken but does not fit the order; it is in review.")
    raise PaymentNotCapturable("The authorization has ended; nothing was taken.")


def _decide(locked: LockedPayment, amount_decimal: Decimal | None, origin: Origin) -> StripeAttempt:
    if locked.accepted_intent is not None:
        raise OrderAlreadyPaid("The order has been paid.")
    row = locked.open_intent
    if row is None or row.status not in CAPTURABLE_STATUSES:
        raise PaymentNotCapturable("No money of this order is authorized.")
    amount = _amount(row, amount_decimal)
    params = {} if amount == row.amount_capturable else {"amount_to_capture": amount}
    attempt = save_write(locked, row, StripeAttempt.Operation.CAPTURE_INTENT, params)
    # Who asked for it: that the money was taken, a webhook may be the first to say.
    add_fact(
        FactKind.CAPTURE_REQUESTED,
        order_payment=locked.payment,
        payment_intent=row,
        origin=origin,
        detail=f"{display_amount(amount, row.currency)} of {row.stripe_id}",
        amount=amount,
        currency=row.currency,
    )
    return attempt


def _amount(row: PaymentIntent, amount_decimal: Decimal | None) -> int:
    due = _amount_due(row)
    if amount_decimal is None:
        if (due.amount, due.currency) != (row.amount_capturable, row.currency):
            raise PaymentNotCapturable(
                f"The order has changed since {row.amount_display} was authorized; "
                "say how much to take, or cancel the payment."
            )
        return row.amount_capturable
    amount = to_minor_units(amount_decimal, row.currency)
    if not 0 < amount <= row.amount_capturable:
        left = display_amount(row.amount_capturable, row.currency)
        raise PaymentNotCapturable(f"Only {left} can be taken.")
    return amount


def _amount_due(row: PaymentIntent) -> Money:
    """Ask the shop: what it does not want would be judged so, and go to review, once taken."""
    adapter = get_order_adapter()
    order = adapter.find(row.order_payment.order_id)
    snapshot = None if order is None else take_snapshot(adapter, order)
    if snapshot is None or not snapshot.payable:
        raise PaymentNotCapturable("The order is cancelled, empty or free; cancel the payment.")
    return snapshot.amount_due
