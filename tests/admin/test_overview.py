"""The overview of the admin."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

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


def test_money_of_an_old_intent_is_that_of_the_day_of_the_charge(open_shop, staff):
    """Found: an intent that was paid more than 90 days after it was created was in no report."""
    with time_machine.travel(timezone.now() - timedelta(days=400)):
        shop = open_shop(112)
        intent_id = shop.begin(112)
    shop.finish(intent_id)
    assert "112.00 USD" in staff.read(PAGE, days="7")


def test_reserved_money_is_no_decline_and_a_pending_debit_neither(authorized, open_shop, staff):
    """Found: a shop that captures later had a success rate of 0 %."""
    text = staff.read(PAGE)
    assert "1 of 1 tried payments succeeded (100 %)." in text
    automatic = {"CAPTURE_METHOD": "automatic", "ALLOWED_PAYMENT_METHOD_TYPES": ["us_bank_account"]}
    open_shop(112, **automatic).debit(112)
    assert "1 of 1 tried payments succeeded (100 %)." in staff.read(PAGE)


def test_the_period_is_one_of_three(open_shop, staff):
    assert "No payments on these days." in staff.read(PAGE)
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
