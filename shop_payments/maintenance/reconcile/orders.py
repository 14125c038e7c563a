"""Evaluate the orders that could not be read or are in review, and run their follow-ups."""

from __future__ import annotations

from functools import partial

from django.db.models import Q

from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import OrderPayment
from shop_payments.services.follow_up import lower_open_intent, payments_to_follow_up
from shop_payments.services.reevaluate_order import reevaluate_order
from shop_payments.services.refund_excess import refund_excess

_MAY_HAVE_CHANGED = Q(needs_review=True) & (
    Q(amount_excess__gt=0) | Q(amount_uncounted__gt=0) | Q(amount_owed__gt=0)
)


def evaluate_orders(sweep: Sweep) -> None:
    """Evaluate orders that could not be read, and those that the shop may have corrected."""
    waiting = OrderPayment.objects.filter(Q(failed_reads__gt=0) | _MAY_HAVE_CHANGED)
    for payment in sweep.each_of(waiting):
        if sweep.dry_run or sweep.try_to(str(payment), partial(_evaluate, sweep, payment)):
            sweep.report.orders += payment.failed_reads > 0
    for payment in sweep.each_of(payments_to_follow_up()):
        if not sweep.dry_run:
            sweep.try_to(str(payment), partial(_follow_up, sweep, payment))


def _evaluate(sweep: Sweep, payment: OrderPayment) -> None:
    reevaluate_order(payment.order_id, origin=sweep.origin)


def _follow_up(sweep: Sweep, payment: OrderPayment) -> None:
    lower_open_intent(payment.pk, origin=sweep.origin)
    refund_excess(payment.pk, origin=sweep.origin)
