"""What became of the orders' money, the intents behind it, and what was sent to Stripe."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import (
    NOTHING,
    PaymentRecordAdmin,
    ReadOnlyInline,
    amount_text,
    mode_text,
    number_of,
    page_link,
    stored_text,
)
from shop_payments.admin.history import PaymentHistoryInline
from shop_payments.admin.review import ReviewItemInline
from shop_payments.exceptions import MoneyError
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.orders import get_order_adapter
from shop_payments.services.ledger import leading_intent

DASHBOARD = "https://dashboard.stripe.com"


class _IntentColumns:
    @admin.display(description=_("amount"), ordering="amount")
    def amount_text(self, intent: PaymentIntent) -> str:
        return intent.amount_display

    @admin.display(description=_("received"))
    def received(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_received, intent.currency)

    @admin.display(description=_("mode"), ordering="livemode")
    def mode(self, intent: PaymentIntent) -> str:
        return mode_text(intent.livemode)


class PaymentIntentInline(_IntentColumns, ReadOnlyInline):
    model = PaymentIntent
    fields = ["stripe_id", "status", "verdict", "amount_text", "received", "mode", "updated_at"]


class StripeAttemptInline(ReadOnlyInline):
    model = StripeAttempt
    fields = ["id", "operation", "outcome", "error_code", "request_id", "created_at"]


@admin.register(OrderPayment)
class OrderPaymentAdmin(PaymentRecordAdmin):
    order_path = "order"
    list_select_related = ("order",)
    list_display = ["order_number", "amount", "status", "review", "paid_at"]
    list_filter = ["status", "needs_review", "paid_at"]
    search_fields = ["payment_intents__stripe_id"]
    search_help_text = _("Search by order number or id, or by payment intent.")
    fields = [
        "order_link",
        "amount_due",
        "amount",
        "status",
        "review",
        "paid_at",
        "created_at",
        "updated_at",
    ]
    inlines = [ReviewItemInline, PaymentIntentInline, PaymentHistoryInline, StripeAttemptInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("payment_intents")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["subtitle"] = number_of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("review"), ordering="needs_review")
    def review(self, payment: OrderPayment) -> str:
        return gettext("needs review") if payment.needs_review else NOTHING

    @admin.display(description=_("order"), ordering="order")
    def order_number(self, payment: OrderPayment) -> str:
        return number_of(payment)

    @admin.display(description=_("order"))
    def order_link(self, payment: OrderPayment) -> str:
        return page_link(payment.order, number_of(payment))

    @admin.display(description=_("order total"))
    def amount_due(self, payment: OrderPayment) -> str:
        try:
            due = get_order_adapter().amount_due(payment.order)
        except MoneyError as error:
            return gettext("cannot be paid: %(reason)s") % {"reason": error}
        return amount_text(due.amount, due.currency)

    @admin.display(description=_("payment"))
    def amount(self, payment: OrderPayment) -> str:
        intent = leading_intent(list(payment.payment_intents.all()))
        if intent is None:
            return NOTHING
        if intent.amount_received:
            received = amount_text(intent.amount_received, intent.currency)
            return gettext("%(amount)s received") % {"amount": received}
        return gettext("%(amount)s asked for") % {"amount": intent.amount_display}


@admin.register(PaymentIntent)
class PaymentIntentAdmin(_IntentColumns, PaymentRecordAdmin):
    list_display = [
        "stripe_id",
        "order_number",
        "amount_text",
        "status_words",
        "verdict",
        "mode",
        "created_at",
    ]
    list_filter = ["status", "verdict", "livemode", "currency", "created_at"]
    search_fields = ["stripe_id", "latest_charge", "payment_method"]
    search_help_text = _("Search by order number or id, or by Stripe's intent, charge or method.")
    list_select_related = ("order_payment__order", "attempt")
    fieldsets = [
        (None, {"fields": ["stripe_id", "dashboard_link", "payment_link", "status", "verdict"]}),
        (_("Money"), {"fields": ["amount_text", "received", "capturable"]}),
        (
            _("How it was paid"),
            {
                "fields": [
                    "payment_method",
                    "latest_charge",
                    "last_error_code",
                    "last_decline_code",
                    "cancellation_reason",
                ]
            },
        ),
        (
            _("Record"),
            {
                "fields": [
                    "mode",
                    "attempt_link",
                    "stripe_created_at",
                    "created_at",
                    "updated_at",
                ]
            },
        ),
    ]

    @admin.display(description=_("status"), ordering="status")
    def status_words(self, intent: PaymentIntent) -> str:
        return intent.status.replace("_", " ")

    @admin.display(description=_("at Stripe"))
    def dashboard_link(self, intent: PaymentIntent) -> str:
        mode = "" if intent.livemode else "test/"
        return format_html(
            '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>',
            f"{DASHBOARD}/{mode}payments/{quote(intent.stripe_id)}",
            gettext("Open in the Stripe dashboard"),
        )

    @admin.display(description=_("can be captured"))
    def capturable(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_capturable, intent.currency)

    @admin.display(description=_("created by attempt"))
    def attempt_link(self, intent: PaymentIntent) -> str:
        return page_link(intent.attempt)


@admin.register(StripeAttempt)
class StripeAttemptAdmin(PaymentRecordAdmin):
    list_display = ["created_at", "order_number", "operation", "amount", "outcome", "error_code"]
    list_filter = ["outcome", "operation", "livemode", "created_at"]
    search_fields = ["stripe_object_id", "target", "request_id"]
    search_help_text = _("Search by order number or id, Stripe object or request id.")
    fieldsets = [
        (None, {"fields": ["payment_link", "operation", "amount", "target", "mode"]}),
        (
            _("What came of it"),
            {
                "fields": [
                    "outcome",
                    "stripe_object_id",
                    "request_id",
                    "error_code",
                    "http_answer",
                    "created_at",
                    "last_sent_at",
                    "finished_at",
                ]
            },
        ),
        (
            _("What was sent"),
            {
                "description": _("Amounts are in the currency's minor units here, as Stripe asks."),
                "fields": ["idempotency_key", "params_text"],
            },
        ),
    ]

    @admin.display(description=_("amount"))
    def amount(self, attempt: StripeAttempt) -> str:
        params = attempt.params
        if not {"amount", "currency"} <= params.keys():
            return NOTHING
        return amount_text(params["amount"], params["currency"])

    @admin.display(description=_("HTTP status"))
    def http_answer(self, attempt: StripeAttempt) -> str:
        return str(attempt.http_status or NOTHING)

    @admin.display(description=_("idempotency key"))
    def idempotency_key(self, attempt: StripeAttempt) -> str:
        return str(attempt.pk)

    @admin.display(description=_("parameters"))
    def params_text(self, attempt: StripeAttempt) -> str:
        return stored_text(attempt.params, attempt.purged_at)
