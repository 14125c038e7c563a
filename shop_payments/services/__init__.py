"""The use cases. What the shop's own code calls is named here.

::

    from shop_payments import services

    services.reevaluate_order(order.pk)  # after the order has changed
    if services.may_release(order.pk):  # right before goods go out
        ...
"""

from shop_payments.services.orders import may_release, reevaluate_order

__all__ = ["may_release", "reevaluate_order"]
