"""Process missed and failed events, and try undelivered notifications again.

Note [Missed events]
~~~~~~~~~~~~~~~~~~~~
Stripe lists the events of the last 30 days. Each sweep asks for those after the newest one that the
last sweep has read, and processes the ones that never arrived like any other. So the requests of a
sweep depend on how much has happened since the last one, not on how many payments are open. Events
are stored under their ids, so an event that is being delivered at the same time is processed once.

Stripe may list an event a little later than others of the same time. So the next sweep reads the
last minutes again. It compares Stripe's lists of objects instead if Stripe does not know the newest
event any more (after 30 days without a sweep, or with the key of another account), or if the key
may not list events.

See: https://docs.stripe.com/webhooks/process-undelivered-events (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from itertools import takewhile

from django.utils import timezone

from shop_payments.exceptions import (
    EventFailed,
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayUnavailable,
    ShopPaymentsError,
)
from shop_payments.gateway import EventResult, get_gateway
from shop_payments.ledger.facts import dispatch_waiting
from shop_payments.ledger.notifications import close_delivered, flag_undelivered
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import PaymentHistory, WebhookEvent
from shop_payments.models.history import INSERTED_LEASE
from shop_payments.outbox.outcomes import is_missing
from shop_payments.services.receive_event import (
    acquire_event,
    process_event,
    receive_event,
    replay_event,
)
from shop_payments.sync.registry import LISTED_EVENTS

_MOST_PAGES = 1_000
"""Pages of 100 events that one sweep reads; the next one continues there."""

_LATE = timedelta(minutes=5)
"""The events of the last minutes before the newest one are read again by the next sweep."""


def process_missed_events(sweep: Sweep) -> None:
    """Process the events that never arrived. See Note [Missed events].

    Raises:
        GatewayError: the request to Stripe failed.
    """
    try:
        _read_events(sweep)
    except GatewayError as error:
        sweep.compares_lists = True
        if is_missing(error):
            sweep.report_progress("Stripe does not know the newest event of the last sweep")
            _compare_lists(sweep)
        elif _is_forbidden(error):
            sweep.report_progress("events: skipped, because the key may not list them")
        else:
            raise


def _is_forbidden(error: GatewayError) -> bool:
    is_key = isinstance(error, GatewayAuthenticationError)
    return is_key and error.http_status == HTTPStatus.FORBIDDEN


def _read_events(sweep: Sweep) -> None:
    after = sweep.state.newest_event
    if not after:
        _compare_lists(sweep)
        return
    for _page in range(_MOST_PAGES):
        page = get_gateway().events_after(after, types=LISTED_EVENTS)
        sweep.count_page()
        _process_missed(sweep, page.items)
        if read := _read_for_good(page.items):
            sweep.save(newest_event=read[-1])
        if not page.after:
            return
        after = page.after


def _read_for_good(listed: Sequence[EventResult]) -> list[str]:
    """Return the events that no later sweep has to read: stored, and not of the last minutes.

    By Stripe's clock. An event that the database did not store is read again, with all after it.
    """
    rows = WebhookEvent.objects.filter(event_id__in=[event.id for event in listed])
    stored = set(rows.values_list("event_id", flat=True))
    newest = max((event.created_at for event in listed), default=None)
    return [
        event.id
        for event in takewhile(lambda event: event.id in stored, listed)
        if newest is not None and event.created_at <= newest - _LATE
    ]


def _compare_lists(sweep: Sweep) -> None:
    """Compare the lists; if that succeeds, the next sweep reads the events from now on."""
    sweep.compares_lists = True
    sweep.newest_event = get_gateway().newest_event(types=LISTED_EVENTS)


def _process_missed(sweep: Sweep, listed: Sequence[EventResult]) -> None:
    ids = [event.id for event in listed]
    stored = WebhookEvent.objects.filter(event_id__in=ids)
    # They came while a key of the other mode was in use. This key lists them, so they are ours.
    left_out = stored.filter(outcome_data__sentence="other_mode", purged_at=None)
    for row in [] if sweep.dry_run else list(left_out.order_by("pk")):
        _process(sweep, str(row), partial(replay_event, row))
        sweep.report.missed_events += 1
    known = set(stored.values_list("event_id", flat=True))
    for event in sweep.one_by_one([event for event in listed if event.id not in known]):
        if not sweep.dry_run:
            _process(sweep, f"{event.type} {event.id}", partial(receive_event, event))
        sweep.report.missed_events += 1


def retry_events(sweep: Sweep) -> None:
    """Process the events that have failed or were never processed.

    The pauses between the tries of a failing event grow. In the end, it is set aside.
    """
    now = timezone.now()
    for event in sweep.each_of(WebhookEvent.objects.filter(status__in=WebhookEvent.WAITING)):
        if not event.is_due(now):
            continue
        if sweep.dry_run:
            sweep.report.events += 1
        elif acquire_event(event):
            done = _process(sweep, str(event), partial(process_event, event.pk))
            sweep.report.events += done is not None and done.is_done


def _process(sweep: Sweep, name: str, process: Callable[[], WebhookEvent]) -> WebhookEvent | None:
    """Process an event; return its row, or None if it failed."""
    event: WebhookEvent | None = None
    failure = ""

    def attempt() -> None:
        nonlocal event, failure
        try:
            event = process()
        except EventFailed as error:
            cause = error.__cause__ or error
            if isinstance(cause, (GatewayUnavailable, GatewayBusy, GatewayAuthenticationError)):
                raise cause from None
            # Only our own messages: a database error quotes the row that it refused.
            failure = str(cause) if isinstance(cause, ShopPaymentsError) else type(cause).__name__

    sweep.try_to(name, attempt)
    if failure:
        sweep.report_progress(f"{name} failed: {failure}")
    if event is not None and event.status == WebhookEvent.Status.SET_ASIDE:
        sweep.report.events_set_aside += 1
    return event


def send_facts(sweep: Sweep) -> None:
    """Notify the host of undispatched facts, payment by payment, in order.

    See Note [One after another] in ``ledger/facts.py``.
    """
    waiting = PaymentHistory.objects.undispatched()
    for payment_pk in sweep.one_by_one(_waiting_payments()):
        if sweep.dry_run:
            # Younger facts are being dispatched by the process that inserted them.
            due = waiting.filter(order_payment=payment_pk)
            sweep.report.facts += due.filter(created_at__lt=timezone.now() - INSERTED_LEASE).count()
        else:
            sweep.try_to(f"order payment {payment_pk}", partial(_send_facts_of, sweep, payment_pk))
    if not sweep.dry_run:
        close_delivered(origin=sweep.origin)


def _waiting_payments() -> Iterator[int]:
    """Yield the payments with undispatched facts, in batches: there may be very many."""
    waiting = PaymentHistory.objects.undispatched().order_by("order_payment_id")
    rest = waiting
    while batch := list(rest.values_list("order_payment_id", flat=True).distinct()[:500]):
        yield from batch
        rest = waiting.filter(order_payment__gt=batch[-1])


def _send_facts_of(sweep: Sweep, payment_pk: int) -> None:
    waiting = PaymentHistory.objects.undispatched().filter(order_payment=payment_pk)
    before = set(waiting.values_list("pk", flat=True))
    dispatch_waiting(payment_pk)
    left = list(waiting.all())
    sweep.report.facts += len(before - {fact.pk for fact in left})
    # Not a fact that was inserted meanwhile: its own process is dispatching it.
    if left and left[0].dispatch_failures and left[0].pk in before:
        fact = left[0]
        flag_undelivered(fact, origin=sweep.origin)
        sweep.add_problem(f"fact {fact.fact_id} ({fact.kind}): a receiver raised, see the log")
