"""The use cases, one module for each verb. The names in ``__all__`` are the public Python API.

::

    from shop_payments import services

    services.reevaluate_order(order.pk)  # after the order has changed
    if services.may_release(order.pk):  # right before goods go out
        ...

All errors are subclasses of :class:`~shop_payments.exceptions.ShopPaymentsError`. ``origin`` is who
requests a change: ``Origin(source=Source.SHOP, actor="warehouse")`` is recorded in the payment's
history.
"""

from shop_payments.exceptions import ShopPaymentsError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import Source
from shop_payments.order_tokens import create_order_token
from shop_payments.services.approve_review import approve_review
from shop_payments.services.cancel_payment import cancel_payment, cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.create_payment_intent import IntentView, create_payment_intent
from shop_payments.services.delete_payment import delete_payment
from shop_payments.services.give_up_refund import give_up_refund
from shop_payments.services.may_release import may_release
from shop_payments.services.metrics import metrics
from shop_payments.services.order_pages import OrderCursor, OrderFilters
from shop_payments.services.queries import (
    OrderPage,
    OrderView,
    PaymentView,
    get_order,
    list_orders,
    list_refunds,
)
from shop_payments.services.readiness import Readiness, check_readiness
from shop_payments.services.receive_event import process_event
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from shop_payments.services.reevaluate_order import reevaluate_order
from shop_payments.services.refresh_payment import RefreshedPayment, refresh_payment
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.services.settle_payment import settle_payment
from shop_payments.services.unknown_intents import accept_unknown_intent

__all__ = [
    "EntryRequest",
    "IntentView",
    "OrderCursor",
    "OrderFilters",
    "OrderPage",
    "OrderView",
    "Origin",
    "PaymentView",
    "Readiness",
    "RefreshedPayment",
    "RefundRequest",
    "ShopPaymentsError",
    "Source",
    "accept_unknown_intent",
    "approve_review",
    "cancel_payment",
    "cancel_payment_on_commit",
    "capture_payment",
    "check_readiness",
    "close_review_item",
    "create_order_token",
    "create_payment_intent",
    "delete_payment",
    "get_order",
    "give_up_refund",
    "list_orders",
    "list_refunds",
    "may_release",
    "metrics",
    "process_event",
    "reevaluate_order",
    "refresh_payment",
    "refund_payment",
    "revoke_staff_entry",
    "settle_outside_stripe",
    "settle_payment",
    "waive_amount",
]
