"""Several web processes over one database, and calls that all of them get at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from django.db import connection

from tests.reliability.switches import dropped_constraints
from tests.support import BASE, sign

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60
"""Seconds; a process that has not answered by then never will."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that is to be sent."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    method: str = "POST"
    later: float = 0.0
    """Seconds after the common moment."""

    @classmethod
    def payment_intent(cls, order: Any, caller: Any, **values: Any) -> Call:
        path = f"{BASE}/orders/{order.pk}/payment-intent"
        return cls(path=path, headers=dict(caller.headers), **values)

    @classmethod
    def payment(cls, order: Any, caller: Any, **values: Any) -> Call:
        path = f"{BASE}/orders/{order.pk}/payment"
        return cls(path=path, headers=dict(caller.headers), **values)

    @classmethod
    def refund(cls, order: Any, caller: Any, amount: str, key: str, **values: Any) -> Call:
        headers = {**caller.headers, "Idempotency-Key": key}
        body = json.dumps({"amount": amount})
        return cls(path=f"{BASE}/orders/{order.pk}/refunds", headers=headers, body=body, **values)

    @classmethod
    def webhook(cls, body: bytes, **values: Any) -> Call:
        headers = {"Stripe-Signature": sign(body)}
        return cls(path=f"{BASE}/webhooks/stripe", headers=headers, body=body.decode(), **values)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, from which process and thread, and when."""

    status: int
    headers: dict[str, str]
    body: str
    worker: tuple[int, int]
    started_at: float
    ended_at: float

    @property
    def code(self) -> str | None:
        """The stable code of a refusal."""
        return self.json().get("code") if self.body[:1] == "{" else None

    @property
    def id(self) -> str:
        """The id of what is answered with."""
        return self.json().get("data", {}).get("id", "") if self.body[:1] == "{" else ""

    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        took = f"{self.started_at:.3f} to {self.ended_at:.3f}"
        return f"{self.status} from {self.worker}, {took}: {self.body[:300]}"


def were_together(answers: Sequence[Answer]) -> bool:
    """Whether most of the calls had begun when the first was answered: else nobody met anybody."""
    first_end = min(answer.ended_at for answer in answers)
    return sum(answer.started_at < first_end for answer in answers) > len(answers) / 2


class _Process:
    """One worker, and the answers that it still owes."""

    def __init__(
        self, threads: int, stripe_url: str, folder: Path, number: int, without: str
    ) -> None:
        self._telling = threading.Lock()
        self.ready: Future[dict[str, Any]] = Future()
        self._owed = {"ready": self.ready}
        self.log = folder / f"worker-{number}.log"
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.reliability.settings",
            "RELIABILITY_DATABASE": str(connection.settings_dict["NAME"]),
            "STRIPE_API_BASE": stripe_url,
        }
        command = [sys.executable, "-m", "tests.reliability.worker"]
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                [*command, str(threads), str(folder / "order_paid"), without],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def send(self, call: dict[str, Any]) -> tuple[Future[Any], Future[Any]]:
        """Return when the call is at its gate, if it has one, and what is answered."""
        at_gate: Future[Any] = Future()
        answer: Future[Any] = Future()
        self._owed[call["id"]] = answer
        if call["gate"]:
            self._owed[f"{call['id']} is at the gate"] = at_gate
        self.tell(call)
        return at_gate, answer

    def tell(self, order: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        with self._telling:
            self._popen.stdin.write(json.dumps(order) + "\n")
            self._popen.stdin.flush()

    def let_go(self) -> None:
        """The end of its input is the end of a worker."""
        assert self._popen.stdin is not None
        with suppress(OSError):  # it is dead already
            self._popen.stdin.close()

    def stop(self) -> None:
        assert self._popen.stdout is not None
        try:
            self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._listener.join(timeout=10)
        self._popen.stdout.close()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            answer = json.loads(line)
            self._owed.pop(answer["id"]).set_result(answer)
        for owed in list(self._owed.values()):
            owed.set_exception(RuntimeError(f"a worker died; its log:\n{self.log_tail()}"))

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def room_for_connections() -> Iterator[None]:
    """Wait for the turn of this crew: a PostgreSQL as it comes has no room for two."""
    if connection.vendor != "postgresql":
        yield
        return
    server = connection.copy()
    server.settings_dict["NAME"] = "postgres"  # advisory locks are each database's own
    try:
        with server.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtext('shop_payments: a crew'))")
            yield
    finally:
        server.close()


class Crew:
    """``processes`` × ``threads`` web workers, as a context manager.

    ``without`` names switches, see ``switches.py``: what the workers, or the database, lack.
    """

    def __init__(
        self, *, processes: int, threads: int, stripe_url: str, folder: Path, without: str = ""
    ) -> None:
        self.processes, self.threads = processes, threads
        self._stripe_url, self._folder, self._without = stripe_url, folder, without
        self._members: list[_Process] = []
        self._ids = count()
        self._held = ExitStack()

    def __enter__(self) -> Crew:
        self._held.enter_context(room_for_connections())
        try:
            self._held.enter_context(dropped_constraints(self._without))
            self._members = [self._start(number) for number in range(self.processes)]
            for member in self._members:
                member.ready.result(PATIENCE)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self, number: int) -> _Process:
        return _Process(self.threads, self._stripe_url, self._folder, number, self._without)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._held:
            for member in self._members:
                member.let_go()
            for member in self._members:
                member.stop()

    def send(self, *calls: Call) -> list[Future[Answer]]:
        """Deal the calls out, one process after the other, each to begin when it arrives."""
        return [self._deal(index, call, gate="")[1] for index, call in enumerate(calls)]

    def at_once(self, *calls: Call, meanwhile: Callable[[], Any] | None = None) -> list[Answer]:
        """Deal the calls out, to begin at the same moment; wait for all answers.

        ``meanwhile`` is done here while they are at it.
        """
        assert len(calls) <= self.processes * self.threads
        gate = f"gate {next(self._ids)}"
        dealt = [self._deal(index, call, gate=gate) for index, call in enumerate(calls)]
        for at_gate, _answer in dealt:
            at_gate.result(PATIENCE)
        moment = time.time() + 0.01
        for member in self._members:
            member.tell({"open": gate, "moment": moment})
        if meanwhile is not None:
            meanwhile()
        return [answer.result(PATIENCE) for _at_gate, answer in dealt]

    def paid(self) -> list[str]:
        """The primary keys of the orders that the receivers were told of, once for each time."""
        record = self._folder / "order_paid"
        lines = record.read_text().splitlines() if record.exists() else []
        return [line.split()[0] for line in lines]

    def _deal(self, index: int, call: Call, *, gate: str) -> tuple[Future[Any], Future[Answer]]:
        member = self._members[index % self.processes]
        answer: Future[Answer] = Future()

        def pass_on(raw: Future[dict[str, Any]]) -> None:
            try:
                values = raw.result()
                if "error" in values:
                    raise RuntimeError(f"{call}: {values['error']}\n{member.log_tail()}")
                names = ("status", "headers", "body", "started_at", "ended_at")
                worker = (values["worker"][0], values["worker"][1])
                answer.set_result(Answer(worker=worker, **{name: values[name] for name in names}))
            except Exception as error:
                answer.set_exception(error)

        at_gate, raw = member.send(
            {
                "id": str(next(self._ids)),
                "gate": gate,
                "later": call.later,
                "method": call.method,
                "path": call.path,
                "headers": call.headers,
                "body": call.body,
            }
        )
        raw.add_done_callback(pass_on)
        return at_gate, answer

    def report(self, answers: Sequence[Answer], **facts: Any) -> str:
        """Everything that helps to see what happened."""
        lines = [
            f"{self.processes} processes × {self.threads} threads on {connection.vendor}",
            *(f"{name}: {value}" for name, value in facts.items()),
            *(str(answer) for answer in answers),
            *(f"--- log of worker {n}\n{m.log_tail()}" for n, m in enumerate(self._members)),
        ]
        return "\n".join(lines)
