"""What the admin pages have in common: they show rows, and nobody can edit the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.db import connections, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.conf import DEFAULT_ORDER_MODEL, order_model_label
from shop_payments.exceptions import MoneyError, OrderUnreadable
from shop_payments.ledger.descriptions import local_time
from shop_payments.models import OrderPayment
from shop_payments.money import display_amount
from shop_payments.orders import get_order_adapter, read_number, read_total

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    # The stubs' classes take parameters, Django's do not.
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline
    ModelForm, InlineFormSet = forms.ModelForm, forms.BaseInlineFormSet

NOTHING = "–"
DASHBOARD = "https://dashboard.stripe.com"


_View = TypeVar("_View", bound=Callable[..., Any])


def outside_of_transactions(view: _View) -> _View:
    """Keep a view out of ``ATOMIC_REQUESTS``, of whichever database: Stripe is called in it."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def order_is_bundled() -> bool:
    """Whether the shop uses this app's own order model."""
    return order_model_label().lower() == DEFAULT_ORDER_MODEL.lower()


def amount_text(amount: int, currency: str) -> str:
    """Write minor units as people do: ``112.00 USD``."""
    try:
        return display_amount(amount, currency)
    except MoneyError:
        return NOTHING  # the order's currency is not one; its own page says so


def admin_url(site: AdminSite, name: str, *args: object) -> str:
    """Return the address of a page of this site; there may be several."""
    return reverse(f"admin:{name}", args=args, current_app=site.name)


def page_link(row: Model | None, text: object = None, *, site: AdminSite) -> str:
    """Link to the page of ``row`` on this site, or just name it where it has none."""
    if row is None:
        return NOTHING
    text = str(row) if text is None else text
    url = page_url(row, site=site)
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def page_url(row: Model, *, site: AdminSite) -> str:
    """Return the address of the page of ``row`` on this site; empty where it has none."""
    meta = row._meta
    if not site.is_registered(type(row)):
        return ""  # the address could be another site's
    try:
        return admin_url(site, f"{meta.app_label}_{meta.model_name}_change", quote(row.pk))
    except NoReverseMatch:
        return ""


def mode_text(livemode: bool) -> str:
    """Say whether it is about real money."""
    return gettext("live") if livemode else gettext("test")


def json_text(value: object) -> SafeString:
    """Show stored JSON so that it can be read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="shop-payments-json">{}</pre>', text)


def moment_text(moment: datetime | None) -> str:
    """Write a moment as the admin does, and name its time zone."""
    if moment is None:
        return NOTHING
    local = local_time(moment)
    return f"{formats.localize(local.replace(tzinfo=None))} {local.tzname()}"


def stored_text(value: object, purged_at: datetime | None) -> str:
    """Show stored JSON, or what has been left of it, and since when that is all."""
    if purged_at is None:
        return json_text(value)
    words = gettext("Personal data dropped on %(date)s.") % {"date": moment_text(purged_at)}
    note = format_html('<p class="shop-payments-note">{}</p>', words)
    return note + json_text(value) if value else note


def number_of(payment: OrderPayment) -> str:
    """The number of the payment's order, as the shop writes it."""
    return read_number(payment.order)


def total_text(payment: OrderPayment) -> str:
    """What the payment's order costs now."""
    try:
        total = read_total(payment.order)
    except (MoneyError, OrderUnreadable) as error:
        return gettext("cannot be read: %(reason)s") % {"reason": error}
    return amount_text(total.amount, total.currency)


def balance_words(payment: OrderPayment) -> str:
    """Say what a payment amounts to, as it was last evaluated."""
    if payment.failed_reads:
        return gettext("The order could not be read at the last try; the amounts may be outdated.")
    sentences = []
    if payment.amount_outstanding:
        sentences.append((gettext("%(amount)s is outstanding."), payment.amount_outstanding))
    elif payment.amount_owed:
        text = gettext("%(amount)s is owed, but the customer is not asked for it now.")
        sentences.append((text, payment.amount_owed))
    if payment.amount_excess:
        text = gettext("%(amount)s was received too much.")
        sentences.append((text, payment.amount_excess))
    if not sentences:
        return gettext("The order is %(status)s.") % {"status": payment.get_status_display()}
    return " ".join(
        text % {"amount": amount_text(amount, payment.currency)} for text, amount in sentences
    )


def dashboard_link(path: str, *, livemode: bool) -> SafeString:
    """Link to an object in Stripe's dashboard."""
    return format_html(
        '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>',
        dashboard_url(path, livemode=livemode),
        gettext("Open in the Stripe dashboard"),
    )


def dashboard_url(path: str, *, livemode: bool) -> str:
    """Return the address of an object in Stripe's dashboard."""
    return f"{DASHBOARD}/{'' if livemode else 'test/'}{path}"


class WordsFilter(admin.AllValuesFieldListFilter):
    """A filter by Stripe's words, which are shown as words."""

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            yield {**choice, "display": str(choice["display"]).replace("_", " ")}


class _LooksOnly:
    """With the permission to view, staff look; nobody adds, changes or deletes."""

    empty_value_display = NOTHING

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(_LooksOnly, ModelAdmin):
    """Pages of rows that only the services write."""

    change_form_template: ClassVar[str | None] = "admin/shop_payments/record.html"
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["shop_payments/admin.css"]}

    @admin.display(description=_("mode"), ordering="livemode")
    def mode(self, row: Any) -> str:
        return mode_text(row.livemode)


class ReadOnlyInline(_LooksOnly, TabularInline):
    """Rows that have a page of their own, shown along; their first column links to it."""

    template = "admin/shop_payments/rows.html"
    extra = 0

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields


class PaymentRecordAdmin(ReadOnlyAdmin):
    """Pages of rows that belong to one order: found by its number or id, and linked to it."""

    order_path: ClassVar[str] = "order_payment__order"
    """The way from the row to the order."""

    list_select_related: ClassVar[tuple[str, ...]] = ("order_payment__order",)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        fields = list(super().get_search_fields(request))
        # What the host's own order calls its number is not known; its id always works.
        return [*fields, f"{self.order_path}__number"] if order_is_bundled() else fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        pk = get_order_adapter().parse_id(search_term.strip()) if search_term else None
        if pk is None:
            return found, has_duplicates
        by_id = {f"{self.order_path}__pk": pk}
        return queryset.filter(Q(pk__in=found.order_by().values("pk")) | Q(**by_id)), False

    @admin.display(description=_("order"))
    def order_number(self, row: Any) -> str:
        return number_of(row.order_payment)

    @admin.display(description=_("order payment"))
    def payment_link(self, row: Any) -> str:
        payment: OrderPayment = row.order_payment
        return page_link(payment, number_of(payment), site=self.admin_site)

    @admin.display(description=_("payment intent"))
    def intent_link(self, row: Any) -> str:
        return page_link(row.payment_intent, site=self.admin_site)
