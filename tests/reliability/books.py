"""Stripe's objects of one order beside our rows, and what is wrong between them.

Each problem is a sentence. It begins with ``lost`` if Stripe has something that we do not have, or
if nobody was or will be notified, and with ``doubled`` if there are two of what may be there once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from shop_payments.lifecycle import UPDATABLE_STATUSES, IntentStatus, RefundStatus
from shop_payments.models import (
    Dispute,
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)
from tests.books import listed_at_stripe
from tests.oracle import (
    Evidence,
    Sums,
    dispute_by_row,
    intent_by_row,
    refund_by_row,
    settlement_by_row,
    waived_by_row,
    work_out,
)
from tests.support import AnyStripe

Json = dict[str, Any]
Rows = dict[type[Model], dict[Any, Json]]

MODELS: tuple[type[Model], ...] = (
    *(OrderPayment, PaymentIntent, Refund, Dispute, StaffEntry),
    *(StripeAttempt, WebhookEvent, ReviewItem, PaymentHistory),
)
"""All that a payment has."""

MONEY: tuple[type[Model], ...] = (PaymentIntent, Refund, Dispute, StaffEntry, StripeAttempt)
"""What the balance of an order follows from."""


def columns(model: type[Model]) -> list[str]:
    """Return what rows are compared by."""
    names = [field.attname for field in model._meta.concrete_fields]
    return [name for name in names if name != "payload"]  # never changes, and is large


def read_rows(models: Iterable[type[Model]] = MODELS, **which: Any) -> Rows:
    """Read the rows of models, by their primary keys."""
    return {
        model: {
            row["pk"]: row
            for row in model._default_manager.filter(**which).values("pk", *columns(model))
        }
        for model in models
    }


def work_out_rows(payment: Json, rows: Rows, order: Order | None = None) -> Sums:
    """Work out an order's balance: of ``order`` as it is now; without it, as it was last read."""

    def mine(model: type[Model]) -> list[Json]:
        found = rows[model].values()
        return [row for row in found if row["order_payment_id"] == payment["pk"]]

    stripe_ids = {pk: row["stripe_id"] for pk, row in rows[PaymentIntent].items()}
    came = {row["pk"]: intent_by_row(row) for row in mine(PaymentIntent)}
    total, currency, payable = (payment[name] for name in ("total", "currency", "is_payable"))
    if order is not None:
        total, currency, payable = order.amount, order.currency, order.status == Order.Status.OPEN
        for row in mine(PaymentIntent):
            if payable and row["status"] == IntentStatus.SUCCEEDED:
                came[row["pk"]] = intent_by_row({**row, "wanted": True})
    went = [
        *(refund_by_row(row, of=stripe_ids[row["payment_intent_id"]]) for row in mine(Refund)),
        *(dispute_by_row(row, of=stripe_ids[row["payment_intent_id"]]) for row in mine(Dispute)),
    ]
    waived = 0
    of_captures: list[tuple[Any, tuple[bool, int, int]]] = []
    for entry in mine(StaffEntry):
        intent_pk = entry["payment_intent_id"]
        if entry["kind"] == StaffEntry.Kind.SETTLEMENT:
            went.append(settlement_by_row(entry, of=stripe_ids[intent_pk]))
            continue
        capture = rows[StripeAttempt].get(entry["capture_id"])
        money = waived_by_row(entry, intent=came.get(intent_pk), capture=capture)
        if capture is None:
            waived += money
        elif money:
            of_captures.append((intent_pk, (capture["outcome"] == "succeeded", entry["pk"], money)))
    # An intent is captured once, however often that was asked for.
    waived += sum(money for _known, _pk, money in dict(sorted(of_captures)).values())
    return work_out(
        Evidence(
            total=total or 0,
            currency=currency,
            payable=payable,
            came=tuple(came.values()),
            went=tuple(each for each in went if each is not None),
            waived=waived,
        )
    )


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
"""Facts of which there is at most one for each of these."""

ASKED_ONCE = (
    ReviewItem.Reason.INTENT_MISSING,
    ReviewItem.Reason.AUTHORIZATION_EXPIRES,
    ReviewItem.Reason.REFUND_FAILED,
)
"""Reasons for which staff are asked once for each object. Other causes may go and come back."""


def subject_of(fact: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what there may be one such fact of, given its columns; None if there may be more."""
    kind, data = fact["kind"], fact["data"]
    if kind == FactKind.REVIEW_NEEDED and data["reason"] in ASKED_ONCE:
        return kind, fact["payment_intent_id"], data["reason"], data.get("subject")
    if kind not in ONCE:
        return None
    named = {"order": fact["order_payment_id"], "intent": fact["payment_intent_id"], **data}
    return kind, named[ONCE[kind]]


@dataclass(frozen=True)
class Ending:
    """An order, and what its books say in the end."""

    order: Order
    wants: Mapping[str, Any] | None = None
    """What :meth:`Books.summary` then says, as far as it is named here; None if that is open."""

    balance: Mapping[str, Any] = field(default_factory=dict)
    """What the row of the order's payment then says, as far as it is named here."""

    facts: Mapping[FactKind, int] = field(default_factory=dict)
    """How many of these facts there are then, and never more."""


class Books:
    """Stripe's objects and our rows of one order, as they are now."""

    def __init__(
        self, stripe: AnyStripe, ending: Ending, *, intents: list[dict[str, Any]] | None = None
    ) -> None:
        """Read them; ``intents`` are the order's at Stripe, listed if they are not given."""
        self._order, self._ending = ending.order, ending
        self.intents = [
            each
            for each in (
                listed_at_stripe(stripe, "payment_intents") if intents is None else intents
            )
            if each["metadata"]["order_id"] == str(self._order.pk)
        ]
        self.refunds, self.disputes = (
            [
                found
                for each in self.intents
                for found in listed_at_stripe(stripe, kind, payment_intent=each["id"])
            ]
            for kind in ("refunds", "disputes")
        )
        self.payment = OrderPayment.objects.filter(order=self._order).first()
        facts = PaymentHistory.objects.filter(order_payment=self.payment)
        self.facts = list(facts) if self.payment else []
        self._found: list[str] = []

    def summary(self) -> dict[str, Any]:
        """Return Stripe's side of it: amounts in minor units."""
        ended = (IntentStatus.SUCCEEDED, IntentStatus.CANCELED)
        return {
            "open": [each["amount"] for each in self.intents if each["status"] not in ended],
            "received": [e["amount_received"] for e in self.intents if e["amount_received"]],
            "canceled": sum(each["status"] == IntentStatus.CANCELED for each in self.intents),
            "refunded": sorted(refund["amount"] for refund in self.refunds),
            "disputed": [dispute["amount"] for dispute in self.disputes],
        }

    def sums(self, *, as_it_is: bool) -> Sums:
        """Work out the balance of the order as it is, or as it was last read."""
        assert self.payment is not None
        order = Order.objects.get(pk=self._order.pk) if as_it_is else None
        payment = {"pk": self.payment.pk, **vars(self.payment)}
        return work_out_rows(payment, read_rows(MONEY, order_payment=self.payment), order)

    def damage(self, *, finished: bool, done: bool = True) -> list[str]:
        """Return the problems.

        With ``finished`` nothing may be left unfinished; with ``done`` too, the ending is reached.
        """
        self._found = []
        is_end = finished and done
        summary, wants = self.summary(), self._ending.wants or {}
        for name in ("open", "received", "refunded"):
            allowed = max(1, len(wants.get(name, ())))
            if self._ending.wants is not None and len(summary[name]) > allowed:
                self._found.append(f"doubled: {name} at Stripe: {summary[name]}")
        missed = {name: summary[name] for name in wants if summary[name] != wants[name]}
        if is_end and missed and not self._found:
            self._found.append(f"lost: not done, Stripe has {missed}")
        if self.payment is not None:
            # Before money comes, a new total is not noted: the order is read again first.
            sums = self.sums(as_it_is=is_end and bool(summary["received"]))
            self._found += self.balance_damage(sums)
            self._compare_facts(self.payment, sums, finished=finished)
            self._check_rows(self.payment, finished=finished)
            if is_end:
                self._compare_end()
        self._compare_mirrors(finished=finished)
        for kind, wanted in self._ending.facts.items():
            self._compare_count(f"facts {kind}", self._count(kind), wanted, may_be_less=not is_end)
        return self._found

    def balance_damage(self, sums: Sums) -> list[str]:
        """Compare the stored balance with the oracle's."""
        due = sums.columns()
        wrong = {name: getattr(self.payment, name) for name in due}
        wrong = {name: value for name, value in wrong.items() if value != due[name]}
        should = {name: due[name] for name in wrong}
        return [f"lost: the balance says {wrong}, and should say {should}"] if wrong else []

    def _count(self, kind: FactKind) -> int:
        return sum(fact.kind == kind for fact in self.facts)

    def _compare_count(self, what: str, count: int, due: int, *, may_be_less: bool = False) -> None:
        if count > due:
            self._found.append(f"doubled: {count} {what} and not {due}")
        elif count < due and not may_be_less:
            self._found.append(f"lost: {count} {what} and not {due}")

    def _compare_facts(self, payment: OrderPayment, sums: Sums, *, finished: bool) -> None:
        """Compare with what has happened: once each."""
        subjects = Counter(subject_of(vars(fact)) for fact in self.facts)
        subjects.pop(None, None)
        twice = [subject for subject, count in subjects.items() if count > 1]
        self._found += [f"doubled: two facts {subject}" for subject in twice]
        received = self._count(FactKind.PAYMENT_RECEIVED)
        self._compare_count("payments received", received, len(sums.counted))
        self._compare_count(
            "disputes opened", self._count(FactKind.DISPUTE_OPENED), len(self.disputes)
        )
        if finished:
            intents, failed = payment.payment_intents.count(), RefundStatus.FAILED
            self._compare_count("intents created", self._count(FactKind.INTENT_CREATED), intents)
            refunds = sum(row.status == failed for row in payment.refunds.all())
            self._compare_count("refunds failed", self._count(FactKind.REFUND_FAILED), refunds)
        paid = self._count(FactKind.ORDER_PAID)
        is_covered = sums.status in ("paid", "partially_refunded") and payment.is_payable
        self._compare_count("facts that it is paid", paid, int(paid > 0 or is_covered))
        if paid and not sums.counted:
            self._found.append("doubled: paid with nothing")
        back = {
            each["id"]
            for each in self.refunds
            if each["status"] == RefundStatus.SUCCEEDED and each["payment_intent"] in sums.counted
        }
        facts = [fact for fact in self.facts if fact.kind == FactKind.ORDER_REFUNDED]
        noted = {fact.data["stripe_refund_id"] for fact in facts}
        if back - noted:
            self._found.append(f"lost: no fact of the refunds {back - noted}")
        # One that has failed since was a refund, too.
        if noted - back - {e["id"] for e in self.refunds if e["status"] == RefundStatus.FAILED}:
            self._found.append(f"doubled: facts of the refunds {noted}, there are {back}")

    def _compare_mirrors(self, *, finished: bool) -> None:
        """Compare each row with its object at Stripe; of unfinished intents, the money."""
        names: dict[str, tuple[str, ...]] = dict.fromkeys(
            ("refunds", "disputes"), ("amount", "status")
        )
        names["payment_intents"] = ("amount_received",)
        theirs = {"refunds": self.refunds, "disputes": self.disputes}
        theirs["payment_intents"] = [each for each in self.intents if each["amount_received"]]
        if finished:
            names["payment_intents"] = ("amount", "status", "amount_received")
            theirs["payment_intents"] = self.intents
        for kind, columns in names.items():
            rows = getattr(self.payment, kind).exclude(stripe_id="") if self.payment else []
            ours = {row.stripe_id: [getattr(row, name) for name in columns] for row in rows}
            there = {each["id"]: [each[name] for name in columns] for each in theirs[kind]}
            if not finished:
                ours = {pk: values for pk, values in ours.items() if values != [0]}
            if ours != there:
                self._found.append(f"lost: the {kind} {there} are {ours} here")

    def _compare_end(self) -> None:
        """Compare with the ending, and check that nobody is asked for more than is outstanding."""
        sums = self.sums(as_it_is=True)
        columns, balance = sums.columns(), self._ending.balance
        missed = {name: columns[name] for name in balance if columns[name] != balance[name]}
        if missed:
            self._found.append(f"lost: it comes to {missed}, and should to {dict(balance)}")
        for each in self.intents:
            if each["status"] in UPDATABLE_STATUSES and each["amount"] > sums.outstanding:
                asked = each["amount"]
                self._found.append(f"doubled: {asked} asked for, {sums.outstanding} outstanding")

    def _check_rows(self, payment: OrderPayment, *, finished: bool) -> None:
        if payment.needs_review != payment.review_items.open().exists():
            self._found.append("lost: the payment and its review items do not agree")
        if not finished:
            return
        pending = StripeAttempt.objects.pending().filter(order_payment=payment)
        waiting = payment.refunds.filter(status=RefundStatus.REQUESTED)
        self._found += [f"lost: unfinished: {each}" for each in [*pending, *waiting]]
        if payment.cancel_requested_at is not None:
            self._found.append("lost: the cancellation is still wanted")
