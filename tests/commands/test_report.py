"""``manage.py shop_payments_report``: it agrees with the payments' own amounts."""

from __future__ import annotations

import csv
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import time_machine
from django.core.management import CommandError
from django.utils import timezone

from shop_payments.exceptions import GatewayError
from shop_payments.models import OrderPayment
from tests.commands.support import run

pytestmark = pytest.mark.django_db

MONTH = f"{timezone.now():%Y-%m}"


def test_the_money_of_a_month_by_currency(open_shop, tmp_path):
    usd = open_shop(112)
    usd.pay(112)
    usd.refund(12)
    deposit = open_shop(230)
    deposit.deposit(90)
    lost = open_shop(50)
    intent_id = lost.pay(50)
    lost.stripe.dispute(intent_id)
    lost.stripe.decide_dispute(intent_id, won=False)
    open_shop(300, currency="eur").pay(300)
    declined = open_shop(80)
    with suppress(GatewayError):
        declined.stripe.pay(declined.begin(80), "pm_card_visa_chargeDeclinedInsufficientFunds")
    late = open_shop(70)
    late.pay_late()  # does not count

    file = tmp_path / "month.csv"
    output, _errors = run("report", f"--month={MONTH}", f"--csv={file}")

    assert output.splitlines()[0] == f"{MONTH}, days in the time zone UTC"
    assert (
        "USD, test mode: received 252.00, refunded 12.00, lost in disputes 50.00, left 190.00"
        in (output)
    )
    assert "  3 payments, 1 refund, 1 dispute" in output
    assert "EUR, test mode: received 300.00, refunded 0.00" in output
    payments = OrderPayment.objects.filter(currency="usd")
    kept = sum(row.amount_received - row.amount_refunded - row.amount_lost for row in payments)
    assert kept == 190_00
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["Currency"] for row in rows} == {"USD", "EUR"}
    left = sum(
        float(row["Received, less refunded and lost"]) for row in rows if row["Currency"] == "USD"
    )
    assert left == 190


def test_success_and_declines(open_shop):
    for method in ("pm_card_visa", "pm_card_visa_chargeDeclinedInsufficientFunds"):
        shop = open_shop(112)
        with suppress(GatewayError):
            shop.stripe.pay(shop.begin(112), method)
    open_shop(112).begin(112)  # nobody has tried

    output, _errors = run("report")
    assert "  1 of 2 tried payments succeeded: 50 %" in output
    assert "  declined: insufficient_funds 1" in output


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo", "UTC"])
def test_a_day_is_one_of_the_projects_time_zone(open_shop, settings, tmp_path, zone):
    """Half past midnight UTC on the first is still October in Los Angeles."""
    settings.TIME_ZONE = zone
    with time_machine.travel(datetime(2026, 11, 1, 0, 30, tzinfo=UTC)):
        open_shop(112).pay(112)
    in_october = "received 112.00" in run("report", "--month=2026-10")[0]
    in_november = "received 112.00" in run("report", "--month=2026-11")[0]
    assert (in_october, in_november) == ((True, False) if "America" in zone else (False, True))
    assert "No payments." in run("report", "--month=2026-09")[0]


def test_bad_input_is_named(tmp_path):
    with pytest.raises(CommandError, match="expected a month like 2026-11"):
        run("report", "--month=2026-13")
    with pytest.raises(CommandError, match=r"missing/month.csv cannot be written: No such file"):
        run("report", f"--csv={tmp_path / 'missing' / 'month.csv'}")
