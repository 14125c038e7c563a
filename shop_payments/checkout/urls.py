"""The routes. The host chooses the prefix.

::

    path("checkout/", include("shop_payments.checkout.urls"))
"""

from django.urls import path

from shop_payments.checkout.views import PayView, ResultView, StatusView

app_name = "shop_payments_checkout"

urlpatterns = [
    # The adapter parses the id: an order's key may be a number, a UUID or a text.
    path("<str:order_id>/", PayView.as_view(), name="pay"),
    path("<str:order_id>/result/", ResultView.as_view(), name="result"),
    path("<str:order_id>/status/", StatusView.as_view(), name="status"),
]
