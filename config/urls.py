"""The demo project's routes."""

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

if settings.DEBUG:
    from config.demo.shop import product_page

    home = path("", product_page, name="demo-shop")
else:
    home = path("", RedirectView.as_view(pattern_name="shop_payments:root"))

urlpatterns = [
    home,
    path("admin/", admin.site.urls),
    path("api/v1/shop/", include("shop_payments.api.urls")),
    path("checkout/", include("shop_payments.checkout.urls")),
    path("api/auth/", include("rest_framework.urls")),  # the browsable API's log-in link
]

if apps.is_installed("drf_spectacular"):
    from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

    urlpatterns += [
        path("api/schema/", SpectacularAPIView.as_view(schema=None), name="schema"),
        path(
            "api/docs/",
            SpectacularSwaggerView.as_view(url_name="schema", schema=None),
            name="docs",
        ),
    ]
