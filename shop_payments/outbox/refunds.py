"""Send a saved refund, and find out what became of one whose answer was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayInvalidRequest,
    IdempotencyKeyInUse,
    OrderNotRefundable,
    PaymentDisputed,
    RefundExceedsBalance,
    RefundInProgress,
)
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, read_rows
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import DisputeState, RefundStatus
from shop_payments.models import FactKind, OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.money import display_amount, format_amount
from shop_payments.outbox.outcomes import (
    doubt_of,
    doubting_the_key,
    is_missing,
    log_error,
    must_look_up,
)
from shop_payments.outbox.turns import free_if_lost
from shop_payments.sync.disputes import sync_disputes
from shop_payments.sync.refunds import figures_of, save_refund, sync_refunds, write_refund

if TYPE_CHECKING:
    from shop_payments.gateway import RefundResult


IN_PROGRESS = "This refund is being sent by another request. Try again in a moment."


def exceeds_balance(left: int, currency: str) -> RefundExceedsBalance:
    """Return the error for a refund of more than ``left``, in minor units."""
    return RefundExceedsBalance(
        f"Only {display_amount(left, currency)} of this payment is left.",
        refundable=format_amount(left, currency),
        currency=currency,
    )


def send_refund(refund: Refund, *, origin: Origin) -> Refund:
    """Send a saved refund, which the caller has claimed, and write down what came of it.

    Raises:
        RefundExceedsBalance, PaymentDisputed: Stripe knows of something that we did not; the
            rows have been brought up to date.
        OrderNotRefundable: Stripe does not refund this payment over its API.
        RefundInProgress: another request waits for Stripe's answer to it.
        GatewayError: see :func:`refund_payment`.
    """
    attempt = refund.attempt
    assert attempt is not None
    if belongs_to_other_mode(attempt.livemode):
        raise OrderNotRefundable("This was paid in test mode, and the key in use is a live one.")
    if attempt.key_expired:
        return _find_out(refund, origin=origin)
    try:
        result = get_gateway().create_refund(attempt.params, idempotency_key=str(attempt.pk))
    except GatewayError as error:
        if must_look_up(error):
            return _find_out(refund, origin=origin)
        if isinstance(error, IdempotencyKeyInUse):
            raise RefundInProgress(IN_PROGRESS) from None
        if is_missing(error):
            error = doubt_of(attempt.target, error)
        _record_error(refund, error, origin=origin)
        _explain(refund, error, origin=origin)
        raise error from None
    return _write_one(refund, result, origin=origin)


def _write_one(refund: Refund, result: RefundResult, *, origin: Origin) -> Refund:
    def write(locked: LockedPayment) -> Refund:
        row = next(each for each in locked.refunds if each.pk == refund.pk)
        if OrderPayment.order.is_cached(refund.order_payment):
            locked.payment.order = refund.order_payment.order  # the receivers get it too
        # Else it was listed meanwhile: this is what it was when it was made, at best as new.
        if not row.stripe_id:
            write_refund(locked, _intent_of(locked, row), row, result, origin=origin)
        return row

    done = change_payment(write, origin=origin, pk=refund.order_payment_id)
    assert done.value is not None
    return done.value


def _intent_of(locked: LockedPayment, refund: Refund) -> PaymentIntent:
    return next(row for row in locked.intents if row.pk == refund.payment_intent_id)


def _record_error(refund: Refund, error: GatewayError, *, origin: Origin) -> None:
    attempt = refund.attempt
    assert attempt is not None
    figures = log_error(attempt, error)
    if error.retryable or isinstance(error, GatewayAuthenticationError):
        attempt.release(**figures)
        return
    give_up(refund, str(error), StripeAttempt.Outcome.FAILED, figures, origin=origin)


def give_up(
    refund: Refund,
    why: str,
    outcome: StripeAttempt.Outcome,
    figures: dict[str, Any],
    *,
    origin: Origin,
) -> Refund:
    """Close a refund that moved nothing, so that it reserves nothing any more."""

    def close(locked: LockedPayment) -> Refund:
        row = next(each for each in locked.refunds if each.pk == refund.pk)
        assert row.attempt is not None
        if row.attempt.finish(outcome, **figures) and row.status == RefundStatus.REQUESTED:
            row.status = RefundStatus.REFUSED
            row.failure_reason = why[:255]
            save_refund(locked, row)
            fact = (
                FactKind.REFUND_CHANGED,
                figures_of(row, f"{row.amount_display} refused: {why}"),
            )
            request_id = figures.get("request_id", "")
            intent = _intent_of(locked, row)
            locked.add_facts(intent, [fact], origin=origin, request_id=request_id)
        return row

    done = change_payment(close, origin=origin, pk=refund.order_payment_id)
    assert done.value is not None
    return done.value


_DISPUTED = "charge_disputed"


def _explain(refund: Refund, error: GatewayError, *, origin: Origin) -> None:
    """Look for the reason of a refusal in what others did at Stripe, and raise it.

    Raises:
        RefundExceedsBalance: somebody gave the money back already.
        PaymentDisputed: the customer's bank has claimed it. Of a lost payment Stripe gives nothing
            back, though a refund that failed meanwhile may have left something of it.
        OrderNotRefundable: the intent was cancelled after a partial capture.
    """
    if not isinstance(error, GatewayInvalidRequest):
        return
    intent = refund.payment_intent
    sync_refunds(intent, origin=origin)
    sync_disputes(intent, origin=origin)
    locked = read_rows(OrderPayment.objects.get(pk=intent.order_payment_id))
    current = locked.intent(intent.stripe_id)
    if current is None:
        return
    if error.code == _DISPUTED or locked.dispute_state_of(current) == DisputeState.OPEN:
        raise PaymentDisputed("The customer's bank has claimed this payment back.") from None
    left = locked.money_of(current).refundable
    if left < refund.amount:
        raise exceeds_balance(left, current.currency) from None
    if current.holds_money and not current.has_succeeded:
        # Stripe does not say whether its API refunds a cancelled intent.
        raise OrderNotRefundable(
            f"Stripe refused to refund this payment: {error} The payment intent was cancelled"
            f" after a part was captured. Refund its charge ({current.latest_charge}) in Stripe's"
            " dashboard."
        ) from None


def _find_out(refund: Refund, *, origin: Origin) -> Refund:
    """Look among the intent's refunds for one whose answer can never be had again.

    See Note [Absence proves nothing] in ``outcomes.py``.

    Raises:
        RefundInProgress: it is not there, which proves nothing yet; it stays requested.
        TargetMissing: nor is the payment intent; this look does not count.
        GatewayError: Stripe could not be asked; the refund stays requested, and the next caller may
            try it at once.
    """
    attempt = refund.attempt
    assert attempt is not None
    with free_if_lost(attempt), doubting_the_key(attempt.target):
        listed = get_gateway().list_refunds(attempt.target)
    for result in listed:
        if result.metadata.get("attempt_id") == str(refund.pk):
            return _write_one(refund, result, origin=origin)
    if attempt.key_expired:
        with free_if_lost(attempt), doubting_the_key(attempt.target):
            get_gateway().retrieve_payment_intent(attempt.target)  # the key is of the right account
    if _is_certainly_missing(attempt):
        why = "Stripe had no such refund, a day after it was asked for"
        return give_up(refund, why, StripeAttempt.Outcome.ABANDONED, {}, origin=origin)
    attempt.release()
    raise RefundInProgress(
        f"Stripe has not said what became of this refund of {refund.amount_display}. The amount"
        " stays reserved until that is known; ask again with the same key."
    )


def _is_certainly_missing(attempt: StripeAttempt) -> bool:
    """Note a look that has not found an effect; tell whether enough of them agree."""
    now = timezone.now()
    if not attempt.key_expired:
        return False
    if attempt.missed_at is None:
        attempt.missed_at = now
        attempt.save(update_fields=["missed_at"])
        return False
    return now - attempt.missed_at >= StripeAttempt.SECOND_LOOK
