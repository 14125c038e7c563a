"""Run the full suites: ``python -m tests.reliability [--suite NAME] [--runs N] [--seed S]``.

Prints one line for each figure, and says why a test is skipped. ``--operation``, ``--point``,
``--way`` and ``--again`` replay one death of the suite ``kill``, ``--history`` and ``--order`` one
order of the suite ``arrival``. A failure prints the line that replays it. On PostgreSQL, statements
are prepared, as in the demo project; not with ``DATABASE_PREPARED_STATEMENTS=0``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).parent

SUITES = {
    "arrival": ("test_order_of_arrival.py", "RELIABILITY_ORDERS"),
    "kill": ("test_kills.py", "RELIABILITY_KILLS"),
    "concurrency": ("test_concurrency.py", "RELIABILITY_ROUNDS"),
    "servers": ("test_servers.py", "RELIABILITY_SERVER_ROUNDS"),
    "machine": ("test_machine.py", "RELIABILITY_MACHINE_RUNS"),
    "lost": ("test_lost_webhooks.py", "RELIABILITY_LOST_ORDERS"),
}
"""By name: the file, and the environment variable that asks for another size."""

ONLY_IN = {
    "operation": "kill",
    "point": "kill",
    "way": "kill",
    "again": "kill",
    "history": "arrival",
    "order": "arrival",
}
"""Options of one suite."""


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, help="one of them; all without it")
    parser.add_argument("--runs", type=_at_least_one, help="a sample of this size")
    parser.add_argument("--seed", type=int, help="draws other runs")
    parser.add_argument("--operation", help="kill: this operation only")
    parser.add_argument("--point", type=int, help="kill: this place only")
    parser.add_argument("--way", choices=["retry", "events", "sweep"], help="kill: this recovery")
    parser.add_argument("--again", type=int, help="kill: the place of a second death")
    parser.add_argument("-n", type=_at_least_one, help="processes, each with its own database")
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
        environ |= {size: str(options.runs) for _file, size in suites}
    for name in ("seed", *ONLY_IN):
        value = getattr(options, name)
        if value is not None:
            environ[f"RELIABILITY_{name.upper()}"] = str(value)
    # By group: two crews at once have more connections than PostgreSQL's default allows.
    processes = [f"-n{options.n}", "--dist=loadgroup"] if options.n else []
    return [*(str(HERE / file) for file, _size in suites), *processes], environ


def replay(suite: str, *, seed: int | None = None, runs: int | None = None) -> str:
    """Return the line that draws the same once more, to be printed with a failure."""
    options = {"seed": seed, "runs": runs}
    given = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    return f"python -m tests.reliability --suite {suite}{given}"


def main(arguments: list[str]) -> int:
    files, environ = plan(arguments)
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        try:
            psycopg.connect(url, dbname="postgres", connect_timeout=10).close()
        except psycopg.OperationalError as error:
            sys.exit(f"DATABASE_URL names a PostgreSQL that is not there: {error}")
    os.environ.update(environ)
    os.environ.setdefault("DATABASE_PREPARED_STATEMENTS", "1")
    how = ["-m", "reliability", "-q", "-rs", "--no-header", "-p", "no:cacheprovider"]
    return int(pytest.main([*files, *how]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
