"""Events come late, twice and in any order; what they end in is one state, and Stripe's.

In each history (``histories.py``) there are seven events that the app acts on, or eight. All
orders of seven are tried, and as many of eight, one event twice in each: once everything is over,
so that the app sees the end when it asks Stripe, and meanwhile, when it may see any moment. The
default is a sample.

``RELIABILITY_ORDERS`` asks for another number of orders, ``RELIABILITY_SEED`` draws other samples,
duplicates and moments. ``RELIABILITY_HISTORY`` and ``RELIABILITY_ORDER`` replay one order, as do
the options of ``python -m tests.reliability``; the seed does not matter to that.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import time
from collections import Counter
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client

from shop_payments.ledger.facts import SIGNALS
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import OrderPayment, PaymentHistory, WebhookEvent
from tests.after_paid.support import assert_books_agree, books_at_stripe, hear_everything, our_books
from tests.reliability.__main__ import plan, replay
from tests.reliability.arrivals import (
    Arrival,
    Arrivals,
    as_text,
    begin_to_try,
    draw_arrivals,
    draw_orders,
    from_text,
    take_back,
    walk,
)
from tests.reliability.histories import EVENTS, HISTORIES, Film, State
from tests.reliability.parts import number_in_parts
from tests.support import post_webhook, sign, sized

# Not real transactions: each order of arrival is taken back with a savepoint.
webhooks = import_module("shop_payments.services.receive_event")

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db]

ORDERS = sized("RELIABILITY_ORDERS", sample=4, full=math.factorial(EVENTS))
SEED = int(os.environ.get("RELIABILITY_SEED", "7"))
AGAIN = replay("arrival", seed=SEED)
ASKED_FOR = [each for each in HISTORIES if each == os.environ.get("RELIABILITY_HISTORY", each)]
REPLAYED = os.environ.get("RELIABILITY_ORDER")
TIMINGS = ("replayed",) if REPLAYED else ("afterwards", "meanwhile")

KEY = {"Authorization": "Bearer sk_test_of_the_tests"}
WHATEVER_CAME_FIRST = SIGNALS.keys() - {
    "payment_authorized",
    "payment_failed",
    "payment_processing",
}
"""The facts that do not hang on what the app was in time to see."""


class Shown:
    """A history that has happened, in front of a shop that has heard of its beginning alone."""

    def __init__(self, name: str, film: Film) -> None:
        self.name, self.film, self.history = name, film, HISTORIES[name]
        self.ends: set[State] = set()
        self._payment = OrderPayment.objects.get()
        self._at_stripe = books_at_stripe(film.stripe)
        self._client = Client()
        self._heard: Counter[Any] = Counter()
        self._before = {*PaymentHistory.objects.values_list("pk", flat=True)}
        """Facts of a first payment."""
        for signal in SIGNALS.values():
            signal.connect(self._hear)  # for as long as there is somebody to hear
        told = film.events()
        useless = self._useless([event for event, _ in told])
        self._events = [(event, birth) for event, birth in told if event["id"] not in useless]
        for event, _ in told:
            if event["id"] in useless:
                self._post(event)
        assert len(self._events) == self.history.events, self.types

    def _hear(self, *, fact_id: Any, **kwargs: Any) -> None:
        self._heard[fact_id] += 1

    def _useless(self, events: list[dict[str, Any]]) -> set[str]:
        """The ids of those that the app has no use for, by its own word."""
        before = begin_to_try()
        for event in events:
            self._post(event)
        rows = WebhookEvent.objects.filter(status="ignored", outcome="no use for this type")
        useless = {*rows.values_list("event_id", flat=True)}
        take_back(before)
        return useless

    def _post(self, event: dict[str, Any]) -> None:
        body = json.dumps(event).encode()
        assert post_webhook(body, sign(body), client=self._client).status_code == 200

    @property
    def types(self) -> list[str]:
        """The types of the events that the app acts on, in the order of their making."""
        return [event["type"] for event, _ in self._events]

    @property
    def births(self) -> list[int]:
        """The moments at which those are made."""
        return [birth for _, birth in self._events]

    def deliver(self, arrival: Arrival) -> None:
        """Deliver one of them, and let the app see Stripe as it is at that moment."""
        self.film.now = arrival.moment
        self._post(self._events[arrival.event][0])

    def describe(self, arrivals: Arrivals) -> str:
        came = ", ".join(f"{self.types[each.event]} at {each.moment}" for each in arrivals)
        return f"{self.name}: {came}\n  {replay_order(self.name, arrivals)}"

    def check(self) -> None:
        """Compare what the shop has made of it with Stripe, and with what should come of it."""
        state = state_of(self._payment.pk)
        self.ends.add(state)
        assert state == self.history.ends_in
        assert our_books() == self._at_stripe
        rows = PaymentHistory.objects.filter(kind__in=SIGNALS).exclude(pk__in=self._before)
        told_of = [*rows.values_list("kind", "data", "payment_intent", "fact_id")]
        assert not rows.filter(dispatched_at=None).exists()
        assert [self._heard[fact_id] for *_, fact_id in told_of] == [1] * len(told_of)
        facts = Counter(
            (kind, data.get("stripe_refund_id"), intent)
            for kind, data, intent, _ in told_of
            if kind in WHATEVER_CAME_FIRST
        )
        assert max(facts.values(), default=1) == 1, f"told more than once: {facts}"
        told = sorted(kind for kind, *_ in facts if kind not in self.history.perhaps_told)
        assert told == [*self.history.told]


def state_of(payment_pk: int) -> State:
    payment = OrderPayment.objects.get(pk=payment_pk)
    return (
        payment.status,
        payment.dispute_state,
        payment.amount_received,
        payment.amount_refunded,
        payment.amount_lost,
        payment.amount_outstanding,
        payment.needs_review,
    )


@pytest.fixture
def show(configure: Any, storefront: Any, order: Any) -> Any:
    """Let a history happen to the order's payment."""

    def happen(name: str) -> Shown:
        history, film = HISTORIES[name], Film(HISTORIES[name])
        configure(**film.shop_payments())
        order.number = number_in_parts(order.number, history.parts)
        order.save()
        intent_ids = [storefront.payment_intent(order).json()["data"]["id"]]
        if history.first_payment:
            film.begin(intent_ids[0])
            if history.raised_to:
                assert storefront.payment_intent(order).status_code == 409  # paid, and heard of
                order.lines.update(quantity=history.raised_to)
            intent_ids.append(storefront.payment_intent(order).json()["data"]["id"])
        film.shot(*intent_ids)
        return Shown(name, film)

    return happen


def drawn(shown: Shown, orders: list[tuple[int, ...]], timing: str) -> list[Arrivals]:
    births, last, meanwhile = shown.births, shown.film.last, timing == "meanwhile"
    return [
        draw_arrivals(order, births, last=last, meanwhile=meanwhile, seed=SEED) for order in orders
    ]


def replay_order(name: str, arrivals: Arrivals) -> str:
    return (
        f"python -m tests.reliability --suite arrival --history {shlex.quote(name)}"
        f" --order {as_text(arrivals)}"
    )


@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize("name", ASKED_FOR)
def test_events_in_any_order_end_in_one_state(show, name, timing, figure):
    shown = show(name)
    started, orders = time.monotonic(), draw_orders(ORDERS, seed=SEED, events=shown.history.events)

    counted = walk([from_text(REPLAYED)] if REPLAYED else drawn(shown, orders, timing), shown)

    assert len(shown.ends) == 1
    shown.film.now = shown.film.last
    hear_everything(shown.film.stripe)
    assert_books_agree(shown.film.stripe)
    figure(
        f"{name}, {timing}: {counted['orders']} orders of {len(shown.types)} events, one of them"
        f" twice, {counted['deliveries']} deliveries: {len(shown.ends)} final state,"
        f" {time.monotonic() - started:.0f} s, seed {SEED} ({connection.vendor})"
    )


@pytest.mark.skipif(bool(REPLAYED), reason="one order is replayed")
@pytest.mark.parametrize("name", ["requires_payment_method", "processing"])
def test_the_damage_would_be_found(show, name, monkeypatch, figure):
    """The harness itself: where every event is believed as it stands, a late one overwrites."""
    monkeypatch.setattr(webhooks, "FINAL_STATUSES", frozenset(IntentStatus))
    shown = show(name)
    order = tuple(range(EVENTS))
    each_once_the_last = [order[turn:] + order[:turn] for turn in order]

    with pytest.raises(AssertionError, match="--suite arrival --history"):
        walk(drawn(shown, each_once_the_last, "afterwards"), shown)

    figure(f"{name}, without the look at Stripe: damaged by an event that comes late")


def test_each_order_has_every_event_and_one_of_them_twice():
    births = [0, 1, 1, 2, 3, 3, 4]
    orders = draw_orders(math.factorial(EVENTS), seed=SEED)
    tried = [draw_arrivals(each, births, last=4, meanwhile=True, seed=SEED) for each in orders]

    for order, arrivals in zip(orders, tried, strict=True):
        events, moments = [each.event for each in arrivals], [each.moment for each in arrivals]
        assert (len(events), tuple(dict.fromkeys(events))) == (EVENTS + 1, order)
        assert moments == sorted(moments)
        assert all(each.moment >= births[each.event] for each in arrivals)
        assert from_text(as_text(arrivals)) == arrivals
    twice = {Counter(each.event for each in arrivals).most_common(1)[0] for arrivals in tried}
    assert twice == {(event, 2) for event in range(EVENTS)}


def test_the_histories_have_every_type_of_event():
    types = set()
    for history in HISTORIES.values():
        film = Film(history)
        params = {"amount": "11200", "currency": "usd", "capture_method": history.capture_method}
        for number, method in enumerate(history.payment_methods):
            params[f"allowed_payment_method_types[{number}]"] = method
        intent_ids = []
        for _payment in range(2 if history.first_payment else 1):
            created = film.handle("POST", "/v1/payment_intents", KEY, urlencode(params))
            intent_ids.append(json.loads(created.body)["id"])
            if history.first_payment and len(intent_ids) == 1:
                film.begin(intent_ids[0])
        film.shot(*intent_ids)
        types |= {event["type"] for event, _ in film.events()}
        for stripe in film.moments:
            assert stripe.events == [event for event, _ in film.events()][: len(stripe.events)]

    assert types >= {
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "charge.captured",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.failed",
        "charge.pending",
        "charge.refund.updated",
        "charge.refunded",
        "charge.succeeded",
        "refund.created",
        "refund.failed",
        "refund.updated",
    }


def test_what_a_failure_prints_replays_it():
    arrivals = (Arrival(3, 2), Arrival(3, 2), Arrival(0, 4))

    files, environ = plan(shlex.split(replay_order("disputed and won", arrivals))[3:])

    assert files == [__file__]
    assert environ["RELIABILITY_HISTORY"] == "disputed and won"
    assert from_text(environ["RELIABILITY_ORDER"]) == arrivals
