"""Web processes for the tests, and the Stripe that they talk to."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import pytest
from django.db import connection

from shop_payments.models import Order
from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.reliability.crew import Crew
from tests.reliability.faults import Day, WatchedStripe
from tests.reliability.histories import HISTORIES
from tests.reliability.scenes import OPERATIONS
from tests.support import Caller

PROCESSES = {"postgresql": 4}
THREADS = 16


def pytest_collection_finish() -> None:
    """Refuse a name that is not there: nothing would be run, and that would look like success."""
    for variable, names in (("OPERATION", OPERATIONS), ("HISTORY", HISTORIES)):
        asked_for = os.environ.get(f"RELIABILITY_{variable}")
        if asked_for is not None and asked_for not in names:
            kind = variable.lower()
            raise pytest.UsageError(f"no {kind} {asked_for!r}, but {', '.join(names)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print the line that draws the same again, whatever it was that failed."""
    report = yield
    again = getattr(getattr(item, "module", None), "AGAIN", "")
    if report.failed and again:
        database = "DATABASE_URL=… " if connection.vendor == "postgresql" else ""
        report.sections.append(("the same again", f"{database}{again}"))
    return report


@pytest.fixture(scope="module")
def stripe() -> StripeSandbox:
    return StripeSandbox()


@pytest.fixture(scope="module")
def crew(
    django_db_setup: None,
    django_db_blocker: Any,
    stripe: StripeSandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Crew]:
    """Four processes with 16 threads each on PostgreSQL; on SQLite, one with 16 threads."""
    processes = PROCESSES.get(connection.vendor, 1)
    folder = tmp_path_factory.mktemp("crew")
    with (
        django_db_blocker.unblock(),
        SandboxServer(stripe) as server,
        Crew(processes=processes, threads=THREADS, stripe_url=server.url, folder=folder) as crew,
    ):
        yield crew


@pytest.fixture
def begin_day(
    stripe: WatchedStripe, storefront: Caller, payment_system: Caller, order: Order
) -> partial[Day]:
    """A day of this test's customer; to be given its ``crew``, ``seed`` and ``rate``."""
    return partial(
        Day,
        stripe=stripe,
        storefront=storefront,
        payment_system=payment_system,
        customer=order.customer,
    )


class StartCrew(Protocol):
    """Start a crew for this test, of half as many processes, that lacks what ``without`` names."""

    def __call__(self, stripe: StripeSandbox, without: str) -> Crew: ...


@pytest.fixture
def start_crew(db: None, tmp_path: Any) -> Iterator[StartCrew]:
    with ExitStack() as held:

        def start(stripe: StripeSandbox, without: str) -> Crew:
            server = held.enter_context(SandboxServer(stripe))
            processes = PROCESSES.get(connection.vendor, 2) // 2
            return held.enter_context(
                Crew(
                    processes=processes,
                    threads=THREADS,
                    stripe_url=server.url,
                    folder=tmp_path,
                    without=without,
                )
            )

        yield start
