"""OrderAdapter: the one door between payments and the shop's own orders.

A host with its own order model subclasses :class:`OrderAdapter`, says what an order costs and who
may pay it, and names the class in ``SHOP_PAYMENTS["ORDER_ADAPTER"]``. Nothing else in this app
reads an order.
"""

from __future__ import annotations

import logging
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db import DataError, IntegrityError, NotSupportedError, ProgrammingError, connection
from django.db import Error as DatabaseFailure
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from shop_payments.conf import get_config, order_model_label
from shop_payments.exceptions import (
    AmountNotRepresentable,
    ConfigurationError,
    MoneyError,
    NegativeAmount,
    OrderNotFound,
    OrderUnreadable,
    ShopPaymentsError,
)
from shop_payments.models import Order
from shop_payments.models.orders import OrderQuerySet
from shop_payments.money import (
    MAX_AMOUNT,
    Money,
    check_minor_units,
    minimum_charge,
    normalize_currency,
)
from shop_payments.users import is_known_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop_payments.models import OrderPayment, PaymentIntent

logger = logging.getLogger("shop_payments")


@dataclass(frozen=True, kw_only=True)
class LineItem:
    """One line of an order, as the API and Stripe's metadata show it.

    Texts may be lazy strings, or anything else that ``str()`` turns into text.
    """

    name: str
    amount: int
    """Unit price in minor units."""

    currency: str
    quantity: int | Decimal
    """How many, or how much: a whole number is shown as an integer, another one as a decimal
    string (``"1.5"``)."""

    description: str = ""

    @property
    def shown_quantity(self) -> int | str:
        """The quantity as JSON has it."""
        return f"{self.quantity:f}" if isinstance(self.quantity, Decimal) else self.quantity


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
        """The orders that ``user`` may see and pay, newest first.

        ``user`` is what your authentication classes return: never anonymous, but not always a row
        (token users are none). Filter by ``user.pk``.
        """

    @abstractmethod
    def number(self, order: Any) -> str:
        """The order number that customers and staff use; anything that ``str()`` makes text of."""

    @abstractmethod
    def total(self, order: Any) -> Money:
        """What the order costs in all, whatever has been paid of it.

        Not what is left to pay: that is computed from this. Build it with
        :meth:`Money.from_decimal` from a decimal price.

        Raises:
            AmountNotRepresentable: the currency has no such amount.
        """

    def amount_to_pay_now(self, order: Any, outstanding: Money) -> Money:
        """The part of the outstanding amount that the customer is asked for now, say a deposit.

        More than 0 and at most ``outstanding``; and no rest that is below Stripe's minimum charge.
        Anything else is an error of the adapter, and the customer is asked for nothing.
        """
        return outstanding

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

        Free orders need no mention here: nothing is asked for them. Money that comes while this is
        false does not count, until it is true again.
        """
        return True

    def on_payment_received(
        self,
        order: Any,
        *,
        order_payment: OrderPayment,
        payment_intent: PaymentIntent,
        amount: int,
        outstanding: int,
        fact_id: Any,
    ) -> None:
        """Called after commit for each payment that counts; at least once (see ``signals``).

        ``amount`` and ``outstanding`` (what is still missing) are minor units.
        """

    def on_paid(
        self,
        order: Any,
        *,
        order_payment: OrderPayment,
        payment_intent: PaymentIntent,
        amount: int,
        total: int,
        fact_id: Any,
    ) -> None:
        """Called after commit when the order is first covered; at least once (see ``signals``).

        ``payment_intent`` covered it. ``amount`` (what has been paid in all) and ``total`` are
        minor units. The order may change after this: before goods go out, ask
        ``services.may_release(order.pk)``.
        """

    def on_refunded(
        self,
        order: Any,
        *,
        order_payment: OrderPayment,
        payment_intent: PaymentIntent,
        amount: int,
        goods: int,
        fact_id: Any,
    ) -> None:
        """Called after commit when ``amount`` (minor units) of counted money went back.

        ``goods`` of it is for returned goods; the rest undoes a payment. At least once.
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

    def total(self, order: Order) -> Money:
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
class OrderTerms:
    """What an evaluation reads of an order."""

    total: Money
    is_payable: bool


@dataclass(frozen=True, kw_only=True)
class OrderSnapshot:
    """What Stripe and the customer are shown of an order, read once through the adapter."""

    number: str
    line_items: tuple[LineItem, ...]
    receipt_email: str
    capture_method: str


_REFUSED = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What the database says of a statement that is wrong, and not of itself."""


@contextmanager
def reading(method: str, order_id: object) -> Iterator[None]:
    """Turn an exception of the host's adapter into one that names method and order.

    Raises:
        OrderUnreadable: the block raised something that neither Django's database nor this app
            raises on purpose. A statement of the host's that the database refuses is such a thing,
            too, unless a transaction is open, which that ends on PostgreSQL.
    """
    try:
        yield
    except ShopPaymentsError:
        raise
    except Exception as error:
        is_of_database = isinstance(error, DatabaseFailure)
        if is_of_database and (connection.in_atomic_block or not isinstance(error, _REFUSED)):
            raise
        logger.exception("OrderAdapter.%s raised for order %s", method, order_id)
        raise OrderUnreadable(order_id, method, f"raised {type(error).__name__}") from error


def find_order(order_id: object) -> Any:
    """Return the order with this primary key.

    Raises:
        OrderUnreadable: the adapter raised, or does not find it.
    """
    order = find_order_or_none(order_id)
    if order is None:
        raise OrderUnreadable(order_id, "find", "found no such order")
    return order


def find_order_or_none(order_id: object) -> Any | None:
    """Return the order with this primary key, if there is one.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("find", order_id):
        return get_order_adapter().find(order_id)


def parse_order_id(order_id: object) -> Any | None:
    """Turn the id from a URL into a primary key; None where it cannot be one.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("parse_id", order_id):
        return get_order_adapter().parse_id(order_id)


def find_visible_order(pk: object, *, user: Any = None, any_order: bool = False) -> Any:
    """Return the order with this primary key if ``user`` may pay it, or any order for staff.

    Raises:
        OrderNotFound: no such order, or not this user's; nobody has any.
        OrderUnreadable: the adapter raised.
    """
    adapter, order = get_order_adapter(), None
    if pk is not None and any_order:
        with reading("find", pk):
            order = adapter.find(pk)
    elif pk is not None and is_known_user(user):
        with reading("find_for_user", pk):
            order = adapter.find_for_user(pk, user)
    if order is None:
        raise OrderNotFound("Order not found.")
    return order


def read_terms(order: Any) -> OrderTerms:
    """Read what an evaluation needs: the total and whether the shop wants money.

    Raises:
        OrderUnreadable: the adapter raised, or what it returned cannot be used.
    """
    try:
        total = read_total(order)
    except NegativeAmount as error:
        raise OrderUnreadable(order.pk, "total", str(error), reason="negative_total") from error
    except MoneyError as error:
        raise OrderUnreadable(order.pk, "total", str(error)) from error
    with reading("is_payable", order.pk):
        is_payable = bool(get_order_adapter().is_payable(order))
    return OrderTerms(total=total, is_payable=is_payable)


def read_total(order: Any) -> Money:
    """Read what the order costs in all.

    Raises:
        MoneyError: the currency has no such amount.
        OrderUnreadable: the adapter raised, or returned something else.
    """
    with reading("total", order.pk):
        total = get_order_adapter().total(order)
    if not isinstance(total, Money):
        raise _unusable(order.pk, "total", f"returned a {type(total).__name__}, not Money")
    return total


def read_amount_to_pay_now(order: Any, outstanding: Money) -> Money:
    """Ask the adapter which part of the outstanding amount the customer pays now.

    Raises:
        OrderUnreadable: the adapter raised, or its answer cannot be used.
    """
    method = "amount_to_pay_now"
    try:
        with reading(method, order.pk):
            now = get_order_adapter().amount_to_pay_now(order, outstanding)
    except MoneyError as error:
        raise OrderUnreadable(order.pk, method, f"raised: {error}") from error
    if not isinstance(now, Money):
        raise _unusable(order.pk, method, f"returned a {type(now).__name__}, not Money")
    rest = outstanding.amount - now.amount
    if now.currency != outstanding.currency or now.amount <= 0 or rest < 0:
        raise _unusable(order.pk, method, f"returned {now} of {outstanding}")
    if 0 < rest < minimum_charge(now.currency):
        words = f"returned {now} of {outstanding}, which leaves less than Stripe's minimum charge"
        raise _unusable(order.pk, method, words)
    return now


def _unusable(order_id: object, method: str, problem: str) -> OrderUnreadable:
    """Log an answer of the adapter that cannot be used: clients do not see it."""
    error = OrderUnreadable(order_id, method, problem)
    logger.error("%s", error)
    return error


def take_snapshot(order: Any) -> OrderSnapshot:
    """Read what Stripe and the customer are shown of ``order``.

    Raises:
        AmountNotRepresentable: a line cannot be written in its currency.
        InvalidCurrency: a line's currency is not a currency code.
        OrderUnreadable: the adapter raised, or what it returned cannot be used.
    """
    adapter = get_order_adapter()
    line_items = read_line_items(order)
    number = read_number(order)
    with reading("receipt_email", order.pk):
        receipt_email = storable_text(adapter.receipt_email(order))
    with reading("capture_method", order.pk):
        capture_method = adapter.capture_method(order)
    return OrderSnapshot(
        number=number,
        line_items=line_items,
        receipt_email=receipt_email,
        capture_method=capture_method,
    )


def read_number(order: Any) -> str:
    """Read the order's number as text; its primary key where it has none.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("number", order.pk):
        return storable_text(get_order_adapter().number(order)) or str(order.pk)


def read_line_items(order: Any) -> tuple[LineItem, ...]:
    """Read the order's lines: texts as plain strings, amounts as integers.

    Raises:
        AmountNotRepresentable: a line cannot be written in its currency.
        InvalidCurrency: a line's currency is not a currency code.
        OrderUnreadable: the adapter raised, or a line cannot be used.
    """
    with reading("line_items", order.pk):
        return tuple(_plain_line(line) for line in get_order_adapter().line_items(order))


def _plain_line(line: Any) -> LineItem:
    return LineItem(
        name=storable_text(line.name),
        amount=_minor_units(line.amount),
        currency=normalize_currency(storable_text(line.currency)),
        quantity=_quantity(line.quantity),
        description=storable_text(line.description),
    )


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What UTF-8 cannot encode, and NUL, which PostgreSQL does not store."""


def storable_text(value: object) -> str:
    """Return ``value`` as a plain string that can be stored and sent; empty for None."""
    return "" if value is None else _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _minor_units(amount: Any) -> int:
    whole = _whole(amount)
    if whole is None or abs(whole) > MAX_AMOUNT:
        raise AmountNotRepresentable(f"{amount!r:.40} is not an integer number of minor units")
    return whole


_MOST_DIGITS = 18
"""What a number of a line may have before the point, and after it. Before the exact arithmetic,
which would write 1E+999999999 out in full."""


def _whole(value: Any) -> int | None:
    """Return a whole number as an integer; None for anything else. Floats are refused."""
    if isinstance(value, Decimal):
        is_whole = _is_handy(value) and value == value.to_integral_value()
        return int(value) if is_whole else None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _is_handy(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) <= _MOST_DIGITS


def _quantity(value: Any) -> int | Decimal:
    """Return a quantity: an integer if it is whole, else a decimal without trailing zeros."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    whole = _whole(value)
    if whole is not None and abs(whole) <= MAX_AMOUNT:
        return whole
    if whole is None and isinstance(value, Decimal) and _is_handy(value):
        return value.normalize()
    raise ValueError("a line's quantity is not a number, or out of range")


def is_unwanted(order_id: object) -> bool:
    """Tell whether the shop itself says that it wants no money for the order.

    Where the order cannot be read (the adapter raises, or hides it), it says nothing: a fault in
    the shop's code must not close a payment.
    """
    try:
        terms = read_terms(find_order(order_id))
    except OrderUnreadable as error:
        logger.warning("%s", error)
        return False
    return not terms.is_payable or terms.total.amount == 0


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
