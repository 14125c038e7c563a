"""Create, update, capture and cancel payment intents."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from shop_payments.exceptions import GatewayError, UnexpectedState
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    CAPTURABLE_STATUSES,
    FINAL_STATUSES,
    UPDATABLE_STATUSES,
    IntentStatus,
)
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.outbox.operations import Operation
from shop_payments.outbox.outcomes import reporting_missing_target
from shop_payments.sync.fingerprints import sent_fingerprint
from shop_payments.sync.payment_intents import (
    apply_intent,
    find_attempt_of,
    insert_intent,
    refresh_intent,
)

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult

_CLOCK_SKEW = timedelta(minutes=10)
"""The difference between Stripe's clock and ours to allow for in a search by creation time."""

_TARGET_MISSING = frozenset({404})


# --- calling ------------------------------------------------------------------------------------


def _create(attempt: StripeAttempt, key: str) -> PaymentIntentResult:
    return get_gateway().create_payment_intent(attempt.params, idempotency_key=key)


def _update(attempt: StripeAttempt, key: str) -> PaymentIntentResult:
    return get_gateway().update_payment_intent(attempt.target, attempt.params, idempotency_key=key)


def _capture(attempt: StripeAttempt, key: str) -> PaymentIntentResult:
    return get_gateway().capture_payment_intent(attempt.target, attempt.params, idempotency_key=key)


def _cancel(attempt: StripeAttempt, key: str) -> PaymentIntentResult:
    return get_gateway().cancel_payment_intent(attempt.target, attempt.params, idempotency_key=key)


# --- finding ------------------------------------------------------------------------------------


def _find_created(attempt: StripeAttempt) -> PaymentIntentResult | None:
    """Find the intent with the attempt's id, created between its commit and its last sending.

    Raises:
        TargetMissing, GatewayError: see :func:`_prove_account`.
    """
    last_sent = attempt.last_sent_at or attempt.created_at
    since, until = attempt.created_at - _CLOCK_SKEW, last_sent + _CLOCK_SKEW
    # Listed, not searched: Stripe's search does not show new data at once.
    # See: https://docs.stripe.com/search#data-freshness (checked 2026-11)
    found = get_gateway().find_created_intent(str(attempt.pk), since=since, until=until)
    if found is None:
        _prove_account(attempt)
    return found


def _prove_account(attempt: StripeAttempt) -> None:
    """Check that the key belongs to the account of our intents, if there are any.

    The list of another account does not contain our intent, which proves nothing.

    Raises:
        TargetMissing: Stripe does not know the newest of our intents under the key in use.
        GatewayError: the request to Stripe failed.
    """
    rows = PaymentIntent.objects.filter(livemode=attempt.livemode)
    newest = rows.exclude(status=IntentStatus.MISSING).order_by("-pk").first()
    if newest is not None and newest.livemode:  # test data may be deleted, and moves no money
        with reporting_missing_target(newest.stripe_id):
            get_gateway().retrieve_payment_intent(newest.stripe_id)


def _nothing_to_find(attempt: StripeAttempt) -> None:
    """Return None: the effect does not matter, because the row's fingerprint is cleared."""


# --- applying -----------------------------------------------------------------------------------


def _apply_created(
    locked: LockedPayment, attempt: StripeAttempt, result: PaymentIntentResult
) -> bool:
    row = locked.intent(result.id)
    if row is None:
        fingerprint = sent_fingerprint(attempt)
        inserted = insert_intent(locked, attempt, result, fingerprint=fingerprint)
        return inserted is not None
    # A webhook was faster. Its data is newer than the answer, unless the status is final.
    is_news = _finish(attempt, result) and result.status in FINAL_STATUSES
    if is_news:
        sent = sent_fingerprint(attempt)
        apply_intent(locked, row, result, updated_to=sent)
    return is_news


def _apply_changed(
    locked: LockedPayment,
    attempt: StripeAttempt,
    result: PaymentIntentResult,
    *,
    sent: str | None = None,
) -> bool:
    """Apply the answer to a change; ``sent`` is the fingerprint of the parameters of an update."""
    is_first, row = _finish(attempt, result), locked.intent(result.id)
    if row is None:
        return _insert_orphan(locked, result)
    # A replayed answer, or one to a request made before the row changed, may be outdated.
    is_fresh = not result.replayed and row.version == attempt.target_version
    is_news = is_first and (is_fresh or result.status in FINAL_STATUSES)
    if is_news:
        apply_intent(locked, row, result, updated_to=sent)
    elif is_first and sent is not None:
        # Only the parameters sent are known, not the state. The next call fetches the intent.
        row.fingerprint = sent
        row.save(update_fields=["fingerprint"])
    return is_news


def _apply_updated(
    locked: LockedPayment, attempt: StripeAttempt, result: PaymentIntentResult
) -> bool:
    sent = sent_fingerprint(attempt)
    return _apply_changed(locked, attempt, result, sent=sent)


def _insert_orphan(locked: LockedPayment, intent: PaymentIntentResult) -> bool:
    """Insert the row of a cancelled orphan: an intent whose creation was never answered."""
    creator = find_attempt_of(intent)
    if creator is None:
        return False
    return insert_intent(locked, creator, intent, fingerprint="") is not None


def _finish(attempt: StripeAttempt, intent: PaymentIntentResult) -> bool:
    return attempt.finish(
        StripeAttempt.Outcome.SUCCEEDED,
        stripe_object_id=intent.id,
        request_id=intent.request_id[:255],
        http_status=200,
    )


# --- ending without an effect -------------------------------------------------------------------


def _end_write(locked: LockedPayment, attempt: StripeAttempt, why: str) -> None:
    # Refused: the intent is as it was, and its fingerprint is still right.
    if attempt.outcome == StripeAttempt.Outcome.FAILED:
        for entry in locked.entries:
            if entry.capture_id == attempt.pk:  # a waiver of a refused capture does not count
                entry.capture, locked.needs_order = attempt, True
        return
    row = locked.intent(attempt.target)
    if row is not None:
        # Unknown whether Stripe applied it: without a fingerprint, the next call updates again.
        row.fingerprint = ""
        row.save(update_fields=["fingerprint"])


def _explain_change(
    attempt: StripeAttempt,
    error: GatewayError,
    *,
    origin: Origin,
    allowed_in: frozenset[str],
) -> bool:
    """Fetch an intent that Stripe refused to change; return whether its status explains that.

    Raises:
        PaymentIntentMissing, GatewayError: see :func:`refresh_intent`.
    """
    if not isinstance(error, UnexpectedState):
        return False
    row = PaymentIntent.objects.filter(stripe_id=attempt.target).first()
    if row is None:
        return True  # an orphan, whose status is not known here; the sweep tries it again
    refreshed = refresh_intent(row, origin=origin)
    return refreshed is None or refreshed.row.status not in allowed_in


def _explain_nothing(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool:
    return False


CREATE_INTENT: Operation[PaymentIntentResult] = Operation(
    call=_create,
    find=_find_created,
    apply=_apply_created,
    end=_end_write,
    explain=_explain_nothing,
)
UPDATE_INTENT: Operation[PaymentIntentResult] = Operation(
    call=_update,
    find=_nothing_to_find,
    apply=_apply_updated,
    end=_end_write,
    explain=partial(_explain_change, allowed_in=UPDATABLE_STATUSES),
    missing_statuses=_TARGET_MISSING,
)
CAPTURE_INTENT: Operation[PaymentIntentResult] = Operation(
    call=_capture,
    find=_nothing_to_find,
    apply=_apply_changed,
    end=_end_write,
    explain=partial(_explain_change, allowed_in=CAPTURABLE_STATUSES),
    missing_statuses=_TARGET_MISSING,
    must_be_known=True,  # a waiver of staff depends on it
)
CANCEL_INTENT: Operation[PaymentIntentResult] = Operation(
    call=_cancel,
    find=_nothing_to_find,
    apply=_apply_changed,
    end=_end_write,
    explain=partial(_explain_change, allowed_in=CANCELABLE_STATUSES),
    missing_statuses=_TARGET_MISSING,
)
