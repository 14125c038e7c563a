"""What needs the attention of staff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import (
    ActionLink,
    Offer,
    action_page,
    offers_of,
    origin_of,
    staff_view,
)
from shop_payments.admin.base import (
    NOTHING,
    ModelAdmin,
    PaymentRecordAdmin,
    ReadOnlyInline,
    dashboard_url,
    deadline_text,
    number_of,
    page_url,
)
from shop_payments.admin.forms import CloseForm
from shop_payments.admin.intent_actions import is_of_this_mode
from shop_payments.models import Dispute, ReviewItem, StaffEntry
from shop_payments.services.reviews import close_review_item

_Reason = ReviewItem.Reason

_SUGGESTED: dict[str, str] = {
    _Reason.EXCESS: "refund",
    _Reason.UNCOUNTED: "refund",
    _Reason.REST_OWED: "waive",
    _Reason.REST_TOO_SMALL: "waive",
    _Reason.WAIVED_RECEIVED: "revoke",
    _Reason.AUTHORIZATION_EXPIRES: "capture",
}
"""The action that an item's suggestion names, by the reason of the item."""


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("closed", _("closed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "open":
                return queryset.filter(closed_at=None)
            case "closed":
                return queryset.exclude(closed_at=None)
        return queryset


@admin.register(ReviewItem)
class ReviewItemAdmin(PaymentRecordAdmin):
    change_form_template = "admin/shop_payments/reviewitem/change_form.html"
    list_display = ["opened_at", "state", "order_number", "reason", "detail"]
    list_filter = [StateFilter, "reason", "opened_at"]
    search_fields = ["payment_intent__stripe_id", "detail"]
    search_help_text = _("Search by order number or id, payment intent or detail.")
    list_select_related = ("order_payment__order", "payment_intent", "closed_by")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "opened_at", "state"]}),
        (_("What needs attention"), {"fields": ["reason", "detail", "suggested_action"]}),
        (_("Closing"), {"fields": ["closed_at", "closed_how", "closing_note"]}),
    ]

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<int:item_pk>/close/",
            staff_view(self, self.close_view),
            name="shop_payments_reviewitem_close",
        )
        return [page, *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say how it was closed only once it is."""
        sections: Any = super().get_fieldsets(request, obj)
        return sections[:-1] if obj is not None and obj.closed_at is None else sections

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        item = context["original"]
        context["subtitle"] = number_of(item.order_payment)
        if item.closed_at is None:
            context["action_links"] = links_of(request, item)
            if self.has_close_permission(request):
                url = reverse("admin:shop_payments_reviewitem_close", args=[item.pk])
                context["action_links"].append(ActionLink(url=url, label=gettext("Close")))
        return super().render_change_form(request, context, *args, **kwargs)

    # --- closing ---

    def has_close_permission(self, request: HttpRequest) -> bool:
        return ModelAdmin.has_change_permission(self, request)

    def close_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Close an item, with a reason. See Note [Views of our own] in ``actions.py``."""
        if not self.has_close_permission(request):
            raise PermissionDenied
        items = ReviewItem.objects.select_related("order_payment__order", "payment_intent")
        item = items.filter(pk=item_pk).first()
        if item is None:
            return redirect("admin:shop_payments_reviewitem_changelist")
        if item.closed_at is not None:
            return self._leave(request, item, was_open=False)
        deadline = evidence_deadline(item)
        form = CloseForm(request.POST if request.method == "POST" else None, deadline=deadline)
        if form.is_valid():
            was_open = close_review_item(
                item_pk=item.pk,
                reason=form.cleaned_data["closing_note"],
                user=request.user,
                origin=origin_of(request),
            )
            return self._leave(request, item, was_open=was_open)
        facts = [
            (_("What needs attention"), str(item.get_reason_display())),
            (_("Detail"), item.detail),
            (_("Suggested action"), item.suggested_action),
        ]
        if deadline:
            facts.append((_("Evidence due"), deadline))
        return action_page(
            self,
            request,
            item,
            form,
            title=_("Close"),
            subtitle=number_of(item.order_payment),
            button=_("Close this item"),
            facts=facts,
        )

    def _leave(self, request: HttpRequest, item: ReviewItem, *, was_open: bool) -> HttpResponse:
        if was_open:
            text = gettext("The item is closed, with your name and your reason.")
            self.message_user(request, text, messages.SUCCESS)
        else:
            text = gettext("This item had been closed before; nothing was changed.")
            self.message_user(request, text, messages.WARNING)
        return redirect("admin:shop_payments_reviewitem_change", item.pk)

    # --- columns ---

    @admin.display(description=_("state"), ordering="closed_at")
    def state(self, item: ReviewItem) -> str:
        return gettext("closed") if item.closed_at else gettext("open")

    @admin.display(description=_("closed by"))
    def closed_how(self, item: ReviewItem) -> str:
        return closed_how(item)


def closed_how(item: ReviewItem) -> str:
    """Say whether an item closed itself, or which member of staff closed it."""
    if item.closed_at is None:
        return NOTHING
    if item.closed_itself:
        return gettext("closed by itself")
    user = item.closed_by
    return gettext("staff (the user was deleted)") if user is None else user.get_username()


def links_of(request: HttpRequest, item: ReviewItem) -> list[ActionLink]:
    """Return the buttons of an open item: first what its suggestion says, then everything else."""
    offers = offers_of(request, item.order_payment)
    suggested = _suggested(offers, item)
    links = [_elsewhere(item)]
    if suggested is not None:
        has_amount = item.reason in _WITH_AMOUNT
        links.append(suggested.suggested_link(item.data.get("amount") if has_amount else None))
    links += [offer.link() for offer in offers if offer is not suggested]
    return [link for link in links if link is not None]


_WITH_AMOUNT = {_Reason.EXCESS, _Reason.UNCOUNTED, _Reason.REST_OWED, _Reason.REST_TOO_SMALL}
"""The reasons whose figures name exactly what the suggestion is about."""


def _suggested(offers: Sequence[Offer], item: ReviewItem) -> Offer | None:
    name = _SUGGESTED.get(item.reason)
    if name == "refund" and not is_of_this_mode(item.payment_intent):
        name = "settle"  # Stripe cannot give back test money with a live key
    return next((offer for offer in offers if _is_about(offer, name, item)), None)


def _is_about(offer: Offer, name: str | None, item: ReviewItem) -> bool:
    options, entry = offer.target.intent_options, offer.target.staff_entry
    is_of_intent = options is None or options.intent.pk == item.payment_intent_id
    is_waiver = entry is None or entry.kind == StaffEntry.Kind.WAIVER
    return offer.action.name == name and is_of_intent and is_waiver


def _elsewhere(item: ReviewItem) -> ActionLink | None:
    """Return the button that leads to where the suggestion is carried out, if not on our pages."""
    if item.reason == _Reason.DISPUTED:
        return ActionLink(
            url=dashboard_url(
                f"disputes/{quote(item.subject)}", livemode=item.payment_intent.livemode
            ),
            label=gettext("Answer in the Stripe dashboard"),
            is_suggested=True,
            is_external=True,
        )
    if item.reason == _Reason.ORDER_UNREADABLE:
        url = page_url(item.order_payment.order)
        label = gettext("Correct the order")
        return ActionLink(url=url, label=label, is_suggested=True) if url else None
    return None


def evidence_deadline(item: ReviewItem) -> str:
    """Return until when the dispute of an item can be answered; empty where it cannot any more."""
    if item.reason != _Reason.DISPUTED:
        return ""
    dispute = Dispute.objects.filter(stripe_id=item.subject).first()
    due_at = dispute.evidence_due_at if dispute else None
    return deadline_text(due_at) if due_at is not None and due_at > timezone.now() else ""


class ReviewItemInline(ReadOnlyInline):
    model = ReviewItem
    fields = [
        "reason",
        "detail",
        "suggested_action",
        "opened_at",
        "closed_at",
        "closed_how",
        "closing_note",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("closed_by")

    @admin.display(description=_("closed by"))
    def closed_how(self, item: ReviewItem) -> str:
        return closed_how(item)
