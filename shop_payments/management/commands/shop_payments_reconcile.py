"""``manage.py shop_payments_reconcile``: run the sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.exceptions import ShopPaymentsError, SweepRunning
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.management.arguments import moment
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted
from shop_payments.sync.registry import OBJECT_TYPES

_SHOWN_PROBLEMS = 20


class Command(PaymentsCommand):
    help = (
        "Compare recent and open objects with Stripe, and finish unfinished work: lost answers "
        "and webhooks, orders that could not be read, cancellations, failed events, signals. "
        "Safe to run at any time, repeatedly, and on several machines. Exits with an error if "
        "someone should look at the result."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=moment,
            metavar="YYYY-MM-DD|HOURS",
            help=(
                "compare Stripe's lists of objects since this time: a day in the project's time "
                "zone, or a number of hours ago. Without this option, the sweep processes the "
                "events that never arrived, and compares the lists once a day. Open objects of "
                "any age are looked up"
            ),
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="write nothing, neither here nor at Stripe; print what would be done",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run: bool = options["dry_run"]
        try:
            report = reconcile(
                since=options["since"],
                dry_run=dry_run,
                on_progress=self._progress(options["verbosity"]),
            )
        except SweepRunning as error:
            if options["since"] is not None:
                # Somebody waits for it, for example before a shop is opened after a restore.
                raise CommandError(f"{error} Nothing was compared: run this again.") from error
            self.stdout.write(str(error))
            return
        except ShopPaymentsError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_summary_of_sweep(report, dry_run=dry_run))
        if report.needs_staff:
            raise CommandError(_needs(report))

    def _progress(self, verbosity: int) -> Callable[[str], None] | None:
        """Return a function that writes lines to stderr, from verbosity 2 on also the counts."""

        def write(line: str) -> None:
            is_count = line.startswith("…")
            if sys.stderr is not None and (verbosity > 1 or not is_count):
                with suppress(OSError):  # the work goes on even if nobody reads it
                    self.stderr.write(line, str)  # not in the color of errors

        return write if verbosity else None


def _summary_of_sweep(report: Report, *, dry_run: bool) -> str:
    counts: dict[tuple[str, ...], int] = {
        ("unresolved attempt", "unresolved attempts"): report.attempts,
        ("payment intent",): report.intents,
        **{(each.singular, each.plural): report.objects[each.plural] for each in OBJECT_TYPES},
        ("orphaned intent cancelled", "orphaned intents cancelled"): report.orphans,
        ("cancellation",): report.cancellations,
        ("abandoned intent closed", "abandoned intents closed"): report.abandoned,
        ("order evaluated", "orders evaluated"): report.orders,
        ("missed event",): report.missed_events,
        ("event",): report.events,
        ("signal",): report.facts,
    }
    done = ", ".join(counted(number, *names) for names, number in counts.items() if number)
    words = "Would bring" if dry_run else "Brought"
    pages = counted(report.pages, "page")
    return f"{words} up to date: {done or 'nothing'}. Listed {pages} at Stripe."


def _needs(report: Report) -> str:
    lines = ["Staff or developers should look at this:"]
    if report.reviews_opened:
        lines.append(f"{counted(report.reviews_opened, 'new review item')} (in the admin)")
    if report.unknown:
        lines.append(
            f"{counted(report.unknown, 'payment intent')} at Stripe not known here. Their orders "
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
        lines.append("The next run retries failed work.")
    return "\n  ".join(lines)
