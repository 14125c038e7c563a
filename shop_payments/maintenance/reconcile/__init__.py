"""The sweep: find what was missed, and finish what is unfinished.

Note [The sweep]
~~~~~~~~~~~~~~~~
Answers get lost, webhooks do not arrive, processes die and receivers raise. Everything unfinished
is in a table (an unresolved attempt, a failed event, an undispatched fact, a requested
cancellation) or at Stripe (an intent, a refund or a dispute that has changed). The sweep goes
through both, in an order in which each part can use the results of the earlier ones.

Only one sweep runs at a time, to keep to Stripe's rate of requests. Correctness does not depend on
that: as everywhere, idempotency keys, constraints and the rows' versions keep anything from
happening twice. A sweep may be killed at any time.

What has changed at Stripe is found in two ways. Each sweep asks for the events that never arrived
(Note [Missed events] in ``inbox.py``). Once a day, and if events cannot be used, it compares
Stripe's lists of objects. They are ordered by the time of creation and begin at ``since``. Older
objects that are still open here are looked up as well, whatever their age: see ``pages.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import SweepRunning
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.maintenance.reconcile.inbox import (
    process_missed_events,
    retry_events,
    send_facts,
)
from shop_payments.maintenance.reconcile.intents import count_unknown, sync_intents
from shop_payments.maintenance.reconcile.methods import complete_methods
from shop_payments.maintenance.reconcile.objects import sync_objects
from shop_payments.maintenance.reconcile.orders import evaluate_orders
from shop_payments.maintenance.reconcile.state import (
    COMPARED_EVERY,
    acquired_state,
    beginning_of_lists,
    must_compare_lists,
)
from shop_payments.maintenance.reconcile.sweep import Report, Sweep
from shop_payments.maintenance.reconcile.unfinished import (
    ask_about_authorizations,
    close_abandoned,
    finish_attempts,
    finish_cancellations,
)
from shop_payments.models import ReviewItem
from shop_payments.pacing import Pace, keeping
from shop_payments.sync.registry import OBJECT_TYPES

__all__ = ["Report", "reconcile"]

_Parts = dict[str, Callable[[Sweep], None]]

_LISTS: _Parts = {
    "payment intents": sync_intents,
    # After the intents: a refund is notified as the order's only if its payment counts.
    **{each.plural: partial(sync_objects, object_type=each) for each in OBJECT_TYPES},
}

_OTHERS: _Parts = {
    "unknown payment intents": count_unknown,
    # After the lists, which have already brought what most failed events are about.
    "events": retry_events,
    "payment methods": complete_methods,
    "orders": evaluate_orders,
    "cancellations": finish_cancellations,
    "abandoned intents": close_abandoned,
    "authorizations": ask_about_authorizations,
    # Last, so that the facts of all other parts are sent, too.
    "signals": send_facts,
}


def reconcile(
    *,
    since: datetime | None = None,
    dry_run: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Report:
    """Sync our rows with Stripe, and finish what is unfinished; see Note [The sweep].

    With ``since``, Stripe's lists of objects are compared from there on, instead of its events.
    With ``dry_run``, nothing is written, neither here nor at Stripe, and the report counts what
    would be written. ``on_progress`` is called with lines about the current work. A failure does
    not stop the other work: the report names it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ConfigurationError: there is no usable secret key.
        SweepRunning: another process is sweeping.
        OperationalError, InterfaceError: the database is unavailable.
        InternalError: it is read-only.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, not in each part
    now = timezone.now()
    with (
        acquired_state(dry_run=dry_run) as state,
        keeping(Pace(get_config().RECONCILE_REQUESTS_PER_SECOND)),
    ):
        sweep = Sweep(
            since=since or beginning_of_lists(state, now),
            dry_run=dry_run,
            report_progress=on_progress or (lambda line: None),
            state=state,
            compares_lists=since is not None or must_compare_lists(state, now),
        )
        # Not by the time of opening, because the clocks of two processes may differ.
        were_open = set(ReviewItem.objects.open().values_list("pk", flat=True))
        # First, because their outcomes insert the rows that Stripe's objects are compared with.
        _run(sweep, {"attempts": finish_attempts})
        if since is None:
            _run(sweep, {"missed events": process_missed_events})
        if sweep.compares_lists:
            _compare_lists(sweep, now, stores_progress=since is None)
        _run(sweep, _OTHERS)
    are_open = set(ReviewItem.objects.open().values_list("pk", flat=True))
    sweep.report.reviews_opened = len(are_open - were_open)
    return sweep.report


def _compare_lists(sweep: Sweep, now: datetime, *, stores_progress: bool) -> None:
    problems = len(sweep.report.problems)
    sweep.has_left_rest = False
    _run(sweep, _LISTS)
    if stores_progress and not sweep.has_left_rest:
        # If an object has failed, the next sweep compares the lists again, as far back as this one.
        compared_at = now if len(sweep.report.problems) == problems else now - COMPARED_EVERY
        progress = {"newest_event": sweep.newest_event} if sweep.newest_event else {}
        sweep.save(compared_at=compared_at, **progress)


def _run(sweep: Sweep, parts: _Parts) -> None:
    for name, part in parts.items():
        sweep.report_progress(f"{name} …")
        try:
            part(sweep)
        except SweepRunning:
            raise
        except Exception as error:
            sweep.record_failure(name, error, of_rest=True)
