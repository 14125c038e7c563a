"""The bundled order model, for shops without their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator, MinValueValidator, RegexValidator
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from shop_payments.days import today
from shop_payments.prepared import PreparedQuery, columns_of, related_row
from shop_payments.users import key_of_user

NUMBER_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without 0, O, 1 and I, because order numbers are read out over the telephone."""

_NUMBER_LENGTHS = (4, 4, 4, 6, 8, 12)
"""Random characters in each draw: four may collide on a busy day, twelve do not."""


def draw_order_number(length: int = _NUMBER_LENGTHS[0]) -> str:
    """Return a random ``ORD-YYYYMMDD-XXXX`` (today's date in the project's time zone)."""
    suffix = "".join(secrets.choice(NUMBER_ALPHABET) for _ in range(length))
    return f"ORD-{today():%Y%m%d}-{suffix}"


def _customer_key(user: Any) -> Any | None:
    """Return the primary key of the customer that ``user`` is or represents; None if anonymous."""
    customers = get_user_model()
    concrete = customers._meta.concrete_model or customers
    if isinstance(user, models.Model) and not isinstance(user, concrete):
        return None  # a row of another table, where the same key means another person
    given = key_of_user(user)
    if given is None:
        return None
    field: Any = customers._meta.pk
    try:
        key = field.to_python(given)
        field.run_validators(key)  # a value that does not fit the column is not a user's key
    except (ValidationError, TypeError, ValueError, OverflowError):
        return None
    # int() also accepts 5.7 and True, so compare. A UUID has several valid spellings.
    return key if isinstance(key, UUID) or str(key) == str(given) else None


class OrderQuerySet(models.QuerySet["Order"]):
    """Reads and creates orders."""

    def is_placed_by(self, order: Order, user: Any) -> bool:
        """Return whether :meth:`placed_by` contains this order."""
        key = _customer_key(user)
        return key is not None and order.customer_id == key

    def placed_by(self, user: Any) -> OrderQuerySet:
        """Keep the orders of this customer: a user, or a token user with the key of one.

        Orders without a customer (``customer`` is NULL) belong to no user.
        """
        key = _customer_key(user)
        return self.none() if key is None else self.filter(customer=key)

    def with_lines(self) -> OrderQuerySet:
        """Load the lines, too, with one more query."""
        return self.prefetch_related("lines")

    def read(self, pk: Any) -> Order | None:
        """Return the order with this key and its lines, if the query set contains it.

        One statement reads the order and the lines, so they are of the same moment. While an order
        is being changed, two statements could see the old currency and the new prices.
        """
        lines = list(
            OrderLine.objects.filter(order__in=self.filter(pk=pk).order_by().values("pk"))
            .select_related("order")
            .order_by("pk")
        )
        if not lines:
            return self.with_lines().filter(pk=pk).first()
        order = lines[0].order
        order.loaded_lines = tuple(lines)
        return order

    def find_with_lines(self, pk: Any) -> Order | None:
        """Return any order that has lines, with a statement that is compiled once."""
        lines = _LINES_WITH_ORDER(pk, using=self.db)
        if not lines:
            return None
        order, *_same = (related_row(line, Order, "order") for line in lines)
        for line in lines:
            line.order = order
        order.loaded_lines = tuple(lines)
        return order

    def create_numbered(self, **values: Any) -> Order:
        """Create an order with a free number.

        Raises:
            IntegrityError: the values violate a constraint other than the number's.
        """
        order = Order(**values)
        order.save_numbered()
        return order


def _lines_with_order(pk: Any) -> models.QuerySet[OrderLine]:
    return OrderLine.objects.filter(order=pk).annotate(**columns_of(Order, "order")).order_by("pk")


_LINES_WITH_ORDER: PreparedQuery[OrderLine] = PreparedQuery(
    _lines_with_order, field=lambda: Order._meta.pk
)


class Order(models.Model):
    """An order: its customer, lines and currency. ``OrderPayment`` says whether it is paid."""

    class Status(models.TextChoices):
        """Whether the shop still wants the order."""

        OPEN = "open", _("open")
        CANCELLED = "cancelled", _("cancelled")

    number = models.CharField(
        _("number"),
        max_length=32,
        unique=True,
        error_messages={"unique": _("Another order has this number.")},
    )
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,  # an index of the list below begins with it
        verbose_name=_("customer"),
    )
    email = models.EmailField(_("receipt e-mail"), blank=True)
    currency = models.CharField(
        _("currency"),
        max_length=3,
        default="usd",
        validators=[RegexValidator(r"\A[a-z]{3}\Z", _("Three lower-case letters, e.g. usd."))],
    )
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.OPEN
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(currency=Lower("currency")), name="shop_payments_order_currency_lower"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "cancelled"]),
                name="shop_payments_order_status_known",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # For the pages of GET orders: of one customer, and of all for staff.
            models.Index(
                fields=["customer", "created_at", "id"], name="shop_payments_order_customer"
            ),
            models.Index(fields=["created_at", "id"], name="shop_payments_order_created"),
            # For the admin: the list of cancelled orders.
            models.Index(
                fields=["id"], condition=Q(status="cancelled"), name="shop_payments_order_cancelled"
            ),
            # On PostgreSQL, the migration adds one for the beginning of an e-mail address in any
            # case, which needs an operator class.
        ]

    loaded_lines: tuple[OrderLine, ...] | None = None
    """The lines, if :meth:`OrderQuerySet.read` has read them with the order."""

    def __str__(self) -> str:
        return self.number

    @property
    def all_lines(self) -> Iterable[OrderLine]:
        """The lines, oldest first. They are queried only if they were not read with the order."""
        return self.lines.all() if self.loaded_lines is None else self.loaded_lines

    @property
    def amount(self) -> int:
        """The total in minor units of :attr:`currency`."""
        return sum(line.amount for line in self.all_lines)

    def save_numbered(self, *, draw: Callable[[int], str] = draw_order_number) -> None:
        """Insert this order with a free number. Draw again, later with more characters, if needed.

        ``draw`` takes the number of random characters, and returns an order number.

        Raises:
            IntegrityError: another constraint is violated, or no draw was free.
        """
        for length in _NUMBER_LENGTHS:
            self.number = draw(length)
            try:
                with transaction.atomic():
                    self.save(force_insert=True)
            except IntegrityError:
                if not Order.objects.filter(number=self.number).exists():
                    raise  # not because of the number
                continue
            return
        raise IntegrityError("no free order number was found")


class OrderLine(models.Model):
    """A quantity of one product at one price."""

    order = models.ForeignKey(
        Order, on_delete=models.CASCADE, related_name="lines", verbose_name=_("order")
    )
    name = models.CharField(_("name"), max_length=500, validators=[MinLengthValidator(1)])
    description = models.TextField(_("description"), blank=True)
    unit_amount = models.PositiveBigIntegerField(
        _("unit price"), help_text=_("In minor units: 5600 is 56.00 usd.")
    )
    quantity = models.PositiveIntegerField(
        _("quantity"), default=1, validators=[MinValueValidator(1)]
    )

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")
        ordering: ClassVar[list[str]] = ["pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(quantity__gte=1), name="shop_payments_orderline_quantity_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def amount(self) -> int:
        """Unit price times quantity, in minor units."""
        return self.unit_amount * self.quantity
