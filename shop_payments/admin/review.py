"""What a person has to decide."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import PaymentRecordAdmin, ReadOnlyInline
from shop_payments.models import ReviewItem


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("decided", _("decided"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "open":
                return queryset.filter(resolved_at=None)
            case "decided":
                return queryset.exclude(resolved_at=None)
        return queryset


@admin.register(ReviewItem)
class ReviewItemAdmin(PaymentRecordAdmin):
    list_display = ["opened_at", "order_number", "reason", "detail", "state"]
    list_filter = [StateFilter, "reason", "opened_at"]
    search_fields = ["payment_intent__stripe_id", "detail"]
    search_help_text = _("Search by order number or id, payment intent or detail.")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "opened_at"]}),
        (_("What does not fit"), {"fields": ["reason", "detail", "suggested_action"]}),
        (_("Decision"), {"fields": ["resolved_at", "resolved_by", "resolution"]}),
    ]

    @admin.display(description=_("state"), ordering="resolved_at")
    def state(self, item: ReviewItem) -> str:
        return gettext("decided") if item.resolved_at else gettext("open")


class ReviewItemInline(ReadOnlyInline):
    model = ReviewItem
    fields = ["reason", "detail", "suggested_action", "opened_at", "resolved_at", "resolution"]
