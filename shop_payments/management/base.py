"""The base class of the commands, which handles errors and interruptions."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)

from shop_payments.database_checks import lacks_tables
from shop_payments.ledger.transactions import is_read_only

INTERRUPTED = 130
HUNG_UP = 141
"""The exit codes that a shell reports for a process ended by SIGINT or SIGPIPE."""


class PaymentsCommand(BaseCommand):
    """A command that ends with a message if the database fails or it is interrupted."""

    def inform(self, text: str) -> None:
        """Write a remark to stderr, so that stdout contains only the result."""
        self.stderr.write(text, self.style.SUCCESS)

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # The reader has ended, as with `| head`. Discard the rest of the output, otherwise the
            # interpreter reports an error when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(HUNG_UP)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError, InternalError, ProgrammingError) as error:
            if lacks_tables(error):
                raise CommandError(
                    f"The database is not migrated: {_first_line(error)}\nRun 'manage.py migrate'."
                ) from error
            if isinstance(error, ProgrammingError):
                raise
            if isinstance(error, InternalError) and not is_read_only(error):
                raise
            raise CommandError(_database_message(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. Finished work is kept. Run the command again for the rest.",
                returncode=INTERRUPTED,
            ) from None


def _database_message(error: Exception) -> str:
    is_there = connection.connection is not None and connection.is_usable()
    what = "refused" if is_there else "is unavailable"
    return (
        f"The database {what}: {_first_line(error)}\n"
        "Finished work is kept. Run the command again for the rest."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
