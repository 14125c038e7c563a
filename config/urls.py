"""The demo project's routes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="shop_payments:root")),
    path("admin/", admin.site.urls),
    path("api/v1/shop/", include("shop_payments.api.urls")),
]
