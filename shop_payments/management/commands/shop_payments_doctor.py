"""``manage.py shop_payments_doctor``: examine the settings, this project and the Stripe account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.doctor_here import NOT_MIGRATED, examine_checks, examine_state
from shop_payments.management.doctor_stripe import examine_stripe
from shop_payments.management.findings import Finding
from shop_payments.management.words import counted


class Command(PaymentsCommand):
    help = (
        "Examine the settings, this project and the Stripe account. Prints one line for each "
        "finding, with its fix. Changes nothing. Exits with an error if a finding is an error."
    )
    requires_system_checks: list[str] = []  # they are among the findings

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-stripe", action="store_true", help="do not call Stripe")

    def handle(self, *args: Any, no_stripe: bool, **options: Any) -> None:
        styles = {
            "ok": self.style.SUCCESS,
            "warning": self.style.WARNING,
            "error": self.style.ERROR,
        }
        errors = 0
        for finding in _findings(asks_stripe=not no_stripe):
            self.stdout.write(str(finding), styles[finding.level])
            errors += finding.level == "error"
        if errors:
            raise CommandError(f"Found {counted(errors, 'error')}.")


def _findings(*, asks_stripe: bool) -> Iterator[Finding]:
    is_migrated = True
    for finding in examine_checks():
        yield finding
        is_migrated &= NOT_MIGRATED not in finding.text
    try:
        get_config()
    except ConfigurationError:
        return  # E001 reports it
    if is_migrated:
        yield from examine_state()
    if asks_stripe:
        yield from examine_stripe()
