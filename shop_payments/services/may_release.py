"""Tell whether the goods of an order may go out."""

from __future__ import annotations

from shop_payments.ledger.facts import Origin
from shop_payments.orders import find_order, parse_order_id, read_terms
from shop_payments.services.reevaluate_order import BY_SHOP, evaluate_order


def may_release(order_id: object, *, origin: Origin = BY_SHOP) -> bool:
    """Tell whether the goods of an order may go out now: ask this right before.

    The order is read and evaluated under its payment's lock. True where nothing is owed, also after
    what banks hold or have taken back, and the order was not given back as a whole. It speaks of
    money alone: whether the order was cancelled or shipped is the shop's to know.

    Raises:
        OrderNotFound: no such order.
        OrderUnreadable: the order could not be read; try again.
        ConfigurationError: it was paid in live mode, and the key in use is a test key.
    """
    done = evaluate_order(order_id, origin)
    done.raise_if_unreadable()
    if done.locked is None:
        pk = parse_order_id(order_id)
        return read_terms(find_order(pk)).total.amount == 0  # free, and nobody was asked
    return done.locked.balance().may_release
