"""Kill -9 at every statement and every request to Stripe: nothing is lost, nothing is doubled.

The places are counted, not listed by hand (``boundaries.py``). At each, a process that does one
thing with a fresh order kills itself; other processes recover; Stripe's books are compared with
ours. The default is a sample, ``FIGURES=full`` takes every place with every recovery.

``RELIABILITY_KILLS`` asks for another sample, ``RELIABILITY_SEED`` draws other ones;
``RELIABILITY_OPERATION``, ``RELIABILITY_POINT``, ``RELIABILITY_WAY`` and ``RELIABILITY_AGAIN``
replay one death, as do the options of ``python -m tests.reliability``.
"""

from __future__ import annotations

import os
import random
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from shop_payments.models import APIKeyScope
from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_books_agree, hear_everything
from tests.conftest import issue_key
from tests.reliability import parts
from tests.reliability.__main__ import plan, replay
from tests.reliability.kills import Case, Outcome, enumerate_places, run
from tests.reliability.scenes import OPERATIONS, Shop
from tests.reliability.victims import Victim
from tests.support import Caller, sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("kill", seed=SEED)
SAMPLE = sized("RELIABILITY_KILLS", sample=1, full=0)
"""Deaths for each operation; 0 for all."""
ASKED_FOR = [each for each in OPERATIONS if each == os.environ.get("RELIABILITY_OPERATION", each)]
WAYS = ("retry", "events", "sweep")
WAYS_OF: dict[str, list[tuple[str, ...]]] = {
    "late_money": [("sweep",)],  # nobody asked for this refund, so nobody repeats it
    "excess": [("sweep",)],
    # To recover by sweeping is the same once more. A shop for each way: with a hundred orders of
    # earlier deaths a sweep would list another page, and pass other places.
    "sweep": [("retry",), ("events",)],
    "sweep_of_the_abandoned": [("retry",), ("events",)],
    "sweep_of_an_orphan": [("retry",)],  # no event closes it
    # That others have given it back, its repetition need not find out.
    "refused_refund": [("events", "sweep")],
}
SHARES = {} if SAMPLE or "RELIABILITY_POINT" in os.environ else {"sweep_of_an_orphan": 3}
"""Shops among which the deaths are shared: each leaves two intents, and a page lists a hundred."""
SHOPS = [
    (each, ways, share)
    for each in ASKED_FOR
    for ways in WAYS_OF.get(each, [WAYS])
    for share in range(SHARES.get(each, 1))
]
"""An operation, the recoveries that are tried in one shop, and which share of the deaths."""


@pytest.fixture
def stripe() -> StripeSandbox:
    return StripeSandbox()


@pytest.fixture
def victim(stripe: StripeSandbox, tmp_path: Any, db: None) -> Iterator[Victim]:
    with (
        SandboxServer(stripe) as server,
        Victim(stripe_url=server.url, folder=tmp_path) as victim,
    ):
        yield victim


@pytest.fixture
def shop(stripe, victim, storefront, payment_system, order, configure) -> Shop:
    configure(STRIPE_TRANSPORT=stripe.handle, ORDER_ADAPTER=parts.ADAPTER)
    return Shop(
        stripe=stripe,
        victim=victim,
        customer=order.customer,
        storefront=storefront,
        payment_system=payment_system,
        office=Caller(key=issue_key(APIKeyScope.REFUNDS)),
        configure=configure,
    )


def cases_of(operation: str, ways: tuple[str, ...], places: list[str]) -> list[Case]:
    """Every place with every recovery and, for one in four, another death in its middle.

    Shuffled, but no place comes twice before all have come once.
    """
    if point := os.environ.get("RELIABILITY_POINT"):
        way, again = os.environ.get("RELIABILITY_WAY", ways[0]), os.environ.get("RELIABILITY_AGAIN")
        second = int(again) if again else None
        return [Case(operation=operation, point=int(point), way=way, again=second)]
    draw = random.Random(f"{SEED} {operation} {ways}")
    rounds = [draw.sample(ways, len(ways)) for _place in places]
    cases = [
        Case(
            operation=operation,
            point=number,
            way=rounds[number - 1][turn],
            again=_second(draw, rounds[number - 1][turn], len(places)),
        )
        for turn in range(len(ways))
        for number in draw.sample(range(1, len(places) + 1), len(places))
    ]
    return cases[:SAMPLE] if SAMPLE else cases


def _second(draw: random.Random, way: str, places: int) -> int | None:
    """Draw where the recovery dies as well. What others do, and a repetition, is about as long."""
    if draw.random() >= 0.25:
        return None
    return draw.randint(1, places if way == "retry" else 2 * places)


def replay_death(case: Case) -> str:
    again = f" --again {case.again}" if case.again else ""
    return (
        f"python -m tests.reliability --suite kill --seed {SEED} --operation {case.operation}"
        f" --point {case.point} --way {case.way}{again}"
    )


def describe(case: Case, outcome: Outcome) -> str:
    where = f"{case.operation}, point {case.point} ({outcome.died_at}), seed {SEED}"
    return f"{where}: {outcome.damage}\n  {replay_death(case)}"


@pytest.mark.parametrize(("operation", "ways", "share"), SHOPS)
def test_whoever_is_killed_loses_and_doubles_nothing(shop, stripe, operation, ways, share, figure):
    started = time.monotonic()
    places = enumerate_places(shop, operation)
    cases = cases_of(operation, ways, places)[share :: SHARES.get(operation, 1)]

    outcomes = [(case, run(shop, case)) for case in cases]

    damaged = [describe(case, outcome) for case, outcome in outcomes if outcome.damage]
    assert not damaged, "\n".join(damaged)
    assert [each.died_at for _case, each in outcomes] == [places[c.point - 1] for c in cases]
    hear_everything(stripe)
    assert_books_agree(stripe)
    requests = sum("/v1/" in place or "sent" in place for place in places)
    again = sum(outcome.died_again for _case, outcome in outcomes)
    left = sum(outcome.left_to_sweep for _case, outcome in outcomes)
    visited = len({case.point for case in cases})
    figure(
        f"kill -9 during {operation}: {len(places)} points, {requests} of them around requests to"
        f" Stripe; {len(cases)} deaths at {visited} points, recovery by {' or '.join(ways)},"
        f" {again} with another death in it, {left} with a sweep because a repetition had nothing"
        f" to do, seed {SEED}: 0 lost, 0 doubled,"
        f" {time.monotonic() - started:.0f} s ({connection.vendor})"
    )


@pytest.mark.skipif("RELIABILITY_POINT" in os.environ, reason="one death is replayed")
@pytest.mark.parametrize(
    ("without", "operation", "dies", "kind"),
    [
        ("attempt", "create", "after POST", "doubled"),
        ("key", "create", "after POST", "doubled"),
        ("key", "refund", "after POST", "doubled"),
        ("transaction", "settle", "after UPDATE paymentintent", "lost"),
    ],
)
def test_the_damage_would_be_found(shop, without, operation, dies, kind, figure):
    """The harness itself: with a guard taken away, dying at the worst place does harm."""
    places = enumerate_places(shop, operation, without=without)
    points = [number for number, place in enumerate(places, 1) if place.startswith(dies)]
    cases = [Case(operation=operation, point=point, way="retry") for point in points]

    outcomes = [run(shop, case, without=without) for case in cases]

    assert any(getattr(outcome.damage, kind) for outcome in outcomes), outcomes
    figure(
        f"kill -9 during {operation} without the {without}: {outcomes[0].damage}"
        f" ({connection.vendor})"
    )


def test_what_a_failure_prints_replays_it(monkeypatch):
    case = Case(operation="refund", point=17, way="sweep", again=4)

    files, environ = plan(shlex.split(replay_death(case))[3:])

    assert files == [__file__]
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert environ["RELIABILITY_OPERATION"] == case.operation
    assert environ["RELIABILITY_SEED"] == str(SEED)
    assert cases_of("refund", WAYS, places=[]) == [case]
