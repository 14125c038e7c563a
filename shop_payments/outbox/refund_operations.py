"""Create refunds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.exceptions import (
    GatewayError,
    GatewayInvalidRequest,
    Message,
    OrderNotRefundable,
    PaymentDisputed,
    RefundExceedsBalance,
    RefundInProgress,
)
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, read_rows
from shop_payments.lifecycle import DisputeState, RefundStatus
from shop_payments.models import FactKind, OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.models.sentences import NOT_AT_STRIPE
from shop_payments.money import ShownAmount, format_amount
from shop_payments.outbox.operations import Operation
from shop_payments.outbox.outcomes import reporting_missing_target
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.refunds import REFUNDS, apply_refund, figures_of, save_refund

if TYPE_CHECKING:
    from shop_payments.gateway import RefundResult

_DISPUTED = "charge_disputed"


def exceeds_balance(left: int, currency: str) -> RefundExceedsBalance:
    """Return the error for a refund of more than ``left``, in minor units."""
    return RefundExceedsBalance(
        Message(
            gettext_noop("Only %(amount)s can be refunded."), amount=ShownAmount(left, currency)
        ),
        refundable=format_amount(left, currency),
        currency=currency,
    )


def refund_of(locked: LockedPayment, attempt: StripeAttempt) -> Refund:
    """Return the refund that ``attempt`` creates, which has the same primary key."""
    return next(row for row in locked.refunds if row.pk == attempt.pk)


def _create_refund(attempt: StripeAttempt, key: str) -> RefundResult:
    return get_gateway().create_refund(attempt.params, idempotency_key=key)


def _find_refund(attempt: StripeAttempt) -> RefundResult | None:
    """Look for it in the intent's refunds. See Note [Absence proves nothing] in ``outcomes.py``.

    Raises:
        RefundInProgress: it was not found, which proves nothing yet; it stays requested.
        TargetMissing: the payment intent was not found either; this look-up does not count.
    """
    with reporting_missing_target(attempt.target):
        for result in get_gateway().list_refunds(attempt.target):
            if result.metadata.get("attempt_id") == str(attempt.pk):
                return result
        if attempt.key_expired:
            # Fails if the key belongs to another account, whose empty list proves nothing.
            get_gateway().retrieve_payment_intent(attempt.target)
    if _is_certainly_missing(attempt):
        return None
    attempt.release()
    refund = Refund.objects.get(attempt=attempt)
    raise RefundInProgress(
        Message(
            gettext_noop(
                "The outcome of this refund of %(amount)s is not known yet. The amount stays "
                "reserved until it is known. Repeat the request with the same key."
            ),
            amount=ShownAmount(refund.amount, refund.currency),
        )
    )


def _is_certainly_missing(attempt: StripeAttempt) -> bool:
    """Record a look-up without a result; return whether enough of them agree."""
    now = timezone.now()
    if not attempt.key_expired:
        return False
    if attempt.missed_at is None:
        attempt.missed_at = now
        attempt.save(update_fields=["missed_at"])
        return False
    return now - attempt.missed_at >= StripeAttempt.SECOND_LOOK


def _apply_created_refund(
    locked: LockedPayment, attempt: StripeAttempt, result: RefundResult
) -> bool:
    row = refund_of(locked, attempt)
    if row.stripe_id:
        return False  # a list or an event was faster and is newer: this is the state at creation
    apply_refund(locked, _intent_of(locked, row), row, result)
    return True


def _intent_of(locked: LockedPayment, refund: Refund) -> PaymentIntent:
    return next(row for row in locked.intents if row.pk == refund.payment_intent_id)


def _end_refund(locked: LockedPayment, attempt: StripeAttempt, why: str) -> None:
    """Close a refund that moved no money, so that its amount is not reserved any more."""
    row = refund_of(locked, attempt)
    if row.status != RefundStatus.REQUESTED:
        return
    # The status is ours, not one of Stripe's: Stripe has no such refund.
    row.status, row.failure_reason = RefundStatus.REFUSED, (why or NOT_AT_STRIPE)[:255]
    save_refund(locked, row)
    figures = {"sentence": "refund_refused", "failure_reason": row.failure_reason}
    facts = [(FactKind.REFUND_CHANGED, {**figures_of(row), **figures})]
    intent = _intent_of(locked, row)
    locked.add_facts(intent, facts, request_id=attempt.request_id)


def _explain_refund(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool:
    """Sync the intent's refunds and disputes, and raise an error if they explain the refusal.

    Raises:
        RefundExceedsBalance: the money was refunded already.
        PaymentDisputed: the payment is disputed. Stripe does not refund a lost payment, even if a
            refund that failed meanwhile has left some of the money.
        OrderNotRefundable: the intent was cancelled after a partial capture.
    """
    if not isinstance(error, GatewayInvalidRequest):
        return False
    # The events that explain it may still be on their way.
    refund = Refund.objects.select_related("payment_intent").get(attempt=attempt)
    intent = refund.payment_intent
    REFUNDS.sync(intent, origin=origin)
    DISPUTES.sync(intent, origin=origin)
    locked = read_rows(OrderPayment.objects.get(pk=intent.order_payment_id))
    current = locked.intent(intent.stripe_id)
    if current is None:
        return False
    if error.code == _DISPUTED or locked.dispute_state_of(current) == DisputeState.OPEN:
        raise PaymentDisputed(
            Message(gettext_noop("The customer's bank disputes this payment."))
        ) from None
    left = locked.money_of(current).refundable
    if left < refund.amount:
        raise exceeds_balance(left, current.currency) from None
    if current.holds_money and not current.has_succeeded:
        # Stripe does not say whether its API refunds a cancelled intent.
        raise OrderNotRefundable(
            f"Stripe refused to refund this payment: {error} The payment intent was cancelled"
            f" after a part was captured. Refund its charge ({current.latest_charge}) in Stripe's"
            " dashboard.",
            reason="cancelled_after_capture",
        ) from None
    return False


CREATE_REFUND: Operation[RefundResult] = Operation(
    call=_create_refund,
    find=_find_refund,
    apply=_apply_created_refund,
    end=_end_refund,
    explain=_explain_refund,
    missing_statuses=frozenset({400, 404}),  # the payment intent is a parameter
    must_be_known=True,
)
