"""``manage.py shop_payments_report``: the money of a month, by currency, mode and day."""

from __future__ import annotations

import csv
from argparse import ArgumentTypeError
from calendar import monthrange
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from shop_payments.days import today
from shop_payments.management.arguments import day
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted
from shop_payments.money import format_amount
from shop_payments.services.report import MoneyReport, report_money

COLUMNS = (
    "Day",
    "Mode",
    "Currency",
    "Payments",
    "Received",
    "Refunds",
    "Refunded",
    "Disputes",
    "Lost in disputes",
    "Received, less refunded and lost",
)


class Command(PaymentsCommand):
    help = (
        "Print what was received, refunded and lost in a month, for each currency and mode, and "
        "how many payments succeeded. Does not call Stripe."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--month",
            type=month,
            metavar="YYYY-MM",
            help="in the project's time zone (default: this month)",
        )
        parser.add_argument(
            "--csv", metavar="FILE", help="also write a file with one line for each day"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        first = options["month"] or today().replace(day=1)
        last = first.replace(day=monthrange(first.year, first.month)[1])
        reports = report_money(first=first, last=last)
        if options["csv"]:
            _write(Path(options["csv"]), reports)
        zone = timezone.get_current_timezone_name()
        self.stdout.write(f"{first:%Y-%m}, days in the time zone {zone}")
        if not reports:
            self.stdout.write("No payments.")
        for report in reports:
            self.stdout.write("\n".join(_lines(report)))


def month(text: str) -> date:
    """Parse a month; return its first day.

    Raises:
        ArgumentTypeError: the text is not a month.
    """
    try:
        return day(f"{text}-01")
    except ArgumentTypeError:
        raise ArgumentTypeError("expected a month like 2026-11") from None


def _lines(report: MoneyReport) -> list[str]:
    total = report.total
    received, refunded, lost, left = (
        format_amount(amount, report.currency)
        for amount in (total.received, total.refunded, total.lost, total.left)
    )
    lines = [
        f"{report.currency.upper()}, {_mode(report)}: received {received}, refunded {refunded}, "
        f"lost in disputes {lost}, left {left}",
        f"  {counted(total.payments, 'payment')}, {counted(total.refunds, 'refund')}, "
        f"{counted(total.disputes, 'dispute')}",
    ]
    if report.tried:
        share = round(100 * report.succeeded / report.tried)
        lines.append(f"  {report.succeeded} of {report.tried} tried payments succeeded: {share} %")
    if report.declines:
        declines = ", ".join(f"{code} {number}" for code, number in report.declines)
        lines.append(f"  declined: {declines}")
    return lines


def _mode(report: MoneyReport) -> str:
    return "live mode" if report.livemode else "test mode"


def _write(path: Path, reports: list[MoneyReport]) -> None:
    rows: list[tuple[object, ...]] = [COLUMNS]
    for report in reports:
        for on, sums in sorted(report.days.items()):
            amounts = (sums.received, sums.refunded, sums.lost, sums.left)
            received, refunded, lost, left = (
                format_amount(amount, report.currency) for amount in amounts
            )
            mode = "live" if report.livemode else "test"
            rows.append(
                (
                    *(on.isoformat(), mode, report.currency.upper(), sums.payments, received),
                    *(sums.refunds, refunded, sums.disputes, lost, left),
                )
            )
    try:
        # With a byte order mark, so that spreadsheets take the file for UTF-8.
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
