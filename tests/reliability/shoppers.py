"""Customers and programs that use a shop while its servers, its database or Stripe are in trouble.

They do what people and apps do: what fails for a moment is sent again, with the same idempotency
key, to any server. The seed decides who does what, not which thread is quicker.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection

from shop_payments.models import APIKeyScope, FactKind, Order, PaymentHistory, WebhookEvent
from shop_payments.money import format_amount
from shop_payments.sandbox import SandboxConnectionDropped
from tests.books import listed_at_stripe
from tests.conftest import issue_key
from tests.factories import TokenFactory
from tests.reliability.books import Books, Ending
from tests.reliability.parts import part_of, place_order
from tests.reliability.web import Answer, Call, Shop, send
from tests.support import Caller, call_stripe

CLIENTS = 16
AMOUNT = 11200
GIVES_UP_AFTER = 300
"""Seconds. If three of Stripe's answers in ten are bad, a refund of four payments may take 60."""

PATIENCE = 600
"""Seconds for all orders of a round on a busy machine."""

_LONGEST_PAUSE = 1.0
"""Seconds. ``Retry-After`` asks for more; impatient callers must do no harm."""

_PATIENCE_FOR_A_REFUND = 5.0
"""Seconds after which a caller leaves an unresolved refund for another day."""

BROKEN = "broken connection"
UNRESOLVED = "refund_in_progress"
REFUSED = "refund_refused"
"""Also of a part that Stripe did not have when it had forgotten the part's key."""

_PASSING = {
    *("503 database_unavailable", "503 gateway_unavailable"),
    *("409 payment_intent_in_progress", "409 refund_in_progress"),
}
_FINAL = {
    *("200", "409 order_already_paid", "409 payment_not_completed"),
    *("409 refund_exceeds_balance", f"409 {REFUSED}"),
}


@dataclass(kw_only=True)
class Journey:
    """One order: what is going to be done with it, and what was answered."""

    order: Order
    customer: Caller
    is_abandoned: bool
    """The customer asks for an intent once, and does not come back."""

    second_tab: bool
    by_webhook_alone: bool
    """Nobody but Stripe reports the payments."""

    wishes: dict[str, int] = field(default_factory=dict)
    """Amounts to refund, by idempotency key."""

    refunds: dict[str, set[tuple[str, int] | str]] = field(default_factory=lambda: defaultdict(set))
    """What was answered for each key: Stripe's refunds with their amounts, or a code."""

    @property
    def payments(self) -> list[int]:
        """What the customer pays, newest first."""
        paid: list[int] = []
        while (left := AMOUNT - sum(paid)) > 0:
            paid.insert(0, part_of(self.order.number, total=AMOUNT, outstanding=left))
        return paid

    def note_refund(self, key: str, answer: Answer) -> None:
        if answer.status != 200:
            self.refunds[key].add(answer.code)
        for part in answer.data.get("parts", [answer.data] if answer.status == 200 else []):
            if part["stripe_id"]:
                self.refunds[key].add((part["stripe_id"], int(Decimal(part["amount"]) * 100)))

    @property
    def accepted(self) -> dict[str, dict[str, int]]:
        """By key: Stripe's refunds, with their amounts."""
        return {
            key: dict(each for each in outcomes if not isinstance(each, str))
            for key, outcomes in self.refunds.items()
            if not all(isinstance(each, str) for each in outcomes)
        }

    def ending(self) -> Ending:
        """Return what its books must say in the end."""
        if self.is_abandoned:
            return Ending(order=self.order)
        refunded = [money for parts in self.accepted.values() for money in parts.values()]
        return Ending(
            order=self.order,
            wants={"open": [], "received": self.payments, "refunded": sorted(refunded)},
            facts={FactKind.ORDER_PAID: 1, FactKind.PAYMENT_RECEIVED: len(self.payments)},
        )


class Round:
    """Some orders, each from nothing to paid, some of them to refunded."""

    def __init__(self, shop: Shop, *, orders: int, seed: str, abandoned: float = 0.0) -> None:
        """``abandoned`` is a share of the customers."""
        draw, key = random.Random(seed), issue_key(APIKeyScope.STOREFRONT)
        tokens = TokenFactory.create_batch(CLIENTS)
        self.shop = shop
        self.answers: Counter[str] = Counter()
        """By status and code."""

        self.defects: list[str] = []
        """Answers that no caller should get."""

        self.journeys: list[Journey] = []
        for number in range(orders):
            token = tokens[number % CLIENTS]
            journey = Journey(
                order=place_order(token.user, parts=draw.choice([1, 1, 1, 2, 3, 4])),
                customer=Caller(token=token.key, key=key),
                is_abandoned=draw.random() < abandoned,
                second_tab=draw.random() < 0.5,
                by_webhook_alone=draw.random() < 0.25,
            )
            if not journey.by_webhook_alone and draw.random() < 0.6:
                # All of it and a part of it: one of them is too much.
                first, pk = draw.choice([AMOUNT, draw.randint(1, AMOUNT // 2)]), journey.order.pk
                journey.wishes = {f"a-{pk}": first, f"b-{pk}": AMOUNT // 2}
            self.journeys.append(journey)
        self._payment_system = Caller(key=issue_key(APIKeyScope.PAYMENTS))
        self._office = Caller(key=issue_key(APIKeyScope.REFUNDS))
        self._noting, self._is_closed = threading.Lock(), threading.Event()

    def run(self, meanwhile: Callable[[Sequence[Future[None]]], None] | None = None) -> None:
        """Process all orders; ``meanwhile`` gets their ends."""
        connection.close()  # the database may not be there all the time
        with ThreadPoolExecutor(CLIENTS) as clients:
            try:
                ends = [clients.submit(self._go, journey) for journey in self.journeys]
                if meanwhile is not None:
                    meanwhile(ends)
                for end in ends:
                    end.result(PATIENCE)
            finally:
                self._is_closed.set()
                clients.shutdown(cancel_futures=True)

    def _go(self, journey: Journey) -> None:
        ask = Call.order(journey.order, "payment-intent", journey.customer)
        if journey.is_abandoned:
            self._note(ask, send(self.shop.servers[0].url, ask))
            return
        with ThreadPoolExecutor(2) as hands:
            for left in reversed(range(len(journey.payments))):
                self._pay(journey, ask, hands, is_last=left == 0)
            asked = {
                key: hands.submit(self._at_two_servers, self._refund(journey, key))
                for key in journey.wishes
            }
            for key, sent in asked.items():
                for answer in sent.result():
                    journey.note_refund(key, answer)

    def _refund(self, journey: Journey, key: str) -> Call:
        money = format_amount(journey.wishes[key], "usd")
        return Call.refund(journey.order, self._office, money, key)

    def _ask_for_unresolved_refunds(self) -> None:
        """Ask again with the same keys, as a client does a day later."""
        for journey in self.journeys:
            for key, outcomes in journey.refunds.items():
                if UNRESOLVED in outcomes:
                    outcomes.discard(UNRESOLVED)
                    journey.note_refund(key, self._until_done(self._refund(journey, key), 0))

    def _pay(
        self, journey: Journey, ask: Call, hands: ThreadPoolExecutor, *, is_last: bool
    ) -> None:
        shown = self._at_two_servers(ask)
        intents = {(str(each.data.get("id")), each.data.get("amount")) for each in shown}
        if len(intents) > 1:
            self.defects.append(f"order {journey.order.pk} has the intents {intents}")
        intent_id = min(intents)[0]
        tab = hands.submit(self._at_two_servers, ask) if journey.second_tab else None
        self._confirm(intent_id)
        if not journey.by_webhook_alone:
            hint = Call.order(journey.order, "payment", self._payment_system)
            for answer in self._at_two_servers(hint):
                is_right = answer.data.get("status") == "succeeded"
                if not (is_right if is_last else answer.code == "payment_not_completed"):
                    self.defects.append(f"{hint.path} says {answer.body!r}")
        if tab is not None:
            tab.result()

    def _confirm(self, intent_id: str) -> None:
        """Pay, or try to; a browser tries again if Stripe's answer is lost."""
        path = f"payment_intents/{intent_id}/confirm"
        for _try in range(100):
            try:
                answer = call_stripe(self.shop.stripe, "POST", path, payment_method="pm_card_visa")
            except SandboxConnectionDropped:
                continue
            intent = answer.get("error", {}).get("payment_intent", answer)
            if intent.get("status") == "succeeded":
                return
        self.defects.append(f"{intent_id} was shown and cannot be paid")

    def _at_two_servers(self, call: Call) -> list[Answer]:
        """Send it to two servers at once, each until it is done."""
        with ThreadPoolExecutor(2) as lines:
            return [*lines.map(partial(self._until_done, call), range(2))]

    def _until_done(self, call: Call, number: int) -> Answer:
        deadline = time.monotonic() + GIVES_UP_AFTER
        patience = time.monotonic() + _PATIENCE_FOR_A_REFUND
        while True:
            answer = send(self.shop.servers[number % len(self.shop.servers)].url, call)
            kind = self._note(call, answer)
            if answer is not None and kind not in _PASSING:
                return answer
            if answer and kind == f"409 {UNRESOLVED}" and time.monotonic() > patience:
                return answer  # a saved 500 is resolved when Stripe forgets the key
            if time.monotonic() > deadline or self._is_closed.is_set():
                raise TimeoutError(f"{call.method} {call.path} is never done: {kind}")
            asked = float(answer.headers.get("retry-after", 0)) if answer else _LONGEST_PAUSE
            time.sleep(random.uniform(0.1, min(asked, _LONGEST_PAUSE)))
            number = random.randrange(len(self.shop.servers))

    def _note(self, call: Call, answer: Answer | None) -> str:
        kind = f"{answer.status} {answer.code}".strip() if answer else BROKEN
        with self._noting:
            self.answers[kind] += 1
        if kind not in {BROKEN, *_PASSING, *_FINAL}:
            self.defects.append(f"{call.method} {call.path}: {kind} {answer}")
        elif kind in _PASSING and answer and not answer.headers.get("retry-after"):
            self.defects.append(f"{call.method} {call.path}: {kind} without Retry-After")
        return kind

    def damage(self, *, webhooks_are_lost: bool = False) -> list[str]:
        """Compare Stripe's objects with our rows, and with what the callers were answered."""
        self._is_closed.clear()
        self._ask_for_unresolved_refunds()
        found = list(self.defects)
        by_order: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for intent in listed_at_stripe(self.shop.stripe, "payment_intents"):
            by_order[intent["metadata"]["order_id"]].append(intent)
        for journey in self.journeys:
            problems = self._look_at(journey, by_order[str(journey.order.pk)])
            found += [f"{each} (order {journey.order.pk})" for each in problems]
        notified = self.shop.notified()
        for fact in PaymentHistory.objects.filter(needs_dispatch=True):
            if not (notified[str(fact.fact_id)] and fact.dispatched_at):
                found.append(f"lost: no receiver was notified of {fact}")
        sent = {each["id"] for each in listed_at_stripe(self.shop.stripe, "events")}
        missing = sent - set(WebhookEvent.objects.values_list("event_id", flat=True))
        if missing and not webhooks_are_lost:
            found.append(f"lost: the events {sorted(missing)[:5]} are not in the inbox")
        for event in WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES):
            found.append(f"lost: {event} is {event.status}: {event.outcome}")
        return found

    def left_to_pay(self) -> list[Answer]:
        """Let each customer who has not paid ask again; return the answers that are no intent."""
        asked = self.shop.send(
            *(
                Call.order(each.order, "payment-intent", each.customer)
                for each in self.journeys
                if each.is_abandoned
            )
        )
        answers = [each.result(PATIENCE) for each in asked]
        return [each for each in answers if each.status != 200]

    def _look_at(self, journey: Journey, intents: list[dict[str, Any]]) -> list[str]:
        books = Books(self.shop.stripe, journey.ending(), intents=intents)
        found, accepted = books.damage(finished=True), journey.accepted
        for key, wish in journey.wishes.items():
            parts, outcomes = accepted.get(key, {}), journey.refunds[key]
            codes = {each for each in outcomes if isinstance(each, str)}
            is_whole = sum(parts.values()) == wish
            is_right = not codes if is_whole else codes == {REFUSED} and sum(parts.values()) < wish
            if parts and not is_right:
                found.append(f"doubled: {wish} asked back, answered {outcomes}")
        if strangers := {each["id"] for each in books.refunds}.difference(*accepted.values()):
            found.append(f"doubled: nobody asked for the refunds {strangers}")
        return found
