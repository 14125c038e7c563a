"""OrderAdapter: the one door between payments and the shop's own orders.

A host with its own order model subclasses :class:`OrderAdapter`, says what an order costs and who
may pay it, and names the class in ``SHOP_PAYMENTS["ORDER_ADAPTER"]``. Nothing else in this app
reads an order.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db import DatabaseError
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from shop_payments.conf import get_config, order_model_label
from shop_payments.exceptions import ConfigurationError
from shop_payments.models import Order
from shop_payments.models.orders import OrderQuerySet
from shop_payments.money import Money, check_minor_units, normalize_currency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop_payments.models import OrderPayment

logger = logging.getLogger("shop_payments")


@dataclass(frozen=True, kw_only=True)
class LineItem:
    """One line of an order, as the API and Stripe's metadata show it."""

    name: str
    amount: int
    """Unit price in minor units."""

    currency: str
    quantity: int
    description: str = ""


class OrderAdapter(ABC):
    """How payments see an order. Methods take and return the shop's own objects.

    An adapter keeps no state: one instance serves all threads.
    """

    serves_model: ClassVar[type[Model] | None] = None
    """Set by adapters that fit one model only; a system check compares it with the setting."""

    @property
    def model(self) -> type[Model]:
        """The order model (``SHOP_PAYMENTS_ORDER_MODEL``)."""
        return apps.get_model(order_model_label())

    def parse_id(self, order_id: object) -> Any | None:
        """Turn the id from a URL into a primary key; None where it cannot be one."""
        if isinstance(order_id, str) and "\x00" in order_id:
            return None  # PostgreSQL takes no NUL in text
        field = cast("Any", self.model._meta.pk)
        try:
            pk = field.to_python(order_id)
            field.run_validators(pk)  # what the column cannot hold is no id either
        except (ValidationError, ValueError, OverflowError):
            return None
        # int() and UUID() read many spellings; one order shall have one URL.
        return pk if str(pk) == str(order_id) else None

    def get_queryset(self) -> QuerySet[Any]:
        """All orders, with what the other methods read loaded along."""
        return self.model._default_manager.all()

    def find(self, order_id: object) -> Any | None:
        """Return the order with this id, whoever it belongs to, or None."""
        pk = self.parse_id(order_id)
        return None if pk is None else self.get_queryset().filter(pk=pk).first()

    def find_for_user(self, order_id: object, user: Any) -> Any | None:
        """Return the order with this id if ``user`` may pay it, else None."""
        pk = self.parse_id(order_id)
        return None if pk is None else self.list_for_user(user).filter(pk=pk).first()

    @abstractmethod
    def list_for_user(self, user: Any) -> QuerySet[Any]:
        """The orders that ``user`` may see and pay, newest first."""

    @abstractmethod
    def number(self, order: Any) -> str:
        """The order number that customers and staff use."""

    @abstractmethod
    def amount_due(self, order: Any) -> Money:
        """The total to pay. Build it with :meth:`Money.from_decimal` from a decimal price.

        Raises:
            AmountNotRepresentable: the currency has no such amount.
        """

    @abstractmethod
    def line_items(self, order: Any) -> Sequence[LineItem]:
        """The lines, unit prices in minor units (see :func:`~shop_payments.money.to_minor_units`).

        Raises:
            AmountNotRepresentable: the currency has no such amount.
        """

    def receipt_email(self, order: Any) -> str:
        """Where Stripe sends the receipt; empty for none."""
        return ""

    def capture_method(self, order: Any) -> str:
        """``"automatic"`` or ``"manual"`` for this order; the setting, unless you override it."""
        return get_config().CAPTURE_METHOD

    def is_payable(self, order: Any) -> bool:
        """Whether the shop still wants money for the order (not cancelled, not withdrawn).

        Empty and free orders need no mention here: they are never payable.
        """
        return True

    def on_paid(self, order: Any, *, order_payment: OrderPayment, fact_id: Any) -> None:
        """Told after commit that the order is paid; at least once (see ``signals``)."""

    def on_refunded(
        self, order: Any, *, order_payment: OrderPayment, fact_id: Any, amount: int
    ) -> None:
        """Told after commit that ``amount`` (minor units) of a paid order went back.

        In full or in part: ``order_payment.status`` says which. At least once.
        """


class BundledOrderAdapter(OrderAdapter):
    """The adapter of :class:`shop_payments.models.Order`."""

    serves_model = Order

    def get_queryset(self) -> OrderQuerySet:
        return Order.objects.with_lines()

    def list_for_user(self, user: Any) -> OrderQuerySet:
        return Order.objects.with_lines().placed_by(user)

    def find(self, order_id: object) -> Order | None:
        pk = self.parse_id(order_id)
        return None if pk is None else self.get_queryset().read(pk)

    def find_for_user(self, order_id: object, user: Any) -> Order | None:
        pk = self.parse_id(order_id)
        return None if pk is None else self.list_for_user(user).read(pk)

    def number(self, order: Order) -> str:
        return order.number

    def amount_due(self, order: Order) -> Money:
        return Money(order.amount, order.currency)

    def line_items(self, order: Order) -> list[LineItem]:
        return [
            LineItem(
                name=line.name,
                amount=check_minor_units(line.unit_amount, order.currency),
                currency=normalize_currency(order.currency),
                quantity=line.quantity,
                description=line.description,
            )
            for line in order.all_lines
        ]

    def receipt_email(self, order: Order) -> str:
        return order.email

    def is_payable(self, order: Order) -> bool:
        return order.status == Order.Status.OPEN


@dataclass(frozen=True, kw_only=True)
class OrderSnapshot:
    """What an order wants, read once through the adapter."""

    order: Any
    number: str
    amount_due: Money
    line_items: tuple[LineItem, ...]
    receipt_email: str
    capture_method: str
    payable: bool
    """Wanted by the shop, not empty and not free."""


def take_snapshot(adapter: OrderAdapter, order: Any) -> OrderSnapshot:
    """Read everything that a payment needs to know of ``order``.

    Raises:
        AmountNotRepresentable: the order's total or a line cannot be paid in its currency.
        InvalidCurrency: the order's currency is not a currency code.
    """
    line_items = tuple(adapter.line_items(order))
    amount_due = adapter.amount_due(order)
    return OrderSnapshot(
        order=order,
        number=adapter.number(order),
        amount_due=amount_due,
        line_items=line_items,
        receipt_email=adapter.receipt_email(order),
        capture_method=adapter.capture_method(order),
        payable=bool(line_items) and amount_due.amount > 0 and adapter.is_payable(order),
    )


def is_unwanted(order_id: object) -> bool:
    """Tell whether the shop itself says that it wants no money for the order.

    Where the order cannot be read (the adapter raises, or hides it), it says nothing: a fault in
    the shop's code must not give every payment back, nor close it.
    """
    adapter = get_order_adapter()
    try:
        order = adapter.find(order_id)
        return order is not None and not take_snapshot(adapter, order).payable
    except DatabaseError:
        raise  # passing trouble; what depends on it is undone, and done again
    except Exception:
        logger.exception("Order %s cannot be read", order_id)
        return False


@cache
def get_order_adapter() -> OrderAdapter:
    """Return the host's order adapter (``ORDER_ADAPTER``), built once.

    Raises:
        ConfigurationError: it cannot be imported, is no adapter, or lacks a method.
    """
    path = get_config().ORDER_ADAPTER
    try:
        adapter_class = import_string(path)
    except (ImportError, RuntimeError) as error:  # the latter of a model that is not installed
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} cannot be imported: {error}"
        ) from error
    if not (isinstance(adapter_class, type) and issubclass(adapter_class, OrderAdapter)):
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} is not a subclass of "
            "shop_payments.orders.OrderAdapter"
        )
    if missing := sorted(adapter_class.__abstractmethods__):
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} does not define {', '.join(missing)}"
        )
    adapter: OrderAdapter = adapter_class()
    return adapter


def _forget_adapter(*, setting: str, **kwargs: object) -> None:
    if setting in {"SHOP_PAYMENTS", "SHOP_PAYMENTS_ORDER_MODEL"}:
        get_order_adapter.cache_clear()


setting_changed.connect(_forget_adapter, dispatch_uid="shop_payments.orders")
