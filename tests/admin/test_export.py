"""CSV files of lists."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from shop_payments.admin.export import cell
from shop_payments.models import OrderPayment
from shop_payments.money import from_minor_units
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import changelist
from tests.factories import OrderFactory
from tests.support import call_stripe

pytestmark = pytest.mark.django_db

FILE = "/admin/shop_payments/orderpayment/export.csv"


def rows_of(response) -> list[dict[str, str]]:
    """The rows of a CSV file, by the titles of its columns."""
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response.streaming_content).decode()
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.fixture
def three(open_shop):
    """Payments of three orders, in three currencies."""
    shops = [open_shop(112), open_shop(300, currency="eur"), open_shop(50, currency="gbp")]
    for shop, total in zip(shops, (112, 300, 50), strict=True):
        shop.pay(total)
    shops[1].refund(100)
    shops[2].stripe.dispute(shops[2].order)
    return shops


def test_a_file_has_the_figures_of_the_list_with_currency_zone_and_mode(three, staff, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    rows = {row["Currency"]: row for row in rows_of(staff.get(FILE))}

    eur = rows["EUR"]
    assert (eur["Received"], eur["Refunded"], eur["Outstanding"]) == ("300.00", "100.00", "0.00")
    assert eur["Received, less refunded and lost"] == "200.00"
    assert (eur["Status"], eur["Mode"], eur["Order"]) == (
        "partially refunded",
        "test",
        three[1].order.number,
    )
    assert rows["GBP"]["Dispute"] == "open"
    paid_at = timezone.localtime(OrderPayment.objects.get(order=three[1].order).paid_at)
    assert eur["Paid at (Europe/Berlin)"] == f"{paid_at:%Y-%m-%d %H:%M:%S}"


def test_a_file_has_all_rows_of_the_list_in_its_order(three, staff, monkeypatch):
    numbers = [shop.order.number for shop in three]
    assert [row["Order"] for row in rows_of(staff.get(FILE, {"o": "-1"}))] == numbers[::-1]
    assert [row["Order"] for row in rows_of(staff.get(FILE, {"o": "1"}))] == numbers
    found = rows_of(staff.get(FILE, {"q": numbers[0]}))
    assert [row["Order"] for row in found] == numbers[:1]
    found = rows_of(staff.get(FILE, {"status__exact": "partially_refunded"}))
    assert [row["Order"] for row in found] == numbers[1:2]
    monkeypatch.setattr("shop_payments.admin.lists.LargeListMixin.list_per_page", 1)
    assert len(rows_of(staff.get(FILE, {"p": "2"}))) == 3
    assert (
        f"export.csv?q={numbers[0]}" in staff.get(changelist(OrderPayment), {"q": numbers[0]}).text
    )
    wrong = staff.get(FILE, {"nothing": "1"})
    assert (wrong.status_code, wrong.url) == (302, changelist(OrderPayment))


def test_a_file_needs_the_permission_to_view(three, staff_with):
    assert staff_with("view_order", "add_refund").get(FILE).status_code == 403
    assert len(rows_of(staff_with("view_orderpayment").get(FILE))) == 3


def test_the_movements_of_a_month_add_up_to_the_balance(three, staff, staff_with, stripe):
    fetch_fees(since=timezone.now() - timedelta(days=1))
    file, today = "/admin/shop_payments/balancetransaction/export.csv", f"{timezone.localdate()}"
    rows = rows_of(staff.get(file, {"booked_from": today, "booked_until": today}))

    there: defaultdict[str, Decimal] = defaultdict(Decimal)
    balance = call_stripe(stripe, "GET", "balance")
    for each in [*balance["available"], *balance["pending"]]:
        there[each["currency"].upper()] += from_minor_units(each["amount"], each["currency"])
    for row in rows:
        assert (row["Mode"], bool(row["Order"])) == ("test", True)
        there[row["Currency"]] -= Decimal(row["Net"])
    assert {*there.values()} == {0}
    assert {row["What moved"] for row in rows} == {"charge", "refund", "dispute"}
    assert rows_of(staff.get(file, {"booked_until": "2020-12-31"})) == []
    assert staff_with("view_orderpayment").get(file).status_code == 403


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1", "'+49 30 1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("Anna;=1+1", "Anna;'=1+1"),
        ('Anna;"=1+1"', 'Anna;\'"=1+1"'),
        ("Elm Street 1\r\n+49 30 1", "Elm Street 1\r\n'+49 30 1"),
        ("Anna; Bob - 1+1=2", "Anna; Bob - 1+1=2"),
        ("-12.50", "-12.50"),
        ("-0", "-0"),
        ("Ada, Countess", "Ada, Countess"),
        (None, ""),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_no_text_is_a_formula(value, shown):
    assert cell(value, timezone.get_current_timezone()) == shown


def test_a_customers_text_is_only_text(staff, storefront, stripe):
    order = OrderFactory.create(email='=HYPERLINK("https://x.example","a")')
    OrderPayment.objects.create(order=order, currency="usd")

    (row,) = rows_of(staff.get(FILE))
    assert row["Customer"].startswith("'=HYPERLINK(")
