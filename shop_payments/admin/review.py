"""The pages of review items: what needs the attention of staff, and how they close it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
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
    ReadOnlyInline,
    admin_url,
    in_words,
    moment_text,
    number_of,
    two_lines,
    without_transaction,
)
from shop_payments.admin.forms import CloseForm, CloseManyForm
from shop_payments.admin.intent_actions import is_of_this_mode
from shop_payments.admin.item_actions import ACCEPT, ITEM_ACTIONS, ItemAction, already_closed
from shop_payments.admin.queue import (
    SUGGESTED,
    WITH_AMOUNT,
    WORST_FIRST,
    button_html,
    close_link,
    count_other_work,
    deadline_text,
    direct_link,
    first_button,
    may_change_payments,
    money_text,
    ranked,
)
from shop_payments.admin.records import PaymentRecordAdmin, read_orders
from shop_payments.admin.tasks import Outcome, explain
from shop_payments.exceptions import EntryRefused, ShopPaymentsError
from shop_payments.ledger.reviews import close_review_item
from shop_payments.lifecycle import DisputeState, most_serious_dispute
from shop_payments.models import Dispute, PaymentIntent, ReviewItem, StaffEntry
from shop_payments.models.words import choice_label
from shop_payments.orders import read_customer
from shop_payments.services.unknown_intents import can_be_accepted

_Reason = ReviewItem.Reason


class StateFilter(admin.SimpleListFilter):
    """Open items are shown by default; a search looks at all of them."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("closed", _("closed")), ("all", _("open and closed"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("open")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "closed":
            return queryset.exclude(closed_at=None)
        is_search = bool(request.GET.get(SEARCH_VAR))
        return queryset if is_search or self.value() == "all" else queryset.filter(closed_at=None)


class _Columns:
    @admin.display(description=_("detail"))
    def detail(self, item: ReviewItem) -> str:
        return item.detail

    @admin.display(description=_("suggested action"))
    def suggested_action(self, item: ReviewItem) -> str:
        return item.suggested_action

    @admin.display(description=_("closed by"))
    def closed_how(self, item: ReviewItem) -> str:
        return closed_how(item)

    @admin.display(description=_("reason for closing"))
    def closing_note(self, item: ReviewItem) -> str:
        return item.closing_note


class ReviewItemAdmin(_Columns, PaymentRecordAdmin):
    list_display = ["what", "button", "order", "money"]
    list_display_links = ["what"]
    list_filter = [StateFilter, "reason"]
    list_select_related = ("order_payment__order", "payment_intent", "closed_by")
    list_per_page = 25
    search_fields = ["subject"]
    search_help_text = _("Search by order number or id, or by Stripe id.")
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "opened_at", "state"]}),
        (
            _("What needs attention"),
            {"fields": ["reason", "detail", "error_text", "suggested_action"]},
        ),
        (_("Closing"), {"fields": ["closed_at", "closed_how", "closing_note"]}),
    ]

    actions = ["close_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Before Django's own method sorts by it.
        return ranked(ReviewItem.objects.all()).order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> Any:
        is_queue = not (request.GET.get("state") or request.GET.get(SEARCH_VAR))
        return WORST_FIRST if is_queue else ("-pk",)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        # The last column differs by the permissions of the user.
        page = super().get_changelist_instance(request)
        for item in page.result_list:
            item.shown_button = button_html(first_button(self.admin_site, request.user, item))
        return page

    def read_more(self, rows: Sequence[Any]) -> None:
        read_orders(row.order_payment for row in rows)

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Any] = {"close": self.close_view}
        views |= {action.name: partial(self.action_view, action) for action in ITEM_ACTIONS}
        pages = [
            path(
                f"<int:item_pk>/{name}/",
                staff_view(self, view),
                name=f"shop_payments_reviewitem_{name}",
            )
            for name, view in views.items()
        ]
        return [*pages, *super().get_urls()]

    # The action of the list calls a service, which commits for each item.
    @without_transaction
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        other = count_other_work(self.admin_site, request.user)
        context = {"title": gettext("To review"), "other_work": other, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out the error if there is none, and the last section while the item is open."""
        sections: Any = super().get_fieldsets(request, obj)
        if obj is None:
            return sections
        if not self.error_text(obj):
            title, options = sections[1]
            fields = [name for name in options["fields"] if name != "error_text"]
            sections[1] = (title, {**options, "fields": fields})
        return sections[:-1] if obj.closed_at is None else sections

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        item = context["original"]
        context["subtitle"] = number_of(item.order_payment)
        if item.closed_at is None:
            links = links_of(self.admin_site, request, item)
            if self.has_close_permission(request):
                links.append(close_link(self.admin_site, item))
            context["action_links"] = links
        elif can_be_accepted(item) and may_change_payments(request.user):
            # It was dismissed, perhaps by mistake.
            context["action_links"] = [ACCEPT.link(self.admin_site, item, is_suggested=False)]
        return super().render_change_form(request, context, *args, **kwargs)

    # --- closing ---

    def has_close_permission(self, request: HttpRequest) -> bool:
        return ModelAdmin.has_change_permission(self, request)

    def close_view(self, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Close an item with a reason. See Note [Custom views] in ``actions.py``."""
        if not self.has_close_permission(request):
            raise PermissionDenied
        item = self._find(item_pk)
        if item is None:
            return self._to_list()
        if item.closed_at is not None:
            return self._leave(request, already_closed(), item)
        deadline = evidence_deadline(item)
        form = CloseForm(
            request.POST if request.method == "POST" else None,
            deadline=deadline,
            initial={"shown": item.shown_key},  # only this version is closed
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
            except EntryRefused as error:  # the item has changed since its page was opened
                item.refresh_from_db()
                form.show_again(item.shown_key, in_words(error))
            else:
                text = gettext("The item is closed, with your name and your reason.")
                return self._leave(request, Outcome(text) if was_open else already_closed(), item)
        facts = [
            (_("What needs attention"), choice_label(item, "reason")),
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

    def _leave(self, request: HttpRequest, outcome: Outcome, row: Model) -> HttpResponse:
        self.message_user(request, outcome.text, outcome.level)
        change = f"shop_payments_{row._meta.model_name}_change"
        return redirect(admin_url(self.admin_site, change, row.pk))

    def _find(self, item_pk: int) -> ReviewItem | None:
        items = ReviewItem.objects.select_related("order_payment__order", "payment_intent")
        return items.filter(pk=item_pk).first()

    def _to_list(self) -> HttpResponse:
        return redirect(admin_url(self.admin_site, "shop_payments_reviewitem_changelist"))

    # --- the other actions ---

    def action_view(self, action: ItemAction, request: HttpRequest, item_pk: int) -> HttpResponse:
        """Show the form of an action on an item, and carry it out."""
        if not self.has_view_permission(request) or not may_change_payments(request.user):
            raise PermissionDenied
        item = self._find(item_pk)
        if item is None or not action.has_subject(item):
            return self._to_list()
        if (why_not := action.why_not(item)) is not None:
            return self._leave(request, why_not, item)
        form = action.form_class(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                outcome, row = action.carry_out(request, item, form.cleaned_data)
            except ShopPaymentsError as error:
                form.add_error(None, explain(error))
            else:
                return self._leave(request, outcome, row)
        return action_page(
            self,
            request,
            item,
            form,
            title=action.title,
            subtitle=number_of(item.order_payment),
            button=action.title,
            facts=[*action.facts(item), (_("What will happen"), action.effect)],
        )

    # --- closing several ---

    @admin.action(description=_("Close the selected items"), permissions=["close"])
    def close_selected(
        self, request: HttpRequest, queryset: QuerySet[ReviewItem]
    ) -> HttpResponse | None:
        """Ask for a reason, and close the selected items, which must be of one kind."""
        # In a fixed order, so that the page lists them the same way when it is shown again.
        rows = queryset.filter(closed_at=None).order_by("pk")
        items = list(
            rows.select_related("order_payment__order", "payment_intent")[: _MAX_ITEMS + 1]
        )
        problem = _why_not_together(items)
        if problem:
            self.message_user(request, problem, messages.ERROR)
            return None
        # The page of each one asks for a confirmation: without evidence, the money is usually lost.
        running = [(item, deadline) for item in items if (deadline := evidence_deadline(item))]
        left_out = {item.pk for item, _deadline in running}
        to_close = [item for item in items if item.pk not in left_out]
        kept = _describe_running(running)
        if not to_close:
            self.message_user(request, kept, messages.ERROR)
            return None
        is_sent = "closing_note" in request.POST
        # One field for all items: Django limits the number of fields of a request.
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
            # An error of one item must not keep the others from being closed.
            try:
                closed += close_review_item(
                    item_pk=item.pk,
                    reason=reason,
                    user=request.user,
                    origin=origin_of(request),
                    shown_key=item.shown_key,
                )
            except ShopPaymentsError as error:
                values = {"order": number_of(item.order_payment), "why": in_words(error)}
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
            "reason": choice_label(items[0], "reason"),
            "items": [(number_of(item.order_payment), item) for item in items],
            "suggestion": items[0].suggested_action,
            "kept": kept,
        }
        return TemplateResponse(request, _CLOSE_MANY_TEMPLATE, context)

    # --- columns ---

    @admin.display(description=_("for the shop's developers"))
    def error_text(self, item: ReviewItem) -> str:
        return str(item.data.get("error", ""))

    @admin.display(description=_("what needs attention"))
    def what(self, item: ReviewItem) -> str:
        if item.closed_at is None:
            return item.detail
        values = {
            "detail": item.detail,
            "how": closed_how(item),
            "when": moment_text(item.closed_at),
            "note": item.closing_note,
        }
        return gettext("%(detail)s – %(how)s, %(when)s: %(note)s") % values

    @admin.display(description=_("order"))
    def order(self, item: ReviewItem) -> SafeString:
        return two_lines(number_of(item.order_payment), read_customer(item.order_payment.order))

    @admin.display(description=_("amount"))
    def money(self, item: ReviewItem) -> SafeString:
        """The amount, and the deadline below it."""
        return two_lines(money_text(item), deadline_text(item))

    @admin.display(description=_("what to do"))
    def button(self, item: Any) -> str:
        shown: str = item.shown_button
        return shown

    @admin.display(description=_("state"))
    def state(self, item: ReviewItem) -> str:
        return gettext("closed") if item.closed_at else gettext("open")


def closed_how(item: ReviewItem) -> str:
    """Return whether an item was closed automatically, or which member of staff closed it."""
    if item.closed_at is None:
        return NOTHING
    if item.closed_automatically:
        return gettext("closed automatically")
    user = item.closed_by  # None after the user was deleted
    return gettext("staff (the user was deleted)") if user is None else user.get_username()


_MAX_ITEMS = 500
"""Items that are closed in one request. A server kills a request that takes minutes."""

_CLOSE_MANY_TEMPLATE = "admin/shop_payments/reviewitem/close_many.html"


def _why_not_together(items: Sequence[ReviewItem]) -> str:
    """Return why these items cannot be closed together; empty if they can."""
    if not items:
        return gettext("The selected items were already closed. Nothing was changed.")
    if len({item.reason for item in items}) > 1:
        return gettext(
            "Select items with the same reason, because they are closed with one note. Filter the"
            " list by reason first. Nothing was changed."
        )
    if len(items) > _MAX_ITEMS:
        text = gettext("Select at most %(maximum)d items. Nothing was changed.")
        return text % {"maximum": _MAX_ITEMS}
    return ""


def _describe_changed(changed: Sequence[ReviewItem]) -> str:
    """Return a message with the items that have changed since the page was opened."""
    text = gettext(
        "Items have changed since this page was opened, so nothing was closed. Read them again,"
        " and send the form again if all of them may be closed. Changed: %(orders)s."
    )
    return text % {"orders": ", ".join(number_of(item.order_payment) for item in changed)}


def _describe_running(running: Sequence[tuple[ReviewItem, str]]) -> str:
    """Return a message with the items that must be closed one by one; empty if there are none."""
    if not running:
        return ""
    names = [
        gettext("order %(order)s (until %(deadline)s)")
        % {"order": number_of(item.order_payment), "deadline": deadline}
        for item, deadline in running
    ]
    text = gettext(
        "Disputes that can still be answered are left out. Close each on its own page: %(names)s."
    )
    return text % {"names": ", ".join(names)}


def links_of(site: AdminSite, request: HttpRequest, item: ReviewItem) -> list[ActionLink]:
    """Return the buttons of an open item: what it suggests first, then everything else."""
    offers = offers_of(site, request, item.order_payment)
    suggested = _suggested(offers, item)
    links = [direct_link(site, request.user, item)]
    if suggested is not None:
        has_amount = item.reason in WITH_AMOUNT
        links.append(suggested.suggested_link(item.data.get("amount") if has_amount else None))
    others = [offer for offer in offers if offer is not suggested and not offer.action.is_upkeep]
    links += [offer.link() for offer in others]
    return [link for link in links if link is not None]


def _suggested(offers: Sequence[Offer], item: ReviewItem) -> Offer | None:
    name = SUGGESTED.get(item.reason)
    intent = item.payment_intent
    # Settled outside Stripe instead, as the text of the item says in these cases.
    if name == "refund" and intent is not None and not _can_be_refunded(intent):
        name = "settle"
    return next((offer for offer in offers if _is_about(offer, name, item)), None)


def _can_be_refunded(intent: PaymentIntent) -> bool:
    """Return whether Stripe can refund it: not in the other mode, nor after a lost dispute."""
    statuses = intent.disputes.values_list("status", flat=True)
    return is_of_this_mode(intent) and most_serious_dispute(statuses) != DisputeState.LOST


def _is_about(offer: Offer, name: str | None, item: ReviewItem) -> bool:
    options, entry = offer.target.intent_options, offer.target.staff_entry
    # One payment may have several intents, and the suggestion is about one of them.
    is_of_intent = options is None or options.intent.pk == item.payment_intent_id
    # A settlement can be revoked as well, but no item suggests that.
    is_waiver = entry is None or entry.kind == StaffEntry.Kind.WAIVER
    return offer.action.name == name and is_of_intent and is_waiver


def evidence_deadline(item: ReviewItem) -> str:
    """Return until when the dispute of an item can be answered; empty if it can no longer be."""
    if item.reason != _Reason.DISPUTED:
        return ""
    dispute = Dispute.objects.filter(stripe_id=item.subject).first()
    due_at = dispute.evidence_due_at if dispute else None
    return moment_text(due_at) if due_at is not None and due_at > timezone.now() else ""


class ReviewItemInline(_Columns, ReadOnlyInline):
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
