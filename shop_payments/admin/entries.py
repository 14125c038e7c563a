"""The pages of staff entries: waivers and settlements outside Stripe."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import links_about
from shop_payments.admin.base import (
    NOTHING,
    ReadOnlyInline,
    moment_text,
    number_of,
    page_link,
)
from shop_payments.admin.lists import time_column
from shop_payments.admin.records import PaymentRecordAdmin
from shop_payments.ledger.observations import is_in_force
from shop_payments.models import StaffEntry


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("not_revoked", _("not revoked")), ("revoked", _("revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "not_revoked":
                return queryset.filter(revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


def _is_in_force(entry: StaffEntry) -> bool:
    # A waiver that was recorded with a capture counts only if exactly that amount was captured.
    intent = entry.payment_intent
    return is_in_force(entry, {} if intent is None else {intent.pk: intent})


class _Columns:
    @admin.display(description=_("amount"))
    def amount_text(self, entry: StaffEntry) -> str:
        return entry.amount_display

    @admin.display(description=_("reason"), ordering="reason")
    def reason_text(self, entry: StaffEntry) -> str:
        return entry.reason_text

    @admin.display(description=_("by"))
    def who(self, entry: StaffEntry) -> str:
        """The name of the user; if the user was deleted, the primary key."""
        user = entry.created_by
        return entry.actor or NOTHING if user is None else user.get_username()

    @admin.display(description=_("state"))
    def state_word(self, entry: StaffEntry) -> str:
        if entry.is_revoked:
            return gettext("revoked")
        return gettext("in force") if _is_in_force(entry) else gettext("not in force")

    @admin.display(description=_("state"))
    def state(self, entry: StaffEntry) -> str:
        """The state with its reason."""
        if entry.is_revoked:
            return self._revoked(entry)
        if _is_in_force(entry):
            return gettext("in force")
        return gettext("not in force: its capture has not succeeded")

    @staticmethod
    def _revoked(entry: StaffEntry) -> str:
        assert entry.revoked_at is not None
        values = {
            "when": moment_text(entry.revoked_at),
            "who": entry.revoked_by.get_username() if entry.revoked_by else gettext("staff"),
            "why": entry.revocation_text,
        }
        return gettext("revoked by %(who)s, %(when)s: %(why)s") % values


_ROWS = ("payment_intent", "capture", "created_by", "revoked_by")


class StaffEntryAdmin(_Columns, PaymentRecordAdmin):
    created = time_column("created_at", _("recorded at"))
    list_display = [
        "created",
        "order_number",
        "kind",
        "amount_text",
        "reason_text",
        "state_word",
    ]
    list_filter = ["kind", StateFilter, "created_at"]
    sortable_by = ["created"]
    # Staff write these rows by hand, so there are few, and reading all of them is no problem.
    search_fields = ["reason__icontains"]
    search_help_text = _("Search by order number or id, Stripe id or words of the reason.")
    list_select_related = ("order_payment__order", *_ROWS)
    fieldsets = [
        (None, {"fields": ["payment_link", "intent_link", "kind", "amount_text", "state"]}),
        (_("Record"), {"fields": ["reason_text", "who", "created_at", "capture_link"]}),
    ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        entry = context["original"]
        context["subtitle"] = number_of(entry.order_payment)
        context["action_links"] = links_about(self.admin_site, request, entry)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("recorded with the capture"))
    def capture_link(self, entry: StaffEntry) -> str:
        title = entry.capture and entry.capture.title
        return page_link(entry.capture, title, site=self.admin_site)


class StaffEntryInline(_Columns, ReadOnlyInline):
    model = StaffEntry
    fields = ["created_at", "kind", "amount_text", "reason_text", "who", "state"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related(*_ROWS)
