"""Events come late, twice and in any order; what they end in is one state, and Stripe's.

Each history happens at Stripe, and its events arrive in every order (a seeded sample, where there
are too many), one of them twice: once all of it is over, and while it goes on, when a fetch may
see any moment. ``ARRIVAL_ORDERS`` and ``ARRIVAL_SEED`` ask for others, ``FIGURES=full`` for more.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from django.db import connection

from shop_payments.models import Dispute, Order, OrderPayment, PaymentIntent, Refund
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import answer_dispute, assert_mirrors_agree
from tests.factories import OrderFactory
from tests.support import call_stripe, post_webhook, sign, sized

# Not real transactions: each order of arrival is undone with a savepoint.
pytestmark = [pytest.mark.figures, pytest.mark.django_db]

ORDERS = sized("ARRIVAL_ORDERS", sample=12, full=240)
SEED = int(os.environ.get("ARRIVAL_SEED", "7"))


@dataclass
class AtStripe:
    """One order's payment at Stripe, and what happens to it."""

    stripe: StripeSandbox
    intent_id: str

    def __post_init__(self) -> None:
        self._before = len(self.stripe.events) - 1  # the intent's own creation is one of them

    def pay(self, card: str = "pm_card_visa") -> None:
        self.stripe.pay(self.intent_id, card, deliver=False)

    def refund(self, **params: str) -> None:
        call_stripe(self.stripe, "POST", "refunds", payment_intent=self.intent_id, **params)

    def cancel(self) -> None:
        call_stripe(self.stripe, "POST", f"payment_intents/{self.intent_id}/cancel")

    def capture(self) -> None:
        call_stripe(self.stripe, "POST", f"payment_intents/{self.intent_id}/capture")

    def an_hour_passes(self) -> None:
        self.stripe.advance_clock(60 * 60)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What Stripe has to tell of it, so far."""
        return self.stripe.events[self._before :]


Step = Callable[[AtStripe], object]
State = tuple[str, str, int, int, int, bool]
"""Status, dispute, captured, refunded, lost; and whether a person is asked."""


@dataclass(frozen=True)
class History:
    """What happens, and what the order's payment is in the end."""

    steps: tuple[Step, ...]
    ends_in: State
    capture_method: str = "automatic"


HISTORIES = {
    "refunded": History(
        (lambda at: at.pay(), lambda at: at.refund()), ("refunded", "", 11200, 11200, 0, False)
    ),
    "refunded in parts": History(
        (
            lambda at: at.pay(),
            lambda at: at.refund(amount="1200"),
            lambda at: at.refund(amount="10000"),
        ),
        ("refunded", "", 11200, 11200, 0, False),
    ),
    "partially refunded, in a while": History(
        (
            lambda at: at.pay("pm_card_pendingRefund"),
            lambda at: at.refund(amount="1200"),
            lambda at: at.an_hour_passes(),
        ),
        ("partially_refunded", "", 11200, 1200, 0, False),
    ),
    "refund failed": History(
        (
            lambda at: at.pay("pm_card_refundFail"),
            lambda at: at.refund(amount="1200"),
            lambda at: at.an_hour_passes(),
        ),
        ("paid", "", 11200, 0, 0, True),
    ),
    "disputed and won": History(
        (
            lambda at: at.pay("pm_card_createDispute"),
            lambda at: answer_dispute(at.stripe, "winning_evidence"),
            lambda at: at.an_hour_passes(),
        ),
        ("paid", "won", 11200, 0, 0, False),
    ),
    "disputed and lost": History(
        (
            lambda at: at.pay("pm_card_createDispute"),
            lambda at: answer_dispute(at.stripe, "losing_evidence"),
            lambda at: at.an_hour_passes(),
        ),
        ("paid", "lost", 11200, 0, 11200, False),
    ),
    "canceled after the authorization": History(
        (lambda at: at.pay(), lambda at: at.cancel()),
        ("unpaid", "", 0, 0, 0, False),
        capture_method="manual",
    ),
    "captured after the authorization": History(
        (lambda at: at.pay(), lambda at: at.capture()),
        ("paid", "", 11200, 0, 0, False),
        capture_method="manual",
    ),
}
EACH = pytest.mark.parametrize("name", HISTORIES)


@pytest.fixture
def begin(configure: Any, storefront: Any, order: Order, stripe: StripeSandbox) -> Any:
    """Let one more order's customer begin to pay."""

    def ask(history: History) -> AtStripe:
        configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": history.capture_method})
        another = OrderFactory.create(customer=order.customer)
        return AtStripe(stripe, storefront.payment_intent(another).json()["data"]["id"])

    return ask


def deliver(event: dict[str, Any]) -> None:
    body = json.dumps(event).encode()
    assert post_webhook(body, sign(body)).status_code == 200


def state_of(intent_id: str) -> State:
    payment = OrderPayment.objects.get(payment_intents__stripe_id=intent_id)
    return (
        payment.status,
        payment.dispute_state,
        payment.amount_captured,
        payment.amount_refunded,
        payment.amount_lost,
        payment.needs_review,
    )


def told_once(intent_id: str) -> bool:
    """No fact that the shop acts on was told twice of the same object."""
    payment = OrderPayment.objects.get(payment_intents__stripe_id=intent_id)
    kinds = ("order_paid", "order_refunded", "refund_failed", "dispute_opened", "dispute_closed")
    facts = Counter(
        (fact.kind, fact.data.get("stripe_refund_id"))
        for fact in payment.history.filter(kind__in=kinds)
    )
    return set(facts.values()) <= {1}


def orders_of(events: list[Any], draw: random.Random) -> Iterator[list[Any]]:
    """All orders of the events, or a sample of them, each with one event that comes twice."""
    if math.factorial(len(events)) <= ORDERS:
        orders = [list(each) for each in permutations(events)]
    else:
        orders = [draw.sample(events, len(events)) for _ in range(ORDERS)]
    for each in orders:
        each.insert(draw.randrange(len(each) + 1), draw.choice(events))
        yield each


@EACH
def test_the_events_of_what_is_over_may_come_in_any_order(name, begin, stripe, figure):
    history, draw = HISTORIES[name], random.Random(SEED)
    at = begin(history)
    for step in history.steps:
        step(at)
    events, tried = at.events, 0

    for arriving in orders_of(events, draw):
        before = connection.savepoint()
        assert before is not None
        for event in arriving:
            deliver(event)
        tried += 1
        came = [event["type"] for event in arriving]
        assert state_of(at.intent_id) == history.ends_in, f"seed {SEED}: {came}"
        assert told_once(at.intent_id), f"seed {SEED}: {came}"
        assert_mirrors_agree(stripe)
        connection.savepoint_rollback(before)
        assert not Refund.objects.exists()
        assert not Dispute.objects.exists()

    figure(f"{name}: {len(events)} events and one of them twice, {tried} orders: 1 state")


@EACH
def test_the_events_of_what_goes_on_may_come_at_any_moment(name, begin, stripe):
    """Each event at some moment after it was made, before or after what happens next."""
    history, draw = HISTORIES[name], random.Random(SEED)
    for _ in range(max(ORDERS // 3, 1)):
        at = begin(history)
        left, known = list(history.steps), 0
        waiting: list[dict[str, Any]] = []
        came: list[str] = []
        while left or waiting:
            if left and (not waiting or draw.random() < 0.4):
                left.pop(0)(at)
                came.append("step")
            else:
                event = waiting.pop(draw.randrange(len(waiting)))
                deliver(event)
                came.append(event["type"])
                if draw.random() < 0.2:
                    waiting.append(event)
            events = at.events
            waiting += events[known:]
            known = len(events)

        assert state_of(at.intent_id) == history.ends_in, f"seed {SEED}: {came}"
        assert told_once(at.intent_id), f"seed {SEED}: {came}"
        assert_mirrors_agree(stripe)


def test_every_kind_of_event_has_come(begin):
    """The test of the tests."""
    types = set()
    for history in HISTORIES.values():
        at = begin(history)
        for step in history.steps:
            step(at)
        types |= {event["type"] for event in at.events}
        assert PaymentIntent.objects.filter(stripe_id=at.intent_id).exists()

    assert types >= {
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.succeeded",
        "charge.captured",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.refund.updated",
        "charge.refunded",
        "charge.succeeded",
        "refund.created",
        "refund.failed",
        "refund.updated",
    }
