"""What needs the attention of staff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext, ngettext
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
    admin_url,
    balance_words,
    dashboard_link,
    dashboard_url,
    mode_text,
    moment_text,
    number_of,
    outside_of_transactions,
    page_url,
)
from shop_payments.admin.forms import AcceptForm, ApproveForm, CloseForm, CloseManyForm, SkipForm
from shop_payments.admin.intent_actions import is_of_this_mode
from shop_payments.admin.tasks import explain
from shop_payments.exceptions import EntryRefused, OrderUnreadable, ReviewClosed, ShopPaymentsError
from shop_payments.ledger.notifications import skip_notification
from shop_payments.ledger.reviews import close_review_item
from shop_payments.lifecycle import DisputeState, gravest_dispute
from shop_payments.models import Dispute, PaymentHistory, PaymentIntent, ReviewItem, StaffEntry
from shop_payments.services.approve_review import approve_review
from shop_payments.services.unknown_intents import accept_unknown_intent, can_be_accepted

_Reason = ReviewItem.Reason

_SUGGESTED: dict[str, str] = {
    _Reason.EXCESS: "refund",
    _Reason.UNCOUNTED: "refund",
    _Reason.FRAUD_WARNING: "refund",
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

    actions = ["close_selected"]

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(
                f"<int:item_pk>/{name}/",
                staff_view(self, view),
                name=f"shop_payments_reviewitem_{name}",
            )
            for name, view in (
                ("accept", self.accept_view),
                ("approve", self.approve_view),
                ("close", self.close_view),
                ("skip", self.skip_view),
            )
        ]
        return [*pages, *super().get_urls()]

    @outside_of_transactions
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

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
            links = links_of(self.admin_site, request, item)
            if self.has_close_permission(request):
                url = admin_url(self.admin_site, "shop_payments_reviewitem_close", item.pk)
                is_unknown = item.reason == _Reason.UNKNOWN_INTENT
                label = gettext("Dismiss") if is_unknown else gettext("Close")
                links.append(ActionLink(url=url, label=label))
            context["action_links"] = links
        elif can_be_accepted(item) and may_change_payments(request):
            context["action_links"] = [_accept_link(self.admin_site, item)]
        return super().render_change_form(request, context, *args, **kwargs)

    # --- closing ---

    def has_close_permission(self, request: HttpRequest) -> bool:
        return ModelAdmin.has_change_permission(self, request)

    def close_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Close an item, with a reason. See Note [Views of our own] in ``actions.py``."""
        if not self.has_close_permission(request):
            raise PermissionDenied
        item = self._find(item_pk)
        if item is None:
            return self._to_list()
        if item.closed_at is not None:
            return self._leave(request, item, was_open=False)
        deadline = evidence_deadline(item)
        form = CloseForm(
            request.POST if request.method == "POST" else None,
            deadline=deadline,
            initial={"shown": item.shown_key},
        )
        if form.is_valid():
            try:
                was_open = close_review_item(
                    item_pk=item.pk,
                    reason=form.cleaned_data["closing_note"],
                    user=request.user,
                    origin=origin_of(request),
                    shown_key=form.cleaned_data["shown"],
                )
            except EntryRefused as error:
                item.refresh_from_db()
                form.show_again(item.shown_key, str(error))
            else:
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
        return self._to_item(item)

    def _find(self, item_pk: int) -> ReviewItem | None:
        items = ReviewItem.objects.select_related("order_payment__order", "payment_intent")
        return items.filter(pk=item_pk).first()

    def _to_list(self) -> HttpResponse:
        return redirect(admin_url(self.admin_site, "shop_payments_reviewitem_changelist"))

    def _to_item(self, item: ReviewItem) -> HttpResponse:
        return redirect(admin_url(self.admin_site, "shop_payments_reviewitem_change", item.pk))

    # --- accepting an unknown intent ---

    def accept_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Make an intent that is not known here one of its order's."""
        if not self.has_view_permission(request) or not may_change_payments(request):
            raise PermissionDenied
        item = self._find(item_pk)
        if item is None or item.reason != _Reason.UNKNOWN_INTENT:
            return self._to_list()
        if not can_be_accepted(item):
            return self._leave(request, item, was_open=False)
        form = AcceptForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                return self._accept(request, item)
            except ShopPaymentsError as error:
                item.refresh_from_db()
                if item.closed_itself:
                    self.message_user(request, explain(error), messages.ERROR)
                    return self._to_item(item)
                form.add_error(None, explain(error))
        livemode = bool(item.data.get("livemode"))
        facts = [
            (_("Detail"), item.detail),
            (_("Mode"), mode_text(livemode)),
            (_("At Stripe"), dashboard_link(f"payments/{quote(item.subject)}", livemode=livemode)),
            (_("Suggested action"), item.suggested_action),
        ]
        return action_page(
            self,
            request,
            item,
            form,
            title=_("Accept this payment"),
            subtitle=number_of(item.order_payment),
            button=_("Accept this payment"),
            facts=facts,
        )

    def _accept(self, request: HttpRequest, item: ReviewItem) -> HttpResponse:
        payment = item.order_payment
        try:
            row = accept_unknown_intent(
                item_pk=item.pk, user=request.user, origin=origin_of(request)
            )
        except OrderUnreadable as error:
            text = gettext(
                "The payment %(intent)s is accepted, but the order could not be read, so its"
                " amounts are not up to date. It is evaluated again by itself; if that fails again,"
                " ask the shop's developers: %(why)s."
            )
            values = {"intent": item.subject, "why": error}
            self.message_user(request, text % values, messages.WARNING)
        else:
            if row is None:
                return self._leave(request, item, was_open=False)
            text = gettext("The payment %(intent)s is one of this order now. %(balance)s")
            values = {"intent": row, "balance": balance_words(row.order_payment)}
            self.message_user(request, text % values, messages.SUCCESS)
        return redirect(admin_url(self.admin_site, "shop_payments_orderpayment_change", payment.pk))

    # --- approving a Radar review ---

    def approve_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Approve a payment that Stripe Radar has put up for review."""
        if not self.has_view_permission(request) or not may_change_payments(request):
            raise PermissionDenied
        item = self._find(item_pk)
        if item is None or item.reason != _Reason.RADAR_REVIEW:
            return self._to_list()
        if item.closed_at is not None:
            return self._leave(request, item, was_open=False)
        form = ApproveForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                approve_review(review_id=item.subject, origin=origin_of(request))
            except ReviewClosed as error:
                self.message_user(request, explain(error), messages.WARNING)
                return self._to_item(item)
            except ShopPaymentsError as error:
                form.add_error(None, explain(error))
            else:
                text = gettext("The payment is approved at Stripe, and this item is closed.")
                self.message_user(request, text, messages.SUCCESS)
                return self._to_item(item)
        facts = [
            (_("Detail"), item.detail),
            (_("Payment"), str(item.payment_intent or NOTHING)),
            (_("Suggested action"), item.suggested_action),
        ]
        return action_page(
            self,
            request,
            item,
            form,
            title=_("Approve this payment"),
            subtitle=number_of(item.order_payment),
            button=_("Approve this payment"),
            facts=facts,
        )

    # --- closing several ---

    @admin.action(description=_("Close the selected items"), permissions=["close"])
    def close_selected(
        self, request: HttpRequest, queryset: QuerySet[ReviewItem]
    ) -> HttpResponse | None:
        """Close items of one reason, all with the same words, after a page that asks for them."""
        rows = queryset.filter(closed_at=None).order_by("pk")
        items = list(rows.select_related("order_payment__order", "payment_intent")[: _MOST + 1])
        problem = _why_not_together(items)
        if problem:
            self.message_user(request, problem, messages.ERROR)
            return None
        running = [(item, deadline) for item in items if (deadline := evidence_deadline(item))]
        left_out = {item.pk for item, _deadline in running}
        to_close = [item for item in items if item.pk not in left_out]
        kept = _describe_running(running)
        if not to_close:
            self.message_user(request, kept, messages.ERROR)
            return None
        is_sent = "closing_note" in request.POST
        # One field for all of them: Django limits how many a form has.
        keys = " ".join(item.shown_key for item in to_close)
        form = CloseManyForm(request.POST if is_sent else None, initial={"shown": keys})
        if not form.is_valid():
            return self._close_many_page(request, form, to_close, kept)
        shown = form.cleaned_data["shown"].split()
        if changed := [item for item in to_close if item.shown_key not in shown]:
            form.show_again(keys, _describe_changed(changed))
            return self._close_many_page(request, form, to_close, kept)
        self._close_many(request, to_close, form.cleaned_data["closing_note"])
        if kept:
            self.message_user(request, kept, messages.WARNING)
        return self._to_list()

    def _close_many(self, request: HttpRequest, items: list[ReviewItem], reason: str) -> None:
        closed = 0
        for item in items:
            try:
                closed += close_review_item(
                    item_pk=item.pk,
                    reason=reason,
                    user=request.user,
                    origin=origin_of(request),
                    shown_key=item.shown_key,
                )
            except ShopPaymentsError as error:
                values = {"order": number_of(item.order_payment), "why": error}
                text = gettext("The item of order %(order)s was not closed: %(why)s")
                self.message_user(request, text % values, messages.ERROR)
        text = ngettext("%(count)d item was closed.", "%(count)d items were closed.", closed)
        self.message_user(request, text % {"count": closed}, messages.SUCCESS)

    def _close_many_page(
        self,
        request: HttpRequest,
        form: CloseManyForm,
        items: list[ReviewItem],
        kept: str,
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Close several items"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "reason": items[0].get_reason_display(),
            "items": [(number_of(item.order_payment), item) for item in items],
            "suggestion": items[0].suggested_action,
            "kept": kept,
        }
        return TemplateResponse(request, _CLOSE_MANY_TEMPLATE, context)

    # --- skipping a notification ---

    def skip_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Give up a notification that the shop's code does not accept, with a reason."""
        if not self.has_view_permission(request) or not may_change_payments(request):
            raise PermissionDenied
        item = self._find(item_pk)
        fact = None if item is None else _failing_fact(item)
        if item is None or fact is None:
            return self._to_list()
        if item.closed_at is not None or fact.skipped_at or fact.dispatched_at:
            return self._leave_skipped(request, item, fact, was_waiting=False)
        form = SkipForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            was_waiting = skip_notification(
                fact_id=fact.fact_id,
                reason=form.cleaned_data["reason"],
                origin=origin_of(request),
            )
            return self._leave_skipped(request, item, fact, was_waiting=was_waiting)
        facts = [
            (_("Notification"), fact.sentence),
            (_("Happened"), moment_text(fact.created_at)),
            (_("Failed tries"), str(fact.dispatch_failures)),
            (_("Suggested action"), item.suggested_action),
        ]
        return action_page(
            self,
            request,
            item,
            form,
            title=_("Skip this notification"),
            subtitle=number_of(item.order_payment),
            button=_("Skip this notification"),
            facts=facts,
        )

    def _leave_skipped(
        self, request: HttpRequest, item: ReviewItem, fact: PaymentHistory, *, was_waiting: bool
    ) -> HttpResponse:
        if was_waiting:
            text = gettext(
                "The notification “%(fact)s” is skipped, with your name and your reason. Later"
                " notifications of this payment are sent now."
            )
            self.message_user(request, text % {"fact": fact}, messages.SUCCESS)
        else:
            text = gettext("This notification does not wait any more; nothing was changed.")
            self.message_user(request, text, messages.WARNING)
        return self._to_item(item)

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


def may_change_payments(request: HttpRequest) -> bool:
    """Tell whether this member of staff may skip notifications, and accept unknown payments."""
    user: Any = request.user
    return bool(user.has_perm("shop_payments.change_orderpayment"))


def _failing_fact(item: ReviewItem) -> PaymentHistory | None:
    if item.reason != _Reason.NOTIFICATION_FAILED:
        return None
    facts = PaymentHistory.objects.select_related("payment_intent")
    try:
        return facts.filter(order_payment=item.order_payment_id, fact_id=item.subject).first()
    except ValidationError:
        return None


_MOST = 500
"""Items that are closed in one request: a server ends a request that takes minutes."""

_CLOSE_MANY_TEMPLATE = "admin/shop_payments/reviewitem/close_many.html"


def _why_not_together(items: Sequence[ReviewItem]) -> str:
    """Say why these items cannot be closed together; empty where they can."""
    if not items:
        return gettext("The selected items had been closed before; nothing was changed.")
    if len({item.reason for item in items}) > 1:
        return gettext(
            "Select items of one reason only: they are closed with the same words. Filter the list"
            " by reason first. Nothing was changed."
        )
    if len(items) > _MOST:
        text = gettext("At most %(most)d items are closed at once. Nothing was changed.")
        return text % {"most": _MOST}
    return ""


def _describe_changed(changed: Sequence[ReviewItem]) -> str:
    """Name the items that say something else than the page that was sent."""
    text = gettext(
        "Items have changed since this page was opened, so nothing was closed. Read what they say"
        " now, and send the form again if all of them may be closed. Changed: %(orders)s."
    )
    return text % {"orders": ", ".join(number_of(item.order_payment) for item in changed)}


def _describe_running(running: Sequence[tuple[ReviewItem, str]]) -> str:
    """Name the items that have to be closed one by one; empty where there is none."""
    if not running:
        return ""
    names = [
        gettext("order %(order)s (until %(deadline)s)")
        % {"order": number_of(item.order_payment), "deadline": deadline}
        for item, deadline in running
    ]
    text = gettext(
        "Disputes that can still be answered are left out; close each on its own page: %(names)s."
    )
    return text % {"names": ", ".join(names)}


def links_of(site: AdminSite, request: HttpRequest, item: ReviewItem) -> list[ActionLink]:
    """Return the buttons of an open item: first what its suggestion says, then everything else."""
    offers = offers_of(site, request, item.order_payment)
    suggested = _suggested(offers, item)
    links = [_elsewhere(site, request, item)]
    if suggested is not None:
        has_amount = item.reason in _WITH_AMOUNT
        links.append(suggested.suggested_link(item.data.get("amount") if has_amount else None))
    links += [offer.link() for offer in offers if offer is not suggested]
    return [link for link in links if link is not None]


_WITH_AMOUNT = {_Reason.EXCESS, _Reason.UNCOUNTED, _Reason.REST_OWED, _Reason.REST_TOO_SMALL}
"""The reasons whose figures name exactly what the suggestion is about."""


def _suggested(offers: Sequence[Offer], item: ReviewItem) -> Offer | None:
    name = _SUGGESTED.get(item.reason)
    intent = item.payment_intent
    if name == "refund" and intent is not None and not _can_be_refunded(intent):
        name = "settle"
    return next((offer for offer in offers if _is_about(offer, name, item)), None)


def _can_be_refunded(intent: PaymentIntent) -> bool:
    """Tell whether Stripe can refund it: not in the other mode, nor after a lost dispute."""
    return (
        is_of_this_mode(intent)
        and gravest_dispute(intent.disputes.values_list("status", flat=True)) != DisputeState.LOST
    )


def _is_about(offer: Offer, name: str | None, item: ReviewItem) -> bool:
    options, entry = offer.target.intent_options, offer.target.staff_entry
    is_of_intent = options is None or options.intent.pk == item.payment_intent_id
    is_waiver = entry is None or entry.kind == StaffEntry.Kind.WAIVER
    return offer.action.name == name and is_of_intent and is_waiver


def _elsewhere(site: AdminSite, request: HttpRequest, item: ReviewItem) -> ActionLink | None:
    """Return the button that does what is suggested, where that is no action on the payment."""
    if item.reason == _Reason.DISPUTED and item.payment_intent is not None:
        return ActionLink(
            url=dashboard_url(
                f"disputes/{quote(item.subject)}", livemode=item.payment_intent.livemode
            ),
            label=gettext("Answer in the Stripe dashboard"),
            is_suggested=True,
            is_external=True,
        )
    if item.reason == _Reason.ORDER_UNREADABLE:
        url = page_url(item.order_payment.order, site=site)
        label = gettext("Correct the order")
        return ActionLink(url=url, label=label, is_suggested=True) if url else None
    if item.reason == _Reason.UNKNOWN_INTENT and may_change_payments(request):
        return _accept_link(site, item, is_suggested=True)
    if item.reason == _Reason.RADAR_REVIEW and may_change_payments(request):
        url = admin_url(site, "shop_payments_reviewitem_approve", item.pk)
        return ActionLink(url=url, label=gettext("Approve this payment"), is_suggested=True)
    if item.reason == _Reason.NOTIFICATION_FAILED and may_change_payments(request):
        url = admin_url(site, "shop_payments_reviewitem_skip", item.pk)
        return ActionLink(url=url, label=gettext("Skip this notification"), is_suggested=True)
    return None


def _accept_link(site: AdminSite, item: ReviewItem, *, is_suggested: bool = False) -> ActionLink:
    url = admin_url(site, "shop_payments_reviewitem_accept", item.pk)
    return ActionLink(url=url, label=gettext("Accept this payment"), is_suggested=is_suggested)


def evidence_deadline(item: ReviewItem) -> str:
    """Return until when the dispute of an item can be answered; empty where it cannot any more."""
    if item.reason != _Reason.DISPUTED:
        return ""
    dispute = Dispute.objects.filter(stripe_id=item.subject).first()
    due_at = dispute.evidence_due_at if dispute else None
    return moment_text(due_at) if due_at is not None and due_at > timezone.now() else ""


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
