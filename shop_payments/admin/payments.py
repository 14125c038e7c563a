"""The pages of payments, payment intents and attempts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import action_links, action_urls
from shop_payments.admin.base import (
    NOTHING,
    ReadOnlyInline,
    admin_url,
    amount_text,
    dashboard_link,
    describe_balance,
    mode_text,
    moment_text,
    number_of,
    page_link,
    stored_text,
    two_lines,
    without_transaction,
)
from shop_payments.admin.bulk_capture import BulkCaptureMixin
from shop_payments.admin.entries import StaffEntryInline
from shop_payments.admin.export import ExportMixin
from shop_payments.admin.history import PaymentHistoryInline
from shop_payments.admin.home import records_page
from shop_payments.admin.lists import known_words, time_column
from shop_payments.admin.note_action import NoteAction
from shop_payments.admin.order_panel import described_total, status_badges
from shop_payments.admin.overview import overview_page
from shop_payments.admin.payment_filters import (
    AmountFilter,
    CaptureFilter,
    CreatedFilter,
    CurrencyFilter,
    MethodFilter,
    ModeFilter,
    PaymentRows,
)
from shop_payments.admin.payment_links import payment_links
from shop_payments.admin.records import SEARCH_HELP, PaymentRecordAdmin, read_orders
from shop_payments.admin.refunds import BalanceTransactionInline, DisputeInline, RefundInline
from shop_payments.admin.review import ReviewItemInline
from shop_payments.admin.tasks import PaymentState
from shop_payments.admin.timeline import timeline_of
from shop_payments.conf import get_config
from shop_payments.ledger.observations import counts
from shop_payments.ledger.payments import leading_intent
from shop_payments.lifecycle import CAPTURABLE_STATUSES, IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.models.words import choice_label, describe_dispute, humanize
from shop_payments.money import format_amount
from shop_payments.orders import read_customer
from shop_payments.services.options import IntentOptions


class _IntentColumns:
    @admin.display(description=_("amount"))
    def amount_text(self, intent: PaymentIntent) -> str:
        return intent.amount_display

    @admin.display(description=_("received"))
    def received(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_received, intent.currency)

    @admin.display(description=_("status"))
    def status_words(self, intent: PaymentIntent) -> str:
        return humanize(intent.status)

    @admin.display(description=_("counts"), boolean=True)
    def counts(self, intent: PaymentIntent) -> bool | None:
        # None is shown as "unknown": before money has come, nothing can count.
        return counts(intent.order_payment, intent) if intent.holds_money else None

    @admin.display(description=_("mode"))
    def mode(self, intent: PaymentIntent) -> str:
        return mode_text(intent.livemode)


class PaymentIntentInline(_IntentColumns, ReadOnlyInline):
    model = PaymentIntent
    verbose_name_plural = _("payments of the customer")
    fields = [
        "begun_at",
        "amount_text",
        "status_words",
        "method",
        "received",
        "returned",
        "left",
        "standing",
        "at_stripe",
    ]

    @admin.display(description=_("when"))
    def begun_at(self, intent: PaymentIntent) -> str:
        return moment_text(intent.charged_at or intent.stripe_created_at)

    @admin.display(description=_("method"))
    def method(self, intent: PaymentIntent) -> str:
        # Webhooks do not have it. The next look at Stripe has.
        unknown = gettext("not known yet") if intent.holds_money else NOTHING
        return intent.method_display or unknown

    @admin.display(description=_("refunded or lost"))
    def returned(self, intent: PaymentIntent) -> str:
        money = self._options(intent).money
        gone = money.refunded + money.lost + money.settled
        return amount_text(gone, intent.currency) if gone else NOTHING

    @admin.display(description=_("left"))
    def left(self, intent: PaymentIntent) -> str:
        refundable = self._options(intent).money.refundable
        return amount_text(refundable, intent.currency) if intent.holds_money else NOTHING

    @admin.display(description=_("for the order"))
    def standing(self, intent: PaymentIntent) -> str:
        """Whether the money counts, and how much of it is in excess."""
        if not intent.holds_money:
            return NOTHING
        if not self._options(intent).counts:
            return gettext("does not count")
        excess = state_of(intent.order_payment).balance.excess.get(intent.stripe_id, 0)
        if not excess:
            return gettext("counts")
        return gettext("%(amount)s in excess") % {"amount": amount_text(excess, intent.currency)}

    @admin.display(description=_("at Stripe"))
    def at_stripe(self, intent: PaymentIntent) -> str:
        return intent_at_stripe(intent)

    @staticmethod
    def _options(intent: PaymentIntent) -> IntentOptions:
        intents = state_of(intent.order_payment).intents
        return next(each for each in intents if each.intent.pk == intent.pk)


def intent_at_stripe(intent: PaymentIntent) -> SafeString:
    """Return a link to an intent in Stripe's dashboard, in the right mode."""
    return dashboard_link(f"payments/{quote(intent.stripe_id)}", livemode=intent.livemode)


class _RequestColumns:
    @admin.display(description=_("error"))
    def error_words(self, attempt: StripeAttempt) -> str:
        return humanize(attempt.error_code) or NOTHING


class StripeAttemptInline(_RequestColumns, ReadOnlyInline):
    is_folded = True
    model = StripeAttempt
    fields = ["created_at", "operation", "outcome", "error_words", "request_id"]


def _amount(name: str) -> Callable[[OrderPayment], str]:
    """Return a function of a payment that formats one of its amounts for a CSV file."""

    def text(payment: OrderPayment) -> str:
        return format_amount(getattr(payment, name), payment.currency) if payment.currency else ""

    return text


def net_of(payment: OrderPayment) -> int:
    """Return what was received, less what was refunded and lost, in minor units."""
    return payment.amount_received - payment.amount_refunded - payment.amount_lost


def _net(payment: OrderPayment) -> str:
    return format_amount(net_of(payment), payment.currency) if payment.currency else ""


def state_of(payment: OrderPayment) -> PaymentState:
    """Return the payment with its rows, read once for a page."""
    if not hasattr(payment, "_state_of_page"):
        payment._state_of_page = PaymentState.read(payment)  # type: ignore[attr-defined]
    state: PaymentState = payment._state_of_page  # type: ignore[attr-defined]
    return state


def _sum_of(payment: OrderPayment, name: str) -> int:
    """Add up a part of the money that counts, in minor units."""
    intents = state_of(payment).intents
    return sum(getattr(each.money, name) for each in intents if each.counts)


def _mode(payment: OrderPayment) -> str:
    intent = leading_intent(list(payment.payment_intents.all()))
    return NOTHING if intent is None else mode_text(intent.livemode)


def _method(payment: OrderPayment) -> str:
    intent = leading_intent(list(payment.payment_intents.all()))
    return "" if intent is None else intent.method_display


class OrderPaymentAdmin(BulkCaptureMixin, ExportMixin, PaymentRecordAdmin):
    export_columns = (
        (_("Order"), number_of),
        (_("Customer"), lambda payment: read_customer(payment.order)),
        (_("Status"), lambda payment: choice_label(payment, "status")),
        (_("Dispute"), lambda payment: choice_label(payment, "dispute_state")),
        (_("Method"), _method),
        (_("Mode"), _mode),
        (_("Currency"), lambda payment: payment.currency.upper()),
        (_("Received"), _amount("amount_received")),
        (_("Refunded"), _amount("amount_refunded")),
        (_("Lost in disputes"), _amount("amount_lost")),
        (_("Received, less refunded and lost"), _net),
        (_("Waived"), _amount("amount_waived")),
        (_("Outstanding"), _amount("amount_outstanding")),
        (_("Excess"), _amount("amount_excess")),
        (_("Paid at (%(zone)s)"), lambda payment: payment.paid_at),
        (_("Created at (%(zone)s)"), lambda payment: payment.created_at),
    )
    payment_path = "pk"
    list_select_related = ("order",)
    created = time_column("created_at", _("created at"))
    change_form_template = "admin/shop_payments/orderpayment/change_form.html"
    list_display = [
        "order_and_customer",
        "amount",
        "status_badge",
        "method_and_mode",
        "created",
    ]
    list_filter = [
        "needs_review",
        "status",
        CaptureFilter,
        CreatedFilter,
        AmountFilter,
        CurrencyFilter,
        MethodFilter,
        "dispute_state",
        ModeFilter,
    ]
    sortable_by = ["order_and_customer"]
    search_fields = ["payment_intents__stripe_id"]
    search_help_text = SEARCH_HELP
    fieldsets = [
        (
            None,
            {
                "classes": ["shop-payments-head"],
                "fields": [
                    "amount",
                    "status_badge",
                    "paid_at",
                    "customer",
                    "method",
                    "order_link",
                    "dashboard_link",
                    "dispute_words",
                    "expires",
                ],
            },
        ),
        (
            _("Money"),
            {
                "classes": ["shop-payments-money"],
                "fields": [
                    "unread",
                    "order_total",
                    "received",
                    "refunded",
                    "lost",
                    "kept",
                    "returning",
                    "disputed",
                    "settled",
                    "waived",
                    "outstanding",
                    "owed",
                    "excess",
                    "uncounted",
                    "refundable",
                    "fees",
                ],
            },
        ),
        (
            _("Times"),
            {
                "classes": ["collapse"],
                "fields": ["cancel_requested_at", "created_at", "updated_at"],
            },
        ),
    ]
    inlines = [
        ReviewItemInline,
        PaymentIntentInline,
        StaffEntryInline,
        RefundInline,
        DisputeInline,
        BalanceTransactionInline,
        PaymentHistoryInline,
        StripeAttemptInline,
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # The column with the amount reads the intents of each payment.
        return super().get_queryset(request).prefetch_related("payment_intents")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PaymentRows

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(
                f"{name}/",
                self.admin_site.admin_view(partial(page, self)),
                name=f"shop_payments_{name}",
            )
            for name, page in (("overview", overview_page), ("records", records_page))
        ]
        return [*pages, *action_urls(self), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out fields that are empty for this payment, and sections without fields."""
        shown = []
        sections: Any = super().get_fieldsets(request, obj)
        for title, options in sections:
            fields = [name for name in options["fields"] if _is_shown(obj, name)]
            shown += [(title, {**options, "fields": fields})] if fields else []
        return shown

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out review items, staff entries, refunds, disputes and fees if there are none."""

        def has_rows(inline: Any) -> bool:
            return bool(inline.model._default_manager.filter(order_payment=obj).exists())

        # Most payments have none of these. Empty sections would hide the ones that matter.
        rare = (
            ReviewItemInline,
            StaffEntryInline,
            RefundInline,
            DisputeInline,
            BalanceTransactionInline,
        )
        inlines: Any = super().get_inlines(request, obj)
        return [each for each in inlines if each not in rare or has_rows(each)]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        payment = context["original"]
        context["title"], context["subtitle"] = gettext("Payment"), number_of(payment)
        links = action_links(self.admin_site, request, payment)
        context["action_links"] = links + payment_links(request, payment.order)
        context["timeline"] = timeline_of(payment, site=self.admin_site)
        if request.user.has_perm(NoteAction.needs):
            name = f"shop_payments_orderpayment_{NoteAction.name}"
            context["note_url"] = admin_url(self.admin_site, name, payment.pk)
        return super().render_change_form(request, context, *args, **kwargs)

    @without_transaction
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(
            request, {"title": gettext("Payments"), **(extra_context or {})}
        )

    def read_more(self, rows: Sequence[Any]) -> None:
        read_orders(rows)

    @admin.display(description=_("order"), ordering="pk")
    def order_and_customer(self, payment: OrderPayment) -> SafeString:
        return two_lines(number_of(payment), read_customer(payment.order))

    @admin.display(description=_("payment status"))
    def status_badge(self, payment: OrderPayment) -> SafeString:
        return status_badges(payment)

    @admin.display(description=_("method"))
    def method_and_mode(self, payment: OrderPayment) -> SafeString:
        return two_lines(_method(payment) or NOTHING, _mode(payment))

    @admin.display(description=_("method"))
    def method(self, payment: OrderPayment) -> str:
        return _method(payment) or NOTHING

    @admin.display(description=_("customer"))
    def customer(self, payment: OrderPayment) -> str:
        return read_customer(payment.order) or NOTHING

    @admin.display(description=_("at Stripe"))
    def dashboard_link(self, payment: OrderPayment) -> str:
        intent = leading_intent(list(payment.payment_intents.all()))
        return NOTHING if intent is None else intent_at_stripe(intent)

    @admin.display(description=_("order"))
    def order_link(self, payment: OrderPayment) -> str:
        return page_link(payment.order, number_of(payment), site=self.admin_site)

    @admin.display(description=_("order total"))
    def order_total(self, payment: OrderPayment) -> str:
        return described_total(payment)

    @admin.display(description=_("dispute"))
    def dispute_words(self, payment: OrderPayment) -> str:
        return describe_dispute(payment.dispute_state)

    @admin.display(description=_("authorization expires"))
    def expires(self, payment: OrderPayment) -> str:
        return expiry_text(_reserved_intent(payment))

    @admin.display(description=_("last evaluation"))
    def unread(self, payment: OrderPayment) -> str:
        return describe_balance(payment)

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
            # The customer may have paid with it already.
            text = gettext(
                "%(amount)s, not asked for until the unknown payment is accepted or dismissed"
            )
            return text % {"amount": amount}
        return amount

    @admin.display(description=_("owed"))
    def owed(self, payment: OrderPayment) -> str:
        """The owed amount, and why the customer is not asked for all of it."""
        amount = self._money(payment, payment.amount_owed)
        # Money on its way out may come back, so the customer is not asked for it before.
        if not payment.is_payable:
            return gettext("%(amount)s, but the order does not accept payments now") % {
                "amount": amount
            }
        leaving = self._money(payment, payment.amount_owed - payment.amount_outstanding)
        return gettext("%(amount)s, including %(leaving)s in pending refunds or open disputes") % {
            "amount": amount,
            "leaving": leaving,
        }

    @admin.display(description=_("excess"))
    def excess(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_excess)

    @admin.display(description=_("received, but does not count"))
    def uncounted(self, payment: OrderPayment) -> str:
        """The uncounted amount of each intent, which may be in another currency than the order."""
        return ", ".join(
            amount_text(each.money.refundable, each.intent.currency)
            for each in state_of(payment).intents
            if each.intent.holds_money and not each.counts and each.money.refundable
        )

    @admin.display(description=_("refunded"))
    def refunded(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_refunded)

    @admin.display(description=_("lost in disputes"))
    def lost(self, payment: OrderPayment) -> str:
        return self._money(payment, payment.amount_lost)

    @admin.display(description=_("received, less refunded and lost"))
    def kept(self, payment: OrderPayment) -> str:
        return self._money(payment, net_of(payment))

    @admin.display(description=_("on its way back to the customer"))
    def returning(self, payment: OrderPayment) -> str:
        return self._money(payment, _sum_of(payment, "refund_pending"))

    @admin.display(description=_("held by the customer's bank"))
    def disputed(self, payment: OrderPayment) -> str:
        return self._money(payment, _sum_of(payment, "disputed"))

    @admin.display(description=_("settled outside Stripe"))
    def settled(self, payment: OrderPayment) -> str:
        return self._money(payment, _sum_of(payment, "settled"))

    @admin.display(description=_("can be refunded"))
    def refundable(self, payment: OrderPayment) -> str:
        # Uncounted money has its own field, and may be in another currency.
        counted = [each for each in state_of(payment).intents if each.counts]
        if not counted:
            return NOTHING
        text = self._money(payment, sum(each.refundable for each in counted))
        under_way = sum(each.money.refund_pending for each in counted)
        if not under_way:
            return text
        pending = self._money(payment, under_way)
        return gettext("%(amount)s, and %(pending)s is being refunded") % {
            "amount": text,
            "pending": pending,
        }

    @admin.display(description=_("Stripe's fees"))
    def fees(self, payment: OrderPayment) -> str:
        # One sum for each currency: Stripe settles in the currencies of the shop's bank accounts.
        sums = payment.balance_transactions.totals()
        texts = [
            gettext("%(fee)s (net for the shop: %(net)s)")
            % {"fee": amount_text(of["fee"], currency), "net": amount_text(of["net"], currency)}
            for currency, of in sums.items()
        ]
        return ", ".join(texts) or gettext(
            "not known yet; manage.py shop_payments_fees fetches them from Stripe"
        )

    @staticmethod
    def _money(payment: OrderPayment, amount: int) -> str:
        # A payment that was never evaluated has no currency yet.
        return amount_text(amount, payment.currency) if payment.currency else NOTHING

    @admin.display(description=_("payment"))
    def amount(self, payment: OrderPayment) -> str:
        """What was received and kept; before money has come, the progress of the intent."""
        if payment.amount_received:
            amounts = {
                "amount": self._money(payment, payment.amount_received),
                "kept": self._money(payment, net_of(payment)),
                "missing": self._money(payment, payment.amount_outstanding),
            }
            texts = [gettext("%(amount)s received")]
            if net_of(payment) != payment.amount_received:
                texts.append(gettext("%(kept)s of it kept"))
            if payment.amount_outstanding:
                texts.append(gettext("%(missing)s outstanding"))
            return ", ".join(texts) % amounts
        intent = leading_intent(list(payment.payment_intents.all()))
        if intent is None:
            return NOTHING
        if intent.amount_received:
            received = amount_text(intent.amount_received, intent.currency)
            return gettext("%(amount)s received, which does not count") % {"amount": received}
        if intent.status in CAPTURABLE_STATUSES:
            reserved = amount_text(intent.amount_capturable, intent.currency)
            return gettext("%(amount)s reserved") % {"amount": reserved}
        asked_for = gettext("%(amount)s asked for") % {"amount": intent.amount_display}
        why = intent.last_decline_code or intent.last_error_code
        if not why or intent.status != IntentStatus.REQUIRES_PAYMENT_METHOD:
            return asked_for
        return gettext("%(asked_for)s, declined: %(why)s") % {
            "asked_for": asked_for,
            "why": humanize(why),
        }


def _reserved_intent(payment: OrderPayment) -> PaymentIntent | None:
    intents = payment.payment_intents.all()  # prefetched
    return next((each for each in intents if each.status in CAPTURABLE_STATUSES), None)


_SHOWN_IF: dict[str, Callable[[OrderPayment], Any]] = {
    "paid_at": lambda payment: payment.paid_at,
    "dispute_words": lambda payment: payment.dispute_state,
    "expires": _reserved_intent,
    "unread": lambda payment: payment.failed_reads,
    "received": lambda payment: payment.amount_received,
    "waived": lambda payment: payment.amount_waived,
    "outstanding": lambda payment: payment.amount_outstanding,
    "owed": lambda payment: payment.amount_owed > payment.amount_outstanding,
    "excess": lambda payment: payment.amount_excess,
    "uncounted": lambda payment: payment.amount_uncounted,
    "kept": lambda payment: payment.amount_received != net_of(payment),
    "returning": lambda payment: _sum_of(payment, "refund_pending"),
    "disputed": lambda payment: _sum_of(payment, "disputed"),
    "settled": lambda payment: _sum_of(payment, "settled"),
    "method": _method,
    "dashboard_link": lambda payment: (
        payment.payment_intents.all() and not get_config().uses_sandbox
    ),
    "refunded": lambda payment: payment.amount_refunded,
    "lost": lambda payment: payment.amount_lost,
    "refundable": lambda payment: payment.amount_received,
    "fees": lambda payment: payment.amount_received or payment.balance_transactions.exists(),
    "cancel_requested_at": lambda payment: payment.cancel_requested_at,
}
"""Fields that are shown only if this returns something true."""


def _is_shown(payment: OrderPayment | None, field: str) -> bool:
    return payment is None or field not in _SHOWN_IF or bool(_SHOWN_IF[field](payment))


def expiry_text(intent: PaymentIntent | None) -> str:
    """Format the time until which the money of an intent is reserved."""
    if intent is None or intent.status not in CAPTURABLE_STATUSES:
        return NOTHING
    if intent.capture_before is None:
        return gettext("not known")
    when = moment_text(intent.capture_before)
    if intent.capture_before <= timezone.now():
        # Stripe cancels an expired authorization a little later.
        return gettext("expired %(when)s; Stripe will cancel the payment") % {"when": when}
    left = timeuntil(intent.capture_before)
    return gettext("in %(left)s (%(when)s)") % {"left": left, "when": when}


class PaymentIntentAdmin(_IntentColumns, PaymentRecordAdmin):
    created = time_column("created_at", _("first seen at"))
    list_display = [
        "stripe_id",
        "order_number",
        "amount_text",
        "status_words",
        "counts",
        "mode",
        "created",
    ]
    list_filter = [known_words("status", IntentStatus)]
    sortable_by = ["created"]
    search_fields = ["stripe_id", "latest_charge"]
    search_help_text = SEARCH_HELP
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
        return intent_at_stripe(intent)

    @admin.display(description=_("can be captured"))
    def capturable(self, intent: PaymentIntent) -> str:
        return amount_text(intent.amount_capturable, intent.currency)

    @admin.display(description=_("authorization expires"))
    def expires(self, intent: PaymentIntent) -> str:
        return expiry_text(intent)

    @admin.display(description=_("created by the request"))
    def attempt_link(self, intent: PaymentIntent) -> str:
        return page_link(intent.attempt, intent.attempt.title, site=self.admin_site)


class StripeAttemptAdmin(_RequestColumns, PaymentRecordAdmin):
    list_display = ["created_at", "order_number", "operation", "amount", "outcome", "error_words"]
    list_filter = ["outcome", "operation", "created_at"]
    sortable_by = ["created_at"]
    search_fields = ["pk"]
    search_help_text = _("Search by order number or id, Stripe id or idempotency key.")
    list_select_related = ("order_payment__order", "refund")
    fieldsets = [
        (None, {"fields": ["payment_link", "operation", "amount", "target", "mode"]}),
        (
            _("Outcome"),
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
            _("Sent to Stripe"),
            {
                "description": _("Amounts are in minor units of the currency, as Stripe requires."),
                "fields": ["idempotency_key", "params_text"],
            },
        ),
    ]

    @admin.display(description=_("amount"))
    def amount(self, attempt: StripeAttempt) -> str:
        # The row of a refund has its amount and currency. Its parameters have no currency.
        refund: Refund | None = getattr(attempt, "refund", None)
        if refund is not None:
            return refund.amount_display
        # The two operations on intents name their amount differently.
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
