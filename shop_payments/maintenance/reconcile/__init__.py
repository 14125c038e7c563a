"""The sweep: find what was missed, and finish what is unfinished.

Note [The sweep]
~~~~~~~~~~~~~~~~
Answers get lost, webhooks do not arrive, processes die and receivers raise. Everything unfinished
is in a table (an unresolved attempt, a failed event, an undispatched fact, a requested
cancellation) or at Stripe (an intent, a refund or a dispute that has changed). The sweep goes
through both, in an order in which each part can use the results of the earlier ones.

It may run at any time, repeatedly, and on two machines at once. It acquires rows one by one, which
spares Stripe and the host's receivers needless calls. Correctness does not depend on that: as
everywhere, idempotency keys, constraints and the rows' versions keep anything from happening twice.

Stripe's lists begin at ``since``, because they are ordered by the time of creation. Older objects
that are still open here are looked up as well, whatever their age: see ``pages.py``.
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
    """Sync our rows with Stripe, and finish what is unfinished; see Note [The sweep].

    ``since`` is where Stripe's lists begin. With ``dry_run``, nothing is written, neither here nor
    at Stripe, and the report counts what would be written. ``on_progress`` is called with lines
    about the current work. A failure does not stop the other work: the report names it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ConfigurationError: there is no usable secret key.
        OperationalError, InterfaceError: the database is unavailable.
        InternalError: it is read-only.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, not in each part
    sweep = Sweep(since=since, dry_run=dry_run, report_progress=on_progress or (lambda line: None))
    # Not by the time of opening, because the clocks of two processes may differ.
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
