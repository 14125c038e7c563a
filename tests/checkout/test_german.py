"""The pages of customers, in German."""

from __future__ import annotations

import pytest
from django.utils import translation

from shop_payments.models import Order
from tests.german import english_on

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", ["unpaid", "paid", "cancelled", "not found"])
def test_every_page_is_in_german(state, order, guest, settings, request):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    guest.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    if state == "paid":
        request.getfixturevalue("paid")
    elif state == "cancelled":
        Order.objects.update(status="cancelled")
    with translation.override(None):  # the middleware leaves its language active
        urls = [guest.url(name) for name in ("pay", "result")]
        if state == "not found":
            urls = [url.partition("?")[0].replace(str(order.pk), "999") for url in urls]
        pages = [guest.client.get(url, follow=True).content.decode() for url in urls]
    for page in pages:
        assert '<html lang="de"' in page
        assert english_on(page) == []
