"""Start a project under gunicorn, with a database of its own, and look at what it costs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.benchmarks.stub import KEY
from tests.reliability.web import free_port

ROOT = Path(__file__).parents[2]
WEBHOOK_SECRET = "whsec_of_the_benchmarks"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Costs:
    """CPU seconds and counters at one moment; two of them are subtracted."""

    app: float
    database: float
    transactions: int
    calls: int

    def __sub__(self, other: Costs) -> Costs:
        return Costs(
            self.app - other.app,
            self.database - other.database,
            self.transactions - other.transactions,
            self.calls - other.calls,
        )


@dataclass(frozen=True)
class Server:
    """A running project."""

    port: int
    pid: int
    database: str
    stub: int

    def costs(self) -> Costs:
        """Return what it has cost so far; the database's CPU time is that of all its processes."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            # Each transaction that writes takes a number; those that only read take none.
            row = connection.execute("SELECT txid_snapshot_xmax(txid_current_snapshot())")
            transactions = row.fetchone()
        assert transactions is not None
        return Costs(
            app=sum(map(_cpu_seconds, children(self.pid))),
            database=sum(map(_cpu_seconds, _postgres_processes())),
            transactions=transactions[0],
            calls=json.loads(ask(self.stub, "GET", "/_calls")),
        )


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has ended
    return sum(map(int, fields[11:15])) / _TICKS  # with its children that have ended


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _postgres_processes() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == "postgres":
                found.append(int(path.parent.name))
        except OSError:
            continue
    # A backend that has ended is in its parent's figure.
    return found


def ask(port: int, method: str, path: str) -> bytes:
    """Ask the stand-in for Stripe one of its own questions."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path)
    return connection.getresponse().read()


@contextmanager
def stub() -> Iterator[int]:
    """Run the stand-in for Stripe; return its port."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "tests.benchmarks.stub"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, preexec_fn=_beside
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def environment(settings: str, database: str, stub_port: int) -> dict[str, str]:
    """Return the environment of a project under test."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings,
        "DJANGO_DEBUG": "0",
        "DJANGO_SECRET_KEY": "of-the-benchmarks" * 4,
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DJANGO_LOG_LEVEL": "WARNING",  # the other projects write no log
        "DJANGO_PROXY_SSL_HEADER": "X-Forwarded-Proto: https",
        "DJANGO_NUM_PROXIES": "1",
        "DATABASE_URL": database,
        "DATABASE_PREPARED_STATEMENTS": os.environ["DATABASE_PREPARED_STATEMENTS"],
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_PUBLISHABLE_KEY": "pk_test_of_the_benchmarks",
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_API_BASE": f"http://127.0.0.1:{stub_port}",
    }


@contextmanager
def gunicorn(application: str, environ: dict[str, str], *, stub_port: int) -> Iterator[Server]:
    """Run one sync worker on the first core; everything else uses the others."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", application]
    command += ["-b", f"127.0.0.1:{port}", "-w", "1", "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, preexec_fn=_on_first_core) as process:
        try:
            _wait_for(port)
            yield Server(port, process.pid, environ["DATABASE_URL"], stub_port)
        finally:
            process.terminate()


def _on_first_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _beside() -> None:
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))} or {0})


def _wait_for(port: int) -> None:
    for _try in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not listen")


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """Create a database and drop it afterwards; return its URL."""
    url = f"{server.rpartition('/')[0]}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield url
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
