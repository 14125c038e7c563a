"""What the pages show: amounts, languages, the parts of the order."""

from __future__ import annotations

import re

import pytest
from django.utils import translation

from shop_payments.checkout.pages import stripe_locale
from shop_payments.models import Order
from tests.checkout.conftest import Guest
from tests.shop import DepositAdapter

pytestmark = pytest.mark.django_db

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("currency", "unit_amount", "shown"),
    [("jpy", 500, "500"), ("isk", 50_000, "500"), ("kwd", 5120, "5.120"), ("usd", 105, "1.05")],
)
def test_a_currency_has_its_own_decimals(order, currency, unit_amount, shown):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount, quantity=1)

    page = Guest(order).get().content.decode()

    assert f"Pay <span data-checkout-amount>{shown}{SPACE}{currency.upper()}</span>" in page
    assert f"<dd>{shown}{SPACE}{currency.upper()}</dd>" in page


def test_amounts_are_written_as_in_the_customers_language(order, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    order.lines.update(unit_amount=123_456)
    guest = Guest(order)

    with translation.override(None):  # the middleware leaves its language active
        page = guest.client.get(guest.link, headers={"Accept-Language": "de"}).content.decode()

    assert f"2.469,12{SPACE}USD" in page
    assert '"locale": "de"' in page
    assert '<html lang="de"' in page


@pytest.mark.parametrize("language", ["de", "es", "fr", "ja"])
def test_no_text_is_taken_from_djangos_translations(order, language):
    """Found: "Order" was "Reihenfolge", because Django's formsets have that text, too."""
    guest = Guest(order)
    with translation.override(language):
        page = guest.get("result").content.decode()
    ours = {"de": ["Bestellnummer", "Summe"]}
    assert re.findall("<dt>(.*?)</dt>", page) == ours.get(language, ["Order number", "Total"])


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en-gb", "en-GB"),
        ("de-at", "de"),
        ("zh-hant", "zh-TW"),
        ("nn", "nb"),
        ("eo", "auto"),
    ],
)
def test_the_element_gets_the_language_of_the_page(language, expected):
    assert stripe_locale(language) == expected


def test_a_deposit_and_the_rest(open_shop):
    shop = open_shop(300)
    DepositAdapter.now = 9000
    page = Guest(shop.order).get().content.decode()
    assert f"To be paid now</dt><dd>90.00{SPACE}USD" in page
    assert f"Pay <span data-checkout-amount>90.00{SPACE}USD" in page

    shop.deposit(90)
    page = Guest(shop.order).get().content.decode()

    assert f"Total</dt><dd>300.00{SPACE}USD" in page
    assert f"Still to be paid</dt><dd>210.00{SPACE}USD" in page
    assert f"Pay <span data-checkout-amount>210.00{SPACE}USD" in page


def test_markup_in_an_order_is_shown_as_text(order):
    order.lines.update(name="</script><b>Bold</b>")
    page = Guest(order).get().content.decode()
    assert "<b>" not in page
    assert "&lt;b&gt;Bold" in page
