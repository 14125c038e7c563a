"""The admin pages. Importing this module registers them with the default admin site.

For another admin site, call ``shop_payments.admin.register(site)``. For the pages of a shop's own
order, there is :class:`OrderPaymentPanel`.
"""

from django.contrib import admin

from shop_payments.admin.api_keys import APIKeyAdmin
from shop_payments.admin.base import ModelAdmin, order_is_bundled
from shop_payments.admin.entries import StaffEntryAdmin
from shop_payments.admin.events import WebhookEventAdmin
from shop_payments.admin.history import PaymentHistoryAdmin
from shop_payments.admin.home import arrange
from shop_payments.admin.order_panel import OrderPaymentPanel
from shop_payments.admin.orders import OrderAdmin
from shop_payments.admin.payments import OrderPaymentAdmin, PaymentIntentAdmin, StripeAttemptAdmin
from shop_payments.admin.refunds import BalanceTransactionAdmin, DisputeAdmin, RefundAdmin
from shop_payments.admin.review import ReviewItemAdmin
from shop_payments.models import (
    APIKey,
    BalanceTransaction,
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)

__all__ = ["MODEL_ADMINS", "OrderPaymentPanel", "register"]

MODEL_ADMINS: dict[type, type[ModelAdmin]] = {
    OrderPayment: OrderPaymentAdmin,
    ReviewItem: ReviewItemAdmin,
    StaffEntry: StaffEntryAdmin,
    PaymentIntent: PaymentIntentAdmin,
    Refund: RefundAdmin,
    Dispute: DisputeAdmin,
    BalanceTransaction: BalanceTransactionAdmin,
    PaymentHistory: PaymentHistoryAdmin,
    StripeAttempt: StripeAttemptAdmin,
    WebhookEvent: WebhookEventAdmin,
    APIKey: APIKeyAdmin,
}
"""The model admins. The order is not included, because it may be a model of the host."""


def register(site: admin.AdminSite) -> None:
    """Register all pages with ``site``, with those of the order if the shop uses the bundled one.

    Models that are already registered keep their own pages.
    """
    pages = dict(MODEL_ADMINS)
    if order_is_bundled():
        pages[Order] = OrderAdmin
    for model, model_admin in pages.items():
        if not site.is_registered(model):
            site.register(model, model_admin)
    arrange(site)


register(admin.site)
