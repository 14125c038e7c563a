"""System checks that need the database: the migrations, and the adapter on the newest order."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, migrations, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from shop_payments import migrations as own_migrations
from shop_payments.conf import CAPTURE_METHODS, order_model_label, order_model_reference
from shop_payments.exceptions import ConfigurationError, MoneyError, OrderUnreadable
from shop_payments.money import Money
from shop_payments.orders import LineItem, OrderAdapter, get_order_adapter, read_line_items

_APP = "shop_payments"
_Messages = list[CheckMessage]

# --- tables -------------------------------------------------------------------------------------


def check_tables() -> _Messages:
    """Check that the app is migrated (W007).

    A warning, because ``migrate`` itself runs the checks first.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    wanted = {model._meta.db_table for model in apps.get_app_config(_APP).get_models()}
    if wanted <= tables and not find_unapplied_migrations():
        return []
    return [
        Warning(
            "The database does not have all tables and columns of shop_payments.",
            hint="Run 'manage.py migrate'. If it is running, it creates them now.",
            id="shop_payments.W007",
        )
    ]


def find_unapplied_migrations() -> set[str]:
    """Return the names of this app's migrations that are not applied; empty if none are used."""
    recorded = MigrationRecorder(connections[DEFAULT_DB_ALIAS]).applied_migrations()
    applied = {name for app_label, name in recorded if app_label == _APP}
    names = {each.name for each in pkgutil.iter_modules(own_migrations.__path__)}
    return names - applied if applied and _APP not in settings.MIGRATION_MODULES else set()


_UNDEFINED = ("42P01", "42703")
"""PostgreSQL's codes for a table and a column that do not exist.

See: https://www.postgresql.org/docs/current/errcodes-appendix.html (checked 2026-11)
"""


def lacks_tables(error: Exception) -> bool:
    """Return whether an error says that a table or a column is missing, before a migration."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg 3 and 2
    return state in _UNDEFINED or str(error).startswith(("no such table", "no such column"))


# --- the migration of the host's order ----------------------------------------------------------


def check_order_migration() -> _Messages:
    """Check that the order's table is created before the payments that refer to it (E015, E016)."""
    try:
        model = apps.get_model(order_model_reference())
    except (LookupError, ValueError):
        return []  # E008 reports it
    app_label = model._meta.app_label
    unused = {name for name, module in settings.MIGRATION_MODULES.items() if module is None}
    if app_label == _APP or {app_label, _APP} & unused:
        return []
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    if all(label != app_label for label, _name in loader.disk_migrations):
        return [
            Error(
                f"The app {app_label!r} of SHOP_PAYMENTS_ORDER_MODEL has no migrations, so its "
                "table may not exist when the payments refer to it.",
                hint=f"Run 'manage.py makemigrations {app_label}', then 'manage.py migrate'.",
                id="shop_payments.E016",
            )
        ]
    try:
        loader.build_graph()
        key = _migration_of(model, loader)
        (first, *_others) = loader.graph.root_nodes(_APP)
        runs_before = key is None or key in loader.graph.forwards_plan(first)
    except Exception:  # other apps' migrations are inconsistent: `migrate` says how
        return []
    if key is None or runs_before:
        return []
    return [
        Error(
            f"The migration {key[1]!r} of {app_label!r}, which creates {model._meta.label}, may "
            "run after the payments that refer to it.",
            hint=f"Add run_before = [({_APP!r}, {first[1]!r})] to the class Migration in "
            f"{_place_of(loader.disk_migrations[key])}; see docs/own-order-model.md.",
            id="shop_payments.E015",
        )
    ]


def _migration_of(model: type[Model], loader: MigrationLoader) -> tuple[str, str] | None:
    """Return the last migration that gives a model its name; None if it cannot be told."""
    app_label = model._meta.app_label
    found = None
    for leaf in loader.graph.leaf_nodes(app_label):
        for key in loader.graph.forwards_plan(leaf):
            operations = loader.disk_migrations[key].operations if key[0] == app_label else []
            if any(_names(each, model._meta.object_name or "") for each in operations):
                found = key
    return found


def _names(operation: Operation, name: str) -> bool:
    """Return whether an operation creates a model of a name, or renames one to it."""
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return any(_names(each, name) for each in operation.state_operations)
    if isinstance(operation, migrations.RenameModel):
        return operation.new_name.lower() == name.lower()
    return isinstance(operation, migrations.CreateModel) and operation.name.lower() == name.lower()


def _place_of(migration: migrations.Migration) -> str:
    try:
        file = inspect.getsourcefile(type(migration))
        line = inspect.getsourcelines(type(migration))[1]
    except (OSError, TypeError):
        return migration.__module__
    return f"{file}, below line {line}"


# --- the adapter --------------------------------------------------------------------------------


def check_adapter() -> _Messages:
    """Try the methods of the adapter on the newest order (E019, W009)."""
    try:
        apps.get_model(order_model_label())
        adapter = get_order_adapter()
    except (LookupError, ValueError, ConfigurationError, TypeError):
        return []  # E001, E007 or E008 reports it
    with transaction.atomic():  # on PostgreSQL, an error of the adapter's ends it
        return [*_problems_of_queries(adapter)] or [*_problems_of_order(adapter)]


def _problems_of_queries(adapter: OrderAdapter) -> Iterator[CheckMessage]:
    def is_queryset(value: object) -> bool:
        return isinstance(value, QuerySet | BaseManager)

    words = "a QuerySet of orders"
    yield from _tried(adapter, "get_queryset", (), is_queryset, words)
    user = _answer(lambda: get_user_model()._default_manager.order_by("-pk").first())
    if isinstance(user, Model):
        yield from _tried(adapter, "list_for_user", (user,), is_queryset, words)


def _problems_of_order(adapter: OrderAdapter) -> Iterator[CheckMessage]:
    order = _answer(lambda: adapter.get_queryset().order_by("-pk").first())
    if isinstance(order, Exception):
        yield _raised(adapter, "get_queryset", order)
    if not isinstance(order, Model):
        return
    total = _answer(lambda: adapter.total(order))
    checks: list[tuple[str, tuple[Any, ...], Callable[[Any], bool], str]] = [
        # Texts may be whatever str() accepts.
        ("parse_id", (str(order.pk),), _is_anything, ""),
        ("number", (order,), _is_anything, ""),
        ("receipt_email", (order,), _is_anything, ""),
        ("total", (order,), _is_money, "Money"),
        ("line_items", (order,), _are_lines, "a list of LineItem"),
        ("capture_method", (order,), CAPTURE_METHODS.__contains__, " or ".join(CAPTURE_METHODS)),
        ("is_payable", (order,), lambda payable: payable is not None, "True or False"),
    ]
    if isinstance(total, Money) and total.amount:
        checks.append(("amount_to_pay_now", (order, total), _is_money, "Money"))
    found = [message for check in checks for message in _tried(adapter, *check)]
    yield from found or _problems_of_lines(adapter, order)


def _tried(
    adapter: OrderAdapter,
    method: str,
    arguments: tuple[Any, ...],
    is_right: Callable[[Any], bool],
    expected: str,
) -> Iterator[CheckMessage]:
    """Call a method of the adapter; report an exception or a wrong value."""
    value = _answer(lambda: getattr(adapter, method)(*arguments))
    if isinstance(value, Exception):
        yield _raised(adapter, method, value)
    elif not is_right(value):
        yield Error(
            f"{type(adapter).__name__}.{method}() returned {_described(value)}, not {expected}, "
            "for the newest order.",
            hint=f"Return {expected} from {method}(); docs/own-order-model.md describes each "
            "method.",
            id="shop_payments.E019",
        )


def _problems_of_lines(adapter: OrderAdapter, order: Any) -> Iterator[CheckMessage]:
    """Report lines whose values cannot be shown."""
    try:
        read_line_items(order)
    except (MoneyError, OrderUnreadable) as error:
        yield _raised(adapter, "line_items", error)


def _answer(ask: Callable[[], Any]) -> Any:
    """Return the value, or the exception that was raised."""
    try:
        with transaction.atomic():
            return ask()
    except Exception as error:  # whatever the host's code raises
        return error


def _raised(adapter: OrderAdapter, method: str, error: Exception) -> CheckMessage:
    words = next(iter(str(error).splitlines()), "")
    return Warning(
        f"{type(adapter).__name__}.{method}() failed for the newest order: "
        f"{type(error).__name__}: {words[:200]}",
        hint="Correct the method or the order. If a table or a column is missing, run "
        "'manage.py migrate'. Until then, the order cannot be paid.",
        id="shop_payments.W009",
    )


def _is_anything(value: object) -> bool:
    return True


def _is_money(value: object) -> bool:
    return isinstance(value, Money)


_LINE_KEYS = [each.name for each in fields(LineItem)]


def _are_lines(value: Any) -> bool:
    """Return whether these are lines, or objects that can be read like them."""
    return isinstance(value, Iterable) and all(
        hasattr(line, name) for line in value for name in _LINE_KEYS
    )


def _described(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return f"a {type(value).__name__} of {type(value[0]).__name__}"
    return repr(value) if value is None or isinstance(value, bool) else f"a {type(value).__name__}"
