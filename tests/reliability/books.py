"""Stripe's books of an order beside ours, and what is wrong between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shop_payments.lifecycle import UPDATABLE_STATUSES, IntentStatus, RefundStatus
from shop_payments.models import (
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    ReviewItem,
    StripeAttempt,
)
from tests.oracle import Sums, work_out
from tests.reliability.observed import known_to_stripe, rows_of
from tests.reliability.scenes import Ending
from tests.support import AnyStripe, call_stripe

ONCE = {
    FactKind.ORDER_PAID: "order",
    FactKind.INTENT_CREATED: "intent",
    FactKind.PAYMENT_AUTHORIZED: "intent",
    FactKind.PAYMENT_RECEIVED: "intent",
    FactKind.REFUND_REQUESTED: "refund_id",
    FactKind.ORDER_REFUNDED: "stripe_refund_id",
    FactKind.REFUND_FAILED: "stripe_refund_id",
    FactKind.DISPUTE_OPENED: "stripe_dispute_id",
    FactKind.DISPUTE_CLOSED: "stripe_dispute_id",
}
"""Facts of which there is one at most for each of these."""

ASKED_ONCE = (
    ReviewItem.Reason.INTENT_MISSING,
    ReviewItem.Reason.AUTHORIZATION_EXPIRES,
    ReviewItem.Reason.REFUND_FAILED,
)
"""Why staff are asked once for each object. Other causes may go, and come back."""


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

        order, self._scene, self._stripe = scene.order, scene, stripe
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
        missed = {name: summary[name] for name in wants if summary[name] != wants[name]}
        if missed and not damage.doubled:
            damage.lost.append(f"not done, Stripe has {missed}")
        # A new total alone is not noted before money has come: the order is read again first.
        has_money = bool(summary["received"])
        sums = self._sums(as_it_is=finished and done and has_money)
        if sums is not None:
            self._compare_balance(sums, damage)
            self._compare_money_facts(sums, damage)
        if finished and done:
            self._compare_end(damage)
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

    def _sums(self, *, as_it_is: bool) -> Sums | None:
        """What it amounts to by Stripe's objects, and by the order: as it is, or was last read."""
        if self.payment is None:
            return None
        return work_out(
            known_to_stripe(
                self._stripe,
                {"pk": self.payment.pk, **vars(self.payment)},
                rows_of(self.payment),
                intents=self.intents,
                refunds=self.refunds,
                disputes=self.disputes,
                order=Order.objects.get(pk=self._scene.order.pk) if as_it_is else None,
            )
        )

    def _compare_balance(self, sums: Sums, damage: Damage) -> None:
        columns = sums.columns()
        ours = {name: getattr(self.payment, name) for name in columns}
        wrong = {name: value for name, value in ours.items() if value != columns[name]}
        if wrong:
            should = {name: columns[name] for name in wrong}
            damage.lost.append(f"the balance says {wrong}, and should say {should}")

    def _compare_end(self, damage: Damage) -> None:
        """What it comes to, and that nobody is asked for more than that."""
        sums = self._sums(as_it_is=True)
        if sums is None:
            return
        columns, balance = sums.columns(), self._scene.balance
        missed = {name: columns[name] for name in balance if columns[name] != balance[name]}
        if missed:
            damage.lost.append(f"it comes to {missed}, and should come to {dict(balance)}")
        too_much = [
            each["amount"]
            for each in self.intents
            if each["status"] in UPDATABLE_STATUSES and each["amount"] > sums.outstanding
        ]
        if too_much:
            damage.doubled.append(f"{too_much} asked for, and {sums.outstanding} is outstanding")

    def _compare_money_facts(self, sums: Sums, damage: Damage) -> None:
        """One for each payment that counts, and one for the order where it is covered."""
        received = [
            fact.payment_intent_id for fact in self.facts if fact.kind == FactKind.PAYMENT_RECEIVED
        ]
        if len(received) < len(sums.counted):
            damage.lost.append(f"{len(received)} facts of {len(sums.counted)} payments")
        elif len(received) > len(sums.counted):
            damage.doubled.append(f"{len(received)} facts of {len(sums.counted)} payments")
        paid = self._count(FactKind.ORDER_PAID)
        is_covered = sums.status in ("paid", "partially_refunded")
        assert self.payment is not None
        if is_covered and self.payment.is_payable and not paid:
            damage.lost.append("no fact says that the order is paid")
        if paid > 1:
            damage.doubled.append(f"{paid} facts that it is paid")
        if paid and not sums.counted:
            damage.other.append("paid with nothing")

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

    def _compare_refunds(self, damage: Damage) -> None:
        rows = list(self.payment.refunds.all()) if self.payment else []
        ours = {row.stripe_id: (row.amount, row.status) for row in rows if row.stripe_id}
        theirs = {each["id"]: (each["amount"], each["status"]) for each in self.refunds}
        if missing := theirs.keys() - ours.keys():
            damage.lost.append(f"refunds {missing} are not here")
        elif theirs != ours:
            damage.other.append(f"refunds {ours} are {theirs} at Stripe")
        intents = self.payment.payment_intents.all() if self.payment else []
        counted = {row.stripe_id for row in intents if row.received_recorded}
        due = sum(
            each["status"] == RefundStatus.SUCCEEDED and each["payment_intent"] in counted
            for each in self.refunds
        )
        facts = self._count(FactKind.ORDER_REFUNDED)
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
        if payment.needs_review != payment.review_items.open().exists():
            damage.other.append("the payment and its review items do not agree")


def subject_of(fact: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what there may be one such fact of, given its columns; None where that is anything."""
    kind, data = fact["kind"], fact["data"]
    if kind == FactKind.REVIEW_NEEDED and data["reason"] in ASKED_ONCE:
        return kind, fact["payment_intent_id"], data["reason"], data.get("subject")
    if kind not in ONCE:
        return None
    named = {"order": fact["order_payment_id"], "intent": fact["payment_intent_id"], **data}
    return kind, named[ONCE[kind]]
