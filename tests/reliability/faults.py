"""A shop's day with a Stripe that answers badly: who calls, what goes wrong, what must not be.

Customers place orders, change them and pay; somebody cancels intents in Stripe's dashboard; the
payment system says what it has heard, and is wrong now and then. Everybody asks at the same moment,
several for one order.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from django.db.models import Count

from shop_payments.lifecycle import IntentStatus
from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent, StripeAttempt
from shop_payments.money import format_amount
from shop_payments.sandbox import Fault, SandboxConnectionDropped, SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import listed_at_stripe
from tests.factories import OrderFactory
from tests.reliability.crew import PATIENCE, Answer, Call, Crew
from tests.reliability.parts import SMALLEST, number_in_parts, part_of
from tests.support import BASE, WEBHOOK_SECRET, Caller, call_stripe

PRICE = 5600
LATENCY = 0.2
TRY_AGAIN = {(409, "payment_intent_in_progress"), (503, "gateway_unavailable")}
"""What a caller may be told because of Stripe; each with Retry-After."""

_WEBHOOK_ANSWERS = {(200, ""), (503, "event_failed")}
_ENDED = (IntentStatus.SUCCEEDED, IntentStatus.CANCELED)
_WITHIN = 0.05
"""Seconds within which the calls of a round begin."""

_LAST_ORDERS = 64


def troubles(rate: float) -> list[Fault]:
    """Return faults that befall ``rate`` of Stripe's answers, and a fifth of its webhooks each."""
    kinds: list[dict[str, Any]] = [
        {"kind": "drop_before"},
        {"kind": "drop_after"},
        {"kind": "latency", "seconds": LATENCY},
        {"kind": "error", "status": 429},
        {"kind": "error", "status": 429, "code": "lock_timeout"},
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 503},
        {"kind": "error_after"},
    ]
    share = 1 - (1 - rate) ** (1 / len(kinds))
    return [
        *(Fault(path="/v1/", rate=share, **each) for each in kinds),
        Fault("webhook_lost", rate=0.2),
        Fault("webhook_doubled", rate=0.2),
        Fault("webhook_reordered", rate=0.2, seconds=1),
    ]


class WatchedStripe(StripeSandbox):
    """Counts what it is asked; the log of all requests is too short for a day."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.writes = 0
        self.answered: Counter[str] = Counter()
        """By status, or ``dropped``."""

        self._counting = threading.Lock()

    def handle(self, method: str, *args: Any, **kwargs: Any) -> SandboxResponse:
        what = "dropped"
        try:
            answer = super().handle(method, *args, **kwargs)
            what = str(answer.status)
        finally:
            with self._counting:
                self.answered[what] += 1
                self.writes += method == "POST"
        return answer


@dataclass(eq=False)
class Placed:
    """An order on its way."""

    order: Order
    quantity: int = 2
    shown: set[str] = field(default_factory=set)
    """The ids of the intents that customers were shown, since one was withdrawn."""

    shown_amount: str = ""
    """What they were shown, since the order was changed."""

    withdrawn: set[str] = field(default_factory=set)
    paid: dict[str, int] = field(default_factory=dict)
    """By intent: what the customer has paid at Stripe."""

    @property
    def total(self) -> int:
        return self.quantity * PRICE

    @property
    def received(self) -> int:
        return sum(self.paid.values())

    @property
    def is_paid(self) -> bool:
        """At Stripe."""
        return self.received >= self.total

    @property
    def due(self) -> str:
        """What the customer is asked for now: all of it, or the next part."""
        outstanding = self.total - self.received
        now = part_of(self.order.number, total=self.total, outstanding=outstanding)
        return format_amount(now, "usd")

    @property
    def quantities(self) -> list[int]:
        """To what the order may be changed, so that something is left to pay."""
        return [each for each in (1, 2, 3, 4) if each * PRICE >= self.received + SMALLEST]

    @property
    def may_be_paid(self) -> bool:
        """Whether the customer sees what is due."""
        return not self.is_paid and bool(self.shown) and self.shown_amount == self.due

    def pay(self) -> str:
        """Note that the customer pays what they see; return the intent."""
        intent_id = min(self.shown)
        self.paid[intent_id] = int(Decimal(self.shown_amount) * 100)
        self.shown.clear()
        self.shown_amount = ""
        return intent_id

    def see(self, intent_id: str, amount: str) -> bool:
        """Note what a customer is shown; tell whether it is right.

        What has been paid meanwhile may have been shown before.
        """
        if intent_id in self.paid:
            return amount == format_amount(self.paid[intent_id], "usd")
        self.shown.add(intent_id)
        self.shown_amount = amount
        return amount == self.due and intent_id not in self.withdrawn


class Day:
    """Rounds of calls, and what came of them."""

    def __init__(
        self,
        *,
        crew: Crew,
        stripe: WatchedStripe,
        storefront: Caller,
        payment_system: Caller,
        customer: Any,
        seed: int,
        rate: float,
    ) -> None:
        self._crew, self._stripe, self._rate = crew, stripe, rate
        self._storefront, self._payment_system = storefront, payment_system
        self._customer, self._draw = customer, random.Random(f"{seed} {rate}")
        self.placed: list[Placed] = []
        self.answers: Counter[tuple[str, int, str]] = Counter()
        """By what was asked for (``payment-intent``, ``payment``, ``webhook``), status, code."""

        self.requests: Counter[str] = Counter()
        """To Stripe in the rounds, by status or ``dropped``; a saved 500 counts each time."""

        self.unheard = 0
        """Customers of whose payment nobody has told us."""

        self.unfinished = 0
        """Attempts whose outcome nobody knows in the end."""

        self._wrong: list[str] = []
        self._noting = threading.Lock()
        self._endpoint = stripe.add_webhook(
            "https://shop.example/webhooks", WEBHOOK_SECRET, deliver=self._deliver
        )

    # A round

    def round(self) -> list[Answer]:
        """Everybody asks at once while Stripe answers badly; return the answers."""
        waiting = [each for each in self.placed if not each.is_paid]
        self._draw.shuffle(waiting)
        changed, withdrawn, others = waiting[:2], waiting[2:3], waiting[3:]
        paying = [each for each in others if each.may_be_paid][:2]
        for each in changed:
            each.quantity, each.shown_amount = self._draw.choice(each.quantities), ""
            each.order.lines.update(quantity=each.quantity)
        for each in withdrawn:
            self._withdraw(each)
        new = [self._place() for _ in range(2)]
        asked = [*new, *changed, *withdrawn, *paying]
        mistaken = [each for each in [*others, *changed, *withdrawn] if each not in paying][:2]
        calls = self._calls([*asked, *others[:2]], [*paying * 2, *mistaken])
        with self._trouble():
            answers = self._crew.at_once(
                *(call for _placed, _route, call in calls),
                meanwhile=partial(self._customers_pay, paying),
            )
        for (placed, route, _call), answer in zip(calls, answers, strict=True):
            self._note(placed, route, answer)
        return answers

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        heard = Counter(self._stripe.answered)
        for fault in troubles(self._rate):
            self._stripe.inject(fault)
        yield
        self._stripe.clear_faults()
        self.requests += self._stripe.answered - heard

    def _calls(
        self, asked: list[Placed], said_to_be_paid: list[Placed]
    ) -> list[tuple[Placed, str, Call]]:
        routes = [
            *((each, "payment-intent") for each in asked),
            *((each, "payment") for each in said_to_be_paid),
        ]
        everybody = self._crew.processes * self._crew.threads
        crowd = [*routes, *self._draw.choices(routes, k=max(0, everybody - len(routes)))]
        self._draw.shuffle(crowd)
        return [(each, route, self._call(each, route)) for each, route in crowd[:everybody]]

    def _call(self, placed: Placed, route: str) -> Call:
        later = self._draw.choice([0, self._draw.uniform(0, _WITHIN)])
        if route == "payment":
            return Call.payment(placed.order, self._payment_system, later=later)
        return Call.payment_intent(placed.order, self._storefront, later=later)

    def _place(self) -> Placed:
        order = OrderFactory.create(customer=self._customer)
        order.number = number_in_parts(order.number, self._draw.choice([1, 1, 2, 3, 4]))
        order.save()
        placed = Placed(order)
        self.placed.append(placed)
        return placed

    def _withdraw(self, placed: Placed) -> None:
        """Cancel what is open of an order, as staff may do in Stripe's dashboard."""
        for intent in self._at_stripe()[str(placed.order.pk)]:
            if intent["status"] not in _ENDED:
                call_stripe(self._stripe, "POST", f"payment_intents/{intent['id']}/cancel")
                placed.withdrawn.add(intent["id"])
        placed.shown.clear()

    def _customers_pay(self, paying: list[Placed]) -> None:
        for placed in paying:
            intent_id = placed.pay()
            if not any(self._pay(intent_id) for _try in range(100)):
                # Damage, not a broken test: without a guard, two callers may create an intent each,
                # and the app cancels the one that the customer was shown.
                del placed.paid[intent_id]
                self._wrong.append(f"{intent_id} was shown and cannot be paid")

    def _pay(self, intent_id: str) -> bool:
        """Try it once; the browser knows no more than we do, and tries again."""
        path = f"payment_intents/{intent_id}/confirm"
        try:
            answer = call_stripe(self._stripe, "POST", path, payment_method="pm_card_visa")
        except SandboxConnectionDropped:
            return False
        intent = answer.get("error", {}).get("payment_intent", answer)
        return bool(intent.get("status") == IntentStatus.SUCCEEDED)

    # Webhooks

    def _deliver(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        signed = {"Stripe-Signature": headers["Stripe-Signature"]}
        call = Call(path=f"{BASE}/webhooks/stripe", headers=signed, body=body.decode())
        (answer,) = self._crew.send(call)
        came: Answer = answer.result(PATIENCE)
        key = (came.status, came.code or "")
        with self._noting:
            self.answers["webhook", *key] += 1
            if key not in _WEBHOOK_ANSWERS:
                self._wrong.append(f"webhook: {came}")
        return came.status

    def end(self) -> None:
        """Leave something to the sweep: what nobody asks for again, and what nobody hears of.

        Orders are placed whose one call may fail, no event arrives any more, and half of those pay
        who may.
        """
        self._stripe.remove_webhook(self._endpoint)
        with self._trouble():
            self._ask([self._place() for _ in range(_LAST_ORDERS)])
        paying = [each for each in self.placed if each.may_be_paid][::2]
        self._customers_pay(paying)
        self.unheard = len(paying)
        self.unfinished = StripeAttempt.objects.pending().count()

    # What came of it

    def _note(self, placed: Placed, route: str, answer: Answer) -> None:
        key = (answer.status, answer.code or "")
        with self._noting:
            self.answers[route, *key] += 1
        data = answer.json().get("data", {}) if answer.status == 200 else {}
        if key in TRY_AGAIN:
            is_right = int(answer.headers.get("Retry-After", 0)) >= 1
        elif key == (200, "") and route == "payment-intent":
            is_right = placed.see(data["id"], data["amount"])
        elif key == (200, ""):
            is_right = placed.is_paid and data["status"] == IntentStatus.SUCCEEDED
        elif route == "payment-intent":
            is_right = placed.is_paid and key == (409, "order_already_paid")
        else:
            is_right = key == (409, "payment_not_completed") or (
                not placed.paid and key == (404, "payment_intent_missing")
            )
        if not is_right:
            self._wrong.append(f"{route} of order {placed.order.pk}: {answer}")

    def _at_stripe(self) -> dict[str, list[dict[str, Any]]]:
        """The intents of the day's orders, by order."""
        found: dict[str, list[dict[str, Any]]] = {str(each.order.pk): [] for each in self.placed}
        for intent in listed_at_stripe(self._stripe, "payment_intents"):
            found.get(intent["metadata"]["order_id"], []).append(intent)
        return found

    def damage(self) -> list[str]:
        """What must never be, at no moment: to be asked between the rounds."""
        found, at_stripe = list(self._wrong), self._at_stripe()
        for placed in self.placed:
            order = placed.order.pk
            there = [
                each["id"]
                for each in at_stripe[str(order)]
                if each["status"] != IntentStatus.CANCELED
            ]
            if len(there) > len(placed.paid) + (not placed.is_paid):
                found.append(f"order {order} has {len(there)} open or paid at Stripe: {there}")
            if not placed.shown <= set(there):
                found.append(f"order {order} was shown {placed.shown}, and there are {there}")
        here = PaymentIntent.objects.open().values("order_payment__order")
        for row in here.annotate(count=Count("pk")).filter(count__gt=1):
            found.append(f"order {row['order_payment__order']} has {row['count']} open here")
        return found

    def loose_ends(self, told: Counter[str]) -> list[str]:
        """What must not be once all is swept; ``told`` counts the signals of payment by order."""
        found = self.damage()
        found += [f"{each} is not finished" for each in StripeAttempt.objects.pending()]
        found += [f"{each} is not told" for each in PaymentHistory.objects.undispatched()]
        placed = {str(each.order.pk): each for each in self.placed}
        waiting = {order: each for order, each in placed.items() if each.received}
        for payment in OrderPayment.objects.all():
            each = placed[str(payment.order_id)]
            waiting.pop(str(payment.order_id), None)
            facts = Counter(payment.history.values_list("kind", flat=True))
            here = {
                "received": payment.amount_received,
                "paid": payment.is_paid,
                "payments": facts["payment_received"],
                "facts that it is paid": facts["order_paid"],
                "told": told[str(payment.order_id)],
            }
            due = {
                "received": each.received,
                "paid": each.is_paid,
                "payments": len(each.paid),
                "facts that it is paid": int(each.is_paid),
                "told": int(each.is_paid),
            }
            if here != due:
                found.append(f"{payment}: {here}, and should be {due}")
            if payment.needs_review:
                found.append(f"{payment} is in review")
        found += [f"order {order} is not here" for order in waiting]
        return found

    def go_on(self) -> list[Answer]:
        """Every customer who has not paid asks once more; return the answers that do not fit."""
        answers = self._ask([each for each in self.placed if not each.is_paid])
        return [each for each in answers if each.status != 200]

    def _ask(self, waiting: list[Placed]) -> list[Answer]:
        """Have each customer ask once."""
        calls = [Call.payment_intent(each.order, self._storefront) for each in waiting]
        sent = self._crew.send(*calls)
        answers: list[Answer] = [each.result(PATIENCE) for each in sent]
        for placed, answer in zip(waiting, answers, strict=True):
            self._note(placed, "payment-intent", answer)
        return answers
