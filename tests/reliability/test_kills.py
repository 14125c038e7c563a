"""Kill -9 at every statement and every request to Stripe: nothing is lost, nothing is doubled.

The places are counted, not listed by hand (``boundaries.py``). At each, a process that does one
thing with a new order kills itself; other processes recover; Stripe's books are compared with
ours. The default is a sample, ``FIGURES=full`` takes every place with every recovery.
``RELIABILITY_KILLS`` asks for another sample, ``RELIABILITY_SEED`` draws other ones;
``RELIABILITY_OPERATION``, ``RELIABILITY_POINT``, ``RELIABILITY_WAY`` and ``RELIABILITY_AGAIN``
replay one death, as do the options of ``python -m tests.reliability``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.books import assert_books_agree, hear_everything
from tests.reliability import parts
from tests.reliability.__main__ import replay
from tests.reliability.kills import Case, enumerate_places, run
from tests.reliability.scenes import OPERATIONS, Stage
from tests.reliability.victims import Victim
from tests.support import sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("kill", seed=SEED)
SAMPLE = sized("RELIABILITY_KILLS", sample=1, full=0)
"""Deaths for each operation; 0 for one at each place. With more, each place has each recovery."""

IS_REPLAY = "RELIABILITY_POINT" in os.environ
ASKED_FOR = [each for each in OPERATIONS if each == os.environ.get("RELIABILITY_OPERATION", each)]
WAYS = ("retry", "events", "sweep")
WAYS_OF: dict[str, list[tuple[str, ...]]] = {
    "excess": [("sweep",)],  # nobody asked for this refund, so nobody repeats it
    # To recover by sweeping is the same once more. A stage for each way: with a hundred orders of
    # earlier deaths a sweep would list another page, and pass other places.
    "sweep": [("retry",), ("events",)],
    "sweep_of_missed_events": [("retry",)],
    "sweep_of_the_abandoned": [("retry",), ("events",)],
    "sweep_of_an_orphan": [("retry",)],  # no event closes it
    # A repetition need not find out that others have refunded it.
    "refused_refund": [("events", "sweep")],
}
SHARES = {} if SAMPLE or IS_REPLAY else {"sweep": 2, "sweep_of_an_orphan": 4}
"""Stages among which the deaths are shared: each leaves an intent or two, and a page lists 100."""

STAGES = [
    (each, ways, share)
    for each in ASKED_FOR
    for ways in WAYS_OF.get(each, [WAYS])
    for share in range(SHARES.get(each, 1))
]
"""An operation, the recoveries that are tried in one stage, and which share of the deaths."""


@pytest.fixture(scope="module")
def victim(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any
) -> Iterator[Victim]:
    with django_db_blocker.unblock(), Victim(tmp_path_factory.mktemp("victim")) as victim:
        yield victim


@pytest.fixture
def stripe(victim: Victim) -> Iterator[StripeSandbox]:
    stripe = StripeSandbox()
    with SandboxServer(stripe) as server:
        victim.stripe_url = server.url
        yield stripe


@pytest.fixture
def stage(stripe, victim, people, configure) -> Stage:
    configure(STRIPE_TRANSPORT=stripe.handle, ORDER_ADAPTER=parts.ADAPTER)
    return Stage(stripe=stripe, victim=victim, people=people, configure=configure)


def cases_of(operation: str, ways: tuple[str, ...], places: Sequence[str]) -> list[Case]:
    """Return every place with a recovery and, for one in four, a second death during it.

    In full, the seed draws the recovery of each place; a larger number of runs tries all of them.
    Shuffled, but no place comes twice before all have come once.
    """
    if IS_REPLAY:
        way, again = os.environ.get("RELIABILITY_WAY", ways[0]), os.environ.get("RELIABILITY_AGAIN")
        point, second = int(os.environ["RELIABILITY_POINT"]), int(again) if again else None
        return [Case(operation=operation, point=point, way=way, again=second)]
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
    return cases[: SAMPLE or len(places)]


def _second(draw: random.Random, way: str, places: int) -> int | None:
    """Draw where the recovery dies as well, among about as many places as it has."""
    if draw.random() >= 0.25:
        return None
    return draw.randint(1, places if way == "retry" else 2 * places)


@pytest.mark.parametrize(("operation", "ways", "share"), STAGES)
def test_a_killed_process_loses_and_doubles_nothing(stage, stripe, operation, ways, share, figure):
    places = enumerate_places(stage, operation)
    cases = cases_of(operation, ways, places)[share :: SHARES.get(operation, 1)]

    outcomes = [(case, run(stage, case)) for case in cases]

    damaged = [f"{case.line(SEED)}\n{out}" for case, out in outcomes if out.damage]
    assert not damaged, "\n".join(damaged)
    assert [out.died_at for _case, out in outcomes] == [places[c.point - 1] for c in cases]
    hear_everything(stripe)
    assert_books_agree(stripe)
    again = sum(out.died_again for _case, out in outcomes)
    figure(
        f"kill -9 during {operation}: {len(cases)} deaths at {len(places)} places, recovery by"
        f" {' or '.join(ways)}, {again} with another death in it: 0 lost, 0 doubled, seed {SEED}"
    )


@pytest.mark.skipif(IS_REPLAY, reason="one death is replayed")
@pytest.mark.parametrize(
    ("without", "operation", "dies", "kind"),
    [
        ("attempt", "create", "after POST", "doubled"),
        ("transaction", "settle", "after UPDATE paymentintent", "lost"),
    ],
)
def test_a_missing_guard_is_found(stage, without, operation, dies, kind, figure):
    """Show that the suite can fail."""
    places = enumerate_places(stage, operation, without=without)
    points = [number for number, place in enumerate(places, 1) if place.startswith(dies)]
    cases = [Case(operation=operation, point=point, way="retry") for point in points]

    outcomes = [run(stage, case, without=without) for case in cases]

    damage = [each for out in outcomes for each in out.damage if each.startswith(kind)]
    assert damage, outcomes
    figure(f"kill -9 during {operation} without the {without}: {damage[0]}")
