"""What a person has to decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import (
    ActionLink,
    action_links,
    action_page,
    origin_of,
    staff_view,
)
from shop_payments.admin.base import (
    ModelAdmin,
    PaymentRecordAdmin,
    ReadOnlyInline,
    number_of,
)
from shop_payments.models import ReviewItem
from shop_payments.services.reviews import close_review_item


class DecisionForm(forms.Form):
    closing_note = forms.CharField(
        label=_("What was decided, and why"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text=_(
            "Closing moves no money: refund first what is to go back. Where nothing else is open,"
            " an unpaid order can then be paid again. Do not name the customer here."
        ),
    )


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("decided", _("decided"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "open":
                return queryset.filter(closed_at=None)
            case "decided":
                return queryset.exclude(closed_at=None)
        return queryset


@admin.register(ReviewItem)
class ReviewItemAdmin(PaymentRecordAdmin):
    list_display = ["opened_at", "state", "order_number", "reason", "detail"]
    list_filter = [StateFilter, "reason", "opened_at"]
    search_fields = ["payment_intent__stripe_id", "detail"]
    search_help_text = _("Search by order number or id, payment intent or detail.")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "opened_at"]}),
        (_("What does not fit"), {"fields": ["reason", "detail", "suggested_action"]}),
        (_("Decision"), {"fields": ["closed_at", "closed_by", "closing_note"]}),
    ]

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<int:item_pk>/decide/",
            staff_view(self, self.decide_view),
            name="shop_payments_reviewitem_decide",
        )
        return [page, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        item = context["original"]
        context["subtitle"] = number_of(item.order_payment)
        if item.closed_at is None:
            context["action_links"] = action_links(request, item.order_payment)
            if self.has_decide_permission(request):
                url = reverse("admin:shop_payments_reviewitem_decide", args=[item.pk])
                context["action_links"].append(ActionLink(url=url, label=gettext("Decide")))
        return super().render_change_form(request, context, *args, **kwargs)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return ModelAdmin.has_change_permission(self, request)

    def decide_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Close an item with the words of whoever decided."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        items = ReviewItem.objects.select_related("order_payment__order", "payment_intent")
        item = items.filter(pk=item_pk).first()
        if item is None:
            return redirect("admin:shop_payments_reviewitem_changelist")
        if item.closed_at is not None:
            return self._leave(request, item, is_first=False)
        form = DecisionForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            is_first = close_review_item(
                item_pk=item.pk,
                reason=form.cleaned_data["closing_note"],
                user=request.user,
                origin=origin_of(request),
            )
            return self._leave(request, item, is_first=is_first)
        return action_page(
            self,
            request,
            item,
            form,
            title=_("Decide"),
            subtitle=number_of(item.order_payment),
            button=_("Close this item"),
            facts=[
                (_("What does not fit"), item.get_reason_display()),
                (_("Detail"), item.detail),
                (_("Suggested action"), item.suggested_action),
            ],
        )

    def _leave(self, request: HttpRequest, item: ReviewItem, *, is_first: bool) -> HttpResponse:
        if is_first:
            text = gettext("The item is closed. Your name and your words stand beside it.")
            self.message_user(request, text, messages.SUCCESS)
        else:
            text = gettext("This item had been decided before; nothing was changed.")
            self.message_user(request, text, messages.WARNING)
        return redirect("admin:shop_payments_reviewitem_change", item.pk)

    @admin.display(description=_("state"), ordering="closed_at")
    def state(self, item: ReviewItem) -> str:
        return gettext("decided") if item.closed_at else gettext("open")


class ReviewItemInline(ReadOnlyInline):
    model = ReviewItem
    fields = ["reason", "detail", "suggested_action", "opened_at", "closed_at", "closing_note"]
