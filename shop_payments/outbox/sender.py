"""Send an attempt's saved request to Stripe and record what came of it.

See Note [Attempt rows] in ``models/payments.py`` for why a request is saved before it is sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    IdempotencyKeyInUse,
    PaymentIntentMissing,
    TargetMissing,
    UnexpectedState,
)
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    CAPTURABLE_STATUSES,
    FINAL_STATUSES,
    UPDATABLE_STATUSES,
    IntentStatus,
)
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.outbox.outcomes import (
    doubt_of,
    doubting_the_key,
    is_missing,
    log_error,
    must_look_up,
)
from shop_payments.outbox.turns import free_if_lost
from shop_payments.sync.fingerprints import sent_fingerprint
from shop_payments.sync.payment_intents import (
    adopt_intent,
    complete_charge_times,
    find_attempt_of,
    refresh_intent,
    write_intent,
)

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


_Operation = StripeAttempt.Operation

_CLOCK_SKEW = timedelta(minutes=10)
"""How far Stripe's clock and ours may be apart when an object is looked for by its creation."""


def send_attempt(
    attempt: StripeAttempt, *, origin: Origin, as_of: datetime | None = None
) -> PaymentIntentResult | None:
    """Send ``attempt`` (which the caller has claimed) and record the outcome.

    Returns the intent as Stripe described it in an answer that is certainly fresh. None means:
    the attempt is finished, but what Stripe says now has to be asked for (the answer was a
    repetition, a webhook was quicker, the attempt turned out to have had no effect, or Stripe did
    not know the intent: see :func:`check_target`). With ``as_of``, the payment's ``updated_at``
    when the attempt was planned, it also means that the payment has changed since: the intent may
    ask for more than is outstanding by now.

    Raises:
        TargetMissing: Stripe does not know the intent that is to be captured; the attempt stays
            pending, for an earlier sending may have captured it.
        GatewayError: refused (the attempt is finished as failed), or retryable (it stays pending,
            free to be claimed by the next call).
    """
    if attempt.key_expired:
        _resolve_by_lookup(attempt, origin=origin)
        return None
    try:
        intent = _call_stripe(attempt)
    except GatewayError as error:
        if must_look_up(error):
            _resolve_by_lookup(attempt, origin=origin)
            return None
        if is_missing(error) and error.http_status == _NOT_FOUND and attempt.target:
            _record_missing(attempt, error, origin=origin)
            return None
        _record_error(attempt, error, origin=origin)
        refused_update = isinstance(error, UnexpectedState) and attempt.target != ""
        if refused_update and _has_moved(attempt, origin=origin):
            return None
        raise
    written, planned_for = _record_success(attempt, intent, origin=origin)
    is_as_planned = as_of is None or planned_for == as_of
    return intent if written and is_as_planned and not intent.replayed else None


def finish_for_others(attempt: StripeAttempt, *, origin: Origin) -> None:
    """Send what another request began (the caller has claimed it), and record the outcome.

    If Stripe refuses it, that is an answer to the other request, and not to the caller's.

    Raises:
        PaymentIntentMissing: see :func:`check_target`.
        GatewayError: the outcome is not known; the attempt stays pending.
    """
    try:
        send_attempt(attempt, origin=origin)
    except TargetMissing:
        check_target(attempt, origin=origin)
        row = PaymentIntent.objects.filter(stripe_id=attempt.target).first()
        if row is None or row.status != IntentStatus.MISSING:
            raise  # it stays pending: to send it again at once would be in vain
    except GatewayError as error:
        if error.retryable or isinstance(error, GatewayAuthenticationError):
            raise
    else:
        check_target(attempt, origin=origin)


def check_target(attempt: StripeAttempt, *, origin: Origin) -> None:
    """Look at the intent that Stripe did not know when ``attempt`` was sent.

    Raises:
        PaymentIntentMissing: Stripe still does not know it, and it is open here. A test-mode
            intent is closed instead (ADR 8), so the caller can go on.
        GatewayError: Stripe could not be asked.
    """
    if attempt.http_status != _NOT_FOUND:
        return
    rows = PaymentIntent.objects.select_related("order_payment")
    row = rows.filter(stripe_id=attempt.target).first()
    if row is None:
        return
    try:
        refresh_intent(row, origin=origin)
    except PaymentIntentMissing:
        if PaymentIntent.objects.open().filter(pk=row.pk).exists():
            raise


_NOT_FOUND = 404


def _call_stripe(attempt: StripeAttempt) -> PaymentIntentResult:
    gateway = get_gateway()
    key = str(attempt.pk)
    if attempt.operation == _Operation.CREATE_INTENT:
        return gateway.create_payment_intent(attempt.params, idempotency_key=key)
    write = {
        _Operation.UPDATE_INTENT: gateway.update_payment_intent,
        _Operation.CAPTURE_INTENT: gateway.capture_payment_intent,
        _Operation.CANCEL_INTENT: gateway.cancel_payment_intent,
    }[_Operation(attempt.operation)]
    return write(attempt.target, attempt.params, idempotency_key=key)


_ALLOWED_IN: dict[str, frozenset[str]] = {
    _Operation.UPDATE_INTENT: UPDATABLE_STATUSES,
    _Operation.CAPTURE_INTENT: CAPTURABLE_STATUSES,
    _Operation.CANCEL_INTENT: CANCELABLE_STATUSES,
}


def _has_moved(attempt: StripeAttempt, *, origin: Origin) -> bool:
    """Fetch an intent that Stripe would not change; tell whether its status explains that.

    Raises:
        PaymentIntentMissing, GatewayError: see :func:`refresh_intent`.
    """
    row = PaymentIntent.objects.filter(stripe_id=attempt.target).first()
    if row is None:
        return True  # an orphan, of which nothing is known; the sweeper looks again
    refreshed = refresh_intent(row, origin=origin)
    return refreshed is None or refreshed.row.status not in _ALLOWED_IN[attempt.operation]


def _record_success(
    attempt: StripeAttempt, intent: PaymentIntentResult, *, origin: Origin
) -> tuple[bool, datetime | None]:
    """Write the answer onto the mirror; false where the row already knew something newer.

    The second value is when the payment was last changed before.
    """
    describes = attempt.operation in {_Operation.CREATE_INTENT, _Operation.UPDATE_INTENT}
    sent = sent_fingerprint(attempt) if describes else None

    def write(locked: LockedPayment) -> bool:
        row = locked.intent(intent.id)
        if row is None:
            return _adopt(locked, attempt, intent, sent, origin)
        first = attempt.finish(
            StripeAttempt.Outcome.SUCCEEDED,
            stripe_object_id=intent.id,
            request_id=intent.request_id[:255],
            http_status=200,
        )
        is_news = first and _is_newer(attempt, row, intent)
        if is_news:
            write_intent(locked, row, intent, origin=origin, updated_to=sent)
        elif first and sent is not None and attempt.target:
            # What was sent is known although the state is not: the next look fetches it.
            row.fingerprint = sent
            row.save(update_fields=["fingerprint"])
        return is_news

    done = change_payment(write, origin=origin, pk=attempt.order_payment_id)
    complete_charge_times(done.locked, origin=origin)
    return bool(done.value), done.locked.changed_at if done.locked else None


def _adopt(
    locked: LockedPayment,
    attempt: StripeAttempt,
    intent: PaymentIntentResult,
    sent: str | None,
    origin: Origin,
) -> bool:
    """Insert the row that is missing: of a new intent, or of an orphan that has been cancelled."""
    creator: StripeAttempt | None = attempt
    if attempt.operation != _Operation.CREATE_INTENT:
        creator = find_attempt_of(intent)
        attempt.finish(
            StripeAttempt.Outcome.SUCCEEDED,
            stripe_object_id=intent.id,
            request_id=intent.request_id[:255],
            http_status=200,
        )
    if creator is None:
        return False
    return adopt_intent(locked, creator, intent, fingerprint=sent or "", origin=origin) is not None


def _is_newer(attempt: StripeAttempt, row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    """Whether the answer to a change describes a later state than the row does."""
    if intent.status in FINAL_STATUSES:
        return True
    is_fresh = not intent.replayed and row.version == attempt.target_version
    return attempt.operation != _Operation.CREATE_INTENT and is_fresh


def _record_error(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> None:
    """Finish a refused attempt, or free one whose outcome is unknown for the next caller."""
    figures = log_error(attempt, error)

    def write(locked: LockedPayment) -> None:
        if not error.retryable and not isinstance(error, GatewayAuthenticationError):
            attempt.finish(StripeAttempt.Outcome.FAILED, **figures)
            for entry in locked.entries:
                if entry.capture_id == attempt.pk:  # a waiver of a refused capture does not count
                    entry.capture, locked.needs_order = attempt, True
        elif not isinstance(error, IdempotencyKeyInUse):
            # Refusing a key says nothing of what an earlier sending under another key has done.
            attempt.release(**figures)

    change_payment(write, origin=origin, pk=attempt.order_payment_id)


def _record_missing(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> None:
    """Note that Stripe does not know the intent that ``attempt`` is about: this refuses nothing.

    A capture stays pending and is sent again: a waiver of staff depends on what came of it. For an
    update or a cancellation it does not matter whether an earlier sending had an effect (ADR 15).

    Raises:
        TargetMissing: the attempt is a capture.
    """
    doubt = doubt_of(attempt.target, error)
    figures = log_error(attempt, doubt)
    if attempt.operation == _Operation.CAPTURE_INTENT:
        attempt.release(**figures)
        raise doubt
    _abandon(attempt, figures, origin=origin)


def _resolve_by_lookup(attempt: StripeAttempt, *, origin: Origin) -> None:
    """Find out from Stripe's objects what became of an attempt, and finish it.

    For a create: the intent that carries the attempt's id, created between the commit of the
    attempt and its last sending. For a change: nothing to look for. Whether it had an effect does
    not matter, for the row forgets what was last sent, and the next request decides again.

    Raises:
        GatewayError: Stripe could not be asked; the attempt stays pending, free to be claimed.
    """
    found = None
    if attempt.operation == _Operation.CREATE_INTENT:
        last_sent = attempt.last_sent_at or attempt.created_at
        since, until = attempt.created_at - _CLOCK_SKEW, last_sent + _CLOCK_SKEW
        with free_if_lost(attempt):
            found = get_gateway().find_created_intent(str(attempt.pk), since=since, until=until)
            if found is None:
                _prove_account(attempt)
    if found is not None:
        _record_success(attempt, found, origin=origin)
        return
    _abandon(attempt, {}, origin=origin)


def _prove_account(attempt: StripeAttempt) -> None:
    """Make sure that the key belongs to the account of our intents, as far as we have any.

    Another account's list does not have what we look for, and proves nothing.

    Raises:
        TargetMissing: Stripe does not know the newest of our intents under the key in use.
        GatewayError: Stripe could not be asked.
    """
    rows = PaymentIntent.objects.filter(livemode=attempt.livemode)
    newest = rows.exclude(status=IntentStatus.MISSING).order_by("-pk").first()
    if newest is not None and newest.livemode:  # test data may be deleted, and moves no money
        with doubting_the_key(newest.stripe_id):
            get_gateway().retrieve_payment_intent(newest.stripe_id)


def _abandon(attempt: StripeAttempt, figures: dict[str, Any], *, origin: Origin) -> None:
    """Finish an attempt of which no effect is known; the row forgets what was last sent."""

    def give_up(locked: LockedPayment) -> None:
        attempt.finish(StripeAttempt.Outcome.ABANDONED, **figures)
        row = locked.intent(attempt.target)
        if row is not None:
            row.fingerprint = ""
            row.save(update_fields=["fingerprint"])

    change_payment(give_up, origin=origin, pk=attempt.order_payment_id)
