"""Statements that are compiled once.

Note [Compiled once]
~~~~~~~~~~~~~~~~~~~~
Django compiles a query set to SQL each time it is used. For the statements that each payment needs,
this takes several times as long as the database. A :class:`PreparedQuery` is compiled by Django at
its first use, and later only gets another value for its one parameter. The rows are built as
``ModelIterable`` does it, with what Django's compiler says of the columns: ``QuerySet.raw`` would
read the columns of each answer again, which takes as long as the rest. :func:`insert_rows` and
:func:`update_row` do the same for what a payment writes, with Django's own conversion of values.
``tests/test_prepared.py`` compares the results with those of query sets and ``save``.
docs/performance.md shows what it saves.

Note [Planned by value]
~~~~~~~~~~~~~~~~~~~~~~~
A project may let psycopg prepare the statements that a connection sends often. PostgreSQL may plan
such a statement once, for an average value. That suits a look-up by a unique key. A list that is
filtered by a rare value would read a large table from its end, instead of an index that contains
the rare values only: 600 ms instead of 40 with 3,000,000 events. So the statements of lists are not
prepared, see :func:`planned_by_value`.

See: https://www.postgresql.org/docs/current/sql-prepare.html (checked 2026-12)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.db import DatabaseError, connections, models, router, transaction
from django.db.models.signals import post_save, pre_save

_Row = TypeVar("_Row", bound=models.Model)

_EXAMPLES: dict[type[models.Field[Any, Any]], Any] = {
    models.IntegerField: 31_321,  # fits small integers, too
    models.AutoField: 31_321,
    models.CharField: "an example of a PreparedQuery",
    models.UUIDField: UUID("31321313-2131-4213-8132-131321313213"),
}
"""Values by which the parameter is found in the compiled statement."""


class PreparedQuery(Generic[_Row]):
    """A query set with one parameter: a value of a model field.

    ``build`` returns the query set for a value. It may use the value several times, but no other
    values that differ between calls, and no ``select_related``. ``field`` returns the model field
    that the value is compared with.
    """

    def __init__(
        self,
        build: Callable[[Any], models.QuerySet[_Row]],
        *,
        field: Callable[[], models.Field[Any, Any]],
    ) -> None:
        self._build, self._find_field = build, field
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, value: Any, *, using: str) -> list[_Row]:
        """Return the rows for ``value``, from the database ``using``.

        Raises:
            TransactionManagementError: the query locks its rows, and no transaction is open.
        """
        compiled = self._compiled.get(using)
        if compiled is None:
            compiled = self._compiled[using] = _compile(self._build, self._find_field(), using)
        if compiled.locks and not connections[using].in_atomic_block:
            raise transaction.TransactionManagementError("Rows are locked in a transaction only.")
        if compiled.field is None:
            return list(self._build(value).using(using))
        connection = connections[using]
        given = compiled.field.get_db_prep_value(value, connection)
        params = list(compiled.params)
        for slot in compiled.slots:
            params[slot] = given
        with connection.cursor() as cursor:
            cursor.execute(compiled.sql, params)
            found = cursor.fetchall()
        return [compiled.build_row(each, connection) for each in found]


def columns_of(model: type[models.Model], path: str) -> dict[str, models.F]:
    """Return annotations that read a related row, as ``select_related`` would."""
    names = [field.attname for field in model._meta.concrete_fields]
    return {f"{path}__{name}": models.F(f"{path}__{name}") for name in names}


def related_row(row: models.Model, model: type[_Row], path: str) -> _Row:
    """Build the related row from the annotations of :func:`columns_of`."""
    names = [field.attname for field in model._meta.concrete_fields]
    values = [row.__dict__.pop(f"{path}__{name}") for name in names]
    return model.from_db(row._state.db, names, values)


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    """A statement, and how Django builds rows from its answer (``ModelIterable``)."""

    model: type[models.Model]
    using: str
    field: models.Field[Any, Any] | None
    sql: str
    params: tuple[Any, ...]
    slots: tuple[int, ...]
    locks: bool
    names: list[str]
    columns: slice
    """Where the columns of the model are, in the order of ``names``."""

    annotations: dict[str, int]
    converters: list[tuple[int, list[Any], Any]]

    def build_row(self, found: Sequence[Any], connection: Any) -> Any:
        values = list(found)
        for place, functions, expression in self.converters:
            for convert in functions:
                values[place] = convert(values[place], expression, connection)
        row = self.model.from_db(self.using, self.names, values[self.columns])
        for name, place in self.annotations.items():
            setattr(row, name, values[place])
        return row


def _compile(
    build: Callable[[Any], models.QuerySet[Any]], field: models.Field[Any, Any], using: str
) -> _Compiled:
    target: Any = getattr(field, "target_field", field)  # of a foreign key, the key
    example = next((value for kind, value in _EXAMPLES.items() if isinstance(target, kind)), None)
    query = build(example).using(using).query
    compiler: Any = query.get_compiler(using)
    sql, params = compiler.as_sql()
    given = target.get_db_prep_value(example, connections[using])
    slots = tuple(slot for slot, param in enumerate(params) if param == given)
    is_known = example is not None and bool(slots)

    selected = [expression for expression, _sql, _alias in compiler.select]
    own = compiler.klass_info["select_fields"]
    converters = compiler.get_converters(selected)
    return _Compiled(
        model=cast("type[models.Model]", query.model),
        using=using,
        field=target if is_known else None,  # of another type: Django compiles each time
        sql=sql,
        params=tuple(params),
        slots=slots,
        locks=query.select_for_update,
        names=[each.target.attname for each in selected[own[0] : own[-1] + 1]],
        columns=slice(own[0], own[-1] + 1),
        annotations=dict(compiler.annotation_col_map),
        converters=[(place, list(each), of) for place, (each, of) in converters.items()],
    )


# --- lists --------------------------------------------------------------------------------------


@contextmanager
def planned_by_value(using: str) -> Iterator[None]:
    """Let PostgreSQL plan each statement for its values. See Note [Planned by value]."""
    database: Any = connections[using]
    database.ensure_connection()
    connection = database.connection
    prepares_after = getattr(connection, "prepare_threshold", None)  # of psycopg, not of others
    if prepares_after is None:
        yield
        return
    connection.prepare_threshold = None
    try:
        yield
    finally:
        connection.prepare_threshold = prepares_after


# --- writing ------------------------------------------------------------------------------------


def insert_rows(*rows: models.Model) -> None:
    """Insert new rows of one model with one statement, as ``save(force_insert=True)`` does each.

    Raises:
        IntegrityError: a constraint does not allow them.
    """
    model, using = type(rows[0]), _alias_of(rows[0])
    connection = connections[using]
    has_key = rows[0].pk is not None
    sql, fields = _insert_sql(model, using, number=len(rows), has_key=has_key)
    params = []
    for row in rows:
        pre_save.send(sender=model, instance=row, raw=False, using=using, update_fields=None)
        params += [_value(row, field, connection, is_new=True) for field in fields]
    with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
        cursor.execute(sql, params)
        keys = [] if has_key else [key for (key,) in cursor.fetchall()]
    for row, key in zip(rows, keys, strict=False):
        row.pk = key
    for row in rows:
        row._state.adding, row._state.db = False, using
        post_save.send(
            sender=model, instance=row, created=True, update_fields=None, raw=False, using=using
        )


def update_row(row: models.Model, names: Iterable[str], **only_if: Any) -> bool:
    """Write these columns (attribute names) of a row, as ``save(update_fields=…)`` does.

    With ``only_if``, the stored row must have these values. Return whether it was written.

    Raises:
        DatabaseError: there is no such row, and ``only_if`` was not given.
    """
    model, using = type(row), _alias_of(row)
    connection = connections[using]
    changed = frozenset(names)
    sql, fields = _update_sql(model, using, changed, tuple(only_if))
    pre_save.send(sender=model, instance=row, raw=False, using=using, update_fields=changed)
    params = [_value(row, field, connection, is_new=False) for field in fields]
    for name, value in {"pk": row.pk, **only_if}.items():
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        params.append(field.get_db_prep_value(value, connection))
    with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
        cursor.execute(sql, params)
        is_written: bool = cursor.rowcount == 1
    if not is_written and not only_if:
        raise DatabaseError(f"{model.__name__} {row.pk} does not exist, so it was not updated.")
    if is_written:
        post_save.send(
            sender=model, instance=row, created=False, update_fields=changed, raw=False, using=using
        )
    return is_written


def _alias_of(row: models.Model) -> str:
    alias: str = router.db_for_write(type(row), instance=row)
    return alias


def _value(row: Any, field: Any, connection: Any, *, is_new: bool) -> Any:
    if field.is_relation and getattr(row, field.attname) is None and field.is_cached(row):
        related = getattr(row, field.name)  # it may have been saved after it was assigned
        setattr(row, field.attname, related and getattr(related, field.target_field.attname))
    return field.get_db_prep_save(field.pre_save(row, add=is_new), connection=connection)


@cache
def _insert_sql(
    model: type[models.Model], using: str, *, number: int, has_key: bool
) -> tuple[str, list[Any]]:
    quote = connections[using].ops.quote_name
    every: list[Any] = list(model._meta.concrete_fields)
    fields = [field for field in every if has_key or not field.primary_key]
    columns = ", ".join(quote(field.column) for field in fields)
    values = ", ".join(["(" + ", ".join(["%s"] * len(fields)) + ")"] * number)
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES {values}"  # noqa: S608
    key = cast("Any", model._meta.pk)
    return (sql if has_key else f"{sql} RETURNING {quote(key.column)}"), fields


@cache
def _update_sql(
    model: type[models.Model], using: str, names: frozenset[str], only_if: tuple[str, ...]
) -> tuple[str, list[Any]]:
    quote = connections[using].ops.quote_name
    every: list[Any] = list(model._meta.concrete_fields)
    fields = [field for field in every if field.attname in names]
    known: list[Any] = [model._meta.pk, *(model._meta.get_field(name) for name in only_if)]
    columns = ", ".join(f"{quote(field.column)} = %s" for field in fields)
    found = " AND ".join(f"{quote(each.column)} = %s" for each in known)
    sql = f"UPDATE {quote(model._meta.db_table)} SET {columns} WHERE {found}"  # noqa: S608
    return sql, fields
