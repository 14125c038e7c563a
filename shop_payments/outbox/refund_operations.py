"""Create refunds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from shop_payments.exceptions import (
    GatewayError,
    GatewayInvalidRequest,
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
from shop_payments.money import display_amount, format_amount
from shop_payments.outbox.operations import Operation
from shop_payments.outbox.outcomes import doubting_the_key
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.refunds import REFUNDS, apply_refund, figures_of, save_refund

if TYPE_CHECKING:
    from shop_payments.gateway import RefundResult

_DISPUTED = "charge_disputed"


def exceeds_balance(left: int, currency: str) -> RefundExceedsBalance:
    """Return the error for a refund of more than ``left``, in minor units."""
    return RefundExceedsBalance(
        f"Only {display_amount(left, currency)} of this payment is left.",
        refundable=format_amount(left, currency),
        currency=currency,
    )


def refund_of(locked: LockedPayment, attempt: StripeAttempt) -> Refund:
    """Return the refund that ``attempt`` creates: it has the same primary key."""
    return next(row for row in locked.refunds if row.pk == attempt.pk)


def _call(attempt: StripeAttempt, key: str) -> RefundResult:
    return get_gateway().create_refund(attempt.params, idempotency_key=key)


def _find(attempt: StripeAttempt) -> RefundResult | None:
    """Look among the intent's refunds. See Note [Absence proves nothing] in ``outcomes.py``.

    Raises:
        RefundInProgress: it is not there, which proves nothing yet; it stays requested.
        TargetMissing: nor is the payment intent; this look does not count.
    """
    with doubting_the_key(attempt.target):
        for result in get_gateway().list_refunds(attempt.target):
            if result.metadata.get("attempt_id") == str(attempt.pk):
                return result
        if attempt.key_expired:
            get_gateway().retrieve_payment_intent(attempt.target)  # the key is of the right account
    if _is_certainly_missing(attempt):
        return None
    attempt.release()
    refund = Refund.objects.get(attempt=attempt)
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


def _apply(
    locked: LockedPayment, attempt: StripeAttempt, result: RefundResult, *, origin: Origin
) -> bool:
    row = refund_of(locked, attempt)
    if row.stripe_id:
        return False  # it was listed meanwhile: this is what it was when it was made
    apply_refund(locked, _intent_of(locked, row), row, result, origin=origin)
    return True


def _intent_of(locked: LockedPayment, refund: Refund) -> PaymentIntent:
    return next(row for row in locked.intents if row.pk == refund.payment_intent_id)


def _end(locked: LockedPayment, attempt: StripeAttempt, why: str, *, origin: Origin) -> None:
    """Close a refund that moved nothing, so that it reserves nothing any more."""
    row = refund_of(locked, attempt)
    if row.status != RefundStatus.REQUESTED:
        return
    why = why or "Stripe had no such refund, a day after it was asked for"
    row.status, row.failure_reason = RefundStatus.REFUSED, why[:255]
    save_refund(locked, row)
    figures = figures_of(row, f"{row.amount_display} refused: {why}")
    facts = [(FactKind.REFUND_CHANGED, figures)]
    intent = _intent_of(locked, row)
    locked.add_facts(intent, facts, origin=origin, request_id=attempt.request_id)


def _explain(attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool:
    """Look for the reason of a refusal in what others did at Stripe, and raise it.

    Raises:
        RefundExceedsBalance: somebody gave the money back already.
        PaymentDisputed: the customer's bank has claimed it. Of a lost payment Stripe gives nothing
            back, though a refund that failed meanwhile may have left something of it.
        OrderNotRefundable: the intent was cancelled after a partial capture.
    """
    if not isinstance(error, GatewayInvalidRequest):
        return False
    refund = Refund.objects.select_related("payment_intent").get(attempt=attempt)
    intent = refund.payment_intent
    REFUNDS.sync(intent, origin=origin)
    DISPUTES.sync(intent, origin=origin)
    locked = read_rows(OrderPayment.objects.get(pk=intent.order_payment_id))
    current = locked.intent(intent.stripe_id)
    if current is None:
        return False
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
    return False


CREATE_REFUND: Operation[RefundResult] = Operation(
    call=_call,
    find=_find,
    apply=_apply,
    end=_end,
    explain=_explain,
    missing_statuses=frozenset({400, 404}),  # the payment intent is a parameter
    must_be_known=True,
)
