"""Stripe's books of an order beside ours, and what is wrong between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shop_payments.lifecycle import DisputeStatus, IntentStatus, PaymentStatus, RefundStatus
from shop_payments.models import (
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    ReviewItem,
    StripeAttempt,
)
from tests.reliability.scenes import Ending
from tests.support import AnyStripe, call_stripe

ONCE = {
    FactKind.ORDER_PAID: "order",
    FactKind.INTENT_CREATED: "intent",
    FactKind.PAYMENT_AUTHORIZED: "intent",
    FactKind.REFUND_REQUESTED: "refund_id",
    FactKind.ORDER_REFUNDED: "stripe_refund_id",
    FactKind.REFUND_FAILED: "stripe_refund_id",
    FactKind.DISPUTE_OPENED: "stripe_dispute_id",
    FactKind.DISPUTE_CLOSED: "stripe_dispute_id",
}
"""Facts of which there is one at most for each of these."""


@dataclass
class Damage:
    """What should not be, by what it is called in the figures."""

    lost: list[str] = field(default_factory=list)
    """Stripe has it and we do not, or nobody was told, or nobody will ever do it."""
    doubled: list[str] = field(default_factory=list)
    """Two of what there was to be one of."""
    other: list[str] = field(default_factory=list)
    """Rows that do not fit together."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.other)

    def __str__(self) -> str:
        kinds = {"lost": self.lost, "doubled": self.doubled, "other": self.other}
        return "; ".join(f"{kind}: {', '.join(found)}" for kind, found in kinds.items() if found)


class Books:
    """Stripe's and our books of one order, as they are now."""

    def __init__(
        self, stripe: AnyStripe, scene: Ending, *, intents: list[dict[str, Any]] | None = None
    ) -> None:
        """Ask Stripe, for the order's ``intents`` only where they are not given."""

        def listed(kind: str, **params: str) -> list[dict[str, Any]]:
            return list(call_stripe(stripe, "GET", kind, limit="100", **params)["data"])

        def of_intents(kind: str) -> list[dict[str, Any]]:
            ids = [each["id"] for each in self.intents]
            return [found for each in ids for found in listed(kind, payment_intent=each)]

        order, self._scene = scene.order, scene
        self.intents = [
            each
            for each in (listed("payment_intents") if intents is None else intents)
            if each["metadata"]["order_id"] == str(order.pk)
        ]
        self.refunds, self.disputes = of_intents("refunds"), of_intents("disputes")
        self.payment = OrderPayment.objects.filter(order=order).first()
        facts = PaymentHistory.objects.filter(order_payment=self.payment)
        self.facts = list(facts) if self.payment else []

    def summary(self) -> dict[str, Any]:
        """Stripe's side of it: amounts in minor units."""
        status = {each["id"]: each["status"] for each in self.intents}
        ended = (IntentStatus.SUCCEEDED, IntentStatus.CANCELED)
        return {
            "open": [e["amount"] for e in self.intents if status[e["id"]] not in ended],
            "received": [e["amount_received"] for e in self.intents if e["amount_received"]],
            "canceled": [*status.values()].count(IntentStatus.CANCELED),
            "refunded": sorted(refund["amount"] for refund in self.refunds),
            "disputed": [dispute["amount"] for dispute in self.disputes],
        }

    def damage(self, *, finished: bool, done: bool = True) -> Damage:
        """What is wrong.

        ``finished`` asks for nothing to be left behind, and ``done`` for what was wanted, too.
        """
        damage, summary = Damage(), self.summary()
        wants = self._scene.wants if finished and done else {}
        for name in ("open", "received", "refunded"):
            if len(summary[name]) > max(1, len(self._scene.wants.get(name, ()))):
                damage.doubled.append(f"{name} at Stripe: {summary[name]}")
        if summary["open"] and summary["received"]:
            damage.doubled.append("open beside one that has succeeded")
        missed = {name: summary[name] for name in wants if summary[name] != wants[name]}
        if missed and not damage.doubled:
            damage.lost.append(f"not done, Stripe has {missed}")
        if self._scene.is_late:
            self._compare_late_money(damage)
        else:
            self._compare_money(damage)
        self._compare_refunds(damage)
        self._compare_disputes(damage)
        self._compare_facts(damage, finished=finished and done)
        if finished:
            self._compare_intents(damage)
        if self.payment is not None:
            self._check_rows(self.payment, damage, finished=finished)
        return damage

    def untold(self) -> list[str]:
        """The facts that the host still does not know of."""
        return [str(each) for each in self.facts if each.needs_dispatch and not each.dispatched_at]

    def _count(self, kind: FactKind) -> int:
        return sum(fact.kind == kind for fact in self.facts)

    def _compare_money(self, damage: Damage) -> None:
        received = sum(each["amount_received"] for each in self.intents)
        status = self.payment.status if self.payment else PaymentStatus.UNPAID
        is_paid = bool(self.payment and self.payment.paid_at) and status in (
            PaymentStatus.PAID,
            PaymentStatus.PARTIALLY_REFUNDED,
            PaymentStatus.REFUNDED,
        )
        facts = self._count(FactKind.ORDER_PAID)
        # What was paid while the order changed may not fit; then a person is asked.
        fits = received == Order.objects.get(pk=self._scene.order.pk).amount
        may_misfit = self._scene.meanwhile is not None and not fits
        in_review = bool(self.payment and self.payment.needs_review and may_misfit)
        if received and not (is_paid and facts) and not in_review:
            damage.lost.append(f"{received} came, and the order is {status} ({facts} facts)")
        if is_paid and not received:
            damage.other.append("paid with nothing")
        if is_paid and may_misfit:
            damage.other.append(f"paid with {received}, which does not fit")
        if facts > 1:
            damage.doubled.append(f"{facts} facts that it is paid")

    def _compare_late_money(self, damage: Damage) -> None:
        rows = self.payment.payment_intents.all() if self.payment else []
        known = sum(row.amount_received for row in rows)
        received = sum(each["amount_received"] for each in self.intents)
        reviews = self.payment.review_items.count() if self.payment else 0
        if known != received or not reviews:
            damage.lost.append(f"{received} came, {known} by our books, {reviews} reviews")
        if reviews > 1 or self._count(FactKind.REVIEW_NEEDED) > 1:
            damage.doubled.append(f"{reviews} reviews")
        if self._count(FactKind.ORDER_PAID):
            damage.other.append("what came late has paid the order")

    def _compare_disputes(self, damage: Damage) -> None:
        ours = (
            set(self.payment.disputes.values_list("stripe_id", flat=True))
            if self.payment
            else set()
        )
        theirs = {each["id"] for each in self.disputes}
        facts = self._count(FactKind.DISPUTE_OPENED)
        if theirs != ours or facts < len(theirs):
            damage.lost.append(f"disputes {theirs} are {ours} here ({facts} facts)")
        elif facts > len(theirs):
            damage.doubled.append(f"{facts} facts of {len(theirs)} disputes")
        lost = sum(e["amount"] for e in self.disputes if e["status"] == DisputeStatus.LOST)
        known = self.payment.amount_lost if self.payment else 0
        if known != lost:
            damage.lost.append(f"the bank has {lost}, {known} by our books")

    def _compare_refunds(self, damage: Damage) -> None:
        rows = list(self.payment.refunds.all()) if self.payment else []
        ours = {row.stripe_id: (row.amount, row.status) for row in rows if row.stripe_id}
        theirs = {each["id"]: (each["amount"], each["status"]) for each in self.refunds}
        if missing := theirs.keys() - ours.keys():
            damage.lost.append(f"refunds {missing} are not here")
        elif theirs != ours:
            damage.other.append(f"refunds {ours} are {theirs} at Stripe")
        done = [e["amount"] for e in self.refunds if e["status"] == RefundStatus.SUCCEEDED]
        returned = sum(done)
        known = sum(row.amount for row in rows if row.status == RefundStatus.SUCCEEDED)
        if self.payment is not None and not self._scene.is_late:
            known = self.payment.amount_refunded
        if returned != known:
            damage.lost.append(f"{returned} went back, {known} by our books")
        facts, due = self._count(FactKind.ORDER_REFUNDED), len(done)
        if self._scene.is_late:
            due = 0  # the order was never paid: nothing of it is refunded
        if facts > due:
            damage.doubled.append(f"{facts} facts of {due} refunds")
        elif facts < due:
            damage.lost.append(f"{facts} facts of {due} refunds")

    def _compare_intents(self, damage: Damage) -> None:
        """Each has its row, and that says what Stripe says."""
        rows = self.payment.payment_intents.all() if self.payment else []
        ours = {row.stripe_id: (row.status, row.amount, row.amount_received) for row in rows}
        theirs = {
            each["id"]: (each["status"], each["amount"], each["amount_received"])
            for each in self.intents
        }
        if theirs != ours:
            damage.lost.append(f"intents {theirs} are {ours} here")

    def _compare_facts(self, damage: Damage, *, finished: bool) -> None:
        subjects = Counter(subject_of(vars(fact)) for fact in self.facts)
        subjects.pop(None, None)
        twice = [subject for subject, count in subjects.items() if count > 1]
        damage.doubled += [f"two facts {subject}" for subject in twice]
        for kind, wanted in self._scene.facts.items():
            count = self._count(kind)
            if count > wanted:
                damage.doubled.append(f"{count} facts {kind}")
            elif finished and count < wanted:
                damage.lost.append(f"{count} facts {kind}")

    def _check_rows(self, payment: OrderPayment, damage: Damage, *, finished: bool) -> None:
        pending = StripeAttempt.objects.pending().filter(order_payment=payment)
        if finished and pending.exists():
            damage.other.append(f"unfinished: {[*map(str, pending)]}")
        waiting = [row for row in payment.refunds.all() if row.status == RefundStatus.REQUESTED]
        if finished and waiting:
            damage.other.append("a refund is still asked for")
        if finished and payment.cancel_requested_at is not None:
            damage.lost.append("the cancellation is still wanted")
        rows = ("payment_intents", "refunds", "disputes")
        if payment.refresh_state(*(list(getattr(payment, name).all()) for name in rows)):
            damage.other.append("the payment is not what its rows amount to")


def subject_of(fact: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what there may be one such fact of, given its columns; None where that is anything."""
    kind, data = fact["kind"], fact["data"]
    if kind == FactKind.REVIEW_NEEDED and data["reason"] != ReviewItem.Reason.DISPUTED:
        return kind, fact["payment_intent_id"], data["reason"], data.get("subject")
    if kind not in ONCE:
        return None
    named = {"order": fact["order_payment_id"], "intent": fact["payment_intent_id"], **data}
    return kind, named[ONCE[kind]]
