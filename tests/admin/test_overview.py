"""The overview of the admin."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.exceptions import GatewayError

pytestmark = pytest.mark.django_db

PAGE = "/admin/shop_payments/orderpayment/overview/"


def test_it_shows_the_money_of_each_currency(open_shop, staff):
    usd = open_shop(112)
    usd.pay(112)
    usd.refund(12)
    open_shop(300, currency="eur").pay(300)
    declined = open_shop(80)
    with suppress(GatewayError):
        declined.stripe.pay(declined.begin(80), "pm_card_visa_chargeDeclinedInsufficientFunds")

    text = staff.read(PAGE, days="7")
    for words in ("EUR, test", "USD, test", "300.00 EUR", "112.00 USD", "12.00 USD", "100.00 USD"):
        assert words in text
    assert "1 of 2 tried payments succeeded (50 %). Declined: insufficient funds 1." in text
    page = staff.get(PAGE, {"days": "7"}).text
    assert re.search(r'<rect x="61" y="0" width="8" height="100">', page), "today is the last day"
    assert "style=" not in page.partition("shop-payments-overview")[2]


def test_the_period_is_one_of_three(open_shop, staff):
    assert "No payments in these days." in staff.read(PAGE)
    for asked in ("7", "90", "", "8", "x", "-1"):
        days = staff.get(PAGE, {"days": asked}).context["days"]
        assert days == (int(asked) if asked in {"7", "90"} else 30)


def test_it_needs_the_permission_to_view_payments(staff_with):
    assert staff_with("view_refund", "view_reviewitem").get(PAGE).status_code == 403
    assert staff_with("view_orderpayment").get(PAGE).status_code == 200


def test_its_queries_do_not_depend_on_the_payments(open_shop, staff):
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            staff.get(PAGE)
        return len(captured)

    open_shop(112).pay(112)
    few = count()
    for _number in range(3):
        open_shop(112).pay(112)
    assert count() == few
