"""The pages of refunds, disputes and balance transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import links_about
from shop_payments.admin.base import (
    NOTHING,
    ReadOnlyInline,
    amount_text,
    dashboard_link,
    mode_text,
    moment_text,
    number_of,
    page_link,
)
from shop_payments.admin.export import ExportMixin
from shop_payments.admin.lists import known_words
from shop_payments.admin.payment_filters import BookedFilter
from shop_payments.admin.records import PaymentRecordAdmin, read_orders
from shop_payments.lifecycle import DisputeStatus, RefundStatus
from shop_payments.models import BalanceTransaction, Dispute, Refund
from shop_payments.models.words import describe_dispute, humanize
from shop_payments.money import format_amount


class _When:
    @admin.display(description=_("when"), ordering="stripe_created_at")
    def when(self, row: Any) -> str:
        return moment_text(row.stripe_created_at)


class _Columns(_When):
    @admin.display(description=_("amount"))
    def amount_text(self, row: Any) -> str:
        return amount_text(row.amount, row.currency)

    @admin.display(description=_("status"))
    def status_words(self, row: Any) -> str:
        return humanize(row.status)

    @admin.display(description=_("reason"))
    def reason_words(self, row: Any) -> str:
        return humanize(row.reason) or NOTHING


# --- refunds ------------------------------------------------------------------------------------


class _RefundColumns(_Columns):
    @admin.display(description=_("note"))
    def short_note(self, refund: Refund) -> str:
        return Truncator(refund.note).chars(_NOTE_SHOWN) or NOTHING


_NOTE_SHOWN = 60
"""Characters of a note in a list. The page of the refund shows all of it."""


class RefundAdmin(_RefundColumns, PaymentRecordAdmin):
    list_display = [
        "created_at",
        "order_number",
        "amount_text",
        "status_words",
        "reason_words",
        "short_note",
    ]
    list_filter = [
        known_words("status", RefundStatus),
        "created_at",
    ]
    sortable_by = ["created_at"]
    search_fields = ["stripe_id", "pk"]
    search_help_text = _("Search by order number or id, or by Stripe's refund, intent or charge.")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "stripe_id", "dashboard_link"]}),
        (
            _("Refund"),
            {
                "fields": ["amount_text", "status_words", "reason_words", "note", "failure_words"],
            },
        ),
        (
            _("Record"),
            {
                "fields": [
                    "mode",
                    "attempt_link",
                    "request_key",
                    "stripe_created_at",
                    "created_at",
                    "updated_at",
                ]
            },
        ),
    ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        refund = context["original"]
        context["subtitle"] = number_of(refund.order_payment)
        context["action_links"] = links_about(self.admin_site, request, refund)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("failure reason"))
    def failure_words(self, refund: Refund) -> str:
        return refund.failure or NOTHING

    @admin.display(description=_("at Stripe"))
    def dashboard_link(self, refund: Refund) -> str:
        # The dashboard shows refunds on the page of their payment.
        path = f"payments/{quote(refund.payment_intent.stripe_id)}"
        return dashboard_link(path, livemode=refund.livemode)

    @admin.display(description=_("created by the request"))
    def attempt_link(self, refund: Refund) -> str:
        """The request; a refund that was made in Stripe's dashboard has none."""
        return (
            page_link(refund.attempt, refund.attempt.title, site=self.admin_site)
            if refund.attempt
            else gettext("none (made in the Stripe dashboard)")
        )

    @admin.display(description=_("idempotency key of the request"))
    def request_key(self, refund: Refund) -> str:
        return refund.request_key or NOTHING


class RefundInline(_RefundColumns, ReadOnlyInline):
    is_folded = True
    model = Refund
    fields = [
        "created_at",
        "amount_text",
        "status_words",
        "reason_words",
        "short_note",
        "stripe_id",
    ]


# --- disputes -----------------------------------------------------------------------------------


class _DisputeColumns(_Columns):
    @admin.display(description=_("evidence due"), ordering="evidence_due_at")
    def evidence_due(self, dispute: Dispute) -> str:
        return moment_text(dispute.evidence_due_at)


class DisputeAdmin(_DisputeColumns, PaymentRecordAdmin):
    list_display = [
        "when",
        "order_number",
        "amount_text",
        "status_words",
        "reason_words",
        "evidence_due",
    ]
    list_filter = [
        known_words("status", DisputeStatus),
        "livemode",
        "evidence_due_at",
        "stripe_created_at",
    ]
    # Banks dispute few payments, so reading all of these rows is no problem.
    sortable_by = ["when", "evidence_due"]
    search_fields = ["stripe_id"]
    search_help_text = _("Search by order number or id, or by Stripe's dispute, intent or charge.")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "stripe_id", "dashboard_link"]}),
        (
            _("Dispute"),
            {
                "description": _(
                    "Answer a dispute in the Stripe dashboard before the evidence is due."
                ),
                "fields": [
                    "amount_text",
                    "status_words",
                    "meaning",
                    "reason_words",
                    "evidence_due",
                ],
            },
        ),
        (_("Record"), {"fields": ["mode", "stripe_created_at", "created_at", "updated_at"]}),
    ]

    @admin.display(description=_("meaning"))
    def meaning(self, dispute: Dispute) -> str:
        return describe_dispute(dispute.state)

    @admin.display(description=_("at Stripe"))
    def dashboard_link(self, dispute: Dispute) -> str:
        return dashboard_link(f"disputes/{quote(dispute.stripe_id)}", livemode=dispute.livemode)


class DisputeInline(_DisputeColumns, ReadOnlyInline):
    is_folded = True
    model = Dispute
    fields = [
        "stripe_id",
        "amount_text",
        "status_words",
        "reason_words",
        "evidence_due",
    ]


# --- fees ---------------------------------------------------------------------------------------


class _FeeColumns(_When):
    @admin.display(description=_("what moved"))
    def category(self, row: BalanceTransaction) -> str:
        return humanize(row.reporting_category)

    @admin.display(description=_("amount"))
    def amount_text(self, row: BalanceTransaction) -> str:
        return amount_text(row.amount, row.currency)

    @admin.display(description=_("Stripe's fee"))
    def fee_text(self, row: BalanceTransaction) -> str:
        return amount_text(row.fee, row.currency)

    @admin.display(description=_("net"))
    def net_text(self, row: BalanceTransaction) -> str:
        return amount_text(row.net, row.currency)


_CATEGORIES = (
    *("charge", "refund", "charge_failure", "refund_failure", "partial_capture_reversal"),
    *("dispute", "dispute_reversal", "fee"),
)
"""Stripe's reporting categories of what payments cause.

See: https://docs.stripe.com/reports/reporting-categories (checked 2026-11)
"""


def _amount(name: str) -> Callable[[BalanceTransaction], str]:
    """Return a function of a movement that formats one of its amounts for a CSV file."""
    return lambda row: format_amount(getattr(row, name), row.currency)


class BalanceTransactionAdmin(ExportMixin, _FeeColumns, PaymentRecordAdmin):
    export_columns = (
        (_("When (%(zone)s)"), lambda row: row.stripe_created_at),
        (_("Order"), lambda row: number_of(row.order_payment)),
        (_("What moved"), lambda row: row.reporting_category.replace("_", " ")),
        (_("Mode"), lambda row: mode_text(row.payment_intent.livemode)),
        (_("Currency"), lambda row: row.currency.upper()),
        (_("Amount"), _amount("amount")),
        (_("Stripe's fee"), _amount("fee")),
        (_("Net"), _amount("net")),
        (_("Charge, refund or dispute"), lambda row: row.source),
        (_("Balance transaction"), lambda row: row.stripe_id),
    )
    list_select_related = ("order_payment__order", "payment_intent")
    list_display = [
        "when",
        "order_number",
        "category",
        "amount_text",
        "fee_text",
        "net_text",
    ]
    list_filter = [BookedFilter, known_words("reporting_category", _CATEGORIES)]
    sortable_by = ["when"]
    search_fields = ["stripe_id"]
    search_help_text = _(
        "Search by order number or id, or by Stripe's balance transaction, charge, refund,"
        " dispute or payment intent."
    )
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "stripe_id", "source"]}),
        (
            _("On the Stripe balance"),
            {
                "description": _("Amounts that left the balance are negative."),
                "fields": ["category", "amount_text", "fee_text", "net_text"],
            },
        ),
        (_("Record"), {"fields": ["stripe_created_at"]}),
    ]

    def read_more(self, rows: Sequence[Any]) -> None:
        read_orders(row.order_payment for row in rows)


class BalanceTransactionInline(_FeeColumns, ReadOnlyInline):
    is_folded = True
    model = BalanceTransaction
    fields = ["when", "category", "amount_text", "fee_text", "net_text"]
    verbose_name_plural = _("Stripe's fees")
