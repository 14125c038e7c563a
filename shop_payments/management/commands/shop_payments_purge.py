"""``manage.py shop_payments_purge``: delete old personal data, keep the facts about the money."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.conf import RETENTION_LIMITS, problem_of_retention
from shop_payments.exceptions import ConfigurationError
from shop_payments.maintenance.retention import (
    BATCH_SIZE,
    LARGEST_BATCH,
    PurgeReport,
    purge_personal_data,
)
from shop_payments.management.arguments import read_whole_number, whole_number
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted

_PAUSE = 1.0
"""Seconds between two lines of progress."""


def _days(text: str) -> int:
    days = read_whole_number(text)
    if problem := problem_of_retention(days):
        raise ArgumentTypeError(f"expected a whole number {problem}")
    return days


class Command(PaymentsCommand):
    help = (
        "Delete event payloads and other personal data older than "
        "SHOP_PAYMENTS['RETENTION_DAYS']. Amounts, statuses, ids and the history stay. "
        "Safe to interrupt and to run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        shortest, longest = RETENTION_LIMITS
        parser.add_argument(
            "--older-than",
            type=_days,
            metavar="DAYS",
            help=f"{shortest} to {longest} (default: the setting)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only count the rows, and write nothing"
        )
        parser.add_argument(
            "--batch-size",
            type=whole_number(1, LARGEST_BATCH),
            default=BATCH_SIZE,
            metavar="N",
            help=f"rows in one transaction, 1 to {LARGEST_BATCH} (default: {BATCH_SIZE})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run: bool = options["dry_run"]
        try:
            report = purge_personal_data(
                older_than_days=options["older_than"],
                batch_size=options["batch_size"],
                dry_run=dry_run,
                on_batch=self._progress() if options["verbosity"] else None,
            )
        except (ConfigurationError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_summary_of_purge(report, dry_run=dry_run))

    def _progress(self) -> Callable[[PurgeReport], None]:
        """Return a function that writes to stderr, so that stdout contains only the summary."""
        last = 0.0

        def write(report: PurgeReport) -> None:
            nonlocal last
            if last == 0.0 or time.monotonic() - last >= _PAUSE:
                last = time.monotonic()
                line = f"… events: {report.events}, attempts: {report.attempts}"
                self.stderr.write(line, str)  # not in the color of errors

        return write


def _summary_of_purge(report: PurgeReport, *, dry_run: bool) -> str:
    return (
        f"{'Would delete' if dry_run else 'Deleted'} the payloads of "
        f"{counted(report.events, 'event')} and the parameters of "
        f"{counted(report.attempts, 'attempt')}. Kept because they are still needed: "
        f"{counted(report.kept_events, 'event')}, {counted(report.kept_attempts, 'attempt')}."
    )
