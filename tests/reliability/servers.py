"""Two web servers of the demo project on a PostgreSQL that the tests may stop, and their Stripe."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dj_database_url
import psycopg
from django.db import connections
from django.db.utils import ConnectionHandler

from shop_payments.testing import StripeSandbox
from tests.reliability.web import ROOT, Shop, free_port

WEBHOOK_SECRET = "whsec_of_two_servers"
_NOT_OURS = ("DJANGO_", "STRIPE_", "DATABASE_URL", "CACHE_URL", "PYTEST_", "RELIABILITY_")
_PRODUCTION = {
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "of-two-servers-" + "x" * 50,
    "DJANGO_SETTINGS_MODULE": "tests.reliability.server_settings",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_of_two_servers",
    "STRIPE_SECRET_KEY": "sk_test_of_two_servers",
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
}


def _environ(**values: str) -> dict[str, str]:
    """The environment of the demo project in production, without the settings of the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return {**kept, **_PRODUCTION, **values}


def find_binaries() -> Path | None:
    """Return the folder of ``initdb``: ``POSTGRES_BIN``, on the path, or Debian's; None without."""
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    if found := shutil.which("initdb"):
        return Path(found).parent
    debian = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(debian, key=lambda each: float(each.parent.name), default=None)


class Cluster:
    """A PostgreSQL on a port of this machine, as a context manager."""

    def __init__(self, binaries: Path) -> None:
        self._binaries, self._port = binaries, free_port()
        self._run_as: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            names = {each.pw_name for each in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._run_as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def __enter__(self) -> Cluster:
        self._folder = tempfile.mkdtemp(prefix="shop_payments-postgresql-")
        if self._run_as:
            os.chown(self._folder, self._run_as["user"], self._run_as["group"])
        self._run("initdb", *"-U postgres -A trust -E UTF8 --no-locale --no-sync".split())
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._binaries / program), "-D", f"{self._folder}/data", *options]
        cwd, output = self._folder, subprocess.DEVNULL
        subprocess.run(command, cwd=cwd, check=True, stdout=output, stderr=output, **self._run_as)

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": "60",
            "fsync": "off",  # its processes are killed, the machine is not
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = f"{self._folder}/log"
        self._run("pg_ctl", "-o", f"-p {self._port} {options}", "-l", log, "-w", "start")

    def stop(self, mode: str) -> None:
        """Stop it: ``fast``, or ``immediate``, which is a crash with a recovery at the start."""
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def url(self, database: str) -> str:
        """Return the ``DATABASE_URL`` of one of its databases."""
        return f"postgres://postgres@127.0.0.1:{self._port}/{database}"

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as database:
            database.execute(sql.encode())

    def create_migrated(self, name: str) -> None:
        """Create a database that others are copied from."""
        self.execute(f"CREATE DATABASE {name}")
        environ = _environ(DATABASE_URL=self.url(name))
        command = [sys.executable, "manage.py", "migrate", "--no-input", "-v0"]
        subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)


@contextmanager
def looking_at(url: str) -> Iterator[None]:
    """Let this thread's models read and write another database."""
    usual = connections["default"]
    wrapper = ConnectionHandler({"default": {**dj_database_url.parse(url)}})["default"]
    connections["default"] = wrapper
    try:
        yield
    finally:
        connections["default"] = usual
        wrapper.close()


def two_servers(database_url: str, folder: Path) -> Shop:
    """Two web servers of the demo project in production, and a Stripe that sends to both."""
    environ = _environ(DATABASE_URL=database_url)
    return Shop(StripeSandbox(), folder, environ, processes=2, workers=2, threads=4)
