"""Short transactions that are run again where the database says so.

Note [Running again]
~~~~~~~~~~~~~~~~~~~~
A transaction of ours locks one payment, reads, decides and writes. What it decides follows from
what it has read, so one that the database has undone can be run again, from its first line.
PostgreSQL undoes one for a deadlock (40P01; there is none among ours, see Note [Lock order] in
``services/ledger.py``, but the host's code may hold locks, too) or because the host has chosen a
stricter isolation (40001). SQLite says that it is locked.

Who has waited for a lock must see what its last holder has written. REPEATABLE READ shows what was
there before the wait, and undoes nothing for that: where the host has chosen it, ours are READ
COMMITTED all the same. SERIALIZABLE undoes one of the two, and may stay.

Only what opens its own transaction may run again. Inside the host's transaction it is the host's
to do so.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from types import TracebackType

from django.db import InternalError, OperationalError, connection, transaction

_TRIES = 5
_SECONDS = 5.0
"""No new try after so long: whoever waits has a client who waits."""

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


def _state_of(error: Exception) -> str | None:
    """Return PostgreSQL's code for what went wrong."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def short_transactions() -> Iterator[ShortTransaction]:
    """Yield a durable transaction, and another one for as long as the database undoes them.

    It has begun when it is yielded: to begin may be refused as well. The block sets whatever it
    sets anew in each run, and does nothing that a rollback does not undo.

    ::

        for short in short_transactions():
            with short:
                locked = lock_payment(pk)
                ...
        dispatch(locked.facts)

    Raises:
        OperationalError: it was undone too often, or for another reason.
    """
    started = time.monotonic()
    for number in range(1, _TRIES + 1):
        may_fail = number < _TRIES and time.monotonic() - started < _SECONDS
        short = ShortTransaction(may_fail=may_fail)
        if short.begin():
            yield short
        if short.is_committed:
            return
        # Not the same pause for everybody, or they would meet again.
        time.sleep(random.uniform(0, _FIRST_PAUSE * 2**number))  # noqa: S311 - no secret


def _see_what_is_committed() -> None:
    """Take REPEATABLE READ back for the transaction that has just begun."""
    if connection.vendor != "postgresql" or len(connection.atomic_blocks) > 1:
        return
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    level = getattr(connection, "isolation_level", None)  # only PostgreSQL's class has it
    if level == IsolationLevel.REPEATABLE_READ:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


class ShortTransaction:
    """One run of a block."""

    def __init__(self, *, may_fail: bool) -> None:
        self.is_committed = False
        self._may_fail = may_fail
        self._atomic = transaction.atomic(durable=True)

    def begin(self) -> bool:
        """Begin; False where that has to be tried again."""
        try:
            self._atomic.__enter__()
        except OperationalError as error:
            if not (self._may_fail and is_passing(error)):
                raise
            return False
        try:
            _see_what_is_committed()
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return True

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            self._atomic.__exit__(kind, error, traceback)
        except OperationalError as commit_error:
            if not (self._may_fail and is_passing(commit_error)):
                raise
            return True
        self.is_committed = error is None
        return isinstance(error, OperationalError) and self._may_fail and is_passing(error)
