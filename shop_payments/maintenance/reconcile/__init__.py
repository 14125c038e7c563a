"""Find what was missed, and finish what was begun.

Note [The sweep]
~~~~~~~~~~~~~~~~
Answers get lost, webhooks do not arrive, processes die and receivers raise. Everything that this
can leave behind is in a table (an attempt of unknown outcome, a failed event, a fact that nobody
was told, a cancellation that is wanted) or at Stripe (an intent, a refund, a dispute that has
moved). The sweep goes through both, in the order in which one finding feeds the next.

It may be run at any time, twice, and on two machines at once. What could be done twice is claimed
row by row; but that is courtesy to Stripe and to the host's receivers. That nothing is doubled
rests on what it rests on everywhere: idempotency keys, constraints, and the rows' versions.

What is listed at Stripe begins at ``since``, because lists go by the time of creation. What is
older and still open here is looked at as well, whatever its age: see ``pages.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from shop_payments.conf import get_config
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.maintenance.reconcile.inbox import retry_events, send_facts
from shop_payments.maintenance.reconcile.intents import mirror_intents
from shop_payments.maintenance.reconcile.objects import sync_objects
from shop_payments.maintenance.reconcile.orders import evaluate_orders
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

_PARTS: dict[str, Callable[[Sweep], None]] = {
    "attempts": finish_attempts,
    "payment intents": mirror_intents,
    **{each.plural: partial(sync_objects, object_type=each) for each in OBJECT_TYPES},
    "events": retry_events,
    "orders": evaluate_orders,
    "cancellations": finish_cancellations,
    "abandoned intents": close_abandoned,
    "authorizations": ask_about_authorizations,
    "signals": send_facts,
}


def reconcile(
    *, since: datetime, dry_run: bool = False, on_progress: Callable[[str], None] | None = None
) -> Report:
    """Bring our rows to what Stripe says, and finish what was left; see Note [The sweep].

    ``since`` is where Stripe's lists begin. With ``dry_run`` nothing is written, neither here nor
    at Stripe, and the report counts what would be. ``on_progress`` hears what is being done. What
    fails does not keep the rest from being done: the report names it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ConfigurationError: no usable secret key.
        OperationalError, InterfaceError: the database is away.
        InternalError: it takes no writes.
    """
    assert_no_transaction()
    get_gateway()
    sweep = Sweep(since=since, dry_run=dry_run, report_progress=on_progress or (lambda line: None))
    # Not by the time of opening: clocks of two processes may differ.
    were_open = set(ReviewItem.objects.open().values_list("pk", flat=True))
    with keeping(Pace(get_config().RECONCILE_REQUESTS_PER_SECOND)):
        for name, part in _PARTS.items():
            sweep.report_progress(f"{name} …")
            try:
                part(sweep)
            except Exception as error:
                sweep.record_failure(name, error, of_rest=True)
    are_open = set(ReviewItem.objects.open().values_list("pk", flat=True))
    sweep.report.reviews_opened = len(are_open - were_open)
    return sweep.report
