"""Short transactions that are run again where the database says so.

Note [Running again]
~~~~~~~~~~~~~~~~~~~~
A transaction of ours locks one payment, reads, decides and writes. What it decides follows from
what it has read, so one that the database has undone can be run again, from its first line.
PostgreSQL undoes one for a deadlock (40P01; there is none among ours, see Note [Lock order] in
``ledger/payments.py``, but the host's code may hold locks, too) or because the host has chosen a
stricter isolation (40001). SQLite says that it is locked.

Who has waited for a lock must see what its last holder has written. REPEATABLE READ shows what was
there before the wait, and undoes nothing for that. So ours are READ COMMITTED whatever is the
default: the host's in ``DATABASES``, or the one of the database, of its user or of the session,
which nobody but the server knows. Where ``DATABASES`` asks for SERIALIZABLE, it may stay: that
undoes one of the two.

Only what opens its own transaction may run again. Inside the host's transaction it is the host's
to do so.
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
"""No new try after so long: the client is waiting."""

_FIRST_PAUSE = 0.02
_PASSING_STATES = frozenset({"40001", "40P01"})
_READ_ONLY_STATE = "25006"


def is_passing(error: OperationalError) -> bool:
    """Tell whether the same transaction may succeed if it is run once more."""
    return _state_of(error) in _PASSING_STATES or "database is locked" in str(error)


def is_of_a_standby(error: Exception) -> bool:
    """Tell whether the database takes no writes: a standby, while another one takes its place.

    Of all that an outage may say, this alone comes as an ``InternalError``, as bugs do.
    """
    return isinstance(error, InternalError) and _state_of(error) == _READ_ONLY_STATE


def is_away(error: Exception) -> bool:
    """Tell whether the database is away or takes no writes, so that nothing else can be done."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return not connection.is_usable()
    return is_of_a_standby(error)


def _state_of(error: Exception) -> str | None:
    """Return PostgreSQL's code for what went wrong."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_in_transaction() -> bool:
    """Tell whether the caller has a transaction open; the outer one of a ``TestCase`` is none.

    Django marks that one, and it never commits.
    """
    blocks = connection.atomic_blocks
    return any(not getattr(block, "_from_testcase", False) for block in blocks)


def after_commit(work: Callable[[], object], *, what: str) -> None:
    """Do ``work`` when the caller's transaction is committed; ``what`` it is, for the log.

    What it raises is logged and goes no further: the commit stands, perhaps the host's own, and
    other work may wait for it, too. What is left undone has to stand in a row, for the next call or
    the sweep.
    """

    def try_it() -> None:
        try:
            work()
        except Exception:
            logger.exception("%s: failed after the commit, and is left to the next sweep", what)

    # Not robust=True: Django names what fails by an attribute that not every callable has.
    transaction.on_commit(try_it)


def run_short(work: Callable[[], _T], *, competes: bool = False) -> _T:
    """Run ``work`` in a durable transaction, and again for as long as the database undoes it.

    ``work`` locks, reads, decides and writes. It does nothing that a rollback does not undo. With
    ``competes`` it is also run again if another process was faster to insert the same row: now the
    row can be seen.

    Raises:
        OperationalError: it was undone too often, or for another reason.
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
            continue
        except OperationalError as error:
            if is_last or not is_passing(error):
                raise
        # Not the same pause for everybody, or they would meet again.
        time.sleep(random.uniform(0, _FIRST_PAUSE * 2**number))  # noqa: S311 - no secret
    raise AssertionError("the last try returns or raises")


@contextmanager
def _reading_what_is_committed() -> Iterator[None]:
    """Have the transaction that the block begins and ends see it. See Note [Running again]."""
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    connection.ensure_connection()
    driver: Any = connection.connection
    level = driver.isolation_level
    if level != IsolationLevel.SERIALIZABLE:
        driver.isolation_level = IsolationLevel.READ_COMMITTED  # it is said with the BEGIN
    try:
        yield
    finally:
        if connection.connection is driver and not driver.closed:
            driver.isolation_level = level
