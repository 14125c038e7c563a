"""The routes, without a trailing slash. The host chooses the prefix.

::

    path("api/v1/shop/", include("shop_payments.api.urls"))
"""

from django.urls import path

from shop_payments.api.views import (
    OrderPaymentViewSet,
    OrderViewSet,
    PaymentIntentViewSet,
    RefundViewSet,
    RootViewSet,
    StripeWebhookViewSet,
)

app_name = "shop_payments"

# Of the browsable API's pages.
ROOT = "The entry point of the API. Follow the link to the orders."
ORDERS = (
    "Your orders, newest first. Staff see all orders. The links of an order lead to its pages. "
    "next and previous at the end lead to further orders. Filters are payment_status, number, "
    "created_from and created_before."
)
ORDER = "An order and the state of its payments. The links at the end lead to its other pages."

urlpatterns = [
    path(
        "",
        RootViewSet.as_view({"get": "list"}, name="Shop payments", description=ROOT),
        name="root",
    ),
    path(
        "orders",
        OrderViewSet.as_view({"get": "list"}, name="Orders", description=ORDERS),
        name="orders",
    ),
    # The adapter parses the id: an order's key may be a number, a UUID or a text.
    path(
        "orders/<str:order_id>",
        OrderViewSet.as_view({"get": "retrieve"}, name="Order", description=ORDER),
        name="order",
    ),
    path(
        "orders/<str:order_id>/payment-intent",
        PaymentIntentViewSet.as_view({"post": "create"}, name="Payment intent"),
        name="payment-intent",
    ),
    path(
        "orders/<str:order_id>/payment",
        OrderPaymentViewSet.as_view({"post": "create"}, name="Payment"),
        name="payment",
    ),
    path(
        "orders/<str:order_id>/refunds",
        RefundViewSet.as_view({"get": "list", "post": "create"}, name="Refunds"),
        name="refunds",
    ),
    path(
        "webhooks/stripe", StripeWebhookViewSet.as_view({"post": "create"}), name="stripe-webhook"
    ),
]
