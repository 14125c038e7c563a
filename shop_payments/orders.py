"""OrderAdapter: the only interface between payments and the shop's own orders.

A host with its own order model subclasses :class:`OrderAdapter`, which returns what an order costs
and who may pay it, and sets ``SHOP_PAYMENTS["ORDER_ADAPTER"]`` to its path. Nothing else in this
app reads an order.
"""

from __future__ import annotations

import logging
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from heapq import nlargest
from typing import TYPE_CHECKING, Any, ClassVar

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
    to_minor_units,
)
from shop_payments.users import find_users, is_known_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop_payments.models import OrderPayment, PaymentIntent

logger = logging.getLogger("shop_payments")


@dataclass(frozen=True, kw_only=True)
class LineItem:
    """One line of an order, as the API and Stripe's metadata show it.

    Texts may be lazy strings, or anything else that ``str()`` converts to text.
    """

    name: str
    amount: int
    """Unit price in minor units."""

    currency: str
    quantity: int | Decimal
    """A whole number is shown as an integer, any other number as a decimal string (``"1.5"``)."""

    description: str = ""

    @classmethod
    def from_decimal(
        cls, name: str, unit_price: Decimal, currency: str, quantity: int | Decimal = 1
    ) -> LineItem:
        """Build from a decimal unit price, such as ``Decimal("56.00")``.

        Raises:
            AmountNotRepresentable: see :func:`~shop_payments.money.to_minor_units`.
            InvalidCurrency: see :func:`~shop_payments.money.normalize_currency`.
        """
        amount = to_minor_units(unit_price, currency)
        return cls(name=name, amount=amount, currency=currency, quantity=quantity)

    @property
    def shown_quantity(self) -> int | str:
        """The quantity for JSON."""
        return f"{self.quantity:f}" if isinstance(self.quantity, Decimal) else self.quantity


def value_of_field(field: Any, text: object) -> Any | None:
    """Convert a text to a value of a model's field; None if it does not fit the column."""
    if isinstance(text, str) and _UNSTORABLE.search(text):
        return None
    try:
        value = field.to_python(text)
        field.run_validators(value)
    except (ValidationError, ValueError, OverflowError):
        return None
    return value


class OrderAdapter(ABC):
    """The access of payments to orders. Methods take and return the shop's own objects.

    An adapter keeps no state, because all threads share one instance.
    """

    serves_model: ClassVar[type[Model] | None] = None
    """The only model that the adapter can read, if any. A system check compares it."""

    created_field: ClassVar[str] = ""
    """The field of the order model with the time at which an order was created, if it has one.

    Lists are sorted by it, newest first, and clients filter by it. So it must be a
    ``DateTimeField`` that is never NULL, with an index. Without it, lists are sorted by the primary
    key.
    """

    number_field: ClassVar[str] = ""
    """The field of the order model with what :meth:`number` returns, if it has one.

    Clients filter by it, so it needs an index.
    """

    @property
    def model(self) -> type[Model]:
        """The order model (``SHOP_PAYMENTS_ORDER_MODEL``)."""
        return apps.get_model(order_model_label())

    def parse_id(self, order_id: object) -> Any | None:
        """Convert the id from a URL to a primary key; None if it cannot be one."""
        pk = value_of_field(self.model._meta.pk, order_id)
        # int() and UUID() accept many spellings, but an order must have only one URL.
        return pk if str(pk) == str(order_id) else None

    def get_queryset(self) -> QuerySet[Any]:
        """Return all orders, together with the related rows that the other methods read."""
        return self.model._default_manager.all()

    def find(self, order_id: object) -> Any | None:
        """Return the order with this id, whichever customer it belongs to, or None."""
        pk = self.parse_id(order_id)
        return None if pk is None else self.get_queryset().filter(pk=pk).first()

    def find_for_user(self, order_id: object, user: Any) -> Any | None:
        """Return the order with this id if ``user`` may pay it, else None."""
        pk = self.parse_id(order_id)
        return None if pk is None else self.list_for_user(user).filter(pk=pk).first()

    @abstractmethod
    def list_for_user(self, user: Any) -> QuerySet[Any]:
        """Return the orders that ``user`` may see and pay, in any order.

        ``user`` is what your authentication classes return. It is never anonymous, but not always
        a row of a table, as token users are not. Filter by ``user.pk``.
        """

    @abstractmethod
    def number(self, order: Any) -> str:
        """Return the order number for customers and staff: any value that ``str()`` accepts."""

    @abstractmethod
    def total(self, order: Any) -> Money:
        """Return what the order costs in all, whatever has been paid.

        Do not return what is left to pay: that is computed from the total. Build a total from a
        decimal price with :meth:`Money.from_decimal`.

        Raises:
            AmountNotRepresentable: the currency has no such amount.
        """

    def amount_to_pay_now(self, order: Any, outstanding: Money) -> Money:
        """Return the part of the outstanding amount to ask for now, for example a deposit.

        It must be above 0 and at most ``outstanding``, and the rest must not be below Stripe's
        minimum charge. Anything else is an error of the adapter, and the customer is not asked.
        """
        return outstanding

    @abstractmethod
    def line_items(self, order: Any) -> Sequence[LineItem]:
        """Return the lines with unit prices in minor units.

        See :func:`~shop_payments.money.to_minor_units` for conversion.

        Raises:
            AmountNotRepresentable: the currency has no such amount.
        """

    def receipt_email(self, order: Any) -> str:
        """Return the address for Stripe's receipt; empty for none."""
        return ""

    def customer(self, order: Any) -> str:
        """Return how staff know the customer: a name or an address. The default is the latter."""
        return self.receipt_email(order)

    def search(self, text: str) -> QuerySet[Any]:
        """Return the orders that staff look for with ``text``, such as a customer's name.

        Staff expect to find an order by its number, and by the beginning of the customer's name or
        e-mail address in any case. Each needs an index if there are many orders. The default finds
        nothing: then staff search by the order's primary key, the card or an id of Stripe's.
        """
        return self.model._default_manager.none()

    def capture_method(self, order: Any) -> str:
        """Return ``"automatic"`` or ``"manual"`` for this order. The default is the setting."""
        return get_config().CAPTURE_METHOD

    def continue_url(self, order: Any) -> str:
        """Return where the customer goes on after the payment; empty for nowhere.

        The result page of ``shop_payments.checkout`` links to it. A guest may open it, too.
        """
        return ""

    def is_payable(self, order: Any) -> bool:
        """Return whether the shop still wants money for the order (not cancelled or withdrawn).

        Free orders need no special case. Money that comes while this is false does not count until
        it is true again.
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
        """Handle a payment that counts. Called after the commit, at least once (see ``signals``).

        ``amount`` and ``outstanding`` are in minor units.
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
        """Handle an order that is covered for the first time.

        Called after the commit, at least once (see ``signals``). ``payment_intent`` covered the
        order. ``amount`` (all that was paid) and ``total`` are in minor units. The order may change
        later: before goods go out, call ``services.may_release(order.pk)``.
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
        """Handle a refund of ``amount`` (minor units) of counted money.

        Called after the commit, at least once. ``goods`` of the amount is for returned goods; the
        rest undoes a payment.
        """


class BundledOrderAdapter(OrderAdapter):
    """The adapter of :class:`shop_payments.models.Order`."""

    serves_model = Order
    created_field = "created_at"
    number_field = "number"

    def get_queryset(self) -> OrderQuerySet:
        return Order.objects.with_lines()

    def list_for_user(self, user: Any) -> OrderQuerySet:
        return Order.objects.with_lines().placed_by(user)

    def find(self, order_id: object) -> Order | None:
        pk = self.parse_id(order_id)
        if pk is None:
            return None
        order = Order.objects.find_with_lines(pk) if self._finds_all else None
        return order or self.get_queryset().read(pk)

    def find_for_user(self, order_id: object, user: Any) -> Order | None:
        pk = self.parse_id(order_id)
        if pk is None:
            return None
        order = Order.objects.find_with_lines(pk) if self._finds_all else None
        if order is not None and Order.objects.is_placed_by(order, user):
            return order
        # An order of somebody else takes the same statements as one that does not exist.
        return self.list_for_user(user).read(pk)

    @property
    def _finds_all(self) -> bool:
        """Whether no subclass limits the orders that are found."""
        kind = type(self)
        return (
            kind.get_queryset is BundledOrderAdapter.get_queryset
            and kind.list_for_user is BundledOrderAdapter.list_for_user
        )

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

    def customer(self, order: Order) -> str:
        user: Any = order.customer
        name = user.get_full_name() if hasattr(user, "get_full_name") else ""
        return name or order.email or ("" if user is None else user.get_username())

    def search(self, text: str) -> OrderQuerySet:
        # Each by its own index, which one condition with OR could not use.
        searches = [
            Order.objects.filter(email__istartswith=text),
            Order.objects.filter(number__startswith=text.upper()),
        ]
        if customers := find_users(text):
            searches.append(Order.objects.filter(customer__in=customers))
        found = {pk for orders in searches for pk in _newest(orders)}
        return self.get_queryset().filter(pk__in=found)

    def is_payable(self, order: Order) -> bool:
        return order.status == Order.Status.OPEN


def _newest(orders: OrderQuerySet) -> list[Any]:
    """Return the primary keys of the newest of these orders."""
    # Of those that the index finds first: a beginning such as "ord-" may match all orders, and a
    # database would read and sort the whole table.
    some = orders.order_by().values_list("created_at", "pk")[:_MOST_READ]
    return [pk for _created_at, pk in nlargest(MOST_FOUND, some)]


@dataclass(frozen=True, kw_only=True)
class OrderTerms:
    """The data of an order that an evaluation reads."""

    total: Money
    is_payable: bool


@dataclass(frozen=True, kw_only=True)
class OrderSnapshot:
    """The data of an order for Stripe and the customer, read once through the adapter."""

    number: str
    line_items: tuple[LineItem, ...]
    receipt_email: str
    capture_method: str


_REFUSED = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""Database errors that are caused by a wrong statement, not by the state of the database."""


@contextmanager
def reading(method: str, order_id: object) -> Iterator[None]:
    """Convert an exception of the host's adapter to one that names the method and the order.

    Raises:
        OrderUnreadable: the block raised anything except an error of this app or of the database
            itself. A database error caused by the host's statement counts as the host's, unless a
            transaction is open: on PostgreSQL such an error ends the transaction.
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
        OrderUnreadable: the adapter raised, or did not find it.
    """
    order = find_order_or_none(order_id)
    if order is None:
        raise OrderUnreadable(order_id, "find", "found no order with this id")
    return order


def find_order_or_none(order_id: object) -> Any | None:
    """Return the order with this primary key, if there is one.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("find", order_id):
        return get_order_adapter().find(order_id)


def parse_order_id(order_id: object) -> Any | None:
    """Convert the id from a URL to a primary key; None if it cannot be one.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("parse_id", order_id):
        return get_order_adapter().parse_id(order_id)


def find_visible_order(pk: object, *, user: Any = None, any_order: bool = False) -> Any:
    """Return the order with this primary key if ``user`` may pay it, or any order for staff.

    Raises:
        OrderNotFound: there is no such order, or it is not this user's. An anonymous user has none.
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
    """Read the terms that an evaluation needs: the total and the payability.

    Raises:
        OrderUnreadable: the adapter raised, or returned an invalid value.
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
    """Read the order's total.

    Raises:
        MoneyError: the currency has no such amount.
        OrderUnreadable: the adapter raised, or did not return ``Money``.
    """
    with reading("total", order.pk):
        total = get_order_adapter().total(order)
    if not isinstance(total, Money):
        raise _unusable(order.pk, "total", f"returned a {type(total).__name__}, not Money")
    return total


def read_amount_to_pay_now(order: Any, outstanding: Money) -> Money:
    """Read the part of the outstanding amount that the customer is asked for now.

    Raises:
        OrderUnreadable: the adapter raised, or returned an invalid value.
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
        raise _unusable(
            order.pk, method, f"returned {now}, which must be above 0 and at most {outstanding}"
        )
    if 0 < rest < minimum_charge(now.currency):
        words = f"returned {now} of {outstanding}, so the rest is below Stripe's minimum charge"
        raise _unusable(order.pk, method, words)
    return now


def _unusable(order_id: object, method: str, problem: str) -> OrderUnreadable:
    """Return the error for an invalid value, and log it, because clients do not see its details."""
    error = OrderUnreadable(order_id, method, problem)
    logger.error("%s", error)
    return error


def take_snapshot(order: Any) -> OrderSnapshot:
    """Read the data of ``order`` for Stripe and the customer.

    Raises:
        AmountNotRepresentable: a line's amount cannot be represented in its currency.
        InvalidCurrency: a line's currency is not a currency code.
        OrderUnreadable: the adapter raised, or returned an invalid value.
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
    """Read the order's number as text; its primary key if it has no number.

    Raises:
        OrderUnreadable: the adapter raised.
    """
    with reading("number", order.pk):
        return storable_text(get_order_adapter().number(order)) or str(order.pk)


def read_created_at(order: Any) -> datetime | None:
    """Read when the order was created; None if the adapter names no field for it.

    Raises:
        OrderUnreadable: the order has no such field.
    """
    with reading("created_field", order.pk):
        name = get_order_adapter().created_field
        return getattr(order, name) if name else None


def read_customer(order: Any) -> str:
    """Read how staff know the customer; empty if the adapter raised."""
    try:
        with reading("customer", order.pk):
            return storable_text(get_order_adapter().customer(order))
    except OrderUnreadable:  # it has been logged
        return ""


MOST_FOUND = 500
"""Orders that a search finds. Staff narrow down a search that finds so many."""

_MOST_READ = 10 * MOST_FOUND
"""Orders that a search reads to find the newest of them."""


def search_orders(text: str) -> list[Any]:
    """Return the primary keys of orders that staff look for; none if the adapter raised."""
    try:
        with reading("search", None):
            found = get_order_adapter().search(text).values_list("pk", flat=True)
            return list(found[: 2 * MOST_FOUND])
    except OrderUnreadable:  # it has been logged
        return []


def read_continue_url(order: Any) -> str:
    """Read where the customer goes on after the payment; empty if the adapter raised."""
    try:
        with reading("continue_url", order.pk):
            return storable_text(get_order_adapter().continue_url(order))
    except OrderUnreadable:  # it has been logged
        return ""


def read_line_items(order: Any) -> tuple[LineItem, ...]:
    """Read the order's lines, with texts as plain strings and amounts as integers.

    Raises:
        AmountNotRepresentable: a line's amount cannot be represented in its currency.
        InvalidCurrency: a line's currency is not a currency code.
        OrderUnreadable: the adapter raised, or a line is invalid.
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
"""Characters that UTF-8 cannot encode, and NUL, which PostgreSQL does not store."""


def storable_text(value: object) -> str:
    """Return ``value`` as a plain string that can be stored and sent; empty for None."""
    return "" if value is None else _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _minor_units(amount: Any) -> int:
    whole = _whole(amount)
    if whole is None or abs(whole) > MAX_AMOUNT:
        raise AmountNotRepresentable(f"{amount!r:.40} is not an integer number of minor units")
    return whole


_MOST_DIGITS = 18
"""The digits that a number of a line may have before or after the point. Checked before the exact
arithmetic, which would write 1E+999999999 in full."""


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
        value = Decimal(repr(value))  # 1.1 as written, not its binary value
    whole = _whole(value)
    if whole is not None and abs(whole) <= MAX_AMOUNT:
        return whole
    if whole is None and isinstance(value, Decimal) and _is_handy(value):
        return value.normalize()
    raise ValueError("a line's quantity is not a number, or out of range")


def is_unwanted(order_id: object) -> bool:
    """Return whether the shop wants no money for the order.

    False if the order cannot be read (the adapter raises or hides it), because a fault in the
    shop's code must not close a payment.
    """
    try:
        terms = read_terms(find_order(order_id))
    except OrderUnreadable as error:
        logger.warning("%s", error)
        return False
    return not terms.is_payable or terms.total.amount == 0


@cache
def get_order_adapter() -> OrderAdapter:
    """Return the host's order adapter (``ORDER_ADAPTER``), which is built once.

    Raises:
        ConfigurationError: it cannot be imported, is not an adapter, or lacks a method.
    """
    path = get_config().ORDER_ADAPTER
    try:
        adapter_class = import_string(path)
    except (ImportError, RuntimeError) as error:  # RuntimeError: a model that is not installed
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} cannot be imported: {error}"
        ) from error
    if not (isinstance(adapter_class, type) and issubclass(adapter_class, OrderAdapter)):
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} is not a subclass of "
            "shop_payments.orders.OrderAdapter"
        )
    # Python's own TypeError would not name the setting.
    if missing := sorted(adapter_class.__abstractmethods__):
        raise ConfigurationError(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} does not define {', '.join(missing)}"
        )
    adapter: OrderAdapter = adapter_class()
    return adapter


def _clear_adapter(*, setting: str, **kwargs: object) -> None:
    if setting in {"SHOP_PAYMENTS", "SHOP_PAYMENTS_ORDER_MODEL"}:
        get_order_adapter.cache_clear()


setting_changed.connect(_clear_adapter, dispatch_uid="shop_payments.orders")
