"""Web processes for the tests, and the Stripe that they talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from django.db import connection

from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.reliability.crew import Crew

PROCESSES = {"postgresql": 4}
THREADS = 16


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
