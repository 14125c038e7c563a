"""The bundled order: staff edit it, also after it was paid, and its payment is evaluated again.

It is closed only while money is on its way in, which has been asked for at the old amount.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import (
    CharField,
    OuterRef,
    PositiveIntegerField,
    Q,
    QuerySet,
    Subquery,
    TextField,
)
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import action_links, origin_of
from shop_payments.admin.base import (
    NOTHING,
    InlineFormSet,
    ModelAdmin,
    ModelForm,
    TabularInline,
    amount_text,
    balance_words,
    page_link,
)
from shop_payments.admin.forms import TypedAmountField, WholeNumberField
from shop_payments.exceptions import ConfigurationError, InvalidCurrency, OrderUnreadable
from shop_payments.ledger.observations import counts
from shop_payments.ledger.payments import find_and_lock_payment
from shop_payments.lifecycle import CAPTURABLE_STATUSES, IntentStatus, PaymentStatus
from shop_payments.models import Order, OrderLine, OrderPayment, PaymentIntent
from shop_payments.money import format_amount, from_minor_units, to_minor_units
from shop_payments.orders import get_order_adapter
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.reevaluate_order import reevaluate_order


def payment_of(order: Any) -> OrderPayment | None:
    """Return the order's payment, read once for each order object, which serves one request."""
    if not hasattr(order, "_payment"):
        order._payment = OrderPayment.objects.of_order(order.pk).first()
    payment: OrderPayment | None = order._payment
    return payment


def open_intent_of(payment: OrderPayment) -> PaymentIntent | None:
    """Return the payment's open intent, read once for each payment object."""
    if not hasattr(payment, "_open_intent"):
        payment._open_intent = payment.payment_intents.open().first()  # type: ignore[attr-defined]
    intent: PaymentIntent | None = payment._open_intent  # type: ignore[attr-defined]
    return intent


def why_closed(payment: OrderPayment | None) -> str:
    """Say why an order with this payment cannot be changed now; empty where it can."""
    intent = None if payment is None else open_intent_of(payment)
    if intent is not None and intent.status in CAPTURABLE_STATUSES:
        return gettext(
            "The money for this order is reserved. Capture or cancel the payment before you change"
            " the order."
        )
    if intent is not None and intent.status == IntentStatus.PROCESSING:
        return gettext(
            "A payment of this order is being processed by the customer's bank. The order can be"
            " changed when the bank has finished."
        )
    return ""


def notes_on_change(payment: OrderPayment | None) -> list[str]:
    """Say what a change of the order would mean for its payment."""
    if payment is None:
        return []
    notes = []
    if payment.amount_received:
        text = gettext(
            "%(received)s was received for this order. %(now)s If the order becomes dearer, what is"
            " missing is outstanding, and the customer can pay it. If it becomes cheaper, what was"
            " received too much is shown in the review, with a button that refunds it. Nothing is"
            " refunded by itself, even if you cancel the order."
        )
        received = amount_text(payment.amount_received, payment.currency)
        notes.append(text % {"received": received, "now": balance_words(payment)})
    if payment.amount_uncounted and not payment.is_payable:
        notes.append(
            gettext(
                "Money was received that does not count, because the shop wanted none for this"
                " order. It counts if you open the order again."
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
    """A line whose price is typed and shown in the order's currency.

    The currency is the one that stands in the order's form, saved or not. A line whose stored
    minor units mean another price in that currency counts as changed, so what the page shows is
    what is stored.
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
        if price >= _TOO_HIGH:
            raise forms.ValidationError(_("The price is too high."))
        with suppress(InvalidCurrency):  # the error stands at the order's currency
            self.instance.unit_amount = to_minor_units(price, self.instance.order.currency)
        return price


_TOO_HIGH = 10**13
"""No price in any currency; a sum of such prices still fits a column."""


def _price(line: OrderLine) -> Decimal | None:
    try:
        return from_minor_units(line.unit_amount, line.order.currency)
    except InvalidCurrency:
        return None


class OrderLineFormSet(InlineFormSet):
    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        return {**super().get_form_kwargs(index), "order": self.instance}


class OrderLineInline(TabularInline):
    """Lines are part of their order: the permission to change the order is enough."""

    model = OrderLine
    form = OrderLineForm
    formset = OrderLineFormSet
    fields = ["name", "description", "unit_price", "quantity", "line_total"]
    readonly_fields = ["line_total"]
    empty_value_display = NOTHING
    extra = 1
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
        return format_amount(line.unit_amount, line.order.currency)

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
        match self.value():
            case None:
                return queryset
            case "review":
                return queryset.filter(payment_needs_review=True)
            case PaymentStatus.UNPAID as unpaid:
                return queryset.filter(Q(payment_status=unpaid) | Q(payment_status=None))
            case status:
                return queryset.filter(payment_status=status)


def _status_text(payment: OrderPayment) -> str:
    status = str(payment.get_status_display())
    if payment.needs_review:
        return gettext("%(status)s, needs review") % {"status": status}
    return status


def _lock_order(object_id: str) -> OrderPayment | None:
    """Hold the order and its payment as they are until the transaction ends; return the payment.

    A payment that arrives meanwhile is evaluated with the order as it was before this change or as
    it is after it, and never while it is half written. See Note [Lock order] in
    ``ledger/payments.py``.
    """
    pk = get_order_adapter().parse_id(unquote(object_id))
    if pk is None:
        return None
    Order.objects.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()
    locked = find_and_lock_payment(order_id=pk)
    return None if locked is None else locked.payment


class OrderAdmin(ModelAdmin):
    form = OrderForm
    change_form_template = "admin/shop_payments/order/change_form.html"
    list_display = ["number", "customer", "total", "status", "payment_status", "created_at"]
    list_filter = ["status", PaymentStatusFilter, "currency", "created_at"]
    list_select_related = ["customer"]
    list_per_page = 50
    empty_value_display = NOTHING
    search_help_text = _("Search by order number or customer.")
    raw_id_fields = ["customer"]
    readonly_fields = ["number", "total", "payment_link", "created_at", "updated_at"]
    inlines = [OrderLineInline]

    class Media:
        css = {"all": ["shop_payments/admin.css"]}

    # --- what is shown ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        payment = OrderPayment.objects.of_order(OuterRef("pk"))
        orders = super().get_queryset(request).prefetch_related("lines")
        with_payment: QuerySet[Any] = orders.annotate(
            payment_status=Subquery(payment.values("status")),
            payment_needs_review=Subquery(payment.values("needs_review")),
        )
        return with_payment

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user = get_user_model()
        names = {user.USERNAME_FIELD, user.get_email_field_name()}
        known = {field.name for field in user._meta.get_fields()}
        return ["number", "email", *(f"customer__{name}" for name in sorted(names & known))]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["customer", "email", "currency", "status"]
        if obj is None:
            return fields
        return ["number", *fields, "total", "payment_link", "created_at", "updated_at"]

    @admin.display(description=_("total"))
    def total(self, order: Order) -> str:
        return amount_text(order.amount, order.currency)

    @admin.display(description=_("payment"))
    def payment_status(self, order: Any) -> str:
        return _status_text(
            OrderPayment(
                status=order.payment_status or PaymentStatus.UNPAID,
                needs_review=order.payment_needs_review or False,
            )
        )

    @admin.display(description=_("payment"))
    def payment_link(self, order: Order) -> str:
        payment = payment_of(order)
        if payment is None:
            return gettext("none yet")
        return page_link(payment, _status_text(payment), site=self.admin_site)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        order = context["original"]
        if order is not None:
            payment = payment_of(order)
            reason = why_closed(payment)
            if reason:
                context["notes"] = [reason]
            elif self.has_change_permission(request, order):
                context["notes"] = notes_on_change(payment)
            links = action_links(self.admin_site, request, payment) if payment else []
            context["action_links"] = links
        return super().render_change_form(request, context, *args, **kwargs)

    # --- what may be changed ---

    def has_change_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        return obj is None or not why_closed(payment_of(obj))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST" or not object_id or not self.has_change_permission(request):
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            reason = why_closed(_lock_order(object_id))
            if not reason:
                return super().changeform_view(request, object_id, form_url, extra_context)
        self.message_user(request, f"{reason} {gettext('Nothing was saved.')}", messages.ERROR)
        return redirect(request.path)

    def save_model(self, request: HttpRequest, obj: Order, form: Any, change: bool) -> None:
        if not change:
            obj.save_numbered()
            return
        super().save_model(request, obj, form, change)
        if obj.status == Order.Status.CANCELLED and "status" in form.changed_data:
            cancel_payment_on_commit(order_id=obj.pk, origin=origin_of(request))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the lines, and evaluate the payment of the changed order in the same transaction.

        The host is notified, and Stripe is called, after the commit.
        """
        super().save_related(request, form, formsets, change)
        if not change:
            return
        try:
            payment = reevaluate_order(form.instance.pk, origin=origin_of(request))
        except (ConfigurationError, OrderUnreadable) as error:
            text = gettext("The order is saved, but its payment could not be evaluated: %(why)s.")
            self.message_user(request, text % {"why": error}, messages.WARNING)
            return
        if payment is not None and payment.amount_received:
            self.message_user(request, balance_words(payment), messages.INFO)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        to_delete, counts, needed, protected = super().get_deleted_objects(objs, request)
        # A protected order cannot be deleted by anybody: that is the reason to give, and not that
        # some other permission is missing.
        return to_delete, counts, (set() if protected else needed), protected
