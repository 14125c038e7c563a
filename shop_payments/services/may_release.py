"""Return whether the goods of an order may go out."""

from __future__ import annotations

from shop_payments.ledger.facts import Origin
from shop_payments.orders import find_order, parse_order_id, read_terms
from shop_payments.services.reevaluate_order import BY_SHOP, evaluate_order


def may_release(order_id: object, *, origin: Origin = BY_SHOP) -> bool:
    """Return whether the goods of an order may go out now. Call it right before they do.

    The order is read and evaluated under its payment's lock. The result is True if nothing is owed,
    taking into account money that banks hold or have taken back, and if the order was not refunded
    as a whole. It is only about money: the shop itself knows whether the order was cancelled or
    shipped.

    Raises:
        OrderNotFound: there is no such order.
        OrderUnreadable: the order could not be read; try again.
        ConfigurationError: it was paid in live mode, and the key in use is a test key.
    """
    done = evaluate_order(order_id, origin)
    done.raise_if_unreadable()
    if done.locked is None:
        pk = parse_order_id(order_id)
        return read_terms(find_order(pk)).total.amount == 0  # a free order has no payment
    return done.locked.balance().may_release
