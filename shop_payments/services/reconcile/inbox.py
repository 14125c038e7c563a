"""Try failed events again, and tell the host what it was not told."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayUnavailable,
    ShopPaymentsError,
)
from shop_payments.models import PaymentHistory, WebhookEvent
from shop_payments.services.history import dispatch
from shop_payments.services.reconcile.sweep import Sweep
from shop_payments.services.webhooks import EventFailed, claim_event, process_event

_BEING_TOLD = timedelta(minutes=1)
"""Younger facts are most likely being told by the process that wrote them."""

_LEASE = timedelta(minutes=10)
"""How long a process may take to tell one fact before another one tries."""


def retry_events(sweep: Sweep) -> None:
    """Process the events that have failed, or that nobody came to process.

    An event that keeps failing waits longer from one try to the next, and in the end is set aside.
    """
    now = timezone.now()
    waiting = WebhookEvent.objects.exclude(status__in=WebhookEvent.DONE).defer("payload")
    due = [each for each in waiting.order_by("pk") if each.is_due(now)]
    for event in sweep.one_by_one(due):
        if sweep.dry_run:
            sweep.report.events += 1
        elif claim_event(event):
            _retry(sweep, event)


def _retry(sweep: Sweep, event: WebhookEvent) -> None:
    failure = ""

    def process() -> None:
        nonlocal event, failure
        try:
            event = process_event(event.pk)
        except EventFailed as error:
            cause = error.__cause__ or error
            if isinstance(cause, (GatewayUnavailable, GatewayBusy, GatewayAuthenticationError)):
                raise cause from None
            # Not the words of others: a database error quotes the row that it refused.
            failure = str(cause) if isinstance(cause, ShopPaymentsError) else type(cause).__name__

    if not sweep.try_to(str(event), process):
        return
    if failure:
        sweep.tell(f"{event} failed again: {failure}")
    elif event.status == WebhookEvent.Status.SET_ASIDE:
        sweep.report.events_set_aside += 1
    else:
        sweep.report.events += 1


def send_facts(sweep: Sweep) -> None:
    """Tell the host's receivers what they have not been told, or have raised at.

    See Note [Telling the host] in ``services/history.py``.
    """
    facts = PaymentHistory.objects.undispatched().filter(
        created_at__lt=timezone.now() - _BEING_TOLD
    )
    for fact in sweep.one_by_one(list(facts.select_related("order_payment", "payment_intent"))):
        if sweep.dry_run:
            sweep.report.facts += 1
        elif PaymentHistory.objects.claim_dispatch(fact, lease=_LEASE):
            dispatch([fact])
            if fact.dispatched_at is not None:
                sweep.report.facts += 1
            else:
                PaymentHistory.objects.release_dispatch(fact)
                sweep.problem(f"fact {fact.fact_id} ({fact.kind}): a receiver raised, see the log")
