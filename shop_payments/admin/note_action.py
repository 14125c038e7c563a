"""Staff write a note about a payment, for the other staff."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.forms import NoteForm
from shop_payments.admin.tasks import Action, EarlierUse, Outcome, PaymentState, Target, Task
from shop_payments.services.add_note import add_note


class NoteAction(Action):
    name = "note"
    title = _("Add a note")
    button = _("Add the note")
    needs = "shop_payments.add_staffnote"
    has_row = False
    is_listed = False

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state)]

    def is_offered(self, target: Target) -> bool:
        return True

    def why_not(self, target: Target) -> str:
        raise AssertionError("a note can always be added")

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return NoteForm(**kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        return []

    def earlier(self, target: Target, request_key: str) -> EarlierUse | None:
        is_used = target.payment.staff_notes.filter(request_key=request_key).exists()
        return EarlierUse(text=gettext("The note was added."), is_refused=True) if is_used else None

    def carry_out(self, task: Task) -> Outcome:
        add_note(
            payment=task.target.payment,
            text=task.values["text"],
            key=task.request_key,
            user=task.user,
            origin=task.origin,
        )
        return Outcome(gettext("The note was added."))
