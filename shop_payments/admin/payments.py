"""What the orders' payments amount to, the intents behind them, and what was sent to Stripe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.timesince import timeuntil
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import action_links, action_urls
from shop_payments.admin.base import (
    NOTHING,
    PaymentRecordAdmin,
    ReadOnlyInline,
    WordsFilter,
    amount_text,
    balance_words,
    dashboard_link,
    mode_text,
    moment_text,
    number_of,
    page_link,
    stored_text,
    total_text,
)
from shop_payments.admin.entries import StaffEntryInline
from shop_payments.admin.history import PaymentHistoryInline
from shop_payments.admin.refunds import BalanceTransactionInline, DisputeInline, RefundInline
from shop_payments.admin.review import ReviewItemInline
from shop_payments.ledger.descriptions import describe_dispute
from shop_payments.ledger.observations import counts
from shop_payments.ledger.payments import leading_intent
from shop_payments.lifecycle import CAPTURABLE_STATUSES
from shop_payments.models import OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.services.options import options_of


class _IntentColumns:
    @admin.display(description=_("amount"), ordering="amount")
    def amount_text(self, intent: PaymentIntent) -> str:
        return intent.amount_display

    @admin.display(description=_("received"))
    def received(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_received, intent.currency)

    @admin.display(description=_("status"), ordering="status")
    def status_words(self, intent: PaymentIntent) -> str:
        return intent.status.replace("_", " ")

    @admin.display(description=_("counts"), boolean=True)
    def counts(self, intent: PaymentIntent) -> bool | None:
        return counts(intent.order_payment, intent) if intent.holds_money else None

    @admin.display(description=_("mode"), ordering="livemode")
    def mode(self, intent: PaymentIntent) -> str:
        return mode_text(intent.livemode)


class PaymentIntentInline(_IntentColumns, ReadOnlyInline):
    model = PaymentIntent
    fields = [
        "stripe_id",
        "status_words",
        "counts",
        "amount_text",
        "received",
        "mode",
        "updated_at",
    ]


class StripeAttemptInline(ReadOnlyInline):
    model = StripeAttempt
    fields = ["id", "operation", "outcome", "error_code", "request_id", "created_at"]


class OrderPaymentAdmin(PaymentRecordAdmin):
    order_path = "order"
    list_select_related = ("order",)
    list_display = ["order_number", "amount", "status_words", "review", "paid_at"]
    list_filter = ["needs_review", "status", "dispute_state", "paid_at"]
    search_fields = ["payment_intents__stripe_id"]
    search_help_text = _("Search by order number or id, or by payment intent.")
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "order_link",
                    "amount",
                    "status",
                    "dispute_words",
                    "expires",
                    "review",
                ]
            },
        ),
        (
            _("Balance"),
            {
                "fields": [
                    "unread",
                    "order_total",
                    "received",
                    "waived",
                    "outstanding",
                    "owed",
                    "excess",
                    "uncounted",
                ]
            },
        ),
        (_("Refunds, disputes and fees"), {"fields": ["refunded", "lost", "refundable", "fees"]}),
        (_("Record"), {"fields": ["paid_at", "cancel_requested_at", "created_at", "updated_at"]}),
    ]
    inlines = [
        ReviewItemInline,
        StaffEntryInline,
        PaymentIntentInline,
        RefundInline,
        DisputeInline,
        BalanceTransactionInline,
        PaymentHistoryInline,
        StripeAttemptInline,
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("payment_intents")

    def get_urls(self) -> list[URLPattern]:
        return [*action_urls(self), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what says nothing of this payment."""
        shown = []
        sections: Any = super().get_fieldsets(request, obj)
        for title, options in sections:
            fields = [name for name in options["fields"] if _says_something(obj, name)]
            shown += [(title, {**options, "fields": fields})] if fields else []
        return shown

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out staff entries, refunds, disputes and fees where there are none."""

        def has_rows(inline: Any) -> bool:
            return bool(inline.model._default_manager.filter(order_payment=obj).exists())

        rare = (StaffEntryInline, RefundInline, DisputeInline, BalanceTransactionInline)
        inlines: Any = super().get_inlines(request, obj)
        return [each for each in inlines if each not in rare or has_rows(each)]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        payment = context["original"]
        context["subtitle"] = number_of(payment)
        context["action_links"] = action_links(self.admin_site, request, payment)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("review"), ordering="needs_review")
    def review(self, payment: OrderPayment) -> str:
        return gettext("needs review") if payment.needs_review else NOTHING

    @admin.display(description=_("order"), ordering="order")
    def order_number(self, payment: OrderPayment) -> str:
        return number_of(payment)

    @admin.display(description=_("order"))
    def order_link(self, payment: OrderPayment) -> str:
        return page_link(payment.order, number_of(payment), site=self.admin_site)

    @admin.display(description=_("order total"))
    def order_total(self, payment: OrderPayment) -> str:
        """What the order costs now, and what it cost when last evaluated, if that differs."""
        now = total_text(payment)
        if payment.total is None:
            return now
        seen = self._money(payment, payment.total)
        if now == seen:
            return now
        return gettext("%(now)s (%(seen)s when the payment was last evaluated)") % {
            "now": now,
            "seen": seen,
        }

    @admin.display(description=_("payment status"), ordering="status")
    def status_words(self, payment: OrderPayment) -> str:
        status = str(payment.get_status_display())
        if not payment.dispute_state:
            return status
        return gettext("%(status)s, dispute %(state)s") % {
            "status": status,
            "state": payment.dispute_state,
        }

    @admin.display(description=_("dispute"))
    def dispute_words(self, payment: OrderPayment) -> str:
        return describe_dispute(payment.dispute_state)

    @admin.display(description=_("authorization expires"))
    def expires(self, payment: OrderPayment) -> str:
        return expiry_text(_reserved_intent(payment))

    @admin.display(description=_("as last seen"))
    def unread(self, payment: OrderPayment) -> str:
        return balance_words(payment)

    @admin.display(description=_("received"))
    def received(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_received)

    @admin.display(description=_("waived"))
    def waived(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_waived)

    @admin.display(description=_("outstanding"))
    def outstanding(self, payment: OrderPayment) -> str:
        amount = self._money(payment, payment.amount_outstanding)
        if payment.has_unknown_intent:
            text = gettext("%(amount)s, not asked for until it is known what an unknown payment is")
            return text % {"amount": amount}
        return amount

    @admin.display(description=_("owed"))
    def owed(self, payment: OrderPayment) -> str:
        """What is missing and not asked for, and why."""
        amount = self._money(payment, payment.amount_owed)
        if not payment.is_payable:
            return gettext("%(amount)s, but the shop wants no money for the order now") % {
                "amount": amount
            }
        leaving = self._money(payment, payment.amount_owed - payment.amount_outstanding)
        return gettext("%(amount)s, including %(leaving)s that is on its way out") % {
            "amount": amount,
            "leaving": leaving,
        }

    @admin.display(description=_("received too much"))
    def excess(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_excess)

    @admin.display(description=_("received, but does not count"))
    def uncounted(self, payment: OrderPayment) -> str:
        """By intent: it may be in another currency than the order."""
        return ", ".join(
            amount_text(each.money.refundable, each.intent.currency)
            for each in options_of(payment)
            if each.intent.holds_money and not each.counts and each.money.refundable
        )

    @admin.display(description=_("refunded"))
    def refunded(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_refunded)

    @admin.display(description=_("lost in disputes"))
    def lost(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_lost)

    @admin.display(description=_("can be refunded"))
    def refundable(self, payment: OrderPayment) -> str:
        counted = [each for each in options_of(payment) if each.counts]
        if not counted:
            return NOTHING
        text = self._money(payment, sum(each.refundable for each in counted))
        under_way = sum(each.money.refund_pending for each in counted)
        if not under_way:
            return text
        pending = self._money(payment, under_way)
        return gettext("%(amount)s, and %(pending)s is on its way back") % {
            "amount": text,
            "pending": pending,
        }

    @admin.display(description=_("Stripe's fees"))
    def fees(self, payment: OrderPayment) -> str:
        sums = payment.balance_transactions.totals()
        texts = [
            gettext("%(fee)s (net for the shop: %(net)s)")
            % {"fee": amount_text(of["fee"], currency), "net": amount_text(of["net"], currency)}
            for currency, of in sums.items()
        ]
        return ", ".join(texts) or gettext("not fetched yet (manage.py shop_payments_fees)")

    @staticmethod
    def _money(payment: OrderPayment, amount: int) -> str:
        return amount_text(amount, payment.currency) if payment.currency else NOTHING

    @admin.display(description=_("payment"))
    def amount(self, payment: OrderPayment) -> str:
        """What was received for the order; before that, how far its intent is."""
        if payment.amount_received:
            received = self._money(payment, payment.amount_received)
            if not payment.amount_outstanding:
                return gettext("%(amount)s received") % {"amount": received}
            missing = self._money(payment, payment.amount_outstanding)
            return gettext("%(amount)s received, %(missing)s outstanding") % {
                "amount": received,
                "missing": missing,
            }
        intent = leading_intent(list(payment.payment_intents.all()))
        if intent is None:
            return NOTHING
        if intent.amount_received:
            received = amount_text(intent.amount_received, intent.currency)
            return gettext("%(amount)s received, which does not count") % {"amount": received}
        if intent.status in CAPTURABLE_STATUSES:
            reserved = amount_text(intent.amount_capturable, intent.currency)
            return gettext("%(amount)s reserved") % {"amount": reserved}
        return gettext("%(amount)s asked for") % {"amount": intent.amount_display}


def _reserved_intent(payment: OrderPayment) -> PaymentIntent | None:
    intents = payment.payment_intents.all()
    return next((each for each in intents if each.status in CAPTURABLE_STATUSES), None)


_TELLING: dict[str, Callable[[OrderPayment], Any]] = {
    "dispute_words": lambda payment: payment.dispute_state,
    "expires": _reserved_intent,
    "unread": lambda payment: payment.failed_reads,
    "received": lambda payment: payment.amount_received,
    "waived": lambda payment: payment.amount_waived,
    "outstanding": lambda payment: payment.amount_outstanding,
    "owed": lambda payment: payment.amount_owed > payment.amount_outstanding,
    "excess": lambda payment: payment.amount_excess,
    "uncounted": lambda payment: payment.amount_uncounted,
    "refunded": lambda payment: payment.amount_refunded,
    "lost": lambda payment: payment.amount_lost,
    "refundable": lambda payment: payment.amount_received,
    "fees": lambda payment: payment.amount_received or payment.balance_transactions.exists(),
    "cancel_requested_at": lambda payment: payment.cancel_requested_at,
}
"""Fields that are shown only where they say something."""


def _says_something(payment: OrderPayment | None, field: str) -> bool:
    return payment is None or field not in _TELLING or bool(_TELLING[field](payment))


def expiry_text(intent: PaymentIntent | None) -> str:
    """Say until when money is reserved, where it is."""
    if intent is None or intent.status not in CAPTURABLE_STATUSES:
        return NOTHING
    if intent.capture_before is None:
        return gettext("not known")
    when = moment_text(intent.capture_before)
    if intent.capture_before <= timezone.now():
        return gettext("since %(when)s: it has lapsed, or Stripe is about to say so") % {
            "when": when
        }
    left = timeuntil(intent.capture_before)
    return gettext("in %(left)s (%(when)s)") % {"left": left, "when": when}


class PaymentIntentAdmin(_IntentColumns, PaymentRecordAdmin):
    list_display = [
        "stripe_id",
        "order_number",
        "amount_text",
        "status_words",
        "counts",
        "mode",
        "created_at",
    ]
    list_filter = [("status", WordsFilter), "wanted", "livemode", "currency", "created_at"]
    search_fields = ["stripe_id", "latest_charge", "payment_method"]
    search_help_text = _("Search by order number or id, or by Stripe's intent, charge or method.")
    list_select_related = ("order_payment__order", "attempt")
    fieldsets = [
        (
            None,
            {"fields": ["stripe_id", "dashboard_link", "payment_link", "status_words", "counts"]},
        ),
        (_("Money"), {"fields": ["amount_text", "received", "capturable", "expires"]}),
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

    @admin.display(description=_("at Stripe"))
    def dashboard_link(self, intent: PaymentIntent) -> str:
        return dashboard_link(f"payments/{quote(intent.stripe_id)}", livemode=intent.livemode)

    @admin.display(description=_("can be captured"))
    def capturable(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_capturable, intent.currency)

    @admin.display(description=_("authorization expires"))
    def expires(self, intent: PaymentIntent) -> str:
        return expiry_text(intent)

    @admin.display(description=_("created by attempt"))
    def attempt_link(self, intent: PaymentIntent) -> str:
        return page_link(intent.attempt, site=self.admin_site)


class StripeAttemptAdmin(PaymentRecordAdmin):
    list_display = ["created_at", "order_number", "operation", "amount", "outcome", "error_code"]
    list_filter = ["outcome", "operation", "livemode", "created_at"]
    search_fields = ["stripe_object_id", "target", "request_id"]
    search_help_text = _("Search by order number or id, Stripe object or request id.")
    list_select_related = ("order_payment__order", "refund")
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
        refund: Refund | None = getattr(attempt, "refund", None)
        if refund is not None:
            return refund.amount_display
        params = attempt.params
        amount = params.get("amount", params.get("amount_to_capture"))
        currency = params.get("currency", attempt.order_payment.currency)
        return NOTHING if amount is None else amount_text(amount, currency)

    @admin.display(description=_("HTTP status"))
    def http_answer(self, attempt: StripeAttempt) -> str:
        return str(attempt.http_status or NOTHING)

    @admin.display(description=_("idempotency key"))
    def idempotency_key(self, attempt: StripeAttempt) -> str:
        return str(attempt.pk)

    @admin.display(description=_("parameters"))
    def params_text(self, attempt: StripeAttempt) -> str:
        return stored_text(attempt.params, attempt.purged_at)
