"""``manage.py shop_payments_reconcile``: find what was missed, and finish what was begun."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.exceptions import ShopPaymentsError
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.management.arguments import hours_ago, moment
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted
from shop_payments.sync.registry import OBJECT_TYPES

_DEFAULT_HOURS = 72
"""Stripe gives up on a webhook after three days; what it gave up on, a nightly run has seen."""

_SHOWN_PROBLEMS = 20


class Command(PaymentsCommand):
    help = (
        "Compare with Stripe what happened lately and what is still open, and finish what was "
        "left unfinished: lost answers and webhooks, orders that could not be read, cancellations, "
        "failed events, signals. Safe to run at any time, twice, and on several machines. Ends "
        "with an error where somebody should look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=moment,
            metavar="YYYY-MM-DD|HOURS",
            help="where Stripe's lists begin: a day, in the project's time zone, or so many hours "
            f"ago (default: {_DEFAULT_HOURS}). What is open here is looked at whatever its age",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="write nothing, neither here nor at Stripe; say what would be done",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since = options["since"] or hours_ago(_DEFAULT_HOURS)
        dry_run: bool = options["dry_run"]
        try:
            report = reconcile(
                since=since,
                dry_run=dry_run,
                on_progress=self._show if options["verbosity"] else None,
            )
        except ShopPaymentsError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_summary(report, dry_run=dry_run))
        if report.needs_person:
            raise CommandError(_needs(report))

    def _show(self, line: str) -> None:
        """Write to stderr, if it is there to be written to: the work is done all the same."""
        if sys.stderr is not None:
            with suppress(OSError):
                self.stderr.write(line)


def _summary(report: Report, *, dry_run: bool) -> str:
    counts: dict[tuple[str, ...], int] = {
        ("call of unknown outcome", "calls of unknown outcome"): report.attempts,
        ("payment intent",): report.intents,
        **{(each.singular, each.plural): report.objects[each.plural] for each in OBJECT_TYPES},
        ("orphaned intent cancelled", "orphaned intents cancelled"): report.orphans,
        ("cancellation",): report.cancellations,
        ("abandoned intent closed", "abandoned intents closed"): report.abandoned,
        ("order evaluated at last", "orders evaluated at last"): report.orders,
        ("event",): report.events,
        ("signal",): report.facts,
    }
    done = ", ".join(counted(number, *names) for names, number in counts.items() if number)
    words = "Would bring" if dry_run else "Brought"
    pages = counted(report.pages, "page")
    return f"{words} up to date: {done or 'nothing'}. Listed {pages} at Stripe."


def _needs(report: Report) -> str:
    lines = ["Somebody should look:"]
    if report.reviews_opened:
        lines.append(f"{counted(report.reviews_opened, 'new review item')} (in the admin)")
    if report.unknown:
        lines.append(
            f"{counted(report.unknown, 'payment intent')} at Stripe not known here, of orders that "
            "ask for no money until staff accept or dismiss them (docs/reliability.md, restore)"
        )
    if report.events_set_aside:
        lines.append(
            f"{counted(report.events_set_aside, 'event')} set aside "
            "(manage.py shop_payments_events list --status set_aside)"
        )
    lines += report.problems[:_SHOWN_PROBLEMS]
    if (more := len(report.problems) - _SHOWN_PROBLEMS) > 0:
        lines.append(f"and {more} more")
    if report.problems:
        lines.append("What could not be done is tried again by the next run.")
    return "\n  ".join(lines)
