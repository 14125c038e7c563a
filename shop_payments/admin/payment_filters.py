"""The filters of the list of payments. See Note [Large tables] in ``lists.py``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.forms import decimal_separator
from shop_payments.admin.lists import Rows
from shop_payments.days import midnight, today
from shop_payments.exceptions import AmountNotRepresentable, InvalidCurrency
from shop_payments.lifecycle import CAPTURABLE_STATUSES
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.models.words import method_name
from shop_payments.money import parse_typed_amount, to_minor_units, typed_example

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

Choices = list[tuple[str, Any]]


def _with_intent(**conditions: Any) -> Exists:
    """Return the condition that a payment has such an intent."""
    intents = PaymentIntent.objects.filter(order_payment=OuterRef("pk"), **conditions)
    return Exists(intents.order_by())


class CaptureFilter(admin.SimpleListFilter):
    title = _("money reserved")
    parameter_name = "capture"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("open", _("to capture"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "open":
            return queryset
        return queryset.filter(_with_intent(status__in=CAPTURABLE_STATUSES))


class ModeFilter(admin.SimpleListFilter):
    title = _("mode")
    parameter_name = "mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("live", _("live")), ("test", _("test"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"live", "test"}:
            return queryset
        return queryset.filter(_with_intent(livemode=self.value() == "live"))


class MethodFilter(admin.SimpleListFilter):
    """By card brand or type of payment method. A new value can be written into the URL."""

    title = _("method")
    parameter_name = "method"

    brands = ("visa", "mastercard", "amex")
    types = ("bancontact", "ideal", "klarna", "link", "paypal", "sepa_debit", "us_bank_account")

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(code, method_name(code)) for code in (*self.brands, *self.types)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        code = self.value()
        if code is None:
            return queryset
        # A card brand may have the name of a type, as Link has.
        is_brand = code in self.brands or code not in self.types
        of_brand, of_type = _with_intent(card_brand=code), _with_intent(method_type=code)
        return queryset.filter(of_brand if is_brand else of_type)


_MOST_CURRENCIES = 20


def known_currencies() -> list[str]:
    """Return the currencies of payments, each found by the index."""
    found: list[str] = []
    while len(found) < _MOST_CURRENCIES:
        later = OrderPayment.objects.filter(currency__gt=found[-1] if found else "")
        currency = later.order_by("currency").values_list("currency", flat=True).first()
        if currency is None:
            break
        found.append(currency)
    return found


class CurrencyFilter(admin.SimpleListFilter):
    title = _("currency")
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(currency, currency.upper()) for currency in known_currencies()]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1 or self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


class RangeFilter(admin.ListFilter):
    """A filter with two fields, of which one may be empty."""

    template = "admin/shop_payments/range_filter.html"
    parameter_name: ClassVar[str]
    input_type: ClassVar[str] = "text"
    input_mode: ClassVar[str] = "text"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.request = request
        self.names = [f"{self.parameter_name}_from", f"{self.parameter_name}_until"]
        self.begin, self.end = (params.pop(name, [""])[-1].strip() for name in self.names)
        if self.begin or self.end:
            self.used_parameters = dict(zip(self.names, (self.begin, self.end), strict=True))

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [*self.names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (self.begin or self.end):
            return queryset
        try:
            return queryset.filter(self.condition())
        except ValueError as error:
            # All rows would look like the result.
            messages.error(request, f"{self.title}: {error}")
            return queryset.none()

    def condition(self) -> Q:
        """Return the condition for what was typed.

        Raises:
            ValueError: with a sentence for staff.
        """
        raise NotImplementedError

    def presets(self) -> list[tuple[Any, str, str]]:
        """Return a label and both ends for each range that is offered as a link."""
        return []

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = {
            name: values
            for name, values in self.request.GET.lists()
            if name not in {*self.names, PAGE_VAR}
        }
        yield {
            "selected": not (self.begin or self.end),
            "query_string": changelist.get_query_string(remove=self.names),
            "display": _("All"),
            "hidden": [(name, value) for name, values in others.items() for value in values],
        }
        for label, begin, end in self.presets():
            ends = dict(zip(self.names, (begin, end), strict=True))
            yield {
                "selected": (self.begin, self.end) == (begin, end),
                "query_string": changelist.get_query_string(ends),
                "display": label,
            }


class DaysFilter(RangeFilter):
    """By the days of ``column``, a time, in the current time zone."""

    column: ClassVar[str]
    input_type = "date"

    def presets(self) -> list[tuple[Any, str, str]]:
        now = today()
        month = now.replace(day=1)
        before = month - timedelta(days=1)
        return [
            (_("today"), f"{now}", f"{now}"),
            (_("past 7 days"), f"{now - timedelta(days=6)}", f"{now}"),
            (_("this month"), f"{month}", f"{now}"),
            (_("last month"), f"{before.replace(day=1)}", f"{before}"),
        ]

    def condition(self) -> Q:
        found = Q()
        if self.begin:
            found &= Q(**{f"{self.column}__gte": midnight(_day(self.begin))})
        if self.end:
            following = _day(self.end) + timedelta(days=1)
            found &= Q(**{f"{self.column}__lt": midnight(following)})
        return found


class PaymentRows(Rows):
    """The list of payments, sorted by their keys, or by the index of a filter by days."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        ordering = super().get_ordering(request, queryset)
        if not {"created_from", "created_until"} & set(self.filter_params):
            return ordering
        # The keys are in the order of these times. By key, a database would go through all newer
        # payments to find those of a day two years ago.
        by_time = {"pk": "created_at", "-pk": "-created_at"}
        return [by_time[name] for name in ordering if name in by_time] + ordering


class CreatedFilter(DaysFilter):
    """By the days on which the customers began to pay."""

    title = _("created")
    parameter_name = "created"
    column = "created_at"


class BookedFilter(DaysFilter):
    """By the days on which Stripe moved the money."""

    title = _("when")
    parameter_name = "booked"
    column = "stripe_created_at"


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(gettext("Enter the day like 2026-11-30.")) from None
    # Near the first and the last year, a day cannot be converted to another time zone.
    if not 1970 <= day.year <= 9000:
        raise ValueError(gettext("Enter a day between 1970 and 9000."))
    return day


class AmountFilter(RangeFilter):
    """By what the orders cost, in the chosen currency, or in all in which it can be written."""

    title = _("order total")
    parameter_name = "total"
    input_mode = "decimal"

    def condition(self) -> Q:
        chosen = self.request.GET.get("currency")
        currencies = [chosen] if chosen else known_currencies()
        ranges = [found for each in currencies if (found := self._in(each)) is not None]
        if not ranges:
            example = typed_example((currencies or ["usd"])[0], decimal_separator())
            text = gettext("Enter the amount like %(example)s.")
            raise ValueError(text % {"example": example})
        return reduce(or_, ranges)

    def _in(self, currency: str) -> Q | None:
        found = Q(currency=currency)
        try:
            if self.begin:
                found &= Q(total__gte=_minor_units(self.begin, currency))
            if self.end:
                found &= Q(total__lte=_minor_units(self.end, currency))
        except (AmountNotRepresentable, InvalidCurrency):
            return None
        return found


def _minor_units(text: str, currency: str) -> int:
    return to_minor_units(parse_typed_amount(text, currency, decimal_separator()), currency)
