"""Sync early fraud warnings: the card's issuer suspects fraud, and a dispute is likely.

A warning moves no money. Staff can refund the payment before it is disputed. Stripe calls a warning
actionable while the payment is neither disputed nor fully refunded.

See: https://docs.stripe.com/disputes/measuring#early-fraud-warnings and
https://docs.stripe.com/api/radar/early_fraud_warnings/object (checked 2026-11)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop_payments.gateway import get_gateway
from shop_payments.ledger.descriptions import humanize
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, close_review, open_review
from shop_payments.models import EarlyFraudWarning, PaymentIntent, ReviewItem
from shop_payments.sync.base import ObjectType

if TYPE_CHECKING:
    from shop_payments.gateway.radar import EarlyFraudWarningResult

_FRAUD_WARNING = ReviewItem.Reason.FRAUD_WARNING


def _find_warning(
    locked: LockedPayment, result: EarlyFraudWarningResult
) -> EarlyFraudWarning | None:
    return EarlyFraudWarning.objects.filter(stripe_id=result.id).first()


def _apply_warning(
    locked: LockedPayment,
    intent: PaymentIntent,
    row: EarlyFraudWarning | None,
    result: EarlyFraudWarningResult,
    *,
    origin: Origin,
) -> None:
    if row is not None and _warning_agrees(row, result):
        return
    if row is None:
        row = EarlyFraudWarning(
            order_payment=locked.payment,
            payment_intent=intent,
            stripe_id=result.id,
            livemode=result.livemode,
            stripe_created_at=result.created_at,
        )
    row.actionable, row.fraud_type = result.actionable, result.fraud_type[:64]
    row.version += 1
    row.save()
    if row.actionable:
        detail = f"The card's issuer suspects fraud ({humanize(row.fraud_type)}), {row.stripe_id}"
        open_review(locked, intent, _FRAUD_WARNING, detail, origin=origin, subject=row.stripe_id)
    else:
        note = "Stripe: it was refunded in full, or is disputed"
        close_review(locked, intent, _FRAUD_WARNING, row.stripe_id, note)


def _warning_agrees(row: EarlyFraudWarning, result: EarlyFraudWarningResult) -> bool:
    return (row.actionable, row.fraud_type) == (result.actionable, result.fraud_type[:64])


EARLY_FRAUD_WARNINGS: ObjectType[EarlyFraudWarning, EarlyFraudWarningResult] = ObjectType(
    singular="early fraud warning",
    plural="early fraud warnings",
    events=("radar.early_fraud_warning.",),
    list_of=lambda intent_id: get_gateway().list_early_fraud_warnings(intent_id),
    page=lambda **span: get_gateway().page_of_early_fraud_warnings(**span),
    intent_of=lambda warning_id: get_gateway().intent_of_early_fraud_warning(warning_id),
    rows=EarlyFraudWarning.objects.all,
    unsettled=lambda: EarlyFraudWarning.objects.filter(actionable=True),
    find=_find_warning,
    apply=_apply_warning,
    agrees=_warning_agrees,
    is_optional=True,
)
