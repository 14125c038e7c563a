"""Web processes for the tests, and the Stripe that they talk to."""

from __future__ import annotations

from collections.abc import Iterator

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
    django_db_setup: None, stripe: StripeSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crew]:
    """Four processes with 16 threads each on PostgreSQL; on SQLite, one with 16 threads."""
    processes = PROCESSES.get(connection.vendor, 1)
    folder = tmp_path_factory.mktemp("crew")
    with (
        SandboxServer(stripe) as server,
        Crew(processes=processes, threads=THREADS, stripe_url=server.url, folder=folder) as crew,
    ):
        yield crew
