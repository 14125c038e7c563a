"""Kill one operation at one place, recover, and compare Stripe's books with ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from django.db import connection

from shop_payments.lifecycle import IntentStatus, PaymentStatus, RefundStatus
from shop_payments.models import (
    APIKey,
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    StripeAttempt,
)
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory
from tests.reliability.crew import ROOT, Call
from tests.support import Caller, call_stripe, pay

QUARTER_OF_AN_HOUR = 900.0
"""Seconds between a death and each try to recover: whoever lives has finished by then."""

REFUND = 5000
_TRIES = 3


class Victim:
    """The process of ``victim.py``, as a context manager."""

    def __init__(self, *, stripe_url: str, folder: Path) -> None:
        self._stripe_url, self._log = stripe_url, folder / "victim.log"
        self._record = folder / "told"

    def __enter__(self) -> Victim:
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.reliability.settings",
            "RELIABILITY_DATABASE": str(connection.settings_dict["NAME"]),
            "STRIPE_API_BASE": self._stripe_url,
        }
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.victim", str(self._record)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()  # the end of its input is its end
        try:
            self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()

    def do(
        self, job: Job, *, kill_at: int | None = None, later: float = 0.0, without: str = ""
    ) -> Result:
        """Have a child do the job, and die at place number ``kill_at`` if it gets there."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        values = {**job.values, "kill_at": kill_at, "later": later, "without": without}
        self._popen.stdin.write(json.dumps(values) + "\n")
        self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"the victim's parent died; its log:\n{self.log_tail()}")
        answer = json.loads(line)
        return Result(
            died_at=answer.get("killed", ""),
            signal=answer["signal"],
            status=answer.get("status", 0),
            body=answer.get("body", ""),
            error=answer.get("error", ""),
            passed=answer.get("passed", []),
        )

    def told(self) -> Counter[str]:
        """How often the receivers were told of each fact, by its id."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter(line.split()[1] for line in lines)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


@dataclass(frozen=True)
class Job:
    """A request, or a service that no request reaches."""

    values: dict[str, Any]

    @classmethod
    def call(cls, call: Call) -> Job:
        request = {name: getattr(call, name) for name in ("method", "path", "headers", "body")}
        return cls({"service": "", "call": request})

    @classmethod
    def service(cls, name: str, order: Order) -> Job:
        return cls({"service": name, "order": order.pk})


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a child said before its end."""

    died_at: str
    signal: int
    status: int
    body: str
    error: str
    passed: list[str]

    @property
    def is_done(self) -> bool:
        return self.status == 200

    def __str__(self) -> str:
        if self.signal:
            return f"killed {self.died_at} (signal {self.signal})"
        return f"{self.error or self.status} {self.body[:300]}"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An order, and what is about to be done with it."""

    order: Order
    job: Job
    wants: dict[str, Any]
    """Of :meth:`Books.summary`, what is there when all is done."""

    done_before: frozenset[str] = frozenset()
    """What a repetition raises where the first time had its effect after all."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Who does what with the orders."""

    stripe: StripeSandbox
    victim: Victim
    customer: Any
    storefront: Caller
    payment_system: Caller
    office: Caller
    configure: Callable[..., None]

    # Orders on their way

    def order(self) -> Order:
        order: Order = OrderFactory.create(customer=self.customer)
        return order

    def with_intent(self) -> tuple[Order, str]:
        order = self.order()
        answer = self.storefront.payment_intent(order)
        assert answer.status_code == 200, answer.content
        return order, answer.json()["data"]["id"]

    def with_money(self) -> tuple[Order, str]:
        """Paid at Stripe, and nobody has said so here."""
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id)
        return order, intent_id

    def paid(self) -> tuple[Order, str]:
        order, intent_id = self.with_money()
        assert self.payment_system.payment(order).status_code == 200
        return order, intent_id

    def events_of(self, intent_id: str) -> list[bytes]:
        """What Stripe has to say of an intent and its refunds, oldest first."""

        def is_about(subject: dict[str, Any]) -> bool:
            return intent_id in (subject["id"], subject.get("payment_intent"))

        events = [each for each in self.stripe.events if is_about(each["data"]["object"])]
        return [json.dumps(each).encode() for each in events]

    def event(self, intent_id: str, kind: str) -> Job:
        (body,) = [each for each in self.events_of(intent_id) if json.loads(each)["type"] == kind]
        return Job.call(Call.webhook(body))

    # What is about to be done

    def set(self, operation: str) -> Scene:
        """Set the scene of an operation; what is done there passes the same places each time."""
        scene: Scene = getattr(self, operation)()
        APIKey.objects.update(last_used_at=None)  # written down once a minute: here, each time
        return scene

    def create(self) -> Scene:
        order = self.order()
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [11200]})

    def update(self) -> Scene:
        order, _ = self.with_intent()
        order.lines.update(quantity=3)
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [16800]})

    def settle(self) -> Scene:
        order, _ = self.with_money()
        job = Job.call(Call.payment(order, self.payment_system))
        return Scene(order=order, job=job, wants={"received": [11200]})

    def webhook(self) -> Scene:
        order, intent_id = self.with_money()
        job = self.event(intent_id, "payment_intent.succeeded")
        return Scene(order=order, job=job, wants={"received": [11200]})

    def refund(self) -> Scene:
        order, _ = self.paid()
        job = Job.call(Call.refund(order, self.office, "50.00", f"refund-{order.pk}"))
        return Scene(order=order, job=job, wants={"received": [11200], "refunded": [REFUND]})

    def webhook_of_a_refund(self) -> Scene:
        """Somebody gave money back in Stripe's dashboard."""
        order, intent_id = self.paid()
        amount = str(REFUND)
        call_stripe(self.stripe, "POST", "refunds", payment_intent=intent_id, amount=amount)
        job = self.event(intent_id, "refund.created")
        return Scene(order=order, job=job, wants={"received": [11200], "refunded": [REFUND]})

    def capture(self) -> Scene:
        self.configure(STRIPE_TRANSPORT=self.stripe.handle, CAPTURE_METHOD="manual")
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id)
        self.payment_system.payment(order)  # not paid; it is seen to be authorized
        return Scene(
            order=order,
            job=Job.service("capture", order),
            wants={"received": [11200]},
            done_before=frozenset({"OrderAlreadyPaid"}),
        )

    def cancel(self) -> Scene:
        order, _ = self.with_intent()
        return Scene(order=order, job=Job.service("cancel", order), wants={"canceled": 1})

    def cancel_order(self) -> Scene:
        order, _ = self.with_intent()
        return Scene(order=order, job=Job.service("cancel_order", order), wants={"canceled": 1})

    def sweep(self) -> Scene:
        """No message of the money ever arrived."""
        order, _ = self.with_money()
        return Scene(order=order, job=Job.service("sweep", order), wants={"received": [11200]})


OPERATIONS = (
    "create",
    "update",
    "settle",
    "webhook",
    "refund",
    "webhook_of_a_refund",
    "capture",
    "cancel",
    "cancel_order",
    "sweep",
)
"""The methods of :class:`Shop` that set a scene."""


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

    def __init__(self, stripe: StripeSandbox, order: Order) -> None:
        listed = call_stripe(stripe, "GET", "payment_intents", limit="100")["data"]
        self.intents = [each for each in listed if each["metadata"]["order_id"] == str(order.pk)]
        self.refunds = [
            refund
            for each in self.intents
            for refund in call_stripe(stripe, "GET", "refunds", payment_intent=each["id"])["data"]
        ]
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
            "refunded": [refund["amount"] for refund in self.refunds],
        }

    def damage(self, wants: dict[str, Any], *, finished: bool) -> Damage:
        """What is wrong; ``finished`` asks for what was to be done, too."""
        damage, summary = Damage(), self.summary()
        for name in ("open", "received", "refunded"):
            if len(summary[name]) > 1:
                damage.doubled.append(f"{name} at Stripe: {summary[name]}")
        if summary["open"] and summary["received"]:
            damage.doubled.append("open beside one that has succeeded")
        if finished:
            missed = {name: summary[name] for name in wants if summary[name] != wants[name]}
            if missed and not damage.doubled:
                damage.lost.append(f"not done, Stripe has {missed}")
        self._compare_money(damage)
        self._compare_refunds(damage)
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
        if received and not (is_paid and facts):
            damage.lost.append(f"{received} came, and the order is {status} ({facts} facts)")
        if is_paid and not received:
            damage.other.append("paid with nothing")
        if facts > 1:
            damage.doubled.append(f"{facts} facts that it is paid")

    def _compare_refunds(self, damage: Damage) -> None:
        rows = list(self.payment.refunds.all()) if self.payment else []
        ours = {row.stripe_id: (row.amount, row.status) for row in rows if row.stripe_id}
        theirs = {each["id"]: (each["amount"], each["status"]) for each in self.refunds}
        if missing := theirs.keys() - ours.keys():
            damage.lost.append(f"refunds {missing} are not here")
        elif theirs != ours:
            damage.other.append(f"refunds {ours} are {theirs} at Stripe")
        returned = sum(each["amount"] for each in self.refunds)
        known = self.payment.amount_refunded if self.payment else 0
        if returned != known:
            damage.lost.append(f"{returned} went back, {known} by our books")
        facts = self._count(FactKind.ORDER_REFUNDED)
        if facts > len(theirs):
            damage.doubled.append(f"{facts} facts of {len(theirs)} refunds")
        elif facts < len(theirs):
            damage.lost.append(f"{facts} facts of {len(theirs)} refunds")

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


@dataclass(frozen=True, kw_only=True)
class Case:
    """One death, and how it is recovered from."""

    operation: str
    point: int
    way: str
    """``retry``: the same once more. ``events``: what Stripe sent, then the same once more.
    ``sweep``: ``shop_payments_reconcile``, then the same once more."""
    again: int | None = None
    """The place at which the first try to recover is killed as well, if it gets there."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case."""

    died_at: str
    died_again: bool
    damage: Damage


def enumerate_places(shop: Shop, operation: str, *, without: str = "") -> list[str]:
    """Do it once and return the places that it passed."""
    scene = shop.set(operation)
    result = shop.victim.do(scene.job, without=without)
    assert result.is_done, f"{operation}: {result}\n{shop.victim.log_tail()}"
    damage = Books(shop.stripe, scene.order).damage(scene.wants, finished=True)
    assert not damage, f"{operation}, nobody killed: {damage}"
    return result.passed


def run(shop: Shop, case: Case, *, without: str = "") -> Outcome:
    """Set the scene, kill, recover, and look."""
    scene = shop.set(case.operation)
    killed = shop.victim.do(scene.job, kill_at=case.point, without=without)
    assert killed.signal == 9, f"{case} was not killed: {killed}\n{shop.victim.log_tail()}"
    finished, told = _dispatched(scene.order), shop.victim.told()
    recovery = _Recovery(shop, scene, without)
    damage = recovery.run(case)
    for fact_id in finished:
        if shop.victim.told()[fact_id] != told[fact_id]:
            damage.doubled.append(f"told of {fact_id} once more")
    return Outcome(died_at=killed.died_at, died_again=recovery.died, damage=damage)


def _dispatched(order: Order) -> list[str]:
    facts = PaymentHistory.objects.filter(
        order_payment__order=order, dispatched_at__isnull=False, needs_dispatch=True
    )
    return [str(each) for each in facts.values_list("fact_id", flat=True)]


class _Recovery:
    def __init__(self, shop: Shop, scene: Scene, without: str) -> None:
        self._shop, self._scene, self._without = shop, scene, without
        self._later = 0.0
        self.died = False

    def run(self, case: Case) -> Damage:
        """Recover in the case's way, then repeat the operation until it is done."""
        if case.again is not None:
            first = [*self._jobs(case.way), self._scene.job][0]
            self.died = self._do(first, kill_at=case.again).signal == 9
        if case.way != "retry":
            for job in self._jobs(case.way):
                result = self._do(job)
                if not result.is_done:
                    return Damage(lost=[f"not recovered by {case.way}: {result}"])
            damage = self._look(finished=False, swept=case.way == "sweep")
            if damage:
                return damage
        results = []
        for _try in range(_TRIES):
            result = self._do(self._scene.job)
            if result.is_done or result.error in self._scene.done_before:
                return self._look(finished=True)
            results.append(str(result))
        return Damage(lost=[f"never done: {results}; {self._look(finished=True)}"])

    def _jobs(self, way: str) -> Sequence[Job]:
        if way == "sweep":
            return [Job.service("sweep", self._scene.order)]
        if way == "events":
            ids = [each["id"] for each in Books(self._shop.stripe, self._scene.order).intents]
            bodies = [body for each in ids for body in self._shop.events_of(each)]
            return [Job.call(Call.webhook(body)) for body in bodies]
        return [self._scene.job]

    def _do(self, job: Job, *, kill_at: int | None = None) -> Result:
        is_event = "Stripe-Signature" in job.values.get("call", {}).get("headers", {})
        self._later += QUARTER_OF_AN_HOUR
        later = 0.0 if is_event else self._later  # an old signature is refused
        return self._shop.victim.do(job, kill_at=kill_at, later=later, without=self._without)

    def _look(self, *, finished: bool, swept: bool = False) -> Damage:
        books = Books(self._shop.stripe, self._scene.order)
        damage = books.damage(self._scene.wants, finished=finished)
        if swept and not damage:
            damage = books.damage({}, finished=True)
            damage.lost += [f"nobody was told: {fact}" for fact in books.untold()]
        return damage
