"""Mirror the refunds and disputes of our payment intents, whoever made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from shop_payments.conf import get_config
from shop_payments.gateway import Page, get_gateway
from shop_payments.lifecycle import (
    DECIDED_DISPUTE_STATUSES,
    SETTLED_REFUND_STATUSES,
    RefundStatus,
)
from shop_payments.models import Dispute, PaymentIntent, Refund
from shop_payments.services.disputes import dispute_agrees, sync_disputes, write_listed_disputes
from shop_payments.services.reconcile.pages import pages, span
from shop_payments.services.reconcile.sweep import Sweep
from shop_payments.services.refunds import refund_agrees, sync_refunds, write_listed_refunds

_Write = Callable[[PaymentIntent, Sequence[Any], Sequence[Any]], None]
"""Of an intent, with the rows as they were before Stripe was asked: write these results."""


def mirror_refunds(sweep: Sweep) -> None:
    """Write down the refunds of our intents that are new or have moved.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = Refund.objects.filter(livemode=get_config().livemode)
    # One whose answer was lost has no Stripe id yet; it is known by its attempt.
    unsent = list(ours.requested())

    def write(intent: PaymentIntent, before: Sequence[Refund], results: Sequence[Any]) -> None:
        known = {row.pk: row.version for row in [*before, *unsent]}
        if not write_listed_refunds(intent, known, results, origin=sweep.origin):
            sync_refunds(intent, origin=sweep.origin)

    sweep.report.refunds += _mirror(
        sweep,
        ask=get_gateway().page_of_refunds,
        ask_of_intent=get_gateway().list_refunds,
        rows=ours.exclude(stripe_id=""),
        unsettled=ours.exclude(status__in=[*SETTLED_REFUND_STATUSES, RefundStatus.REQUESTED]),
        agrees=refund_agrees,
        write=write,
    )


def mirror_disputes(sweep: Sweep) -> None:
    """Write down the disputes of our intents that are new or have moved.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = Dispute.objects.filter(livemode=get_config().livemode)

    def write(intent: PaymentIntent, before: Sequence[Dispute], results: Sequence[Any]) -> None:
        known = {row.stripe_id: row.version for row in before}
        if not write_listed_disputes(intent, known, results, origin=sweep.origin):
            sync_disputes(intent, origin=sweep.origin)

    sweep.report.disputes += _mirror(
        sweep,
        ask=get_gateway().page_of_disputes,
        ask_of_intent=get_gateway().list_disputes,
        rows=ours,
        unsettled=ours.exclude(status__in=DECIDED_DISPUTE_STATUSES),
        agrees=dispute_agrees,
        write=write,
    )


def _mirror(
    sweep: Sweep,
    *,
    ask: Callable[..., Page[Any]],
    ask_of_intent: Callable[[str], list[Any]],
    rows: Any,
    unsettled: Any,
    agrees: Callable[[Any, Any], bool],
    write: _Write,
) -> int:
    """Write what is new or has moved; return how many that were."""
    moved = 0

    def compare(before: Sequence[Any], intent: PaymentIntent, results: Sequence[Any]) -> None:
        nonlocal moved
        known = {row.stripe_id: row for row in before}
        news = [
            each for each in results if each.id not in known or not agrees(known[each.id], each)
        ]
        if news and not sweep.dry_run:
            write(intent, before, news)
        moved += len(news)

    def look_at(intent: PaymentIntent) -> None:
        before = list(rows.filter(payment_intent=intent))
        compare(before, intent, ask_of_intent(intent.stripe_id))

    since, old = span(sweep.since, unsettled.select_related("payment_intent"))
    for before, found in pages(sweep, ask, rows, since):
        for intent, results in _by_intent(found):
            sweep.try_to(intent.stripe_id, partial(compare, before, intent, results))
    for intent in {row.payment_intent for row in old}:
        sweep.try_to(intent.stripe_id, partial(look_at, intent))
    return moved


def _by_intent(found: Iterable[Any]) -> list[tuple[PaymentIntent, list[Any]]]:
    """Sort a page by our intents; what belongs to others is left out."""
    by_id: dict[str, list[Any]] = defaultdict(list)
    for result in found:
        by_id[result.payment_intent].append(result)
    intents = PaymentIntent.objects.filter(stripe_id__in=by_id).order_by("pk")
    return [(intent, by_id[intent.stripe_id]) for intent in intents]
