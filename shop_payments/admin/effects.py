"""The effect of an action on an order's balance, computed before it is carried out.

Each function evaluates the balance with the current observations plus the one that the action would
add. So the page shows the result of the same rules that apply afterwards.
"""

from __future__ import annotations

from dataclasses import replace

from django.utils import timezone
from django.utils.translation import gettext

from shop_payments.admin.base import amount_text
from shop_payments.admin.tasks import PaymentState, Target
from shop_payments.balance import Balance, Outflow, OutflowKind, OutflowProgress, balance_of
from shop_payments.ledger.observations import refund_key, settlement_key, waived_by
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import Refund, StaffEntry
from shop_payments.models.words import amount_number


def part_of(amount: int, whole: int, currency: str) -> str:
    """Format a part of an amount, for example as ``40.00 of 112.00 EUR``."""
    if amount == whole:
        return amount_text(amount, currency)
    values = {"part": amount_number(amount, currency), "whole": amount_text(whole, currency)}
    return gettext("%(part)s of %(whole)s") % values


def after_outflow(
    target: Target, amount: int, kind: OutflowKind, *, as_goods: bool | None
) -> Balance:
    """Return the balance after ``amount`` of the target's intent was refunded or settled."""
    state, options = target.state, target.options
    # As if Stripe had confirmed it already: the page shows the result of a success.
    outflow = Outflow(
        id="",
        payment_id=options.intent.stripe_id,
        at=timezone.now(),
        seen_at=timezone.now(),
        amount=amount,
        kind=kind,
        progress=OutflowProgress.FINAL,
        # Uncounted money never paid for the order, so the order's total does not matter for it.
        total_seen=state.observations.total if options.counts else None,
        waived_seen=state.observations.waived,
        as_goods=as_goods,
    )
    return balance_of(replace(state.observations, outflows=[*state.observations.outflows, outflow]))


def after_capture(target: Target, amount: int, *, waived: int) -> Balance:
    """Return the balance after ``amount`` of the target's intent was captured."""
    observations, intent = target.state.observations, target.options.intent
    # Captured money counts under the same conditions as money that Stripe reports as received.
    counts = observations.is_payable and intent.currency == target.payment.currency
    # An intent is captured once. Stripe releases what is not captured.
    payments = [
        replace(each, status=IntentStatus.SUCCEEDED, received=amount, counts=counts)
        if each.id == intent.stripe_id
        else each
        for each in observations.payments
    ]
    return balance_of(replace(observations, payments=payments, waived=observations.waived + waived))


def after_giving_up(state: PaymentState, refund: Refund) -> Balance:
    """Return the balance after a refund was given up, as if it had never been requested."""
    left = [each for each in state.observations.outflows if each.id != refund_key(refund)]
    return balance_of(replace(state.observations, outflows=left))


def after_waiver(state: PaymentState, amount: int) -> Balance:
    """Return the balance after ``amount`` was waived."""
    return balance_of(replace(state.observations, waived=state.observations.waived + amount))


def after_revoking(state: PaymentState, entry: StaffEntry) -> Balance:
    """Return the balance after a staff entry was revoked, as if it had never been recorded."""
    others = [each for each in state.entries if each.pk != entry.pk]
    waived = waived_by([options.intent for options in state.intents], others)
    left = [each for each in state.observations.outflows if each.id != settlement_key(entry)]
    return balance_of(replace(state.observations, outflows=left, waived=waived))


def describe_after(target: Target, after: Balance) -> str:
    """Describe what is owed or in excess in the balance ``after`` an action."""
    currency = target.payment.currency
    if after.owed:
        text = gettext("After this, %(amount)s is owed.")
        return text % {"amount": amount_text(after.owed, currency)}
    if after.excess:
        text = gettext("After this, the excess is %(amount)s.")
        return text % {"amount": amount_text(sum(after.excess.values()), currency)}
    return gettext("After this, nothing is owed.")
