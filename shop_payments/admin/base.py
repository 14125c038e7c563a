"""Shared parts of the admin pages: read-only model admins, and texts for amounts and times."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db import connections, models, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.conf import DEFAULT_ORDER_MODEL, get_config, order_model_label
from shop_payments.exceptions import (
    Message,
    MoneyError,
    NegativeAmount,
    OrderNotRefundable,
    OrderUnreadable,
)
from shop_payments.models import OrderPayment
from shop_payments.models.words import (
    amount_words,
    choice_label,
    describe_unreadable,
    humanize,
    moment_words,
)
from shop_payments.money import ShownAmount
from shop_payments.orders import read_number, read_total

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    StackedInline = admin.StackedInline[Any, Any]
    TabularInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    # The stubs' classes take parameters, Django's do not.
    ModelAdmin = admin.ModelAdmin
    StackedInline, TabularInline = admin.StackedInline, admin.TabularInline
    ModelForm, InlineFormSet = forms.ModelForm, forms.BaseInlineFormSet

NOTHING = "–"
DASHBOARD = "https://dashboard.stripe.com"


_View = TypeVar("_View", bound=Callable[..., Any])


def without_transaction(view: _View) -> _View:
    """Exempt a view that calls Stripe from ``ATOMIC_REQUESTS``."""
    # The payments may be in any database of the host, so all of them are exempted.
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def order_is_bundled() -> bool:
    """Whether the shop uses this app's own order model."""
    return order_model_label().lower() == DEFAULT_ORDER_MODEL.lower()


def amount_text(amount: int, currency: str) -> str:
    """Format an amount in minor units, for example as ``112.00 USD``."""
    try:
        return amount_words(amount, currency)
    except MoneyError:
        # The order's currency is invalid. A list must still show its other rows.
        return NOTHING


def admin_url(site: AdminSite, name: str, *args: object) -> str:
    """Return the URL of a page of ``site``."""
    # A host may have several admin sites. Without ``current_app``, links lead to another one.
    return reverse(f"admin:{name}", args=args, current_app=site.name)


def page_link(row: Model | None, text: object = None, *, site: AdminSite) -> str:
    """Return a link to the page of ``row`` on ``site``; only its text if it has no page there."""
    if row is None:
        return NOTHING
    text = str(row) if text is None else text
    url = page_url(row, site=site)
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def page_url(row: Model, *, site: AdminSite) -> str:
    """Return the URL of the page of ``row`` on ``site``; empty if it has no page there."""
    meta = row._meta
    if not site.is_registered(type(row)):
        # reverse() falls back to a site where the model is registered.
        return ""
    try:
        return admin_url(site, f"{meta.app_label}_{meta.model_name}_change", quote(row.pk))
    except NoReverseMatch:
        # The host may have registered the model with a site that is in no URLconf.
        return ""


def two_lines(first: str, second: str) -> SafeString:
    """Return two texts for a cell, one below the other; the second may be empty."""
    return format_html("{}<br>{}", first, second) if second else format_html("{}", first)


def mode_text(livemode: bool) -> str:
    """Return the name of the mode."""
    return gettext("live") if livemode else gettext("test")


def json_text(value: object) -> SafeString:
    """Format stored JSON for a page."""
    # format_html() escapes it: the payload of an event may contain anything.
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="shop-payments-json">{}</pre>', text)


def moment_text(moment: datetime | None) -> str:
    """Format a time as the admin does, with the name of its time zone."""
    return NOTHING if moment is None else moment_words(moment)


def stored_text(value: object, purged_at: datetime | None) -> str:
    """Format stored JSON; after a purge, what is left of it and the time of the purge."""
    if purged_at is None:
        return json_text(value)
    words = gettext("Personal data was removed on %(date)s.") % {"date": moment_text(purged_at)}
    # A purge keeps what is not personal, so some of the JSON may be left.
    note = format_html('<p class="shop-payments-note">{}</p>', words)
    return note + json_text(value) if value else note


def number_of(payment: OrderPayment) -> str:
    """Return the number of the payment's order, as the shop writes it."""
    return read_number(payment.order)


def total_text(payment: OrderPayment) -> str:
    """Return the current total of the payment's order."""
    try:
        total = read_total(payment.order)
    # The host's adapter failed. The page must still show the payment.
    except OrderUnreadable as error:
        reason = describe_unreadable(error.method, error.reason)
    except MoneyError as error:
        is_negative = isinstance(error, NegativeAmount)
        reason = describe_unreadable("total", "negative_total" if is_negative else "")
    else:
        return amount_text(total.amount, total.currency)
    return gettext("cannot be read: %(reason)s") % {"reason": reason}


def describe_balance(payment: OrderPayment) -> str:
    """Describe the balance of a payment, as of its last evaluation."""
    # The stored amounts may be those of an earlier total, so none is shown as current.
    if payment.failed_reads:
        return gettext(
            "The last attempt to read the order failed, so the amounts may be out of date."
        )
    sentences = []
    if payment.amount_outstanding:
        sentences.append((gettext("%(amount)s is outstanding."), payment.amount_outstanding))
    elif payment.amount_owed:
        text = gettext("%(amount)s is owed, but the customer is not asked for it now.")
        sentences.append((text, payment.amount_owed))
    if payment.amount_excess:
        text = gettext("The excess is %(amount)s.")
        sentences.append((text, payment.amount_excess))
    if not sentences:
        return gettext("The order is %(status)s.") % {"status": choice_label(payment, "status")}
    return " ".join(
        text % {"amount": amount_text(amount, payment.currency)} for text, amount in sentences
    )


def in_words(error: Exception) -> str:
    """Return the message of an error in the active language, if it is one for staff.

    What Stripe and developers write is in English.
    """
    if isinstance(error, OrderUnreadable):
        return f"{describe_unreadable(error.method, error.reason)}."
    if isinstance(error, OrderNotRefundable) and error.reason == "cancelled_after_capture":
        return gettext(
            "Stripe refused to refund this payment, because it was cancelled after a part was"
            " captured. Refund it in Stripe's dashboard."
        )
    message = error.args[0] if error.args else ""
    if not isinstance(message, Message):
        return str(error)
    figures = {name: _figure(name, value) for name, value in message.figures.items()}
    return gettext(message.template) % figures if figures else gettext(message.template)


def _figure(name: str, value: Any) -> str:
    if isinstance(value, ShownAmount):
        return amount_text(value.amount, value.currency)
    return humanize(value) if name == "status" else str(value)


def dashboard_link(path: str, *, livemode: bool) -> SafeString:
    """Return a link to an object in Stripe's dashboard, which shows nothing of the sandbox."""
    if get_config().uses_sandbox:
        return format_html("{}", NOTHING)
    return format_html(
        '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>',
        dashboard_url(path, livemode=livemode),
        gettext("Open in the Stripe dashboard"),
    )


def dashboard_url(path: str, *, livemode: bool) -> str:
    """Return the URL of an object in Stripe's dashboard."""
    return f"{DASHBOARD}/{'' if livemode else 'test/'}{path}"


@cache
def _time_field(field: models.DateTimeField[Any, Any]) -> Callable[[Any], str]:
    """Return a column with the time of a row and its zone, which Django leaves out."""

    @admin.display(description=field.verbose_name, ordering=field.name)
    def column(row: Any) -> str:
        return moment_text(getattr(row, field.name))

    column.__name__ = field.name  # for the classes of the cells, and for the help text
    return column


def with_zones(model: type[Model], names: Iterable[Any]) -> list[Any]:
    """Replace the names of fields that are times by columns that show the zone."""
    fields = {field.name: field for field in model._meta.concrete_fields}
    found = [fields.get(name) if isinstance(name, str) else None for name in names]
    return [
        _time_field(field) if isinstance(field, models.DateTimeField) else name
        for name, field in zip(names, found, strict=True)
    ]


class _ViewOnly:
    """Staff with the view permission may look. Nobody may add, change or delete."""

    # These rows mirror Stripe or record what happened. An edit by hand would make them wrong.

    empty_value_display = NOTHING

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(_ViewOnly, ModelAdmin):
    """The pages of rows that only services write."""

    # Names the time zone, and links to actions instead of a history of edits.
    change_form_template: ClassVar[str | None] = "admin/shop_payments/record.html"

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["shop_payments/admin.css"]}

    def get_list_display(self, request: HttpRequest) -> Any:
        return with_zones(self.model, super().get_list_display(request))

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return with_zones(self.model, super().get_sortable_by(request))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets: Any = super().get_fieldsets(request, obj)
        if obj is None:  # the page that adds a row has inputs
            return fieldsets
        return [
            (title, {**options, "fields": with_zones(self.model, options["fields"])})
            for title, options in fieldsets
        ]

    @admin.display(description=_("mode"))
    def mode(self, row: Any) -> str:
        return mode_text(row.livemode)


ROWS_SHOWN = 50
"""Rows of each kind on a page."""


class NewestRows(InlineFormSet):
    """The newest rows. The page links to the list of the others."""

    has_more = False

    def get_queryset(self) -> Any:
        if not hasattr(self, "_rows"):
            rows = list(super().get_queryset()[: ROWS_SHOWN + 1])
            self.has_more = len(rows) > ROWS_SHOWN
            for row in rows:
                # Otherwise each row would read the row of the page again.
                setattr(row, self.fk.name, self.instance)
            self._rows = rows[:ROWS_SHOWN]
        return self._rows


class ReadOnlyInline(_ViewOnly, TabularInline):
    """Related rows on a page. The first column links to the page of the row."""

    template = "admin/shop_payments/rows.html"
    formset = NewestRows
    extra = 0
    is_folded = False
    """Whether the page of a payment shows these rows only on request."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return with_zones(self.model, super().get_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)
