"""Customers and programs that use the shop while its servers and its database come and go.

They do what people and apps do: what breaks, or is out of order for a moment, is done once more,
with the same idempotency key, at whichever server is next.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal

from shop_payments.models import Order
from shop_payments.money import format_amount
from tests.reliability.crew import Call
from tests.reliability.parts import part_of
from tests.reliability.servers import Reply, TwoServers, send
from tests.support import BASE, Caller, call_stripe

CLIENTS = 16
AMOUNT = 11200
GIVES_UP_AFTER = 120
"""Seconds; whatever was out of order was so for a tenth of that."""

_LONGEST_PAUSE = 1.0
"""Seconds. ``Retry-After`` asks for more; whoever is impatient must do no harm."""

BROKEN = "broken connection"
_PASSING = {
    "503 database_unavailable",
    "503 gateway_unavailable",
    "409 payment_intent_in_progress",
    "409 refund_in_progress",
}
_FINAL = {
    "200",
    "200 text/html",
    "409 order_already_paid",
    "409 payment_not_completed",
    "409 refund_exceeds_balance",
}


@dataclass
class Tally:
    """All answers, by status and code, and those that no caller should get."""

    answers: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    finished: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, call: Call, reply: Reply | None) -> str:
        """Count an answer, and return what it is counted as."""
        kind = _kind_of(reply)
        with self._lock:
            self.answers[kind] += 1
            if kind not in {BROKEN, *_PASSING, *_FINAL}:
                self._find(f"{call.method} {call.path}: {kind} {reply and reply.body[:300]!r}")
            elif kind in _PASSING and reply is not None and not reply.retry_after:
                self._find(f"{call.method} {call.path}: {kind} without Retry-After")
        return kind

    def finish(self) -> None:
        with self._lock:
            self.finished += 1

    def defect(self, words: str) -> None:
        with self._lock:
            self._find(words)

    def _find(self, words: str) -> None:
        self.defects.append(words)


def _kind_of(reply: Reply | None) -> str:
    if reply is None:
        return BROKEN
    if reply.media_type != "application/json":
        return f"{reply.status} {reply.media_type}"
    return f"{reply.status} {reply.code}".strip()


@dataclass
class Journey:
    """One order: what is going to be done with it, and what came of that."""

    order: Order
    customer: Caller
    declined_first: bool
    second_tab: bool
    by_webhook_alone: bool
    wishes: dict[str, int] = field(default_factory=dict)
    """Amounts that are to go back, by idempotency key."""

    refunds: dict[str, set[str]] = field(default_factory=dict)
    """What was answered for each key: Stripe's ids with their amounts, or a code."""

    @classmethod
    def draw(cls, draw: random.Random, order: Order, customer: Caller) -> Journey:
        by_webhook_alone = draw.random() < 0.25
        journey = cls(
            order=order,
            customer=customer,
            declined_first=draw.random() < 0.2,
            second_tab=draw.random() < 0.5,
            by_webhook_alone=by_webhook_alone,
        )
        if not by_webhook_alone and draw.random() < 0.6:
            # All of it and a part of it: one of them is too much.
            first = draw.choice([AMOUNT, draw.randint(1, AMOUNT // 2)])
            journey.wishes = {f"a-{order.pk}": first, f"b-{order.pk}": AMOUNT // 2}
        return journey

    @property
    def payments(self) -> list[int]:
        """What the customer pays, newest first, in minor units."""
        paid: list[int] = []
        while (left := AMOUNT - sum(paid)) > 0:
            paid.insert(0, part_of(self.order.number, total=AMOUNT, outstanding=left))
        return paid

    @property
    def accepted(self) -> dict[str, dict[str, int]]:
        """By key: Stripe's refunds, with their amounts; one for each payment that it takes."""
        found = {}
        for key, outcomes in self.refunds.items():
            for outcome in outcomes:
                if outcome.startswith("re_"):
                    parts = [each.split("=") for each in outcome.split(" ")]
                    found[key] = {stripe_id: int(amount) for stripe_id, amount in parts}
        return found

    @property
    def refunded(self) -> list[int]:
        """The amounts of the refunds that were accepted, in minor units."""
        return sorted(money for parts in self.accepted.values() for money in parts.values())


def _outcome_of(reply: Reply) -> str:
    if reply.status != 200:
        return reply.code
    parts = reply.data.get("parts", [reply.data])
    found = {each["stripe_id"]: int(Decimal(each["amount"]) * 100) for each in parts}
    return " ".join(f"{stripe_id}={found[stripe_id]}" for stripe_id in sorted(found))


class Mall:
    """Everybody who uses the shop."""

    def __init__(
        self, shop: TwoServers, tally: Tally, *, payment_system: Caller, office: Caller
    ) -> None:
        self._shop, self._tally = shop, tally
        self._payment_system, self._office = payment_system, office
        # Who waits for one of these waits in another one.
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._hands = ThreadPoolExecutor(2 * CLIENTS)
        self._lines = ThreadPoolExecutor(4 * CLIENTS)
        self._is_closed = threading.Event()

    def serve(self, journeys: Iterable[Journey]) -> list[Future[None]]:
        """Have ``CLIENTS`` of them at a time go their ways; return the ends of all."""
        return [self._clients.submit(self._go, journey) for journey in journeys]

    def close(self) -> None:
        """Let nobody else in; those who are there ask for nothing once more."""
        self._is_closed.set()
        for pool in (self._clients, self._hands, self._lines):
            pool.shutdown(cancel_futures=pool is self._clients)

    def _go(self, journey: Journey) -> None:
        try:
            self._buy(journey)
            self._give_back(journey)
            self._read(journey)
        finally:
            self._tally.finish()

    def _buy(self, journey: Journey) -> None:
        for left in range(len(journey.payments) - 1, -1, -1):
            self._pay(journey, is_last=left == 0)

    def _pay(self, journey: Journey, *, is_last: bool) -> None:
        ask = Call.payment_intent(journey.order, journey.customer)
        ids = {str(reply.data.get("id")) for reply in self._everywhere(ask)}
        if len(ids) > 1:
            self._tally.defect(f"order {journey.order.pk} has the intents {ids}")
        intent_id = min(ids)
        if journey.declined_first:
            self._confirm(intent_id, "pm_card_chargeDeclined")
        another = self._hands.submit(self._everywhere, ask) if journey.second_tab else None
        self._confirm(intent_id, "pm_card_visa")
        if not journey.by_webhook_alone:
            hint = Call.payment(journey.order, self._payment_system)
            for reply in self._everywhere(hint):
                is_right = reply.data.get("status") == "succeeded"
                if not (is_right if is_last else reply.code == "payment_not_completed"):
                    self._tally.defect(f"{hint.path} says {reply.body!r}")
        if another is not None:
            another.result()

    def _give_back(self, journey: Journey) -> None:
        calls = {
            key: Call.refund(journey.order, self._office, format_amount(amount, "usd"), key)
            for key, amount in journey.wishes.items()
        }
        asked = {key: self._hands.submit(self._everywhere, call) for key, call in calls.items()}
        for key, answers in asked.items():
            replies = answers.result()
            journey.refunds[key] = {_outcome_of(reply) for reply in replies}

    def _read(self, journey: Journey) -> None:
        """Look at the order with an app, and with a browser."""
        path = f"{BASE}/orders/{journey.order.pk}"
        for accepted in ("application/json", "text/html"):
            headers = {**journey.customer.headers, "Accept": accepted}
            self._everywhere(Call(method="GET", path=path, headers=headers))

    def _confirm(self, intent_id: str, payment_method: str) -> None:
        path = f"payment_intents/{intent_id}/confirm"
        call_stripe(self._shop.stripe, "POST", path, payment_method=payment_method)

    def _everywhere(self, call: Call) -> list[Reply]:
        """Send it to both servers at once, each until it is done."""
        numbers = range(len(self._shop.servers))
        sent = [self._lines.submit(self._until_done, call, number) for number in numbers]
        return [each.result() for each in sent]

    def _until_done(self, call: Call, number: int) -> Reply:
        deadline = time.monotonic() + GIVES_UP_AFTER
        while True:
            reply = send(self._shop.servers[number].url, call)
            kind = self._tally.note(call, reply)
            if reply is not None and kind not in _PASSING:
                return reply
            if time.monotonic() > deadline or self._is_closed.is_set():
                raise TimeoutError(f"{call.method} {call.path} is never done: {kind}")
            wished = float(reply.retry_after or 0) if reply is not None else _LONGEST_PAUSE
            time.sleep(random.uniform(0.1, min(wished, _LONGEST_PAUSE)))
            number = random.randrange(len(self._shop.servers))
