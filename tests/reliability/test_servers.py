"""Two web servers on one PostgreSQL, under load, while they and it go away and come back.

Everything is a process of its own: two gunicorns with the demo project's settings for production,
PostgreSQL, and the sandbox, which sends each event to both servers. While customers buy and money
goes back, one server is killed (kill -9, workers and all) and PostgreSQL is restarted. Afterwards
Stripe's books are compared with ours. ``RELIABILITY_SERVER_ROUNDS`` and ``RELIABILITY_SEED`` ask
for other rounds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import connection

from tests.after_paid.support import assert_books_agree
from tests.reliability.__main__ import replay
from tests.reliability.clusters import Cluster, find_binaries, looking_at
from tests.reliability.crew import PATIENCE, ROOT
from tests.reliability.processes import is_alive
from tests.reliability.rounds import Outages, Round
from tests.reliability.servers import TwoServers, migrated_database
from tests.reliability.shoppers import BROKEN
from tests.support import sized

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.figures,
    pytest.mark.skipif(
        connection.vendor == "sqlite" and os.environ.get("FIGURES") != "full",
        reason="has a PostgreSQL of its own, so once is enough: with the suite on PostgreSQL",
    ),
    pytest.mark.skipif(
        find_binaries() is None,
        reason="no initdb here: install postgresql, or say in POSTGRES_BIN where it is",
    ),
]

ROUNDS = sized("RELIABILITY_SERVER_ROUNDS", sample=1, full=6)
ORDERS = sized("RELIABILITY_SERVER_ORDERS", sample=64, full=320)
GUARDS = ("attempt",) if ROUNDS == 1 else ("attempt", "transaction")
"""What is taken away, by its name in ``switches.py``, to see that the damage is found."""

ATTACKED = 8
"""Orders, each with two payments, at servers without a guard."""

SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("servers", seed=SEED, runs=ROUNDS)

NewShop = Callable[..., AbstractContextManager[TwoServers]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    binaries, folder = find_binaries(), tmp_path_factory.mktemp("cluster")
    assert binaries is not None
    with Cluster(binaries, folder / "postgresql.log") as cluster:
        migrated_database(cluster, "empty")
        yield cluster


@pytest.fixture
def new_shop(cluster, tmp_path_factory, configure, django_db_blocker) -> NewShop:
    """A shop of two servers with a new database, which this process looks at as well."""

    @contextmanager
    def start(name: str, *, without: str = "") -> Iterator[TwoServers]:
        cluster.execute(f"CREATE DATABASE {name} TEMPLATE empty")
        folder = tmp_path_factory.mktemp(name)
        with (
            django_db_blocker.unblock(),
            looking_at(cluster.url(name)),
            TwoServers(cluster.url(name), folder, without=without) as shop,
        ):
            configure(STRIPE_API_BASE=shop.stripe.url, STRIPE_TRANSPORT=None)
            yield shop

    return start


def test_two_servers_and_their_database_come_and_go_and_nothing_is_lost(new_shop, cluster, figure):
    for number in range(ROUNDS):
        mode, seed = ("immediate", "fast")[number % 2], f"{SEED} {number}"
        outages = Outages(cluster, mode=mode, server=random.Random(seed).randrange(2))
        with new_shop(f"round_{number}") as shop:
            played = Round(shop, orders=ORDERS, seed=seed)
            played.run(outages)
            shop.stripe.deliver_everything()
            webhooks, told_by_servers = shop.webhook_answers(), len(shop.told())
            sweeps = shop.sweep(), shop.sweep()
            damage, tally = played.damage(), played.tally

            report = f"round {number}, {outages}\n{tally.answers}\n{sweeps}\n{shop.log_tails()}"
            assert not damage, f"{damage}\n{report}"
            assert not tally.defects, f"{tally.defects}\n{report}"
            assert {"200"} <= {*webhooks} <= {"200", "503"}, f"{webhooks}\n{report}"
            assert sweeps[1].startswith("Brought up to date: nothing."), report
            assert all(outages.under_load), report
            assert {BROKEN, "503 database_unavailable"} <= {*tally.answers}, report
            assert_books_agree(shop.stripe)
        facts, repeated = len(shop.told()), shop.told().total() - len(shop.told())
        figure(
            f"two servers of 2 workers, 1 kill -9, 1 restart of PostgreSQL ({mode}), {ORDERS}"
            f" orders, {tally.answers.total()} requests in {played.seconds:.0f} s, seed {SEED},"
            f" round {number}: {in_words(tally.answers)}; webhooks {in_words(webhooks)}; 0 lost,"
            f" 0 doubled, {facts - told_by_servers} of {facts} facts told by the sweep,"
            f" {repeated} told again"
        )


def in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in counts.most_common())


@pytest.mark.parametrize("without", GUARDS)
def test_the_damage_would_be_found(new_shop, without, figure):
    """The harness itself: with a guard taken away, two servers get in each other's way."""
    with new_shop(f"without_{without}", without=without) as shop:
        shop.stripe.slow_down("/v1/", 1.0)  # time enough to ask the other server
        played = Round(shop, orders=ATTACKED, seed=str(SEED), parts=[2])
        played.run()
        shop.stripe.deliver_everything()

        damage = played.damage()

    assert damage.doubled, damage
    figure(f"two servers without the {without}: {len(damage.doubled)} doubled in {ATTACKED} orders")


A_RUN = """
import sys, time, django
from pathlib import Path
django.setup()
from tests.reliability.processes import Leashed

folder = Path(sys.argv[1])
print(Leashed("sleep", "600", log=folder / "log", remove=str(folder / "data")).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("end", "number"),
    [
        pytest.param(os.kill, signal.SIGKILL, id="kill -9"),
        # Of the whole foreground, so of whatever stands between a run and its programs as well.
        pytest.param(os.killpg, signal.SIGINT, id="Ctrl-C"),
    ],
)
def test_nothing_is_left_of_a_run_that_is_ended(tmp_path, end, number):
    """Whatever a test starts ends with it, and takes its folder along."""
    (tmp_path / "data").mkdir()
    run = subprocess.Popen(
        [sys.executable, "-c", A_RUN, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with run:
        assert run.stdout is not None
        program = int(run.stdout.readline())
        assert is_alive(program)

        end(run.pid, number)

    deadline = time.monotonic() + PATIENCE
    while (is_alive(program) or (tmp_path / "data").exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(program)
    assert not (tmp_path / "data").exists()
