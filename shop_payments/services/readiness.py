"""Whether a process can take payments, for a load balancer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import Error, connection, transaction

from shop_payments.database_checks import find_unapplied_migrations, lacks_tables
from shop_payments.services.unfinished import is_late, last_sweep

logger = logging.getLogger("shop_payments")

_OK = "ok"
_STATEMENT_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What works. Each part is ``ok``, or a word that says what is wrong."""

    database: str = _OK
    """Otherwise ``unavailable``."""

    migrations: str = _OK
    """Those of this app. Otherwise ``not applied``, or ``unknown`` without the database."""

    sweep: str = _OK
    """Otherwise ``late``, or ``unknown``."""

    @property
    def is_ready(self) -> bool:
        """Whether this process can take payments. It can without a sweep."""
        return self.database == self.migrations == _OK

    @property
    def is_swept(self) -> bool:
        """Whether the sweep runs as often as it should."""
        return self.sweep == _OK


def check_readiness() -> Readiness:
    """Examine the database, this app's migrations and the age of the last sweep.

    It runs three short statements. It raises nothing: a database that is unavailable, or takes
    more than two seconds for a statement (PostgreSQL), is part of the result.

    Raises:
        ConfigurationError: ``SHOP_PAYMENTS`` is wrong.
    """
    try:
        with _short_statements():
            if find_unapplied_migrations():
                return _report(Readiness(migrations="not applied", sweep="unknown"))
            return Readiness(sweep="late" if is_late(last_sweep()) else _OK)
    except Error as error:
        if lacks_tables(error):
            return _report(Readiness(migrations="not applied", sweep="unknown"), error)
        unknown = Readiness(database="unavailable", migrations="unknown", sweep="unknown")
        return _report(unknown, error)


def _report(found: Readiness, error: Exception | None = None) -> Readiness:
    """Log it: a load balancer only shows that a process is not ready."""
    logger.warning(
        "not ready: database=%s migrations=%s error=%s",
        found.database,
        found.migrations.replace(" ", "_"),
        type(error).__name__ if error else "-",
    )
    return found


@contextmanager
def _short_statements() -> Iterator[None]:
    """Let no statement of the block take long, where the database can do that."""
    if connection.vendor != "postgresql":
        yield  # and no transaction: on SQLite, it would wait for writers
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'")
        yield
