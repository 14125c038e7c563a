"""Two web servers of the demo project on one PostgreSQL, and the sandbox that sends to both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shop_payments.sandbox import SandboxResponse
from tests.reliability.clusters import Cluster
from tests.reliability.crew import PATIENCE, ROOT, Call
from tests.reliability.processes import Leashed, clean_environ, free_port
from tests.support import BASE

WORKERS, THREADS = 2, 4
QUARTER_OF_AN_HOUR = 900
"""Seconds; what is being done, or told, is left to whoever does it for a minute."""

_WEBHOOK_SECRET = "whsec_of_two_servers"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back over HTTP."""

    status: int
    body: bytes
    media_type: str
    retry_after: str

    def json(self) -> Any:
        """The body; empty where it is not an object of JSON."""
        with suppress(ValueError):
            if isinstance(found := json.loads(self.body), dict):
                return found
        return {}

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        return str(self.json().get("code", ""))

    @property
    def data(self) -> Any:
        return self.json().get("data", {})


def send(base: str, call: Call) -> Reply | None:
    """Send a call over a connection of its own; None where that breaks, or does not come about."""
    connection = HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE)
    headers = {"Content-Type": "application/json", **call.headers}
    try:
        connection.request(call.method, call.path, call.body.encode(), headers)
        response = connection.getresponse()
        return Reply(
            status=response.status,
            body=response.read(),
            media_type=response.headers.get_content_type(),
            retry_after=response.getheader("Retry-After") or "",
        )
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


class SandboxProcess:
    """``manage.py shop_payments_sandbox``, as a context manager.

    It is asked as the sandbox in a test's own process is, with ``handle``.
    """

    def __init__(self, webhook_urls: list[str], folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._webhook_urls, self._log = webhook_urls, folder / "sandbox.log"

    def __enter__(self) -> SandboxProcess:
        webhooks = [
            word
            for url in self._webhook_urls
            for word in ("--webhook-url", url, "--webhook-secret", _WEBHOOK_SECRET)
        ]
        command = [sys.executable, "manage.py", "shop_payments_sandbox", "--port", str(self._port)]
        self._process = Leashed(*command, *webhooks, log=self._log)
        self._process.wait_until(lambda: send(self.url, self._state) is not None)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.stop()

    _state = Call(method="GET", path="/_sandbox")

    def handle(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        """Send a request as the sandbox takes it: ``url`` is a path, ``body`` a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        if method == "GET" and body:
            url, body = f"{url}?{body}", ""
        reply = send(self.url, Call(method=method, path=url, headers=form, body=body or ""))
        assert reply is not None, f"the sandbox is gone; its log:\n{self._process.log_tail()}"
        return SandboxResponse(reply.status, {}, reply.body)

    def slow_down(self, path: str, seconds: float) -> None:
        """From now on, have each write to ``path`` answered so much later."""
        fault = {"kind": "latency", "method": "POST", "path": path, "seconds": seconds, "rate": 1}
        reply = send(self.url, Call(path="/_sandbox/faults", body=json.dumps(fault)))
        assert reply is not None
        assert reply.status == 200, reply

    def deliver_everything(self) -> None:
        """Let time pass for it until each event has been taken by everybody."""
        deadline = time.monotonic() + 2 * PATIENCE
        minute = Call(path="/_sandbox/clock", body=json.dumps({"advance": 60}))
        while (waiting := self._tell()["pending_deliveries"]) and time.monotonic() < deadline:
            send(self.url, minute)
            time.sleep(0.5)
        assert not waiting, f"{waiting} events are refused"

    def _tell(self) -> dict[str, Any]:
        reply = send(self.url, self._state)
        assert reply is not None
        told: dict[str, Any] = reply.json()
        return told


class WebServer:
    """A gunicorn that serves the demo project, as a context manager."""

    def __init__(self, number: int, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.log = folder / f"server-{number}.log"
        self._answers = folder / f"server-{number}.answers"
        self._environ: dict[str, str] = {}

    def start(self, environ: dict[str, str]) -> None:
        """Start it; it may take a while until it answers."""
        self._process = Leashed(
            *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{self._port}"),
            *("--workers", str(WORKERS), "--threads", str(THREADS), "--no-control-socket"),
            *("--access-logfile", str(self._answers)),
            *("--access-logformat", "%(s)s %(m)s %(U)s %({content-type}o)s"),
            log=self.log,
            environ=environ,
        )

    def wait_until_healthy(self) -> None:
        self._process.wait_until(lambda: send(self.url, Call(method="GET", path=BASE)) is not None)

    def kill(self) -> None:
        """Kill -9 the master and its workers."""
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def webhook_answers(self) -> Counter[str]:
        """How often each status was answered to Stripe, with the type of what is not JSON."""
        lines = self._answers.read_text().splitlines() if self._answers.exists() else []
        fields = [line.split(" ", 3) for line in lines if "/webhooks/stripe" in line]
        return Counter(
            status if kind == "application/json" else f"{status} {kind}"
            for status, _method, _path, kind in fields
        )


class TwoServers:
    """The shop: two web servers, a database of its own, and a Stripe. A context manager."""

    def __init__(self, database_url: str, folder: Path, *, without: str = "") -> None:
        self.folder = folder
        self._record = folder / "told"
        self.servers = [WebServer(number, folder) for number in (1, 2)]
        webhook_urls = [f"{server.url}{BASE}/webhooks/stripe" for server in self.servers]
        self.stripe = SandboxProcess(webhook_urls, folder)
        self._environ = clean_environ(
            DATABASE_URL=database_url,
            RELIABILITY_RECORD=str(self._record),
            RELIABILITY_WITHOUT=without,
            STRIPE_API_BASE=self.stripe.url,
            **PRODUCTION,
        )

    def __enter__(self) -> TwoServers:
        with ExitStack() as stack:
            stack.enter_context(self.stripe)
            for server in self.servers:
                server.start(self._environ)
                stack.callback(server.stop)
            for server in self.servers:
                server.wait_until_healthy()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def kill_and_restart(self, number: int) -> None:
        self.servers[number].kill()
        self.servers[number].start(self._environ)

    def sweep(self) -> str:
        """Run ``shop_payments_reconcile`` a quarter of an hour later; return its words."""
        seconds = str(QUARTER_OF_AN_HOUR)
        command = ["tests.reliability.later", seconds, "shop_payments_reconcile", "-v0"]
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr[-4000:]}"
        return done.stdout.strip()

    def told(self) -> Counter[str]:
        """How often the receivers were told of each fact, by its id."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter(line.split()[0] for line in lines)

    def webhook_answers(self) -> Counter[str]:
        return sum((server.webhook_answers() for server in self.servers), Counter[str]())

    def log_tails(self) -> str:
        logs = [(server.log.name, server.log) for server in self.servers]
        return "\n".join(
            f"--- {name}\n{log.read_text(errors='replace')[-3000:]}" for name, log in logs
        )


PRODUCTION = {
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "of-two-servers-" + "x" * 50,
    "DJANGO_SETTINGS_MODULE": "tests.reliability.server_settings",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_of_two_servers",
    "STRIPE_SECRET_KEY": "sk_test_of_two_servers",
    "STRIPE_WEBHOOK_SECRET": _WEBHOOK_SECRET,
}
"""The environment of a project that is served, but for what each has for itself."""


def migrated_database(cluster: Cluster, name: str) -> None:
    """Create a database that others may be copied from."""
    cluster.execute(f"CREATE DATABASE {name}")
    environ = clean_environ(
        DATABASE_URL=cluster.url(name), RELIABILITY_RECORD=os.devnull, **PRODUCTION
    )
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--no-input", "-v0"],
        cwd=ROOT,
        env=environ,
        check=True,
        capture_output=True,
        timeout=2 * PATIENCE,
    )
