"""A PostgreSQL of the tests' own, which they may stop and crash."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dj_database_url
import psycopg
from django.db import connections
from django.db.utils import ConnectionHandler

from tests.reliability.leash import run_as
from tests.reliability.processes import Leashed, free_port

STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""The modes of ``pg_ctl stop``: ``immediate`` is a crash, and the next start recovers from it."""


def find_binaries() -> Path | None:
    """Where ``initdb`` is: in ``POSTGRES_BIN`` if that is set, on the path, or where Debian has it.

    None if there is none. What ``POSTGRES_BIN`` names is believed, so a wrong one fails.
    """
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    if found := shutil.which("initdb"):
        return Path(found).parent
    debian = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(debian, key=lambda each: float(each.parent.name), default=None)


def _user() -> str:
    """Whom it runs as: PostgreSQL refuses to be root's. Empty for whoever runs the tests."""
    if os.getuid() != 0:
        return ""
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


class Cluster:
    """A cluster on a port of this machine, as a context manager; in the end nothing is left."""

    def __init__(self, binaries: Path, log: Path) -> None:
        self._binaries, self._log, self._port = binaries, log, free_port()

    def __enter__(self) -> Cluster:
        self._user = _user()
        self._folder = tempfile.mkdtemp(prefix="shop_payments-postgresql-")
        try:
            if self._user:
                shutil.chown(self._folder, self._user)
            self._init()
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _init(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [self._binaries / "initdb", "-D", f"{self._folder}/data", *options],
            cwd=self._folder,
            check=True,
            capture_output=True,
            **run_as(self._user),
        )

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": "60",
            # Its processes die here and the machine does not: what was written is there.
            "fsync": "off",
        }
        self._process = Leashed(
            str(self._binaries / "postgres"),
            *("-D", f"{self._folder}/data", "-p", str(self._port)),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            log=self._log,
            user=self._user,
            remove=self._folder,
        )
        self._process.wait_until(self._takes_connections)

    def stop(self, mode: str) -> None:
        """Stop it in a mode of ``STOPS``, and return when all of it is gone."""
        self._process.signal(STOPS[mode])

    def url(self, database: str) -> str:
        """What ``DATABASE_URL`` is for a database of it."""
        return f"postgres://postgres@127.0.0.1:{self._port}/{database}"

    def execute(self, sql: str) -> None:
        """Run a statement that needs no database of its own, outside a transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as database:
            database.execute(sql.encode())

    def _takes_connections(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def _wrapper(url: str) -> Iterator[Any]:
    wrapper = ConnectionHandler({"default": {**dj_database_url.parse(url)}})["default"]
    try:
        yield wrapper
    finally:
        wrapper.close()


@contextmanager
def looking_at(url: str) -> Iterator[None]:
    """Have this thread's models read and write another database."""
    usual = connections["default"]
    with _wrapper(url) as wrapper:
        connections["default"] = wrapper
        try:
            yield
        finally:
            connections["default"] = usual
