"""Refuse calls to Stripe while a transaction is open.

Note [No transaction open]
~~~~~~~~~~~~~~~~~~~~~~~~~~
Stripe may take many seconds to answer. An open transaction would hold its locks and its connection
for as long. If it were rolled back afterwards, Stripe would have acted on rows that do not exist.
So every call asserts that no transaction is open on any connection of the thread. The outer
transaction of a ``TestCase`` is allowed: Django marks it, and it is never committed.
"""

from __future__ import annotations

from django.db import connections

from shop_payments.exceptions import TransactionOpenError


def assert_no_transaction() -> None:
    """Raise an error if a transaction is open. See Note [No transaction open].

    Raises:
        TransactionOpenError: a transaction is open; the message names the connection.
    """
    for connection in connections.all(initialized_only=True):
        blocks = getattr(connection, "atomic_blocks", [])
        if any(not getattr(block, "_from_testcase", False) for block in blocks) or (
            connection.connection is not None and not blocks and not connection.autocommit
        ):
            raise TransactionOpenError(
                f"Stripe must not be called inside a transaction (database {connection.alias!r}); "
                "call the service outside of transaction.atomic(), or from transaction.on_commit()"
            )
