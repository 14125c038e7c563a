"""The pages of the bundled order. After each change, its payment is evaluated again.

Staff can edit an order after it was paid. It is read-only while money is reserved or processing:
that money was requested for the old total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import (
    CharField,
    Exists,
    OuterRef,
    PositiveIntegerField,
    Q,
    QuerySet,
    TextField,
)
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import origin_of
from shop_payments.admin.base import (
    NOTHING,
    InlineFormSet,
    ModelAdmin,
    ModelForm,
    StackedInline,
    amount_text,
    describe_balance,
    in_words,
    page_link,
    with_zones,
)
from shop_payments.admin.forms import TypedAmountField, WholeNumberField
from shop_payments.admin.lists import LargeListMixin, time_column
from shop_payments.admin.order_panel import OrderPaymentPanel, payment_of
from shop_payments.admin.records import SEARCH_HELP, payments_by_card, payments_with_stripe_id
from shop_payments.exceptions import InvalidCurrency, ShopPaymentsError
from shop_payments.ledger.observations import counts
from shop_payments.ledger.payments import find_and_lock_payment
from shop_payments.lifecycle import CAPTURABLE_STATUSES, IntentStatus, PaymentStatus
from shop_payments.models import Order, OrderLine, OrderPayment, PaymentIntent
from shop_payments.models.words import amount_number
from shop_payments.money import from_minor_units, to_minor_units
from shop_payments.orders import get_order_adapter, search_orders
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.delete_payment import delete_payment


def open_intent_of(payment: OrderPayment) -> PaymentIntent | None:
    """Return the payment's open intent, if there is one; cached as well."""
    if not hasattr(payment, "_open_intent"):
        payment._open_intent = payment.payment_intents.open().first()  # type: ignore[attr-defined]
    intent: PaymentIntent | None = payment._open_intent  # type: ignore[attr-defined]
    return intent


def why_read_only(payment: OrderPayment | None) -> str:
    """Return why an order with this payment cannot be changed now; empty if it can."""
    intent = None if payment is None else open_intent_of(payment)
    if intent is not None and intent.status in CAPTURABLE_STATUSES:
        return gettext(
            "The money for this order is reserved. Capture or cancel the payment before you change"
            " the order."
        )
    if intent is not None and intent.status == IntentStatus.PROCESSING:
        return gettext(
            "A payment of this order is being processed by the customer's bank. You can change the"
            " order when the bank has finished."
        )
    return ""


def notes_on_change(payment: OrderPayment | None) -> list[str]:
    """Return notes for staff about what a change of the order means for its payment."""
    if payment is None:
        return []
    notes = []
    if payment.amount_received:
        text = gettext(
            "%(received)s was received for this order. %(now)s If you raise the total, the "
            "difference is outstanding, and the customer can pay it. If you lower the total, the "
            "excess appears in the review, with a button that refunds it. Nothing is refunded "
            "automatically, even if you cancel the order."
        )
        received = amount_text(payment.amount_received, payment.currency)
        notes.append(text % {"received": received, "now": describe_balance(payment)})
    # Money in another currency or mode would not count after that either.
    if payment.amount_uncounted and not payment.is_payable:
        notes.append(
            gettext(
                "Money was received that does not count, because the order did not accept payments."
                " It counts if you open the order again."
            )
        )
    intent = open_intent_of(payment)
    if intent is not None:
        text = gettext(
            "The customer has been asked for %(amount)s. If less is outstanding after the change,"
            " the payment is lowered or cancelled at Stripe at once. If more is outstanding, the"
            " customer is asked for it when they next open the payment."
        )
        notes.append(text % {"amount": intent.amount_display})
    return notes


# --- prices -------------------------------------------------------------------------------------


class OrderLineForm(ModelForm):
    """An order line with a price in the order's currency, as typed in the order's form.

    If the currency changes, the stored minor units mean another price. Such a line counts as
    changed, so that the price on the page is the price that is stored.
    """

    unit_price = TypedAmountField(label=_("Unit price"))

    def __init__(self, *args: Any, order: Order, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.order = order
        field: Any = self.fields["unit_price"]
        field.currency = order.currency
        if not self.instance._state.adding:
            self.initial["unit_price"] = _price(self.instance)

    def clean_unit_price(self) -> Decimal:
        price: Decimal = self.cleaned_data["unit_price"]
        # An error at the field, where the database would raise one.
        if price >= _PRICE_LIMIT:
            raise forms.ValidationError(_("The price is too high."))
        with suppress(InvalidCurrency):  # the error is shown at the order's currency
            self.instance.unit_amount = to_minor_units(price, self.instance.order.currency)
        return price


_PRICE_LIMIT = 10**13
"""Prices must be lower, so that the total of an order fits its column in the database."""


def _price(line: OrderLine) -> Decimal | None:
    try:
        return from_minor_units(line.unit_amount, line.order.currency)
    except InvalidCurrency:
        return None


class OrderLineFormSet(InlineFormSet):
    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        return {**super().get_form_kwargs(index), "order": self.instance}


class OrderLineInline(StackedInline):
    """The lines of an order. The permission to change the order includes its lines."""

    model = OrderLine
    form = OrderLineForm
    formset = OrderLineFormSet
    fields = [("name", "description"), ("unit_price", "quantity", "line_total")]
    readonly_fields = ["line_total"]
    empty_value_display = NOTHING
    extra = 1
    # Stacked, because a table with inputs is wider than a phone. Small inputs, so that two of them
    # fit beside each other on a wide page.
    formfield_overrides = {
        CharField: {"widget": forms.TextInput(attrs={"size": 26})},
        TextField: {"widget": forms.Textarea(attrs={"rows": 2, "cols": 24})},
        PositiveIntegerField: {"form_class": WholeNumberField},
    }

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._order_admin.has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return self._order_admin.has_add_permission(request)
        return self._order_admin.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._order_admin.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._order_admin.has_change_permission(request, obj)

    @property
    def _order_admin(self) -> ModelAdmin:
        return self.admin_site.get_model_admin(Order)

    @admin.display(description=_("unit price"))
    def unit_price(self, line: OrderLine) -> str:
        return amount_number(line.unit_amount, line.order.currency)

    @admin.display(description=_("total"))
    def line_total(self, line: OrderLine) -> str:
        if line._state.adding:
            return NOTHING
        return amount_text(line.amount, line.order.currency)


# --- orders -------------------------------------------------------------------------------------


class OrderForm(ModelForm):
    def clean_currency(self) -> str:
        currency: str = self.cleaned_data["currency"].lower()
        payment = None if self.instance._state.adding else payment_of(self.instance)
        if payment is not None and currency != payment.currency and _has_counted_money(payment):
            raise forms.ValidationError(
                _(
                    "The order was paid in %(currency)s, and that money counts, so its currency"
                    " cannot be changed."
                ),
                params={"currency": payment.currency.upper()},
            )
        return currency


def _has_counted_money(payment: OrderPayment) -> bool:
    return any(counts(payment, intent) for intent in payment.payment_intents.all())


class PaymentStatusFilter(admin.SimpleListFilter):
    title = _("payment status")
    parameter_name = "payment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        field = OrderPayment._meta.get_field("status")
        return [*(field.choices or []), ("review", _("needs review"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Nothing in an order refers to its payment. The database joins them for EXISTS.
        payments = OrderPayment.objects.of_order(OuterRef("pk")).order_by()
        match self.value():
            case None:
                return queryset
            case "review":
                return queryset.filter(Exists(payments.filter(needs_review=True)))
            case PaymentStatus.UNPAID as unpaid:
                # An order has no payment before its customer begins to pay.
                return queryset.exclude(Exists(payments.exclude(status=unpaid)))
            case status:
                return queryset.filter(Exists(payments.filter(status=status)))


def _lock_order(object_id: str) -> OrderPayment | None:
    """Lock the order and its payment until the transaction ends; return the payment.

    A payment that arrives meanwhile is evaluated with the order before or after this change, never
    with a half-written one. See Note [Lock order] in ``ledger/payments.py``.
    """
    pk = get_order_adapter().parse_id(unquote(object_id))
    if pk is None:
        return None
    # no_key: other requests can still insert rows that refer to the order.
    Order.objects.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()
    locked = find_and_lock_payment(order_id=pk)
    return None if locked is None else locked.payment


def _payments_to_keep(orders: Iterable[Order]) -> list[OrderPayment]:
    payments = OrderPayment.objects.filter(order__in=[order.pk for order in orders])
    return [payment for payment in payments if not payment.can_be_deleted]


class OrderAdmin(LargeListMixin, OrderPaymentPanel):
    form = OrderForm
    change_form_template = "admin/shop_payments/order/change_form.html"
    created = time_column("created_at", _("created at"))
    list_display = ["number", "buyer", "total", "status", "payment_status", "created"]
    list_filter = ["status", PaymentStatusFilter]
    sortable_by = ["number", "created"]
    list_select_related = ["customer"]
    empty_value_display = NOTHING
    search_fields = ["number"]  # Django shows the search field; searches() finds more
    search_help_text = SEARCH_HELP
    raw_id_fields = ["customer"]
    readonly_fields = ["number", "total", "created_at", "updated_at"]
    inlines = [OrderLineInline]
    actions = ["delete_selected"]

    # --- what is shown ---

    def read_more(self, rows: Sequence[Any]) -> None:
        # Django's prefetch_related() builds a query set for each order, which takes longer.
        lines = defaultdict(list)
        for line in OrderLine.objects.filter(order__in=rows):
            lines[line.order_id].append(line)
        for order in rows:
            order.loaded_lines = tuple(lines[order.pk])

    def searches(self, text: str) -> Iterator[Q]:
        pk = get_order_adapter().parse_id(text)
        payments = payments_with_stripe_id(text) or payments_by_card(text)
        of_payments = OrderPayment.objects.filter(pk__in=payments)
        exact = {pk, *of_payments.values_list("order", flat=True)} - {None}
        exact |= {
            *Order.objects.filter(number__in=[text, text.upper()]).values_list("pk", flat=True)
        }
        yield Q(pk__in=exact)
        yield Q(pk__in=search_orders(text))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["customer", "email", "currency", "status"]
        if obj is None:
            return fields
        times = with_zones(Order, ["created_at", "updated_at"])
        return ["number", *fields, "total", *times]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return with_zones(Order, super().get_readonly_fields(request, obj))

    @admin.display(description=_("customer"))
    def buyer(self, order: Order) -> str:
        return str(order.customer or order.email or NOTHING)

    @admin.display(description=_("total"))
    def total(self, order: Order) -> str:
        return amount_text(order.amount, order.currency)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        order = context["original"]
        if order is not None:
            payment = payment_of(order)
            reason = why_read_only(payment)
            if reason:
                context["notes"] = [reason]
            elif self.has_change_permission(request, order):
                context["notes"] = notes_on_change(payment)
            # The page that deletes would only say why this order cannot be deleted.
            context["show_delete"] = payment is None or payment.can_be_deleted
        return super().render_change_form(request, context, *args, **kwargs)

    # --- what may be changed ---

    def has_change_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        # Django renders the page read-only without this permission.
        return obj is None or not why_read_only(payment_of(obj))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # A new order has no payment, so only a change needs the lock.
        if request.method != "POST" or not object_id or not self.has_change_permission(request):
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            # Checked under the lock: the page may have been opened before the money was reserved.
            reason = why_read_only(_lock_order(object_id))
            if not reason:
                return super().changeform_view(request, object_id, form_url, extra_context)
        nothing = gettext("Nothing was saved.")
        self.message_user(request, f"{reason} {nothing}", messages.ERROR)
        return redirect(request.path)

    def save_model(self, request: HttpRequest, obj: Order, form: Any, change: bool) -> None:
        if not change:
            obj.save_numbered()  # draws a number that no other order has
            return
        super().save_model(request, obj, form, change)
        # Only if it was cancelled here: other changes of a cancelled order cancel nothing.
        if obj.status == Order.Status.CANCELLED and "status" in form.changed_data:
            cancel_payment_on_commit(order_id=obj.pk, origin=origin_of(request))

    # --- deleting ---

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        to_delete, counts, needed, protected = super().get_deleted_objects(objs, request)
        kept = _payments_to_keep(objs)
        # Nobody can delete an order whose payment held money. Show that as the reason, and not that
        # staff lack the permission to delete its payment.
        links = [page_link(payment, str(payment), site=self.admin_site) for payment in kept]
        return to_delete, counts, (set() if protected else needed), links

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django's view is one transaction, in which Stripe must not be called.
        order: Any = self.get_object(request, unquote(object_id))
        may_delete = order is not None and self.has_delete_permission(request, order)
        is_confirmed = request.method == "POST" and may_delete
        if is_confirmed and not self._delete_payments(request, [order]):
            return redirect(request.path)
        return super().delete_view(request, object_id, extra_context)

    @admin.action(permissions=["delete"], description=_("Delete selected orders"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        is_confirmed = bool(request.POST.get("post"))
        if is_confirmed and not self._delete_payments(request, queryset):
            return None
        return delete_selected(self, request, queryset)

    def _delete_payments(self, request: HttpRequest, orders: Iterable[Order]) -> bool:
        """Delete the payments, if none held money; return False if one could not be deleted."""
        if _payments_to_keep(orders):
            return True  # Django's page shows them
        for order in orders:
            try:
                delete_payment(order_id=order.pk, origin=origin_of(request))
            except ShopPaymentsError as error:
                text = gettext("Order %(number)s was not deleted: %(why)s")
                words = text % {"number": order.number, "why": in_words(error)}
                self.message_user(request, words, messages.ERROR)
                return False
        return True
