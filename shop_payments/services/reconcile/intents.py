"""Mirror our payment intents: those that have moved, the unknown ones, and the orphans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from django.db import IntegrityError

from shop_payments.conf import get_config
from shop_payments.exceptions import ObjectMissing, PaymentIntentMissing
from shop_payments.gateway import get_gateway
from shop_payments.lifecycle import CANCELABLE_STATUSES, FINAL_STATUSES, IntentStatus
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.services.arrivals import adopt_unknown, believe_intent
from shop_payments.services.attempts import send_attempt
from shop_payments.services.ledger import LockedPayment
from shop_payments.services.mirror import agrees, named_attempt, refresh_intent, write_seen
from shop_payments.services.reconcile.pages import pages
from shop_payments.services.reconcile.sweep import Sweep
from shop_payments.services.units import change_payment
from shop_payments.services.writes import save_attempt

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


def mirror_intents(sweep: Sweep) -> None:
    """Write down which of our intents have moved, adopt the unknown ones, cancel the orphans.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    ours = PaymentIntent.objects.filter(livemode=get_config().livemode)
    ask = get_gateway().page_of_payment_intents
    for seen in pages(sweep, ask, rows=ours, unsettled=ours.open()):
        _mirror_page(sweep, {row.stripe_id: row for row in seen.before}, seen.found)
        for row in seen.not_shown:
            sweep.try_to(row.stripe_id, partial(_look_at, sweep, row))


def _mirror_page(
    sweep: Sweep, before: dict[str, PaymentIntent], found: Sequence[PaymentIntentResult]
) -> None:
    not_read = [intent.id for intent in found if intent.id not in before]
    late = {row.stripe_id: row for row in PaymentIntent.objects.filter(stripe_id__in=not_read)}
    for intent in found:
        row = before.get(intent.id)
        if row is not None:
            _mirror(sweep, row, intent)
        elif intent.id in late and not agrees(late[intent.id], intent):
            sweep.try_to(intent.id, partial(_look_at, sweep, late[intent.id]))
    unknown = [each for each in found if each.id not in before and each.id not in late]
    for intent, attempt in _of_our_attempts(unknown):
        sweep.try_to(intent.id, partial(_take_in, sweep, intent, attempt))


def _mirror(sweep: Sweep, row: PaymentIntent, intent: PaymentIntentResult) -> None:
    """Write what Stripe says now; ``row`` was read before it was asked."""
    if row.is_final or agrees(row, intent):
        return

    def write() -> None:
        if intent.status in FINAL_STATUSES:
            believe_intent(intent, origin=sweep.origin)
        else:
            now = write_seen(row, intent, origin=sweep.origin)
            if now is None:
                _refresh(sweep, row.pk)
            elif not now.is_open:
                # It was missing and is back, and another one has taken its place.
                _close_second(sweep, intent, row.attempt)
                return
        sweep.report.intents += 1

    if sweep.dry_run:
        sweep.report.intents += 1
    else:
        sweep.try_to(row.stripe_id, write)


def _look_at(sweep: Sweep, row: PaymentIntent) -> None:
    """Fetch one intent, which no page has shown.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    try:
        intent = get_gateway().retrieve_payment_intent(row.stripe_id)
    except ObjectMissing:
        sweep.report.intents += 1
        if not sweep.dry_run:
            write_seen(row, None, origin=sweep.origin)
    else:
        _mirror(sweep, row, intent)


def _refresh(sweep: Sweep, pk: int) -> None:
    """Look once more at an intent that somebody has changed while it was listed."""
    try:
        row = refresh_intent(PaymentIntent.objects.get(pk=pk), origin=sweep.origin)
    except PaymentIntentMissing:
        return
    if row is None:
        sweep.tell(f"intent {pk} is changing, and left to those who change it")


# --- those without a row ------------------------------------------------------------------------


def _of_our_attempts(
    intents: Sequence[PaymentIntentResult],
) -> Iterator[tuple[PaymentIntentResult, StripeAttempt]]:
    """Keep the intents that an attempt of ours has made; the others are somebody else's."""
    named = {intent.id: named_attempt(intent) for intent in intents}
    attempts = StripeAttempt.objects.filter(operation=StripeAttempt.Operation.CREATE_INTENT)
    ours = attempts.in_bulk([pk for pk in named.values() if pk is not None])
    for intent in intents:
        pk = named[intent.id]
        if pk in ours:
            yield intent, ours[pk]


def _take_in(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    """Give an intent of ours its row; cancel it where another one has taken its place.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    if sweep.dry_run:
        sweep.report.intents += 1
        return
    take = believe_intent if intent.status in FINAL_STATUSES else adopt_unknown
    take(intent, origin=sweep.origin)
    if PaymentIntent.objects.filter(stripe_id=intent.id).exists():
        sweep.report.intents += 1
    else:
        _close_second(sweep, intent, attempt)


def _close_second(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    """Cancel an intent that has lost its place to another one.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    if intent.status in CANCELABLE_STATUSES:
        _cancel_orphan(sweep, intent, attempt)
    elif intent.status != IntentStatus.CANCELED:
        sweep.problem(f"{intent.id} is a second intent of {attempt}, and {intent.status}")


def _cancel_orphan(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    def save(locked: LockedPayment) -> StripeAttempt | None:
        row = locked.intent(intent.id)
        if row is not None and (row.status != IntentStatus.MISSING or not locked.open_intent):
            return None  # it has a place
        if _is_on_its_way(locked, intent):
            sweep.tell(f"{intent.id} cannot be cancelled while it is {intent.status}")
            return None
        return save_attempt(
            locked,
            StripeAttempt.Operation.CANCEL_INTENT,
            intent.id,
            {"cancellation_reason": "duplicate"},
        )

    try:
        done = change_payment(save, origin=sweep.origin, pk=attempt.order_payment_id)
    except IntegrityError:
        return  # another write of this order's is on its way; the next sweep sees the orphan again
    cancel = done.value
    if cancel is None:
        return
    send_attempt(cancel, origin=sweep.origin)
    if cancel.outcome == StripeAttempt.Outcome.SUCCEEDED:
        sweep.report.orphans += 1
    else:
        _look_at_refused(sweep, intent.id)


def _is_on_its_way(locked: LockedPayment, intent: PaymentIntentResult) -> bool:
    """Whether the money of an orphan is on its way, and Stripe has refused to stop it."""
    return (
        intent.status == IntentStatus.PROCESSING
        and locked.payment.attempts.filter(
            operation=StripeAttempt.Operation.CANCEL_INTENT,
            outcome=StripeAttempt.Outcome.FAILED,
            target=intent.id,
        ).exists()
    )


def _look_at_refused(sweep: Sweep, intent_id: str) -> None:
    """See why Stripe did not cancel an orphan: most likely, somebody has just paid it.

    Raises:
        GatewayError: Stripe could not be asked.
    """
    intent = get_gateway().retrieve_payment_intent(intent_id)
    if intent.status in FINAL_STATUSES:
        believe_intent(intent, origin=sweep.origin)
        sweep.report.intents += 1
    else:
        sweep.tell(f"{intent_id} is not cancelled: it is {intent.status}")
