"""The pages of the payment history."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import (
    NOTHING,
    NewestRows,
    ReadOnlyInline,
    moment_text,
)
from shop_payments.admin.lists import time_column
from shop_payments.admin.records import PaymentRecordAdmin
from shop_payments.models import PaymentHistory, Source
from shop_payments.models.words import choice_label

_STAFF = re.compile(r"\bstaff (\S+)$")
"""How an actor names a member of staff by primary key: see ``actions.origin_of``."""


def name_staff(facts: Iterable[Any]) -> None:
    """Look up the names of the staff in these facts, with one query.

    A name is personal data, so the history, which is never purged, stores only the user's key. The
    name is shown as long as the user exists.
    """
    # A list names its facts at once; a page of one fact does it when the column is shown.
    unnamed = [fact for fact in facts if not hasattr(fact, "staff_names")]
    keys = {each: _staff_key(each) for fact in unnamed for each in (fact.actor, fact.skipped_by)}
    wanted = {key for key in keys.values() if key is not None}
    users = get_user_model()._default_manager.in_bulk(wanted) if wanted else {}
    names = {each: users[key].get_username() for each, key in keys.items() if key in users}
    for fact in unnamed:
        fact.staff_names = names


def _who(actor: str, fact: Any) -> str:
    """Return who caused a fact, as words."""
    if fact.source in (Source.WEBHOOK, Source.RECONCILE) and actor == fact.actor:
        # The actor is the id of an event, or the name of a command.
        return choice_label(fact, "source")
    name_staff([fact])
    name = fact.staff_names.get(actor)
    words = ", ".join(map(_in_words, actor.split(", ")))
    return f"{name} ({words})" if name else words or NOTHING


_ACTORS = {
    "checkout": _("checkout"),
    "key": _("key %(id)s"),
    "order token": _("order token"),
    "payment link": _("payment link"),
    "staff": _("staff %(id)s"),
    "user": _("user %(id)s"),
}
"""The actors that the app writes. Any other is the host's."""


def _in_words(part: str) -> str:
    text = _ACTORS.get(part)
    if text is not None:
        return str(text)
    kind, _space, key = part.partition(" ")
    text = _ACTORS.get(kind)
    return part if text is None else str(text) % {"id": key}


def _staff_key(actor: str) -> Any:
    found = _STAFF.search(actor)
    # The key of the host's user model may be of any type, and other actors may look similar.
    try:
        return get_user_model()._meta.pk.to_python(found[1]) if found else None
    except ValidationError:
        return None


class _FactFormSet(NewestRows):
    def get_queryset(self) -> Any:
        facts = super().get_queryset()
        # Here, so that a page with many facts needs one query and not one for each fact.
        name_staff(facts)
        return facts


class FactColumns:
    """The columns of facts, here and in the timeline."""

    @admin.display(description=_("by"))
    def who(self, fact: Any) -> str:
        return _who(fact.actor, fact)

    @admin.display(description=_("what happened"))
    def what_happened(self, fact: PaymentHistory) -> str:
        return fact.sentence

    @admin.display(description=_("shop notified"))
    def notified(self, fact: PaymentHistory) -> str:
        """When the shop's code was notified of the fact, or why it was not."""
        if not fact.needs_dispatch:
            return NOTHING
        if fact.dispatched_at is not None:
            return self._with_failures(moment_text(fact.dispatched_at), fact)
        if fact.skipped_at is None:
            return self._with_failures(gettext("waiting"), fact)
        values = {
            "who": _who(fact.skipped_by, fact),
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
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        waiting = queryset.filter(needs_dispatch=True, dispatched_at=None, skipped_at=None)
        match self.value():
            case "waiting":
                return waiting
            case "failing":
                return waiting.filter(dispatch_failures__gt=0)
        return queryset


class PaymentHistoryAdmin(FactColumns, PaymentRecordAdmin):
    created = time_column("created_at", _("when"))
    list_display = ["created", "order_number", "what_happened", "who"]
    list_filter = ["kind", "source", WaitingFilter]
    sortable_by = ["created"]
    search_fields = ["fact_id"]
    search_help_text = _(
        "Search by order number or id, Stripe id, or user name of a member of staff."
    )
    fields = [
        "created_at",
        "payment_link",
        "intent_link",
        "what_happened",
        "kind",
        "source",
        "who",
        "actor",
        "request_id",
        "notified",
        "fact_id",
    ]

    def searches(self, text: str) -> Iterator[Q]:
        yield from super().searches(text)
        # The index by source makes the history of the admin small enough to look through.
        yield Q(source=Source.ADMIN, actor=text)
        users = get_user_model()
        named = users._default_manager.filter(**{users.USERNAME_FIELD: text}).first()
        if named is not None:
            yield Q(source=Source.ADMIN, actor=f"staff {named.pk}")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        name_staff(page.result_list)
        return page


class PaymentHistoryInline(FactColumns, ReadOnlyInline):
    is_folded = True
    model = PaymentHistory
    verbose_name_plural = _("payment history")
    formset = _FactFormSet
    fields = ["created_at", "what_happened", "who", "notified"]
