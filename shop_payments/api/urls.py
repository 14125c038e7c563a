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

urlpatterns = [
    path("", RootViewSet.as_view({"get": "list"}, name="Shop payments"), name="root"),
    path("orders", OrderViewSet.as_view({"get": "list"}, name="Orders"), name="orders"),
    # The adapter parses the id: an order's key may be a number, a UUID or a text.
    path(
        "orders/<str:order_id>",
        OrderViewSet.as_view({"get": "retrieve"}, name="Order"),
        name="order",
    ),
    path(
        "orders/<str:order_id>/payment-intent",
        PaymentIntentViewSet.as_view({"post": "create"}),
        name="payment-intent",
    ),
    path(
        "orders/<str:order_id>/payment",
        OrderPaymentViewSet.as_view({"post": "create"}),
        name="payment",
    ),
    path(
        "orders/<str:order_id>/refunds",
        RefundViewSet.as_view({"get": "list", "post": "create"}),
        name="refunds",
    ),
    path(
        "webhooks/stripe", StripeWebhookViewSet.as_view({"post": "create"}), name="stripe-webhook"
    ),
]
