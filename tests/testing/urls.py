"""The routes under another prefix than the demo's."""

from django.urls import include, path

urlpatterns = [path("nl/betalen/", include("shop_payments.api.urls"))]
