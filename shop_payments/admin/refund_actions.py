"""The staff action on a refund: give up one whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from django import forms
from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import dashboard_link, moment_text
from shop_payments.admin.effects import after_giving_up, describe_after
from shop_payments.admin.forms import GiveUpForm
from shop_payments.admin.tasks import Action, Outcome, PaymentState, Target, Task, with_balance
from shop_payments.ledger.observations import counts
from shop_payments.lifecycle import RefundStatus
from shop_payments.models import Refund
from shop_payments.models.words import humanize
from shop_payments.services.give_up_refund import give_up_refund


class GiveUpAction(Action):
    name = "give_up"
    title = _("Give up the refund")
    button = _("Give up this refund")
    needs = "shop_payments.add_refund"
    key_kind = "uuid"  # the primary key of a refund is its idempotency key at Stripe

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state, of_refund=refund) for refund in state.refunds]

    def is_offered(self, target: Target) -> bool:
        # Any other status comes from Stripe, and staff cannot know better.
        return target.refund.status == RefundStatus.REQUESTED

    def why_not(self, target: Target) -> str:
        return _why_not(target.refund)

    def label(self, target: Target) -> str:
        values = {"amount": target.refund.amount_display}
        return gettext("Give up the refund of %(amount)s") % values

    def currency(self, target: Target) -> str:
        return target.refund.currency

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return GiveUpForm(**kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        refund, intent = target.refund, target.refund.payment_intent
        path = f"payments/{quote(intent.stripe_id)}"
        return [
            (_("Refund"), refund.amount_display),
            (_("Asked for"), moment_text(refund.created_at)),
            (_("Outcome"), gettext("unknown: Stripe has not reported whether it was made")),
            (_("Payment"), intent.title),
            (_("Stripe id"), intent.stripe_id),
            (_("Look here first"), dashboard_link(path, livemode=refund.livemode)),
        ]

    def effect(self, target: Target, form: Any) -> str:
        refund = target.refund
        text = gettext(
            "The refund of %(amount)s will be recorded as not made, and this amount can be refunded"
            " again. Nothing is sent to Stripe. If Stripe makes the refund after all, it counts."
        ) % {"amount": refund.amount_display}
        if not counts(target.payment, refund.payment_intent):
            # Uncounted money does not change what is owed.
            return text
        return f"{text} {describe_after(target, after_giving_up(target.state, refund))}"

    def carry_out(self, task: Task) -> Outcome:
        refund = give_up_refund(
            refund_pk=task.target.refund.pk, reason=task.values["reason"], origin=task.origin
        )
        if refund.status != RefundStatus.REFUSED:  # Stripe has reported its outcome meanwhile
            return Outcome(_why_not(refund), messages.WARNING)
        values = {"amount": refund.amount_display}
        text = gettext("The refund of %(amount)s is given up.") % values
        return Outcome(with_balance(text, refund.order_payment_id))


def _why_not(refund: Refund) -> str:
    return gettext("Nothing was changed. The refund's status: %(status)s.") % {
        "status": humanize(refund.status)
    }
