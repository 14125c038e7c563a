"""Send an attempt's saved request to Stripe and record the outcome.

Note [Attempt rows] in ``models/payments.py`` explains why a request is saved before it is sent. All
operations are sent in the same way. Their differences are in the table ``OPERATIONS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    IdempotencyKeyInUse,
    PaymentIntentMissing,
    TargetMissing,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import Done, change_payment
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.outbox.intent_operations import (
    CANCEL_INTENT,
    CAPTURE_INTENT,
    CREATE_INTENT,
    UPDATE_INTENT,
)
from shop_payments.outbox.operations import Operation
from shop_payments.outbox.outcomes import is_missing, is_replayed_failure, log_error, target_missing
from shop_payments.outbox.refund_operations import CREATE_REFUND
from shop_payments.outbox.review_operations import APPROVE_REVIEW
from shop_payments.outbox.turns import release_on_error
from shop_payments.sync.payment_intents import complete_charge_times, refresh_intent

OPERATIONS: dict[str, Operation[Any]] = {
    StripeAttempt.Operation.CREATE_INTENT: CREATE_INTENT,
    StripeAttempt.Operation.UPDATE_INTENT: UPDATE_INTENT,
    StripeAttempt.Operation.CAPTURE_INTENT: CAPTURE_INTENT,
    StripeAttempt.Operation.CANCEL_INTENT: CANCEL_INTENT,
    StripeAttempt.Operation.CREATE_REFUND: CREATE_REFUND,
    StripeAttempt.Operation.APPROVE_REVIEW: APPROVE_REVIEW,
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The outcome of a finished attempt."""

    result: Any = None
    """The object from Stripe's answer, if the answer is certainly fresh.

    None if the object has to be fetched: the answer was replayed, a webhook was faster, the attempt
    had no effect, or Stripe did not know the object.
    """

    locked: LockedPayment | None = None
    """The payment as it was committed."""


def send_attempt(attempt: StripeAttempt, *, origin: Origin, as_of: datetime | None = None) -> Sent:
    """Send ``attempt`` (which the caller has acquired) and record the outcome.

    ``as_of`` is the payment's ``updated_at`` when the attempt was planned. If the payment has
    changed since, there is no result: the intent may ask for more than is outstanding now.

    Raises:
        TargetMissing: Stripe does not know the object, but the effect must be known. The attempt
            stays pending, because an earlier sending may have had an effect.
        RefundInProgress: the outcome of a refund is not known yet; it stays pending.
        PaymentError: an error that explains Stripe's refusal.
        GatewayError: refused (the attempt is finished as failed), or retryable (it stays pending,
            and the next call can acquire it).
    """
    sending = _Sending(attempt, origin)
    # Stripe has forgotten an expired key, so sending again could have the effect a second time.
    if attempt.key_expired:
        return sending.find_effect()
    try:
        result = _call_stripe(attempt)
    except GatewayError as error:
        if is_replayed_failure(error):
            return sending.find_effect()
        return sending.record_error(error)
    done = sending.record_result(result)
    # The payment may have changed while Stripe answered, which makes the answer outdated.
    is_as_planned = as_of is None or (done.locked is not None and done.locked.changed_at == as_of)
    is_fresh = bool(done.value) and is_as_planned and not result.replayed
    return Sent(result=result if is_fresh else None, locked=done.locked)


def _call_stripe(attempt: StripeAttempt) -> Any:
    key = str(attempt.pk)
    return OPERATIONS[attempt.operation].call(attempt, key)


def end_attempt(
    attempt: StripeAttempt,
    outcome: StripeAttempt.Outcome,
    *,
    why: str = "",
    figures: dict[str, Any] | None = None,
    origin: Origin,
) -> LockedPayment | None:
    """Finish an attempt that had no effect, or none that matters; return the payment."""

    def end(locked: LockedPayment) -> None:
        # The lock reads a refund's attempt again, and ``end`` changes that object.
        current = next((row.attempt for row in locked.refunds if row.pk == attempt.pk), None)
        current = current or attempt
        if current.finish(outcome, **(figures or {})):
            OPERATIONS[attempt.operation].end(locked, current, why)

    return change_payment(end, origin=origin, pk=attempt.order_payment_id).locked


def _share_order(attempt: StripeAttempt, locked: LockedPayment) -> None:
    """Pass the order that was read when a refund was saved to the receivers of its signals."""
    is_refund = attempt.operation == StripeAttempt.Operation.CREATE_REFUND
    if is_refund and StripeAttempt.order_payment.is_cached(attempt):
        saved = attempt.order_payment
        if OrderPayment.order.is_cached(saved):
            locked.payment.order = saved.order


@dataclass(frozen=True)
class _Sending:
    """One try to send an attempt, and what follows from its outcome."""

    attempt: StripeAttempt
    origin: Origin

    @property
    def _operation(self) -> Operation[Any]:
        return OPERATIONS[self.attempt.operation]

    def record_result(self, result: Any) -> Done[bool]:
        """Apply Stripe's answer to the rows; the value is False if they hold something newer."""

        def apply(locked: LockedPayment) -> bool:
            _share_order(self.attempt, locked)
            return self._operation.apply(locked, self.attempt, result)

        done = change_payment(apply, origin=self.origin, pk=self.attempt.order_payment_id)
        # The answer may show a second payment, which makes the times of the charges matter.
        if self.attempt.operation in StripeAttempt.INTENT_WRITES:
            complete_charge_times(done.locked)
        return done

    def find_effect(self) -> Sent:
        """Look for the effect of the attempt at Stripe, and finish the attempt.

        Raises:
            RefundInProgress: the outcome is not certain yet.
            GatewayError: the request to Stripe failed. The attempt stays pending and is released.
        """
        with release_on_error(self.attempt):
            found = self._operation.find(self.attempt)
        if found is None:
            return Sent(locked=self._end(StripeAttempt.Outcome.ABANDONED))
        return Sent(locked=self.record_result(found).locked)

    def record_error(self, error: GatewayError) -> Sent:
        """Finish a refused attempt, or release an unresolved one for the next caller.

        A missing object is not a refusal: the API key may belong to another account (ADR 15).

        Raises:
            PaymentError, GatewayError: see :func:`send_attempt`.
        """
        attempt, operation = self.attempt, self._operation
        is_target_missing = is_missing(error) and error.http_status in operation.missing_statuses
        if is_target_missing:
            error = target_missing(attempt.target, error)
        figures = log_error(attempt, error)
        if is_target_missing and not operation.must_be_known:
            return Sent(locked=self._end(StripeAttempt.Outcome.ABANDONED, figures=figures))
        if not error.retryable and not isinstance(error, GatewayAuthenticationError):
            self._end(StripeAttempt.Outcome.FAILED, why=str(error), figures=figures)
        elif not isinstance(error, IdempotencyKeyInUse):
            # A refused API key does not show what an earlier sending with another one has done.
            attempt.release(**figures)
        # After the attempt is released: it calls Stripe, and may raise.
        if operation.explain(attempt, error, origin=self.origin):
            return Sent()
        raise error from None

    def _end(self, outcome: StripeAttempt.Outcome, **options: Any) -> LockedPayment | None:
        return end_attempt(self.attempt, outcome, origin=self.origin, **options)


def finish_for_others(attempt: StripeAttempt, *, origin: Origin) -> None:
    """Send an attempt of another request, which the caller has acquired, and record the outcome.

    A refusal is not raised: it concerns the other request, not the caller's.

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
            raise  # the attempt stays pending, so trying again at once would fail again
    except GatewayError as error:
        if error.retryable or isinstance(error, GatewayAuthenticationError):
            raise
    else:
        check_target(attempt, origin=origin)


def check_target(attempt: StripeAttempt, *, origin: Origin) -> None:
    """Fetch the intent again if Stripe did not know it when ``attempt`` was sent.

    Raises:
        PaymentIntentMissing: Stripe still does not know it, and it is open here. A test-mode
            intent is closed instead (ADR 8), so the caller can go on.
        GatewayError: the request to Stripe failed.
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
