"""Evaluate an order after the shop has changed it."""

from __future__ import annotations

from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.units import Done, change_payment
from shop_payments.models import OrderPayment, Source
from shop_payments.orders import find_visible_order, parse_order_id

BY_SHOP = Origin(source=Source.SHOP)


def reevaluate_order(order_id: object, *, origin: Origin = BY_SHOP) -> OrderPayment | None:
    """Read an order again and derive its balance; None if it has no payment.

    The shop's code calls this after it has changed an order's total or payability. Inside a
    transaction, receivers are notified and Stripe is called after the commit.

    Raises:
        OrderNotFound: there is no such order.
        OrderUnreadable: the order could not be read; try again.
        ConfigurationError: it was paid in live mode, and the key in use is a test key.
    """
    done = evaluate_order(order_id, origin)
    done.raise_if_unreadable()
    return None if done.locked is None else done.locked.payment


def evaluate_order(order_id: object, origin: Origin) -> Done[None]:
    """Read the order under its payment's lock, evaluate it and commit.

    Raises:
        OrderNotFound: there is no such order.
    """
    pk = parse_order_id(order_id)

    def lock() -> LockedPayment | None:
        locked = None if pk is None else find_and_lock_payment(order_id=pk)
        if locked is None:
            find_visible_order(pk, any_order=True)  # raises OrderNotFound
        return locked

    return change_payment(lambda locked: None, origin=origin, lock=lock, reads_order=True)
