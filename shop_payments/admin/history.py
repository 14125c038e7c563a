"""What happened to payments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import (
    NOTHING,
    InlineFormSet,
    PaymentRecordAdmin,
    ReadOnlyInline,
    moment_text,
)
from shop_payments.models import PaymentHistory

_STAFF = re.compile(r"\bstaff (\S+)$")
"""How an actor names a member of staff, by the user's key: see ``actions.origin_of``."""


def name_staff(facts: Iterable[Any]) -> None:
    """Look up, in one query, the names of the staff that these facts know by their keys alone.

    A name is personal data, so it is not part of the history, which is never purged. It is shown
    for as long as there is such a user.
    """
    unnamed = [fact for fact in facts if not hasattr(fact, "staff_names")]
    keys = {each: _staff_key(each) for fact in unnamed for each in (fact.actor, fact.skipped_by)}
    wanted = {key for key in keys.values() if key is not None}
    users = get_user_model()._default_manager.in_bulk(wanted) if wanted else {}
    names = {each: users[key].get_username() for each, key in keys.items() if key in users}
    for fact in unnamed:
        fact.staff_names = names


def _with_name(actor: str, fact: Any) -> str:
    name_staff([fact])
    name = fact.staff_names.get(actor)
    return f"{actor} ({name})" if name else actor or NOTHING


def _staff_key(actor: str) -> Any:
    found = _STAFF.search(actor)
    try:
        return get_user_model()._meta.pk.to_python(found[1]) if found else None
    except ValidationError:
        return None


class _FactFormSet(InlineFormSet):
    def get_queryset(self) -> QuerySet[Any]:
        facts = super().get_queryset()
        name_staff(facts)
        return facts


class _FactColumns:
    @admin.display(description=_("by"), ordering="actor")
    def who(self, fact: Any) -> str:
        return _with_name(fact.actor, fact)

    @admin.display(description=_("what happened"))
    def what_happened(self, fact: PaymentHistory) -> str:
        return fact.sentence

    @admin.display(description=_("shop notified"), ordering="dispatched_at")
    def notified(self, fact: PaymentHistory) -> str:
        """When the shop's own code was notified of the fact, or why it was not."""
        if not fact.needs_dispatch:
            return NOTHING
        if fact.dispatched_at is not None:
            return self._with_failures(moment_text(fact.dispatched_at), fact)
        if fact.skipped_at is None:
            return self._with_failures(gettext("waiting"), fact)
        values = {
            "who": _with_name(fact.skipped_by, fact),
            "when": moment_text(fact.skipped_at),
        }
        return self._with_failures(gettext("skipped by %(who)s, %(when)s") % values, fact)

    @staticmethod
    def _with_failures(text: str, fact: PaymentHistory) -> str:
        if not fact.dispatch_failures:
            return text
        failures = ngettext(
            "%(text)s, after %(count)d failed try",
            "%(text)s, after %(count)d failed tries",
            fact.dispatch_failures,
        )
        return failures % {"text": text, "count": fact.dispatch_failures}


class WaitingFilter(admin.SimpleListFilter):
    title = _("shop notified")
    parameter_name = "notified"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("waiting", _("waiting")),
            ("failing", _("waiting, after failures")),
            ("skipped", _("skipped")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        waiting = queryset.filter(needs_dispatch=True, dispatched_at=None, skipped_at=None)
        match self.value():
            case "waiting":
                return waiting
            case "failing":
                return waiting.filter(dispatch_failures__gt=0)
            case "skipped":
                return queryset.exclude(skipped_at=None)
        return queryset


class PaymentHistoryAdmin(_FactColumns, PaymentRecordAdmin):
    list_display = ["created_at", "order_number", "what_happened", "who"]
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
        "who",
        "request_id",
        "notified",
        "fact_id",
    ]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        name_staff(page.result_list)
        return page


class PaymentHistoryInline(_FactColumns, ReadOnlyInline):
    model = PaymentHistory
    verbose_name_plural = _("payment history")
    formset = _FactFormSet
    fields = ["created_at", "what_happened", "who", "notified"]
