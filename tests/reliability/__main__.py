"""Run the full suites: ``python -m tests.reliability [--suite NAME] [--runs N] [--seed S]``.

Prints one line for each figure, and says why it skips what it skips. ``--operation``, ``--point``,
``--way`` and ``--again`` replay one death of the suite ``kill``, ``--history`` and ``--order`` one
order of the suite ``arrival``: what a failure prints can be copied.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """A file of tests, and the environment variables that ask it for other sizes."""

    file: str
    runs: tuple[str, ...]


SUITES = {
    "arrival": Suite("test_order_of_arrival.py", ("RELIABILITY_ORDERS",)),
    "kill": Suite("test_kills.py", ("RELIABILITY_KILLS",)),
    "processes": Suite(
        "test_many_processes.py", ("RELIABILITY_CROWD_ROUNDS", "RELIABILITY_PAID_ROUNDS")
    ),
    "faults": Suite("test_faults.py", ("RELIABILITY_FAULT_ROUNDS",)),
    "refunds": Suite("test_refunds_at_once.py", ("RELIABILITY_REFUND_ROUNDS",)),
    "servers": Suite("test_servers.py", ("RELIABILITY_SERVER_ROUNDS",)),
    "switches": Suite("test_switches.py", ()),
    "machine": Suite("test_machine.py", ("RELIABILITY_MACHINE_RUNS",)),
    "lost": Suite("test_lost_webhooks.py", ("RELIABILITY_LOST_ORDERS",)),
}


ONLY_IN = {
    "operation": "kill",
    "point": "kill",
    "way": "kill",
    "again": "kill",
    "history": "arrival",
    "order": "arrival",
}
"""Options of one suite: any other would run as if they had not been given."""


def _at_least_one(text: str) -> int:
    """A number of which 0 would look at nothing, and find nothing wrong."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, help="one of them; all without it")
    parser.add_argument(
        "--runs", type=_at_least_one, help="a sample of this size instead of the full one"
    )
    parser.add_argument("--seed", type=int, help="draws other runs")
    parser.add_argument("--operation", help="kill: this operation only")
    parser.add_argument("--point", type=int, help="kill: this place only")
    parser.add_argument("--way", choices=["retry", "events", "sweep"], help="kill: this recovery")
    parser.add_argument("--again", type=int, help="kill: the place of a second death")
    parser.add_argument(
        "-n", type=_at_least_one, help="so many processes, each with a database of its own"
    )
    parser.add_argument("--history", help="arrival: this history only")
    parser.add_argument("--order", help="arrival: the numbers of the events, each @ its moment")
    return parser


def plan(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return pytest's arguments, files first, and the environment variables that size them."""
    parser = _parser()
    options = parser.parse_args(arguments)
    suites = [SUITES[options.suite]] if options.suite else [*SUITES.values()]
    environ = {"FIGURES": "full"}
    for name, suite in ONLY_IN.items():
        if getattr(options, name) is not None and options.suite != suite:
            parser.error(f"--{name} is for --suite {suite}")
    if options.runs is not None:
        if not any(each.runs for each in suites):
            parser.error(f"--suite {options.suite} has one size")
        environ |= {name: str(options.runs) for suite in suites for name in suite.runs}
    for name in ("seed", *ONLY_IN):
        value = getattr(options, name)
        if value is not None:
            environ[f"RELIABILITY_{name.upper()}"] = str(value)
    processes = [f"-n{options.n}"] if options.n else []
    return [*(str(HERE / suite.file) for suite in suites), *processes], environ


def replay(suite: str, *, seed: int | None = None, runs: int | None = None) -> str:
    """Return the line that draws the same once more; to be printed with a failure."""
    options = {"seed": seed, "runs": runs}
    given = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    return f"python -m tests.reliability --suite {suite}{given}"


def _look_for_database(url: str) -> None:
    """Say in a line what each test would say in a page.

    Raises:
        SystemExit: nobody answers there.
    """
    if url.startswith("postgres"):
        try:
            psycopg.connect(url, dbname="postgres", connect_timeout=10).close()
        except psycopg.OperationalError as error:
            sys.exit(f"DATABASE_URL names a PostgreSQL that is not there: {error}")


def main(arguments: list[str]) -> int:
    asked_for, environ = plan(arguments)
    _look_for_database(os.environ.get("DATABASE_URL", ""))
    os.environ.update(environ)
    return int(pytest.main([*asked_for, "-q", "-rs", "--no-header", "-p", "no:cacheprovider"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
