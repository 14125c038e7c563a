"""The staff's pages. Importing this registers them with the default admin site.

They work on any other site as well: ``shop_payments.admin.register(site)``.
"""

from django.contrib import admin

from shop_payments.admin.api_keys import APIKeyAdmin
from shop_payments.admin.base import ModelAdmin, order_is_bundled
from shop_payments.admin.entries import StaffEntryAdmin
from shop_payments.admin.events import WebhookEventAdmin
from shop_payments.admin.history import PaymentHistoryAdmin
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

__all__ = ["MODEL_ADMINS", "register"]

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
"""The pages of each model. The order's are not among them: it may be the host's."""


def register(site: admin.AdminSite) -> None:
    """Register all pages with an admin site; the order's as well, if it is the bundled one.

    A model that has a page there keeps it.
    """
    pages = dict(MODEL_ADMINS)
    if order_is_bundled():
        pages[Order] = OrderAdmin
    for model, model_admin in pages.items():
        if not site.is_registered(model):
            site.register(model, model_admin)


register(admin.site)
