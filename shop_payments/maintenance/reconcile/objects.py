"""Sync what belongs to our payment intents, also what was made in Stripe's dashboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from shop_payments.conf import get_config
from shop_payments.exceptions import GatewayAuthenticationError
from shop_payments.maintenance.reconcile.pages import pages
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import PaymentIntent
from shop_payments.sync.base import ObjectType
from shop_payments.sync.payment_intents import sync_intent


def sync_objects(sweep: Sweep, object_type: ObjectType[Any, Any]) -> None:
    """Write what is new or has moved of the objects that belong to our intents.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    try:
        _sync_objects(sweep, object_type)
    except GatewayAuthenticationError as error:
        if not (object_type.is_optional and error.http_status == HTTPStatus.FORBIDDEN):
            raise
        sweep.report_progress(f"{object_type.plural}: left out, the key may not list them")


def _sync_objects(sweep: Sweep, object_type: ObjectType[Any, Any]) -> None:
    livemode = get_config().livemode
    rows = object_type.rows().filter(livemode=livemode)
    unsettled = object_type.unsettled().filter(livemode=livemode)
    # One whose answer was lost has no Stripe id yet; it is known by its attempt. They are read now:
    # what is written must not be older than the row.
    unsent = list(object_type.unsent().filter(livemode=livemode)) if object_type.unsent else []
    counts = sweep.report.objects

    def compare(before: Sequence[Any], intent: PaymentIntent, results: Sequence[Any]) -> None:
        known = {row.stripe_id: row for row in before}
        news = [
            each
            for each in results
            if each.id not in known or not object_type.agrees(known[each.id], each)
        ]
        if news and not sweep.dry_run:
            # A refund that is written before its order is known to be paid would never be told as
            # the order's; and the part of the sweep that lists intents may have failed.
            sync_intent(intent, origin=sweep.origin)
            write(intent, before, news)
        counts[object_type.plural] += len(news)

    def write(intent: PaymentIntent, before: Sequence[Any], news: Sequence[Any]) -> None:
        versions = {row.pk: row.version for row in [*before, *unsent]}
        if not object_type.write_listed(intent, versions, news, origin=sweep.origin):
            object_type.sync(intent, origin=sweep.origin)

    def look_at(intent: PaymentIntent) -> None:
        before = list(rows.filter(payment_intent=intent))
        compare(before, intent, object_type.list_of(intent.stripe_id))

    unsettled = unsettled.select_related("payment_intent")
    # What an incomplete list does not show may have been settled meanwhile.
    unseen = {row.stripe_id: row.payment_intent for row in unsettled if object_type.lists_open_only}
    for seen in pages(sweep, object_type.page, rows=rows, unsettled=unsettled):
        for intent, results in _by_intent(seen.found):
            sweep.try_to(intent.stripe_id, partial(compare, seen.before, intent, results))
        unseen |= {row.stripe_id: row.payment_intent for row in seen.not_shown}
        unseen = {name: row for name, row in unseen.items() if name not in _ids(seen.found)}
    for intent in set(unseen.values()):
        sweep.try_to(intent.stripe_id, partial(look_at, intent))


def _ids(found: Iterable[Any]) -> set[str]:
    return {each.id for each in found}


def _by_intent(found: Iterable[Any]) -> list[tuple[PaymentIntent, list[Any]]]:
    """Sort a page by our intents; what belongs to others is left out."""
    by_id: dict[str, list[Any]] = defaultdict(list)
    for result in found:
        by_id[result.payment_intent].append(result)
    intents = PaymentIntent.objects.filter(stripe_id__in=by_id).order_by("pk")
    return [(intent, by_id[intent.stripe_id]) for intent in intents]
