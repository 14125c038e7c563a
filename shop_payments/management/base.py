"""What the commands share: how they end where they cannot go on."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, InternalError, OperationalError, connection

from shop_payments.ledger.transactions import is_of_a_standby

INTERRUPTED = 130
HUNG_UP = 141
"""Exit codes, as a shell has them for what SIGINT and SIGPIPE have ended."""


class PaymentsCommand(BaseCommand):
    """A command that ends with words, where a database or a person keeps it from going on."""

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # Nobody reads any more, as under `| head`. What is left of the output goes nowhere, or
            # the interpreter would complain of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(HUNG_UP)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError, InternalError) as error:
            if isinstance(error, InternalError) and not is_of_a_standby(error):
                raise
            raise CommandError(_trouble(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was done stays done; run it again for the rest.",
                returncode=INTERRUPTED,
            ) from None


def _trouble(error: Exception) -> str:
    is_there = connection.connection is not None and connection.is_usable()
    what = "refused" if is_there else "is away"
    words = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"The database {what}: {words}\nWhat was done stays done; run it again for the rest."
