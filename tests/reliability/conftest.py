"""What a failure prints: the line that repeats it."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from django.db import connection

from tests.reliability.histories import HISTORIES
from tests.reliability.parts import People
from tests.reliability.scenes import OPERATIONS


@pytest.fixture
def people(db: None) -> People:
    return People.arrive()


def pytest_collection_finish() -> None:
    """Refuse an unknown name: nothing would run, and that would look like success.

    A run that is terminated, by ``timeout`` for example, must stop its servers.
    """
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
    for variable, names in (("OPERATION", OPERATIONS), ("HISTORY", HISTORIES)):
        asked_for = os.environ.get(f"RELIABILITY_{variable}")
        if asked_for is not None and asked_for not in names:
            kind = variable.lower()
            raise pytest.UsageError(f"no {kind} {asked_for!r}, but {', '.join(names)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print the line that draws the same again."""
    report = yield
    again = getattr(getattr(item, "module", None), "AGAIN", "")
    if report.failed and again:
        database = "DATABASE_URL=… " if connection.vendor == "postgresql" else ""
        report.sections.append(("the same again", f"{database}{again}"))
    return report
