"""What an action would do to an order's balance, computed before it is carried out.

Each effect is the same fold as the balance itself, over what was observed and one thing more.
"""

from __future__ import annotations

from dataclasses import replace

from django.utils import timezone
from django.utils.translation import gettext

from shop_payments.admin.base import amount_text
from shop_payments.admin.tasks import Found, Target
from shop_payments.balance import Balance, Outflow, OutflowKind, OutflowProgress, balance_of
from shop_payments.ledger.observations import refund_key
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import Refund
from shop_payments.money import format_amount


def part_of(amount: int, whole: int, currency: str) -> str:
    """Write a part and what it is a part of: ``40.00 of 112.00 EUR``."""
    if amount == whole:
        return amount_text(amount, currency)
    values = {"part": format_amount(amount, currency), "whole": amount_text(whole, currency)}
    return gettext("%(part)s of %(whole)s") % values


def after_outflow(
    target: Target, amount: int, kind: OutflowKind, *, as_goods: bool | None
) -> Balance:
    """Return the balance after money of the target's intent has gone out."""
    found, options = target.found, target.options
    outflow = Outflow(
        id="",
        payment_id=options.intent.stripe_id,
        at=timezone.now(),
        seen_at=timezone.now(),
        amount=amount,
        kind=kind,
        progress=OutflowProgress.FINAL,
        total_seen=found.seen.total if options.counts else None,
        waived_seen=found.seen.waived,
        as_goods=as_goods,
    )
    return balance_of(replace(found.seen, outflows=[*found.seen.outflows, outflow]))


def after_capture(target: Target, amount: int, *, waived: int) -> Balance:
    """Return the balance after money that is reserved with the target's intent was taken."""
    seen, intent = target.found.seen, target.options.intent
    counts = seen.is_payable and intent.currency == target.payment.currency
    payments = [
        replace(each, status=IntentStatus.SUCCEEDED, received=amount, counts=counts)
        if each.id == intent.stripe_id
        else each
        for each in seen.payments
    ]
    return balance_of(replace(seen, payments=payments, waived=seen.waived + waived))


def after_giving_up(found: Found, refund: Refund) -> Balance:
    """Return the balance after a refund was given up: its money has not left."""
    left = [each for each in found.seen.outflows if each.id != refund_key(refund)]
    return balance_of(replace(found.seen, outflows=left))


def after_waiver(found: Found, amount: int) -> Balance:
    """Return the balance after this amount was waived."""
    return balance_of(replace(found.seen, waived=found.seen.waived + amount))


def describe_after(target: Target, after: Balance) -> str:
    """Say what the order owes after that, or what was received too much for it."""
    currency = target.payment.currency
    if after.owed:
        text = gettext("After that, the order owes %(amount)s.")
        return text % {"amount": amount_text(after.owed, currency)}
    if after.excess:
        text = gettext("After that, %(amount)s was received too much.")
        return text % {"amount": amount_text(sum(after.excess.values()), currency)}
    return gettext("After that, the order owes nothing.")
