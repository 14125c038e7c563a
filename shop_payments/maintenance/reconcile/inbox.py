"""Try failed events and undelivered notifications again."""

from __future__ import annotations

from functools import partial

from django.utils import timezone

from shop_payments.exceptions import (
    EventFailed,
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayUnavailable,
    ShopPaymentsError,
)
from shop_payments.ledger.facts import dispatch_waiting
from shop_payments.ledger.notifications import close_delivered, flag_undelivered
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import PaymentHistory, WebhookEvent
from shop_payments.models.history import INSERTED_LEASE
from shop_payments.services.receive_event import acquire_event, process_event


def retry_events(sweep: Sweep) -> None:
    """Process the events that have failed or were never processed.

    The pauses between the tries of a failing event grow. In the end, it is set aside.
    """
    now = timezone.now()
    waiting = WebhookEvent.objects.exclude(status__in=WebhookEvent.DONE).defer("payload")
    due = [each for each in waiting.order_by("pk") if each.is_due(now)]
    for event in sweep.one_by_one(due):
        if sweep.dry_run:
            sweep.report.events += 1
        elif acquire_event(event):
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
            # Only our own messages: a database error quotes the row that it refused.
            failure = str(cause) if isinstance(cause, ShopPaymentsError) else type(cause).__name__

    if not sweep.try_to(str(event), process):
        return
    if failure:
        sweep.report_progress(f"{event} failed again: {failure}")
    elif event.status == WebhookEvent.Status.SET_ASIDE:
        sweep.report.events_set_aside += 1
    else:
        sweep.report.events += 1


def send_facts(sweep: Sweep) -> None:
    """Notify the host of undispatched facts, payment by payment, in order.

    See Note [One after another] in ``ledger/facts.py``.
    """
    waiting = PaymentHistory.objects.undispatched()
    payments = dict.fromkeys(waiting.values_list("order_payment_id", flat=True))
    for payment_pk in sweep.one_by_one(list(payments)):
        if sweep.dry_run:
            # Younger facts are being dispatched by the process that inserted them.
            due = waiting.filter(order_payment=payment_pk)
            sweep.report.facts += due.filter(created_at__lt=timezone.now() - INSERTED_LEASE).count()
        else:
            sweep.try_to(f"order payment {payment_pk}", partial(_send_facts_of, sweep, payment_pk))
    if not sweep.dry_run:
        close_delivered(origin=sweep.origin)


def _send_facts_of(sweep: Sweep, payment_pk: int) -> None:
    waiting = PaymentHistory.objects.undispatched().filter(order_payment=payment_pk)
    before = set(waiting.values_list("pk", flat=True))
    dispatch_waiting(payment_pk)
    left = list(waiting.all())
    sweep.report.facts += len(before - {fact.pk for fact in left})
    if left and left[0].dispatch_failures and left[0].pk in before:
        fact = left[0]
        flag_undelivered(fact, origin=sweep.origin)
        sweep.problem(f"fact {fact.fact_id} ({fact.kind}): a receiver raised, see the log")
