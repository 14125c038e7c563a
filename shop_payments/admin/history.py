"""What happened to payments."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import NOTHING, PaymentRecordAdmin, ReadOnlyInline, moment_text
from shop_payments.models import PaymentHistory


class _FactColumns:
    @admin.display(description=_("what happened"))
    def what_happened(self, fact: PaymentHistory) -> str:
        return fact.sentence

    @admin.display(description=_("told to the shop"), ordering="dispatched_at")
    def told(self, fact: PaymentHistory) -> str:
        """When the shop's own code was told of the fact, or that it has yet to be."""
        if not fact.needs_dispatch:
            return NOTHING
        if fact.dispatched_at is None:
            return gettext("waiting")
        return moment_text(fact.dispatched_at)


class WaitingFilter(admin.SimpleListFilter):
    title = _("told to the shop")
    parameter_name = "told"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("waiting"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "waiting":
            return queryset.filter(needs_dispatch=True, dispatched_at=None)
        return queryset


@admin.register(PaymentHistory)
class PaymentHistoryAdmin(_FactColumns, PaymentRecordAdmin):
    list_display = ["created_at", "order_number", "what_happened", "actor"]
    list_filter = ["kind", "source", WaitingFilter, "created_at"]
    search_fields = ["payment_intent__stripe_id", "actor", "request_id"]
    search_help_text = _(
        "Search by order number or id, payment intent, Stripe request id, or who did it."
    )
    fields = [
        "created_at",
        "payment_link",
        "intent_link",
        "what_happened",
        "kind",
        "source",
        "actor",
        "request_id",
        "told",
        "fact_id",
    ]


class PaymentHistoryInline(_FactColumns, ReadOnlyInline):
    model = PaymentHistory
    fields = ["created_at", "what_happened", "actor", "told"]
