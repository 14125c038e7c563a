"""Short transactions that are retried after a deadlock or a serialization failure.

Note [Running again]
~~~~~~~~~~~~~~~~~~~~
Our transactions lock one payment, read, decide and write. Each decision depends only on the rows
that were read, so a transaction that the database rolled back can be run again from its first line.
PostgreSQL rolls back for a deadlock (40P01) or for a stricter isolation level that the host has
chosen (40001). Our own transactions do not deadlock (Note [Lock order] in ``ledger/payments.py``),
but the host's code may hold locks, too. SQLite reports that the database is locked.

After waiting for a lock, a transaction must see what its last holder wrote. REPEATABLE READ shows
the state before the wait and does not fail. So our transactions are READ COMMITTED, whatever the
default is: ``DATABASES``, the database, its user and the session may set one, and only the server
knows which applies. SERIALIZABLE in ``DATABASES`` stays, because it rolls one of the two back.

Only code that opened the transaction may run it again. Inside the host's transaction, retrying is
up to the host.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    transaction,
)

logger = logging.getLogger("shop_payments")

_T = TypeVar("_T")

_TRIES = 5
_SECONDS = 5.0
"""No further try after this time, because a client is waiting."""

_FIRST_PAUSE = 0.02
_TRANSIENT_STATES = frozenset({"40001", "40P01"})
_READ_ONLY_STATE = "25006"


def is_transient(error: OperationalError) -> bool:
    """Return whether the same transaction may succeed if it is run again."""
    return _state_of(error) in _TRANSIENT_STATES or "database is locked" in str(error)


def is_read_only(error: Exception) -> bool:
    """Return whether the database is read-only: a standby, during a failover.

    This is the only sign of an outage that comes as an ``InternalError``, as bugs do.
    """
    return isinstance(error, InternalError) and _state_of(error) == _READ_ONLY_STATE


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is unavailable or read-only."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return not connection.is_usable()
    return is_read_only(error)


def _state_of(error: Exception) -> str | None:
    """Return PostgreSQL's error code."""
    cause = error.__cause__
    # psycopg 3 has sqlstate, psycopg 2 has pgcode.
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_in_transaction() -> bool:
    """Return whether the caller has opened a transaction.

    The outer transaction of a ``TestCase``, which Django marks, does not count: it never commits.
    """
    blocks = connection.atomic_blocks
    return any(not getattr(block, "_from_testcase", False) for block in blocks)


def after_commit(work: Callable[[], object], *, what: str) -> None:
    """Do ``work`` after the caller's transaction is committed; ``what`` names it in the log.

    Exceptions are logged and not raised: the transaction, perhaps the host's own, is committed, and
    other work may wait for the same commit. A row must record unfinished work, so that the next
    call or the sweep finishes it.
    """

    def try_it() -> None:
        try:
            work()
        except Exception:
            logger.exception("%s: failed after the commit; the next sweep tries it again", what)

    # Not robust=True: Django logs ``__qualname__``, which a partial does not have.
    transaction.on_commit(try_it)


def run_transaction(work: Callable[[], _T], *, competes: bool = False) -> _T:
    """Run ``work`` in a durable transaction, and retry it if the database rolls it back.

    ``work`` locks, reads, decides and writes. It does nothing that a rollback does not undo. With
    ``competes``, it also runs again if another process inserted the same row first: the next try
    sees that row.

    Raises:
        OperationalError: it was rolled back too often, or failed for another reason.
        IntegrityError: without ``competes``, or too often.
    """
    started = time.monotonic()
    for number in range(1, _TRIES + 1):
        is_last = number == _TRIES or time.monotonic() - started > _SECONDS
        try:
            with _reading_what_is_committed(), transaction.atomic(durable=True):
                return work()
        except IntegrityError:
            if is_last or not competes:
                raise
            continue  # without a pause: the other row is committed, so the next try sees it
        except OperationalError as error:
            if is_last or not is_transient(error):
                raise
        # A random pause, so that the same two transactions do not collide again.
        time.sleep(random.uniform(0, _FIRST_PAUSE * 2**number))  # noqa: S311 - no secret
    raise AssertionError("the last try returns or raises")


@contextmanager
def _reading_what_is_committed() -> Iterator[None]:
    """Make the block's transaction READ COMMITTED. See Note [Running again]."""
    # SQLite has one writer at a time. In a ``TestCase`` the transaction has already begun.
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    # Otherwise ``atomic`` makes Django's health check, and may replace the connection.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    driver: Any = connection.connection
    level = driver.isolation_level
    if level != IsolationLevel.SERIALIZABLE:
        # The driver sends it with BEGIN. Here it raises its own error if the connection is lost.
        with connection.wrap_database_errors:
            driver.isolation_level = IsolationLevel.READ_COMMITTED
    try:
        yield
    finally:
        # A failed ``work`` may have closed, lost or replaced the connection.
        if connection.connection is driver and not driver.closed:
            with connection.wrap_database_errors:
                driver.isolation_level = level
