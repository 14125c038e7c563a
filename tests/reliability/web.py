"""Web servers of the shop, each a process, and the calls that tests send to them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection, HTTPException
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from shop_payments.sandbox import SandboxServer
from shop_payments.sandbox.account.outbox import WebhookEndpoint
from shop_payments.testing import StripeSandbox
from tests.reliability.ears import listening
from tests.support import BASE, sign

ROOT = Path(__file__).resolve().parents[2]
ERROR = "error: "
PATIENCE = 60
"""Seconds after which a process that has not answered is taken for dead."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to the API."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    method: str = "POST"
    later: float = 0.0
    """Seconds after the common moment of concurrent calls."""

    @classmethod
    def order(cls, order: Any, route: str, caller: Any, **values: Any) -> Call:
        """A call of an order's route: ``payment-intent``, ``payment`` or ``refunds``."""
        headers = {**caller.headers, **values.pop("headers", {})}
        return cls(path=f"{BASE}/orders/{order.pk}/{route}", headers=headers, **values)

    @classmethod
    def refund(cls, order: Any, caller: Any, amount: str, key: str) -> Call:
        headers, body = {"Idempotency-Key": key}, json.dumps({"amount": amount})
        return cls.order(order, "refunds", caller, headers=headers, body=body)

    @classmethod
    def webhook(cls, body: bytes, **values: Any) -> Call:
        headers = {"Stripe-Signature": sign(body)}
        return cls(path=f"{BASE}/webhooks/stripe", headers=headers, body=body.decode(), **values)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response, and when it was waited for."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""

    body: str
    started_at: float
    ended_at: float

    def json(self) -> Any:
        """Return the body, empty if it is not a JSON object."""
        with suppress(ValueError):
            if isinstance(found := json.loads(self.body), dict):
                return found
        return {}

    @property
    def code(self) -> str:
        """The stable code of a refusal, empty without one."""
        return str(self.json().get("code", ""))

    @property
    def data(self) -> Any:
        return self.json().get("data", {})

    def __str__(self) -> str:
        took = f"{self.started_at:.3f} to {self.ended_at:.3f}"
        return f"{self.status}, {took}: {self.body[:300]}"


def send(base: str, call: Call, *, wait: Callable[[], Any] = lambda: None) -> Answer | None:
    """Send a call over a new connection and return the answer; None if the connection fails.

    ``wait`` is called when the connection is open.
    """
    http = HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE)
    headers = {"Content-Type": "application/json", **call.headers}
    try:
        with suppress(OSError):
            http.connect()
        wait()
        started_at = time.time()
        http.request(call.method, call.path, call.body.encode(), headers)
        response = http.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read().decode(errors="replace"),
            started_at=started_at,
            ended_at=time.time(),
        )
    except (OSError, HTTPException):
        return None
    finally:
        http.close()


def were_together(answers: Sequence[Answer]) -> bool:
    """Whether most of the calls were being handled at one moment."""

    def number_at(moment: float) -> int:
        return sum(each.started_at <= moment < each.ended_at for each in answers)

    return max(number_at(each.started_at) for each in answers) > len(answers) / 2


def free_port() -> int:
    """Return a port that no outgoing connection takes while its server is down."""
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class WebServer:
    """A gunicorn that serves ``config.wsgi``. ``start`` it, and ``stop`` it in the end."""

    def __init__(
        self, environ: Mapping[str, str], log: Path, *, workers: int, threads: int
    ) -> None:
        self._environ, self._log, self._port = environ, log, free_port()
        self._workers, self._threads = workers, threads
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and return at once."""
        command = [sys.executable, "-m", "gunicorn", "config.wsgi", "--no-control-socket"]
        options = {"bind": f"127.0.0.1:{self._port}", "timeout": PATIENCE}
        options |= {"workers": self._workers, "threads": self._threads}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Return when it answers.

        Raises:
            RuntimeError: if it ends, or does not answer in time.
        """
        deadline = time.monotonic() + PATIENCE
        while send(self.url, Call(method="GET", path=BASE)) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a server is not ready; its log:\n{self.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it and its workers with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """Let it end, and tidy up after itself."""
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self.kill()

    def log_tail(self) -> str:
        """The end of the log, and the first traceback of an answer with status 500."""
        text = self._log.read_text(errors="replace")
        _before, failed, after = text.partition("Internal Server Error")
        return f"{failed}{after[:8000] if failed else ''}\n[...]\n{text[-4000:]}"


class Shop:
    """``processes`` web servers of one shop, and the Stripe that they call; a context manager.

    Each server has ``workers`` with ``threads`` each.
    """

    def __init__(
        self,
        stripe: StripeSandbox,
        folder: Path,
        environ: Mapping[str, str],
        *,
        processes: int,
        threads: int,
        workers: int = 1,
    ) -> None:
        self.stripe, self.size = stripe, processes * workers * threads
        self.record = folder / "notified"
        """The file in which the receivers write (``ears.py``)."""

        self.webhook_answers: Counter[int] = Counter()
        """By status; 0 without an answer."""

        self._sandbox, self._turn = SandboxServer(stripe), count()
        self._environ = {**environ, "RELIABILITY_RECORD": str(self.record)}
        self.servers = [
            WebServer(self._environ, folder / f"server-{n}.log", workers=workers, threads=threads)
            for n in range(processes)
        ]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sandbox)
            self._environ["STRIPE_API_BASE"] = self._sandbox.url
            for server in self.servers:
                server.start()
                stack.callback(server.stop)
            for server in self.servers:
                server.wait_until_healthy()
            self._clients = stack.enter_context(ThreadPoolExecutor(self.size))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def add_webhooks(self, secret: str) -> list[WebhookEndpoint]:
        """Let Stripe send each event to each server."""
        path = f"{BASE}/webhooks/stripe"
        return [
            self.stripe.add_webhook(f"{each.url}{path}", secret, deliver=self._deliver)
            for each in self.servers
        ]

    def _deliver(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        signed = {"Stripe-Signature": headers["Stripe-Signature"]}
        answer = send(url, Call(path=urlsplit(url).path, headers=signed, body=body.decode()))
        status = answer.status if answer else 0
        self.webhook_answers[status] += 1
        return status

    def send(self, *calls: Call) -> list[Future[Answer]]:
        """Send the calls, one server after the other, each when a client is free."""
        return [self._clients.submit(self._send, next(self._turn), call) for call in calls]

    def at_once(self, *calls: Call) -> list[Answer]:
        """Send the calls at the same moment and return the answers."""
        assert len(calls) <= self.size
        together = threading.Barrier(len(calls))

        def wait(call: Call) -> None:
            together.wait(PATIENCE)
            time.sleep(call.later)

        sent = [
            self._clients.submit(self._send, number, call, partial(wait, call))
            for number, call in enumerate(calls)
        ]
        return [each.result(PATIENCE) for each in sent]

    def _send(self, number: int, call: Call, wait: Callable[[], Any] = lambda: None) -> Answer:
        answer = send(self.servers[number % len(self.servers)].url, call, wait=wait)
        assert answer is not None, f"{call.path}: no answer\n{self.report([])}"
        return answer

    def sweep(self, *, later: timedelta) -> str:
        """Run the sweep here, by a later clock; return what it prints, and its error."""
        out = StringIO()
        with listening(str(self.record)), time_machine.travel(datetime.now(UTC) + later, tick=True):
            try:
                call_command("shop_payments_reconcile", "-v0", stdout=out, stderr=out)
            except CommandError as error:
                out.write(f"{ERROR}{error}")
        return out.getvalue().strip()

    def notified(self) -> Counter[str]:
        """Count how often the receivers were notified of each fact, by its id."""
        return Counter(fact_id for _kind, fact_id, _order in self._recorded())

    def notified_of_payment(self) -> Counter[str]:
        """Count how often ``order_paid`` was received, by the order's primary key."""
        return Counter(order for kind, _fact_id, order in self._recorded() if kind == "order_paid")

    def _recorded(self) -> list[list[str]]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [line.split() for line in lines]

    def report(self, answers: Sequence[Answer], **facts: Any) -> str:
        """Describe what happened, with the ends of the logs."""
        lines = [f"{name}: {value}" for name, value in facts.items()] + [*map(str, answers)]
        logs = [f"--- a server's log\n{server.log_tail()}" for server in self.servers]
        return "\n".join([*lines, *logs])


def crew(
    stripe: StripeSandbox, folder: Path, *, processes: int, threads: int, without: str = ""
) -> Shop:
    """Servers on the tests' database, without the guards that ``without`` names."""
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.reliability.settings",
        "RELIABILITY_DATABASE": str(connection.settings_dict["NAME"]),
        "RELIABILITY_WITHOUT": without,
    }
    return Shop(stripe, folder, environ, processes=processes, threads=threads)
