"""Sync the objects that belong to our payment intents, including those made in the dashboard."""

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
    """Write the new and changed objects of one type that belong to our intents.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    try:
        _sync_objects(sweep, object_type)
    except GatewayAuthenticationError as error:
        if not (object_type.is_optional and error.http_status == HTTPStatus.FORBIDDEN):
            raise
        # A restricted key need not have the permissions for optional types.
        sweep.report_progress(f"{object_type.plural}: skipped, because the key may not list them")


def _sync_objects(sweep: Sweep, object_type: ObjectType[Any, Any]) -> None:
    livemode = get_config().livemode
    rows = object_type.rows().filter(livemode=livemode)
    unsettled = object_type.unsettled().filter(livemode=livemode)
    # A row whose answer was lost has no Stripe id yet; the object's metadata names its attempt.
    # These rows are read before the list, so that a newer row is not overwritten.
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
            # The intent first: a refund that is written before its order is known to be paid would
            # never be notified as the order's. The sweep of the intents may have failed.
            sync_intent(intent, origin=sweep.origin)
            write(intent, before, news)
        counts[object_type.plural] += len(news)

    def write(intent: PaymentIntent, before: Sequence[Any], news: Sequence[Any]) -> None:
        versions = {row.pk: row.version for row in [*before, *unsent]}
        # If a row has changed since it was read, list again.
        if not object_type.write_listed(intent, versions, news, origin=sweep.origin):
            object_type.sync(intent, origin=sweep.origin)

    def look_at(intent: PaymentIntent) -> None:
        before = list(rows.filter(payment_intent=intent))
        compare(before, intent, object_type.list_of(intent.stripe_id))

    unsettled = unsettled.select_related("payment_intent")
    # Objects that an incomplete list does not show may have been settled meanwhile.
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
    """Group the objects of a page by our intents; those of other systems are left out."""
    by_id: dict[str, list[Any]] = defaultdict(list)
    for result in found:
        by_id[result.payment_intent].append(result)
    intents = PaymentIntent.objects.filter(stripe_id__in=by_id).order_by("pk")
    return [(intent, by_id[intent.stripe_id]) for intent in intents]
