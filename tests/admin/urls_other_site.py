"""A project whose only admin site is not the default one."""

from django.urls import include, path

from tests.admin.urls_two_sites import ops

urlpatterns = [path("ops/", ops.urls), path("api/v1/shop/", include("shop_payments.api.urls"))]
