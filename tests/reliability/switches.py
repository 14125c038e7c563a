"""What the promises rest on, by name, and how it is taken away.

A suite that cannot fail proves nothing. With a switch thrown, the app lacks one guard; beside each
suite stands a test that throws some and sees the suite find the damage. ``Crew`` and ``Victim``
take the names, several of them with commas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.signals import connection_created

CONSTRAINTS = {
    "PaymentIntent": "shop_payments_one_open_intent_per_order",
    "StripeAttempt": "shop_payments_one_pending_intent_attempt",
}
"""What makes the database itself refuse a second one, by model."""


def _write_attempts_afterwards() -> None:
    from shop_payments.models import StripeAttempt
    from shop_payments.outbox import sender as attempts

    call_stripe = attempts._call_stripe

    def write_down_afterwards(attempt: StripeAttempt) -> Any:
        StripeAttempt.objects.filter(pk=attempt.pk).delete()
        answer = call_stripe(attempt)
        attempt.save(force_insert=True)
        return answer

    attempts._call_stripe = write_down_afterwards


def _draw_a_key_for_each_sending() -> None:
    from shop_payments.gateway import Gateway

    for name in ("create_payment_intent", "create_refund"):
        method = getattr(Gateway, name)

        def with_a_new_key(*args: Any, method: Any = method, **kwargs: Any) -> Any:
            return method(*args, **{**kwargs, "idempotency_key": str(uuid4())})

        setattr(Gateway, name, with_a_new_key)


def _commit_each_statement() -> None:
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
    from shop_payments.models.payments import OrderPaymentQuerySet

    OrderPaymentQuerySet.locked = OrderPaymentQuerySet.all  # type: ignore[method-assign]


def _see_that_they_are_gone() -> None:
    with connection.cursor() as cursor:
        for model, name in CONSTRAINTS.items():
            table = apps.get_model("shop_payments", model)._meta.db_table
            if name in connection.introspection.get_constraints(cursor, table):
                raise RuntimeError(f"{name} is there: see `dropped_constraints`")


def _refund_anything() -> None:
    from shop_payments.ledger.observations import IntentMoney

    IntentMoney.refundable = 10**9  # type: ignore[assignment,method-assign]


@dataclass(frozen=True)
class Switch:
    """One guard."""

    damage: str
    """What is so without it."""

    throw: Callable[[], None]
    """Takes it away from the app in this process."""


SWITCHES = {
    "attempt": Switch(
        "a write to Stripe is noted down when Stripe has answered, and not before",
        _write_attempts_afterwards,
    ),
    "key": Switch("each sending has an idempotency key of its own", _draw_a_key_for_each_sending),
    "transaction": Switch("each statement is committed by itself", _commit_each_statement),
    "lock": Switch("a payment's row is read and not locked", _lock_nothing),
    "constraint": Switch(
        "the database takes a second open intent of an order, and a second unfinished write",
        _see_that_they_are_gone,
    ),
    "cap": Switch("more may be given back than came", _refund_anything),
}


def _named(without: str) -> list[str]:
    names = [name for name in without.split(",") if name]
    if unknown := [name for name in names if name not in SWITCHES]:
        raise ValueError(f"there is no switch {', '.join(unknown)}, but {', '.join(SWITCHES)}")
    return names


def throw(without: str) -> None:
    """Take what ``without`` names away from the app in this process."""
    for name in _named(without):
        SWITCHES[name].throw()


@contextmanager
def dropped_constraints(without: str) -> Iterator[None]:
    """Drop the constraints while ``without`` names them; for the owner of the database.

    In the end they come back, and the rows go, for some of these may be what they forbid.
    """
    if "constraint" not in _named(without):
        yield
        return
    found = [
        (model, next(each for each in model._meta.constraints if each.name == name))
        for model, name in ((apps.get_model("shop_payments", m), n) for m, n in CONSTRAINTS.items())
    ]
    with connection.schema_editor() as editor:
        for model, constraint in found:
            editor.remove_constraint(model, constraint)
    try:
        yield
    finally:
        call_command("flush", interactive=False, verbosity=0)
        with connection.schema_editor() as editor:
            for model, constraint in found:
                editor.add_constraint(model, constraint)
