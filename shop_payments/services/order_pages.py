"""Filter orders, and select a page of them.

Note [Pages of orders]
~~~~~~~~~~~~~~~~~~~~~~
A page costs the same, however many orders there are and however far it is from the newest one. So
nothing is counted, and a page is not found by its number, for which a database reads all rows
before it. It begins behind the order in its :class:`OrderCursor`, which an index finds. An order
that is placed meanwhile shifts no page: none is shown twice, and none is left out.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import BooleanField, Exists, F, Func, OuterRef, QuerySet, Value
from django.utils import timezone

from shop_payments.days import as_stored
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import OrderPayment
from shop_payments.orders import OrderAdapter, get_order_adapter, read_created_at, value_of_field


@dataclass(frozen=True, kw_only=True)
class OrderFilters:
    """Which orders to list. An empty field does not filter."""

    payment_status: str = ""
    """As stored: a status changes when a payment changes or the order is evaluated again."""

    number: str = ""
    created_from: datetime | None = None
    """The beginning of the range, which contains it."""

    created_before: datetime | None = None
    """The end of the range, which does not contain it."""


@dataclass(frozen=True, kw_only=True)
class OrderCursor:
    """A place in the list of orders: the order at the end of one page. ``str()`` writes it."""

    pk: Any
    created_at: datetime | None
    """None if the adapter has no ``created_field``."""

    is_backward: bool = False
    """Whether the page has the newer orders, not the older ones."""

    def __str__(self) -> str:
        """Return the cursor as clients send it back."""
        moment = self.created_at.isoformat() if self.created_at else ""
        text = json.dumps([int(self.is_backward), moment, str(self.pk)])
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(text: str) -> OrderCursor | None:
    """Return the cursor of a text; None if it is not one of this shop's."""
    try:
        values = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        direction, moment, key = values
        created_at = datetime.fromisoformat(moment) if moment else None
    except (ValueError, TypeError, RecursionError):
        return None
    adapter = get_order_adapter()
    pk = value_of_field(adapter.model._meta.pk, key) if isinstance(key, str) else None
    is_complete = (created_at is not None) == bool(adapter.created_field)
    if pk is None or direction not in (0, 1) or not (is_complete and _is_storable(created_at)):
        return None
    if created_at and settings.USE_TZ:
        created_at = as_stored(created_at)
    return OrderCursor(pk=pk, created_at=created_at, is_backward=bool(direction))


def _is_storable(moment: datetime | None) -> bool:
    if moment is None:
        return True
    # The first and the last year cannot be converted to every time zone.
    return timezone.is_aware(moment) == settings.USE_TZ and 1 < moment.year < 9999


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The orders of a page, newest first, and the cursors of the pages beside it."""

    orders: Sequence[Any]
    next: OrderCursor | None
    previous: OrderCursor | None


def select_page(
    orders: QuerySet[Any], *, filters: OrderFilters, cursor: OrderCursor | None, size: int
) -> Selected:
    """Return a page of at most ``size`` orders, with one query. See Note [Pages of orders].

    Raises:
        ValueError: the adapter does not name the field of a filter.
    """
    adapter = get_order_adapter()
    names = [adapter.created_field, "pk"] if adapter.created_field else ["pk"]
    is_backward = cursor is not None and cursor.is_backward
    rows = _filtered(orders, filters, adapter)
    rows = rows.order_by(*(name if is_backward else f"-{name}" for name in names))
    if cursor is not None:
        rows = rows.filter(_is_beyond(cursor, adapter, names))
    found = list(rows[: size + 1])  # one more, to know whether others follow
    has_more, page = len(found) > size, found[:size]
    if is_backward:
        page.reverse()
    # The order of the cursor is on the page that the client comes from.
    has_older, has_newer = (True, has_more) if is_backward else (has_more, cursor is not None)
    return Selected(
        orders=page,
        next=_cursor_of(page[-1]) if page and has_older else None,
        previous=_cursor_of(page[0], is_backward=True) if page and has_newer else None,
    )


def _cursor_of(order: Any, *, is_backward: bool = False) -> OrderCursor:
    return OrderCursor(pk=order.pk, created_at=read_created_at(order), is_backward=is_backward)


def _is_beyond(cursor: OrderCursor, adapter: OrderAdapter, names: list[str]) -> Func:
    """Return the condition that an order follows the cursor in the order of ``names``.

    It compares rows: ``(created_at, id) < (%s, %s)``. With two conditions and OR, a database would
    read all orders of the cursor's moment again, which may be many after an import.
    """
    fields: list[Any] = [adapter.model._meta.get_field(name) for name in names[:-1]]
    values = [cursor.created_at, cursor.pk][-len(names) :]
    of_cursor = [
        Value(value, output_field=field)
        for value, field in zip(values, [*fields, adapter.model._meta.pk], strict=True)
    ]
    return Func(
        Func(*(F(name) for name in names), template="(%(expressions)s)"),
        Func(*of_cursor, template="(%(expressions)s)"),
        template="%(expressions)s",
        arg_joiner=" > " if cursor.is_backward else " < ",
        output_field=BooleanField(),
    )


def _filtered(orders: QuerySet[Any], filters: OrderFilters, adapter: OrderAdapter) -> QuerySet[Any]:
    if filters.payment_status:
        orders = _with_status(orders, filters.payment_status)
    if filters.number:
        orders = _with_number(orders, filters.number, adapter)
    ends = {"gte": filters.created_from, "lt": filters.created_before}
    if given := {lookup: moment for lookup, moment in ends.items() if moment is not None}:
        name = _named(adapter, "created_field")
        orders = orders.filter(**{f"{name}__{lookup}": each for lookup, each in given.items()})
    return orders


def _with_status(orders: QuerySet[Any], status: str) -> QuerySet[Any]:
    # Nothing in an order refers to its payment. The database joins them for EXISTS.
    payments = OrderPayment.objects.of_order(OuterRef("pk")).order_by()
    if status == PaymentStatus.UNPAID:
        # An order has no payment before its customer begins to pay.
        return orders.exclude(Exists(payments.exclude(status=status)))
    return orders.filter(Exists(payments.filter(status=status)))


def _with_number(orders: QuerySet[Any], number: str, adapter: OrderAdapter) -> QuerySet[Any]:
    name = _named(adapter, "number_field")
    value = value_of_field(adapter.model._meta.get_field(name), number)
    return orders.none() if value is None else orders.filter(**{name: value})


def _named(adapter: OrderAdapter, attribute: str) -> str:
    name: str = getattr(adapter, attribute)
    if not name:
        raise ValueError(f"{type(adapter).__name__}.{attribute} is not set")
    return name
