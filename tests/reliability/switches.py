"""Guards of the app that a process can be without, so that a test shows that a suite can fail.

Each is a function that takes its guard away from this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created


def _save_attempts_afterwards() -> None:
    """Save what is sent to Stripe when Stripe has answered, and not before."""
    from shop_payments.models import StripeAttempt
    from shop_payments.outbox import sender

    call_stripe = sender._call_stripe

    def save_afterwards(attempt: StripeAttempt) -> Any:
        StripeAttempt.objects.filter(pk=attempt.pk).delete()
        answer = call_stripe(attempt)
        attempt.save(force_insert=True)
        return answer

    sender._call_stripe = save_afterwards


def _commit_each_statement() -> None:
    """Commit each statement of a transaction by itself."""

    def commit_each(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = run(sql, params, many, context)
        database = context["connection"]
        if database.in_atomic_block and not database.savepoint_ids:
            database.connection.commit()
        return result

    def watch(connection: Any, **kwargs: Any) -> None:
        connection.execute_wrappers.append(commit_each)

    connection_created.connect(watch, weak=False)
    for each in connections.all(initialized_only=True):
        watch(each)


def _lock_nothing() -> None:
    """Read a payment's row without a lock."""
    from shop_payments.models.payments import OrderPaymentQuerySet

    OrderPaymentQuerySet.locked = OrderPaymentQuerySet.all  # type: ignore[method-assign]


SWITCHES: dict[str, Callable[[], None]] = {
    "attempt": _save_attempts_afterwards,
    "transaction": _commit_each_statement,
    "lock": _lock_nothing,
}


def throw(without: str) -> None:
    """Take the guard with this name away from this process; none if it is empty."""
    if without:
        SWITCHES[without]()
