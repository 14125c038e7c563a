"""No call to Stripe with a transaction open.

Note [No transaction open]
~~~~~~~~~~~~~~~~~~~~~~~~~~
Stripe may take many seconds to answer. A transaction that is open meanwhile holds its locks and
its connection, and if it rolls back afterwards, Stripe has acted on something the database never
heard of. So every call asserts that no transaction is open on any connection of the thread. The
outer transaction of a host's ``TestCase`` is let through: Django marks it, and it never commits.
"""

from __future__ import annotations

from django.db import connections

from shop_payments.exceptions import TransactionOpenError


def assert_no_transaction() -> None:
    """Raise where a transaction is open. See Note [No transaction open].

    Raises:
        TransactionOpenError: naming the connection.
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
