"""Two web servers on one PostgreSQL, under load, while they and it go away and come back.

The servers are gunicorns with the demo project's settings for production; the sandbox sends each
event to both. While customers buy and money goes back, one server is killed with SIGKILL, workers
and all, and PostgreSQL is restarted. Afterwards Stripe's books are compared with ours.
``RELIABILITY_SERVER_ROUNDS`` and ``RELIABILITY_SEED`` ask for other rounds.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import timedelta

import pytest
from django.db import connection

from tests.books import assert_books_agree
from tests.reliability import parts
from tests.reliability.__main__ import replay
from tests.reliability.servers import (
    WEBHOOK_SECRET,
    Cluster,
    find_binaries,
    looking_at,
    two_servers,
)
from tests.reliability.shoppers import BROKEN, Round
from tests.reliability.web import PATIENCE, Shop
from tests.support import sized

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.figures,
    pytest.mark.skipif(
        connection.vendor == "sqlite" and os.environ.get("FIGURES") != "full",
        reason="starts its PostgreSQL itself: it runs with the suite on PostgreSQL",
    ),
    pytest.mark.skipif(
        find_binaries() is None,
        reason="no initdb here: install postgresql, or say in POSTGRES_BIN where it is",
    ),
]

ROUNDS = sized("RELIABILITY_SERVER_ROUNDS", sample=1, full=6)
ORDERS = sized("RELIABILITY_SERVER_ORDERS", sample=32, full=320)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("servers", seed=SEED, runs=ROUNDS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    binaries = find_binaries()
    assert binaries is not None
    with Cluster(binaries) as cluster:
        cluster.create_migrated("empty")
        yield cluster


@pytest.fixture
def shop(cluster, tmp_path, configure, django_db_blocker) -> Iterator[Shop]:
    """Two servers with a new database, which this process looks at as well."""
    name = tmp_path.name.lower()
    cluster.execute(f'CREATE DATABASE "{name}" TEMPLATE empty')
    url = cluster.url(name)
    with django_db_blocker.unblock(), looking_at(url), two_servers(url, tmp_path) as shop:
        configure(STRIPE_TRANSPORT=shop.stripe.handle, ORDER_ADAPTER=parts.ADAPTER)
        shop.add_webhooks(WEBHOOK_SECRET)
        yield shop


@pytest.mark.parametrize("number", range(ROUNDS))
def test_servers_and_their_database_come_and_go_and_nothing_is_lost(shop, cluster, figure, number):
    mode, seed = ("immediate", "fast")[number % 2], f"{SEED} {number}"
    played = Round(shop, orders=ORDERS, seed=seed)
    under_load: list[int] = []

    def outages(ends: Sequence[Future[None]]) -> None:
        """Each when a part of the orders is done, however fast the machine is."""
        _wait_for(0.2, ends, under_load)
        server = random.Random(seed).choice(shop.servers)
        server.kill()
        server.start()
        _wait_for(0.6, ends, under_load)
        cluster.stop(mode)
        time.sleep(1)
        cluster.start()

    played.run(outages)
    _deliver_everything(shop)
    sweeps = [shop.sweep(later=timedelta(minutes=15)) for _ in range(3)]
    damage = played.damage()

    report = shop.report([], mode=mode, left=under_load, answered=played.answers, sweeps=sweeps)
    assert not damage, f"{damage}\n{report}"
    assert {200} <= {*shop.webhook_answers} <= {200, 503, 0}, f"{shop.webhook_answers}\n{report}"
    # The second one reads the events of what the first one has done.
    assert sweeps[2].startswith("Brought up to date: nothing."), report
    assert all(under_load), report
    assert {BROKEN, "503 database_unavailable"} <= {*played.answers}, report
    assert_books_agree(shop.stripe)
    figure(
        f"two servers of 2 workers, 1 kill -9, 1 restart of PostgreSQL ({mode}), {ORDERS} orders,"
        f" {played.answers.total()} requests, seed {SEED}, round {number}:"
        f" {dict(played.answers)}; webhooks {dict(shop.webhook_answers)}; 0 lost, 0 doubled"
    )


def _wait_for(share: float, ends: Sequence[Future[None]], left: list[int]) -> None:
    """Wait until this share is done, and note how many are not."""
    while sum(end.done() for end in ends) < share * len(ends):
        time.sleep(0.02)
    left.append(sum(not end.done() for end in ends))


def _deliver_everything(shop: Shop) -> None:
    """Let time pass for Stripe until both servers have accepted each event."""
    left, deadline = len(shop.stripe.pending_deliveries), time.monotonic() + PATIENCE
    while (waiting := shop.stripe.pending_deliveries) and time.monotonic() < deadline:
        if len(waiting) < left:  # a slow machine makes progress, too
            left, deadline = len(waiting), time.monotonic() + PATIENCE
        shop.stripe.advance_clock(60)
        time.sleep(0.5)
    assert not waiting, f"{waiting} events are refused"
