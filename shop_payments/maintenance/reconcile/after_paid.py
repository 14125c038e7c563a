"""Mirror the refunds and disputes of our payment intents, also those made in Stripe's dashboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from shop_payments.conf import get_config
from shop_payments.gateway import Page, get_gateway
from shop_payments.lifecycle import DECIDED_DISPUTE_STATUSES, SETTLED_REFUND_STATUSES, RefundStatus
from shop_payments.maintenance.reconcile.pages import pages
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import Dispute, PaymentIntent, Refund
from shop_payments.sync.base import Listed
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.payment_intents import bring_up_to_date
from shop_payments.sync.refunds import REFUNDS


def mirror_refunds(sweep: Sweep) -> None:
    """Write down the refunds of our intents that are new or have moved.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = Refund.objects.filter(livemode=get_config().livemode)
    sweep.report.refunds += _mirror(
        sweep,
        REFUNDS,
        ask=get_gateway().page_of_refunds,
        rows=ours.exclude(stripe_id=""),
        unsettled=ours.exclude(status__in=[*SETTLED_REFUND_STATUSES, RefundStatus.REQUESTED]),
        # One whose answer was lost has no Stripe id yet; it is known by its attempt.
        unsent=list(ours.requested()),
    )


def mirror_disputes(sweep: Sweep) -> None:
    """Write down the disputes of our intents that are new or have moved.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = Dispute.objects.filter(livemode=get_config().livemode)
    sweep.report.disputes += _mirror(
        sweep,
        DISPUTES,
        ask=get_gateway().page_of_disputes,
        rows=ours,
        unsettled=ours.exclude(status__in=DECIDED_DISPUTE_STATUSES),
    )


def _mirror(
    sweep: Sweep,
    listed: Listed[Any, Any],
    *,
    ask: Callable[..., Page[Any]],
    rows: Any,
    unsettled: Any,
    unsent: Sequence[Any] = (),
) -> int:
    """Write what is new or has moved; return how many that were."""
    moved = 0

    def compare(before: Sequence[Any], intent: PaymentIntent, results: Sequence[Any]) -> None:
        nonlocal moved
        known = {row.stripe_id: row for row in before}
        news = [
            each
            for each in results
            if each.id not in known or not listed.agrees(known[each.id], each)
        ]
        if news and not sweep.dry_run:
            # A refund that is written before its order is known to be paid would never be told as
            # the order's; and the part of the sweep that lists intents may have failed.
            bring_up_to_date(intent, origin=sweep.origin)
            write(intent, before, news)
        moved += len(news)

    def write(intent: PaymentIntent, before: Sequence[Any], news: Sequence[Any]) -> None:
        versions = {row.pk: row.version for row in [*before, *unsent]}
        if not listed.write_listed(intent, versions, news, origin=sweep.origin):
            listed.sync(intent, origin=sweep.origin)

    def look_at(intent: PaymentIntent) -> None:
        before = list(rows.filter(payment_intent=intent))
        compare(before, intent, listed.ask(intent.stripe_id))

    unsettled = unsettled.select_related("payment_intent")
    for seen in pages(sweep, ask, rows=rows, unsettled=unsettled):
        for intent, results in _by_intent(seen.found):
            sweep.try_to(intent.stripe_id, partial(compare, seen.before, intent, results))
        for intent in {row.payment_intent for row in seen.not_shown}:
            sweep.try_to(intent.stripe_id, partial(look_at, intent))
    return moved


def _by_intent(found: Iterable[Any]) -> list[tuple[PaymentIntent, list[Any]]]:
    """Sort a page by our intents; what belongs to others is left out."""
    by_id: dict[str, list[Any]] = defaultdict(list)
    for result in found:
        by_id[result.payment_intent].append(result)
    intents = PaymentIntent.objects.filter(stripe_id__in=by_id).order_by("pk")
    return [(intent, by_id[intent.stripe_id]) for intent in intents]
