"""Turn an order's rows into the observations from which its balance is derived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shop_payments.balance import Observations, Outflow, OutflowKind, OutflowProgress, Payment
from shop_payments.conf import get_config
from shop_payments.lifecycle import RETURNED_REFUND_STATUSES, DisputeState, RefundStatus
from shop_payments.models import (
    Dispute,
    OrderPayment,
    PaymentIntent,
    Refund,
    StaffEntry,
    StripeAttempt,
)

_PROGRESS_OF_DISPUTE = {
    DisputeState.OPEN: OutflowProgress.UNDER_WAY,
    DisputeState.LOST: OutflowProgress.FINAL,
}

_AS_GOODS = {Refund.Kind.GOODS: True, Refund.Kind.CORRECTION: False}


@dataclass(frozen=True)
class Rows:
    """All rows of one order's payment."""

    payment: OrderPayment
    intents: Sequence[PaymentIntent]
    refunds: Sequence[Refund] = ()
    disputes: Sequence[Dispute] = ()
    entries: Sequence[StaffEntry] = ()


def counts(payment: OrderPayment, intent: PaymentIntent) -> bool:
    """Return whether the intent's money counts for the order.

    It must have succeeded, in the order's currency and the key's mode, and the shop must have
    wanted it.
    """
    return intent.wanted and would_count(payment, intent)


def would_count(payment: OrderPayment, intent: PaymentIntent) -> bool:
    """Return whether the intent's money counts for the order if the shop wants it."""
    return (
        intent.has_succeeded
        and intent.currency == payment.currency
        and intent.livemode == get_config().livemode
    )


def is_live_under_test_key(intents: Iterable[PaymentIntent]) -> bool:
    """Return whether live money was received, but the key in use is a test key.

    Then no balance may be derived: the test key does not see the live objects.
    """
    is_live = any(intent.livemode and intent.amount_received for intent in intents)
    return is_live and not get_config().livemode


def observe(rows: Rows) -> Observations:
    """Return everything from which the balance of an order is derived."""
    payment = rows.payment
    return Observations(
        total=payment.total or 0,
        is_payable=payment.is_payable,
        payments=[_payment(payment, intent) for intent in rows.intents],
        outflows=[*outflows_of(rows.intents, rows.refunds, rows.disputes, rows.entries)],
        waived=waived_by(rows.intents, rows.entries),
        has_unknown=payment.has_unknown_intent,
    )


def _payment(payment: OrderPayment, intent: PaymentIntent) -> Payment:
    return Payment(
        id=intent.stripe_id,
        status=intent.status,
        at=intent.charged_at or intent.stripe_created_at,
        begun_at=intent.created_at,
        received=intent.amount_received,
        counts=counts(payment, intent),
        total_seen=intent.total_seen,
    )


def outflows_of(
    intents: Iterable[PaymentIntent],
    refunds: Iterable[Refund] = (),
    disputes: Iterable[Dispute] = (),
    entries: Iterable[StaffEntry] = (),
) -> Iterable[Outflow]:
    """Yield the money that has left or is leaving these intents."""
    by_pk = {intent.pk: intent for intent in intents}
    for refund in refunds:
        yield _of_refund(refund, by_pk[refund.payment_intent_id])
    for dispute in disputes:
        yield _of_dispute(dispute, by_pk[dispute.payment_intent_id])
    for entry in entries:
        if entry.kind == StaffEntry.Kind.SETTLEMENT and not entry.is_revoked:
            assert entry.payment_intent_id is not None
            yield _of_settlement(entry, by_pk[entry.payment_intent_id])


def refund_key(refund: Refund) -> str:
    """Return the id of a refund in the balance; before Stripe's answer, that of its row."""
    return refund.stripe_id or str(refund.pk)


def settlement_key(entry: StaffEntry) -> str:
    """Return the id of a settlement outside Stripe in the balance."""
    return f"settlement {entry.pk}"


def _of_refund(refund: Refund, intent: PaymentIntent) -> Outflow:
    if refund.status in RETURNED_REFUND_STATUSES:
        progress = OutflowProgress.RETURNED
    elif refund.status == RefundStatus.SUCCEEDED:
        progress = OutflowProgress.FINAL
    else:
        progress = OutflowProgress.UNDER_WAY  # also an unknown status: never assume it failed
    return Outflow(
        id=refund_key(refund),
        payment_id=intent.stripe_id,
        # Stripe's clock where it is known, because ours may differ from it.
        at=refund.stripe_created_at or refund.created_at,
        seen_at=refund.created_at,
        amount=refund.amount,
        kind=OutflowKind.REFUND,
        progress=progress,
        total_seen=refund.total_seen,
        waived_seen=refund.waived_seen,
        as_goods=_AS_GOODS.get(Refund.Kind(refund.kind)) if refund.kind else None,
    )


def _of_dispute(dispute: Dispute, intent: PaymentIntent) -> Outflow:
    return Outflow(
        id=dispute.stripe_id,
        payment_id=intent.stripe_id,
        at=dispute.stripe_created_at,
        seen_at=dispute.created_at,
        amount=dispute.amount_of(intent),
        kind=OutflowKind.DISPUTE,
        # Won or only an inquiry: the money is with the shop.
        progress=_PROGRESS_OF_DISPUTE.get(dispute.state, OutflowProgress.RETURNED),
        total_seen=dispute.total_seen,
        waived_seen=dispute.waived_seen,
    )


def _of_settlement(entry: StaffEntry, intent: PaymentIntent) -> Outflow:
    return Outflow(
        id=settlement_key(entry),
        payment_id=intent.stripe_id,
        at=entry.created_at,
        seen_at=entry.created_at,
        amount=entry.amount,
        kind=OutflowKind.SETTLEMENT,
        progress=OutflowProgress.FINAL,
        total_seen=entry.total_seen,
        as_goods=False,
    )


def waived_by(intents: Iterable[PaymentIntent], entries: Iterable[StaffEntry]) -> int:
    """Add up the waivers in force.

    An intent is captured only once. If the request was repeated because an answer was lost, only
    one of the waivers counts: that of the capture known to have succeeded, otherwise the newest.
    """
    by_pk = {intent.pk: intent for intent in intents}
    waived, with_capture = 0, dict[int | None, int]()
    for entry in sorted(entries, key=_by_capture):
        if entry.kind != StaffEntry.Kind.WAIVER or not is_in_force(entry, by_pk):
            continue
        if entry.capture is None:
            waived += entry.amount
        else:
            with_capture[entry.payment_intent_id] = entry.amount  # the last in this order wins
    return waived + sum(with_capture.values())


def _by_capture(entry: StaffEntry) -> tuple[bool, int]:
    capture = entry.capture
    is_known = capture is not None and capture.outcome == StripeAttempt.Outcome.SUCCEEDED
    return is_known, entry.pk or 0


def is_in_force(entry: StaffEntry, intents: dict[int, PaymentIntent]) -> bool:
    """Return whether a waiver counts.

    It must not be revoked. A waiver with a capture counts if exactly that amount was captured.
    """
    if entry.is_revoked:
        return False
    if entry.capture is None:
        return True
    intent = intents[entry.payment_intent_id or 0]
    asked = entry.capture.params.get("amount_to_capture")
    return (
        intent.has_succeeded
        and intent.amount_received == asked
        and entry.capture.outcome != StripeAttempt.Outcome.FAILED
    )


@dataclass(frozen=True, kw_only=True)
class IntentMoney:
    """Where the money of one intent is, in its minor units."""

    received: int = 0
    refunded: int = 0
    """By refunds that succeeded."""

    refund_pending: int = 0
    """Reserved by refunds whose outcome is not known, including those of unknown status."""

    disputed: int = 0
    """Held by the customers' banks until they decide."""

    lost: int = 0
    """Taken back by the customers' banks."""

    settled: int = 0
    """Settled outside Stripe."""

    @property
    def refundable(self) -> int:
        """The amount that may still be refunded."""
        gone = self.refunded + self.refund_pending + self.disputed + self.lost + self.settled
        return max(0, self.received - gone)


def counted_money(rows: Rows) -> list[IntentMoney]:
    """Return where the money of each counted intent is."""
    return [
        money_of(intent, rows.refunds, rows.disputes, rows.entries)
        for intent in rows.intents
        if counts(rows.payment, intent)
    ]


def money_of(
    intent: PaymentIntent,
    refunds: Iterable[Refund] = (),
    disputes: Iterable[Dispute] = (),
    entries: Iterable[StaffEntry] = (),
) -> IntentMoney:
    """Return where the money of ``intent`` is; other rows of its order are ignored."""
    outflows = outflows_of(
        [intent],
        (row for row in refunds if row.payment_intent_id == intent.pk),
        (row for row in disputes if row.payment_intent_id == intent.pk),
        (row for row in entries if row.payment_intent_id == intent.pk),
    )
    sums: dict[tuple[OutflowKind, OutflowProgress], int] = {}
    for outflow in outflows:
        key = (outflow.kind, outflow.progress)
        sums[key] = sums.get(key, 0) + outflow.amount

    def total(kind: OutflowKind, progress: OutflowProgress) -> int:
        return sums.get((kind, progress), 0)

    return IntentMoney(
        received=intent.amount_received,
        refunded=total(OutflowKind.REFUND, OutflowProgress.FINAL),
        refund_pending=total(OutflowKind.REFUND, OutflowProgress.UNDER_WAY),
        disputed=total(OutflowKind.DISPUTE, OutflowProgress.UNDER_WAY),
        lost=total(OutflowKind.DISPUTE, OutflowProgress.FINAL),
        settled=total(OutflowKind.SETTLEMENT, OutflowProgress.FINAL),
    )
