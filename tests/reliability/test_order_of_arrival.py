"""Events come late, twice and in any order; what they end in is one state, and Stripe's.

In each history (``histories.py``) there are seven events that the app acts on, or eight. They
arrive in orders that the seed draws, one event twice in each: once everything is over, so that the
app sees the end when it asks Stripe, and meanwhile, when it may see any moment. The default is a
sample.

``RELIABILITY_ORDERS`` asks for another number of orders, ``RELIABILITY_SEED`` draws other samples,
duplicates and moments. ``RELIABILITY_HISTORY`` and ``RELIABILITY_ORDER`` replay one order, as do
the options of ``python -m tests.reliability``; the seed does not matter to that.
"""

from __future__ import annotations

import os
import random
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import permutations
from typing import Any, NamedTuple

import pytest
from django.db import connection

from shop_payments.ledger.facts import SIGNALS
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import OrderPayment, PaymentHistory, WebhookEvent
from tests.books import assert_books_agree, books_at_stripe, deliver, hear_everything, our_books
from tests.reliability.__main__ import replay
from tests.reliability.histories import EVENTS, HISTORIES, Film, State
from tests.reliability.parts import number_in_parts
from tests.support import sized


class Arrival(NamedTuple):
    """An event, by its number among those that the app acts on, and the moment of its arrival."""

    event: int
    moment: int


Arrivals = tuple[Arrival, ...]


def draw_arrivals(
    order: Sequence[int], births: Sequence[int], *, last: int, meanwhile: bool, seed: int
) -> Arrivals:
    """Draw when the events arrive, and which one arrives twice.

    ``births`` are the moments at which the events are made, ``last`` is the last moment. The events
    arrive after that one, or ``meanwhile``: half of them as soon as they can.
    """
    draw = random.Random(f"{seed} {order}")
    arriving = [*order]
    first = draw.randrange(len(order))
    arriving.insert(draw.randint(first + 1, len(order)), order[first])
    arrivals: list[Arrival] = []
    now = 0 if meanwhile else last
    for event in arriving:
        earliest = max(now, births[event])
        now = draw.choice([earliest, draw.randint(earliest, last)])
        arrivals.append(Arrival(event, now))
    return tuple(arrivals)


def draw_orders(count: int, *, seed: int, events: int = EVENTS) -> list[tuple[int, ...]]:
    """Return so many orders of the events."""
    orders = [*permutations(range(events))]
    return random.Random(seed).sample(orders, count) if count < len(orders) else orders


def as_text(arrivals: Arrivals) -> str:
    """Write arrivals for a command line: ``0@0,3@2``, event at moment."""
    return ",".join(f"{each.event}@{each.moment}" for each in arrivals)


def from_text(text: str) -> Arrivals:
    pairs = [each.split("@") for each in text.split(",")]
    return tuple(Arrival(int(event), int(moment)) for event, moment in pairs)


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is done meanwhile."""
    # Not ``atomic``, in which the app would not send requests.
    savepoint = connection.savepoint()
    assert savepoint is not None
    try:
        yield
    finally:
        connection.savepoint_rollback(savepoint)
        connection.savepoint_commit(savepoint)


def let_arrive(orders: Iterable[Arrivals], shown: Shown) -> None:
    """Let events arrive in each of the orders, and check what they end in."""
    for arrivals in orders:
        try:
            with undone():
                for arrival in arrivals:
                    shown.deliver(arrival)
                shown.check()
        except Exception as error:
            error.add_note(shown.describe(arrivals))
            raise


# Without real transactions: each order of arrival is undone with a savepoint.
pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db]

ORDERS = sized("RELIABILITY_ORDERS", sample=1, full=300)
SEED = int(os.environ.get("RELIABILITY_SEED", "7"))
AGAIN = replay("arrival", seed=SEED)
ASKED_FOR = [each for each in HISTORIES if each == os.environ.get("RELIABILITY_HISTORY", each)]
REPLAYED = os.environ.get("RELIABILITY_ORDER")
TIMINGS = ("replayed",) if REPLAYED else ("afterwards", "meanwhile")

SEEN_IN_PASSING = {"payment_authorized", "payment_failed", "payment_processing"}
"""Facts that depend on what the app was in time to see."""


class Shown:
    """A history that has happened, and a shop that has received only its beginning."""

    def __init__(self, name: str, film: Film) -> None:
        self.name, self.film, self.history = name, film, HISTORIES[name]
        self.ends: set[State] = set()
        self._payment = OrderPayment.objects.get()
        self._at_stripe = books_at_stripe(film.stripe)
        self._notified: Counter[Any] = Counter()
        self._before = {*PaymentHistory.objects.values_list("pk", flat=True)}
        """Facts of a first payment."""
        for signal in SIGNALS.values():
            signal.connect(self._receive)  # weak, so for as long as this object lives
        with undone():
            for event, _ in film.events():
                deliver(event)
            rows = WebhookEvent.objects.filter(outcome_data__sentence="unused_type")
            unused = {*rows.values_list("event_id", flat=True)}
        self._events = [each for each in film.events() if each[0]["id"] not in unused]
        for event, _ in film.events():
            if event["id"] in unused:
                deliver(event)
        self.types = [event["type"] for event, _ in self._events]
        assert len(self._events) == self.history.events, self.types

    def _receive(self, *, fact_id: Any, **kwargs: Any) -> None:
        self._notified[fact_id] += 1

    def draw(self, orders: list[tuple[int, ...]], timing: str) -> list[Arrivals]:
        births = [birth for _, birth in self._events]
        how: dict[str, Any] = {
            "last": self.film.last,
            "meanwhile": timing == "meanwhile",
            "seed": SEED,
        }
        return [draw_arrivals(order, births, **how) for order in orders]

    def deliver(self, arrival: Arrival) -> None:
        """Deliver one of them, while the app sees Stripe as it is at that moment."""
        self.film.now = arrival.moment
        deliver(self._events[arrival.event][0])

    def describe(self, arrivals: Arrivals) -> str:
        came = ", ".join(f"{self.types[each.event]} at {each.moment}" for each in arrivals)
        replayed = f"--history {shlex.quote(self.name)} --order {as_text(arrivals)}"
        return f"{self.name}: {came}\n  {replay('arrival')} {replayed}"

    def check(self) -> None:
        """Compare the shop's rows with Stripe, and with the end of the history."""
        payment = OrderPayment.objects.get(pk=self._payment.pk)
        state = (
            *(payment.status, payment.dispute_state, payment.amount_received),
            *(payment.amount_refunded, payment.amount_lost, payment.amount_outstanding),
            payment.needs_review,
        )
        self.ends.add(state)
        assert state == self.history.ends_in
        assert our_books() == self._at_stripe
        rows = PaymentHistory.objects.filter(kind__in=SIGNALS).exclude(pk__in=self._before)
        assert not rows.filter(dispatched_at=None).exists()
        assert {self._notified[row.fact_id] for row in rows} <= {1}
        facts = Counter(
            (row.kind, row.data.get("stripe_refund_id"), row.payment_intent_id)
            for row in rows
            if row.kind not in SEEN_IN_PASSING
        )
        assert max(facts.values(), default=1) == 1, f"more than once: {facts}"
        kinds = sorted(kind for kind, *_ in facts if kind not in self.history.perhaps)
        assert kinds == [*self.history.facts]


@pytest.fixture
def show(configure: Any, storefront: Any, order: Any) -> Any:
    """Let a history happen to the order's payments."""

    def happen(name: str) -> Shown:
        history, film = HISTORIES[name], Film(HISTORIES[name])
        configure(**film.shop_payments())
        order.number = number_in_parts(order.number, history.parts)
        order.save()
        intent_ids = [storefront.payment_intent(order).json()["data"]["id"]]
        if history.first_payment:
            film.begin(intent_ids[0])
            if history.raised_to:
                assert storefront.payment_intent(order).status_code == 409  # paid
                order.lines.update(quantity=history.raised_to)
            intent_ids.append(storefront.payment_intent(order).json()["data"]["id"])
        film.shot(*intent_ids)
        return Shown(name, film)

    return happen


@pytest.mark.parametrize("name", ASKED_FOR)
def test_events_in_any_order_end_in_one_state(show, name, figure):
    shown = show(name)
    orders = draw_orders(ORDERS, seed=SEED, events=shown.history.events)

    for timing in TIMINGS:
        arrivals = [from_text(REPLAYED)] if REPLAYED else shown.draw(orders, timing)
        let_arrive(arrivals, shown)
        figure(
            f"{name}, {timing}: {len(arrivals)} orders of {len(shown.types)} events, one of them"
            f" twice: {len(shown.ends)} final state, seed {SEED}"
        )

    assert len(shown.ends) == 1
    shown.film.now = shown.film.last
    hear_everything(shown.film.stripe)
    assert_books_agree(shown.film.stripe)


@pytest.mark.skipif(bool(REPLAYED), reason="one order is replayed")
def test_events_taken_as_they_are_are_found(show, monkeypatch, figure):
    """Show that the suite can fail: without a look at Stripe, a late event overwrites."""
    receive_event = import_module("shop_payments.services.receive_event")
    monkeypatch.setattr(receive_event, "FINAL_STATUSES", frozenset(IntentStatus))
    shown = show("processing")
    order = tuple(range(EVENTS))
    each_once_the_last = [order[turn:] + order[:turn] for turn in order]

    with pytest.raises(AssertionError, match="--suite arrival --history"):
        let_arrive(shown.draw(each_once_the_last, "afterwards"), shown)

    figure("processing, without the look at Stripe: damaged by an event that comes late")
