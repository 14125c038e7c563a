"""Staff actions that Stripe does not know: waive, settle outside Stripe, revoke."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import amount_text, in_words, moment_text, total_text
from shop_payments.admin.effects import (
    after_outflow,
    after_revoking,
    after_waiver,
    describe_after,
    part_of,
)
from shop_payments.admin.forms import RevokeForm, SettleForm, WaiveForm
from shop_payments.admin.intent_actions import MAY_WAIVE, money_facts
from shop_payments.admin.tasks import (
    Action,
    EarlierUse,
    IntentAction,
    Outcome,
    PaymentState,
    Target,
    Task,
    balance_facts,
    with_balance,
)
from shop_payments.balance import OutflowKind
from shop_payments.exceptions import ActionRefused, EntryRefused
from shop_payments.models import StaffEntry
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)

MAY_SETTLE = "shop_payments.settle_outside_stripe"


def _record(task: Task, record: Callable[[EntryRequest], StaffEntry]) -> StaffEntry:
    request = EntryRequest(
        amount_decimal=task.values["amount"],
        reason=task.values["reason"],
        key=task.request_key,
        user=task.user,
    )
    try:
        return record(request)
    except EntryRefused as error:
        raise ActionRefused(in_words(error), field="amount") from error


def _earlier(target: Target, request_key: str) -> EarlierUse | None:
    entry = target.payment.staff_entries.filter(request_key=request_key).first()
    return None if entry is None else EarlierUse(text=_describe(entry))


def _describe(entry: StaffEntry) -> str:
    values = {"amount": entry.amount_display}
    if entry.kind == StaffEntry.Kind.WAIVER:
        return gettext("%(amount)s is waived.") % values
    return gettext("%(amount)s is settled outside Stripe.") % values


class WaiveAction(Action):
    name = "waive"
    title = _("Waive")
    button = _("Waive this amount")
    needs = MAY_WAIVE
    has_row = False

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state)]

    def is_offered(self, target: Target) -> bool:
        balance = target.state.balance
        # An order without any payment has no rest to waive; staff cancel it instead.
        return balance.paid > 0 and balance.waivable > 0

    def why_not(self, target: Target) -> str:
        balance = target.state.balance
        if balance.paid == 0:
            return gettext("No money was received for this order, so there is no rest to waive.")
        if balance.owed > 0:
            return gettext(
                "Only money in pending refunds or open disputes is missing. It may come back, so "
                "it cannot be waived."
            )
        return gettext("Nothing is owed, so there is nothing to waive.")

    def exact_label(self, money: str) -> str:
        return gettext("Waive %(money)s") % {"money": money}

    def amount(self, target: Target) -> int:
        return target.state.balance.waivable

    def currency(self, target: Target) -> str:
        return target.payment.currency

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return WaiveForm(currency=self.currency(target), **kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        amounts = ("amount_received", "amount_refunded", "amount_lost", "amount_waived")
        return [
            (_("Order total"), total_text(target.payment)),
            *balance_facts(target.payment, *amounts, "amount_owed"),
        ]

    def effect(self, target: Target, form: Any) -> str:
        part = part_of(form.minor_units, target.state.balance.waivable, self.currency(target))
        text = gettext("%(part)s will be waived: the customer does not have to pay it.") % {
            "part": part
        }
        after = after_waiver(target.state, form.minor_units)
        return f"{text} {describe_after(target, after)}"

    def earlier(self, target: Target, request_key: str) -> EarlierUse | None:
        return _earlier(target, request_key)

    def carry_out(self, task: Task) -> Outcome:
        entry = _record(
            task,
            lambda request: waive_amount(
                order_id=task.order_id, request=request, origin=task.origin
            ),
        )
        return Outcome(with_balance(_describe(entry), entry.order_payment_id))


class SettleAction(IntentAction):
    name = "settle"
    title = _("Settle outside Stripe")
    button = _("Record it as settled")
    needs = MAY_SETTLE

    def is_offered(self, target: Target) -> bool:
        options = target.options
        # The mode does not matter: nothing is sent to Stripe.
        return options.intent.holds_money and options.money.refundable > 0

    def why_not(self, target: Target) -> str:
        return gettext("No money of this payment is left to settle.")

    def label(self, target: Target) -> str:
        with_money = [each for each in target.state.intents if each.money.refundable]
        if len(with_money) == 1:
            return str(self.title)
        values = {"payment": self.named(target)}
        return gettext("Settle the payment outside Stripe: %(payment)s") % values

    def exact_label(self, money: str) -> str:
        return gettext("Settle %(money)s outside Stripe") % {"money": money}

    def amount(self, target: Target) -> int:
        options = target.options
        excess = target.state.balance.excess.get(options.intent.stripe_id)
        # The excess is proposed, because settling more makes the order owe money again.
        return excess or options.money.refundable

    def maximum(self, target: Target) -> int:
        return target.options.money.refundable

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return SettleForm(currency=self.currency(target), **kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        options, currency = target.options, self.currency(target)
        excess = target.state.balance.excess.get(options.intent.stripe_id, 0)
        in_excess = [(_("Excess"), amount_text(excess, currency))] if excess else []
        return [
            *money_facts(options),
            *in_excess,
            (_("Can be settled"), amount_text(options.money.refundable, currency)),
            (_("Counts for the order"), gettext("yes") if options.counts else gettext("no")),
        ]

    def effect(self, target: Target, form: Any) -> str:
        part = part_of(form.minor_units, self.maximum(target), self.currency(target))
        text = gettext(
            "%(part)s will be recorded as settled outside Stripe. No money moves at Stripe."
        ) % {"part": part}
        if not target.options.counts:
            return text
        # A settlement never pays for returned goods, so the order owes the money again.
        after = after_outflow(target, form.minor_units, OutflowKind.SETTLEMENT, as_goods=False)
        return f"{text} {describe_after(target, after)}"

    def earlier(self, target: Target, request_key: str) -> EarlierUse | None:
        return _earlier(target, request_key)

    def carry_out(self, task: Task) -> Outcome:
        entry = _record(
            task,
            lambda request: settle_outside_stripe(
                order_id=task.order_id,
                intent_id=task.target.options.intent.stripe_id,
                request=request,
                origin=task.origin,
            ),
        )
        return Outcome(with_balance(_describe(entry), entry.order_payment_id))


class RevokeAction(Action):
    name = "revoke"
    title = _("Revoke")
    button = _("Revoke this entry")

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state, staff_entry=entry) for entry in state.entries]

    def permission(self, target: Target) -> str:
        # The permission to record entries of a kind includes revoking them.
        is_waiver = target.entry.kind == StaffEntry.Kind.WAIVER
        return MAY_WAIVE if is_waiver else MAY_SETTLE

    def is_offered(self, target: Target) -> bool:
        # Without a waiver, the amount is owed, and the customer must be able to pay it.
        entry = target.entry
        may_be_paid = entry.kind != StaffEntry.Kind.WAIVER or target.payment.is_payable
        return not entry.is_revoked and may_be_paid

    def why_not(self, target: Target) -> str:
        if target.entry.is_revoked:
            return _already_revoked()
        return gettext(
            "The order does not accept payments, so the customer could not pay the waived "
            "amount. Open the order first."
        )

    def label(self, target: Target) -> str:
        return gettext("Revoke: %(entry)s") % {"entry": target.entry}

    def currency(self, target: Target) -> str:
        return target.entry.currency

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return RevokeForm(**kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        entry = target.entry
        return [
            (_("Entry"), str(entry)),
            (_("Reason"), entry.reason_text),
            (_("Recorded at"), moment_text(entry.created_at)),
            (_("What will happen"), _describe_revoking(target)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        entry = task.target.entry
        try:
            was_in_force = revoke_staff_entry(
                entry_pk=entry.pk,
                reason=task.values["reason"],
                user=task.user,
                origin=task.origin,
            )
        except EntryRefused as error:
            raise ActionRefused(in_words(error)) from error
        if not was_in_force:  # another request revoked it meanwhile
            return Outcome(_already_revoked(), messages.WARNING)
        text = gettext("The entry “%(entry)s” is revoked.") % {"entry": entry}
        return Outcome(with_balance(text, entry.order_payment_id))


def _describe_revoking(target: Target) -> str:
    text = gettext("The entry no longer counts. No money moves at Stripe. %(after)s")
    after = after_revoking(target.state, target.entry)
    return text % {"after": describe_after(target, after)}


def _already_revoked() -> str:
    return gettext("Nothing was changed: this entry was already revoked.")
