"""Finish attempts and cancellations, close abandoned intents, and ask about authorizations."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import islice

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayError,
    PaymentError,
    PaymentIntentMissing,
    PaymentNotCancelable,
    RefundInProgress,
)
from shop_payments.maintenance.authorizations import expiring_authorizations, flag_authorization
from shop_payments.maintenance.cancellations import (
    abandoned_intents,
    close_abandoned_intent,
    intents_without_request,
    request_lost_cancellation,
    requested_cancellations,
)
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.orders import is_unwanted
from shop_payments.outbox.refunds import send_refund
from shop_payments.outbox.sender import send_attempt
from shop_payments.outbox.turns import acquire
from shop_payments.services.cancel_payment import close_as_requested

_IN_FLIGHT = timedelta(minutes=1)
"""An attempt acquired less than this ago belongs to a process that may still wait for Stripe."""


_MOST_ABANDONED = 5_000
"""Abandoned intents that one sweep closes, with two requests each; the next sweep does the rest."""


def finish_attempts(sweep: Sweep) -> None:
    """Find out the outcome of each unresolved attempt.

    Raises:
        GatewayUnavailable: Stripe does not answer.
    """
    livemode = get_config().livemode
    # A test key cannot send live attempts, and is probably set by mistake.
    if not livemode and (left := StripeAttempt.objects.pending().filter(livemode=True).count()):
        sweep.add_problem(f"{left} attempts of live mode: the key in use is a test key")
    pending = StripeAttempt.objects.pending().filter(livemode=livemode)
    for attempt in sweep.each_of(pending):
        if attempt.is_acquired(within=_IN_FLIGHT, now=timezone.now()):
            continue
        if sweep.dry_run:
            sweep.report.attempts += 1
        elif acquire(attempt, within=_IN_FLIGHT):  # otherwise another process is sending it
            _finish(sweep, attempt)


def _finish(sweep: Sweep, attempt: StripeAttempt) -> None:
    is_known = True

    def send() -> None:
        nonlocal is_known
        try:
            if attempt.operation == StripeAttempt.Operation.CREATE_REFUND:
                refund = Refund.objects.select_related("payment_intent").get(attempt=attempt)
                refund.attempt = attempt
                send_refund(refund, origin=sweep.origin)
            else:
                send_attempt(attempt, origin=sweep.origin)
        except RefundInProgress as error:
            is_known = False
            sweep.report_progress(str(error))  # not a problem: the next sweep looks again
        except (GatewayError, PaymentError):
            # A refusal is an outcome, too. The attempt's row stores it.
            if StripeAttempt.objects.pending().filter(pk=attempt.pk).exists():
                raise

    if sweep.try_to(str(attempt), send) and is_known:
        sweep.report.attempts += 1


def finish_cancellations(sweep: Sweep) -> None:
    """Close the intents whose requested cancellation has not reached Stripe.

    Raises:
        GatewayUnavailable: Stripe does not answer.
    """
    for row in sweep.each_of(intents_without_request(since=sweep.since)):
        payment = row.order_payment
        sweep.try_to(str(payment), partial(_look_for_lost_request, sweep, payment))
    for payment in sweep.each_of(requested_cancellations()):
        if sweep.dry_run:
            sweep.report.cancellations += 1
        else:
            pk = payment.pk
            sweep.try_to(
                f"cancellation of order payment {pk}", partial(_close_as_wanted, sweep, pk)
            )


def _look_for_lost_request(sweep: Sweep, payment: OrderPayment) -> None:
    """See Note [Cancelling with the order] in ``services/cancel_payment.py``."""
    if not is_unwanted(payment.order_id):
        return
    if sweep.dry_run:
        sweep.report.cancellations += 1
    else:
        request_lost_cancellation(payment.pk, origin=sweep.origin)


def _close_as_wanted(sweep: Sweep, payment_pk: int) -> None:
    try:
        close_as_requested(payment_pk, origin=sweep.origin)
    except (PaymentNotCancelable, PaymentIntentMissing) as error:
        # Not a problem: received money and a missing intent go to review.
        sweep.report_progress(f"order payment {payment_pk} is not cancelled yet: {error}")
    else:
        sweep.report.cancellations += 1


def close_abandoned(sweep: Sweep) -> None:
    """Close abandoned intents.

    Raises:
        GatewayUnavailable: Stripe does not answer.
    """
    older_than = timezone.now() - timedelta(days=get_config().ABANDONED_AFTER_DAYS)
    rows = abandoned_intents(older_than=older_than).select_related("order_payment")
    for row in islice(sweep.each_of(rows), _MOST_ABANDONED):
        if sweep.dry_run:
            sweep.report.abandoned += 1
        else:
            sweep.try_to(row.stripe_id, partial(_close_abandoned, sweep, row))


def _close_abandoned(sweep: Sweep, row: PaymentIntent) -> None:
    if close_abandoned_intent(row, origin=sweep.origin):
        sweep.report.abandoned += 1


def ask_about_authorizations(sweep: Sweep) -> None:
    """Ask staff about authorizations that expire soon."""
    due = expiring_authorizations()
    if count := due.count():
        sweep.report_progress(f"{count} authorizations expire soon")
    for row in () if sweep.dry_run else sweep.each_of(due):
        sweep.try_to(row.stripe_id, partial(flag_authorization, row, origin=sweep.origin))
