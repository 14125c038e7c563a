"""The other end of ``victim.py``: what is to be done there, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from django.db import connection

from shop_payments.models import Order
from tests.reliability.crew import ROOT, Call


class Victim:
    """The process of ``victim.py``, as a context manager."""

    def __init__(self, *, stripe_url: str, folder: Path) -> None:
        self._stripe_url, self._log = stripe_url, folder / "victim.log"
        self._record = folder / "told"

    def __enter__(self) -> Victim:
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.reliability.settings",
            "RELIABILITY_DATABASE": str(connection.settings_dict["NAME"]),
            "STRIPE_API_BASE": self._stripe_url,
        }
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.victim", str(self._record)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()  # the end of its input is its end
        try:
            self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()

    def do(
        self, job: Job, *, kill_at: int | None = None, later: float = 0.0, without: str = ""
    ) -> Result:
        """Have a child do the job, and die at place number ``kill_at`` if it gets there."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        values = {**job.values, "kill_at": kill_at, "later": later, "without": without}
        self._popen.stdin.write(json.dumps(values) + "\n")
        self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"the victim's parent died; its log:\n{self.log_tail()}")
        answer = json.loads(line)
        return Result(
            died_at=answer.get("killed", ""),
            signal=answer["signal"],
            status=answer.get("status", 0),
            body=answer.get("body", ""),
            error=answer.get("error", ""),
            passed=answer.get("passed", []),
        )

    def told(self) -> Counter[str]:
        """How often the receivers were told of each fact, by its id."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter(line.split()[1] for line in lines)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


@dataclass(frozen=True)
class Job:
    """A request, or a service that no request reaches."""

    values: dict[str, Any]

    @classmethod
    def call(cls, call: Call, **settings: Any) -> Job:
        request = {name: getattr(call, name) for name in ("method", "path", "headers", "body")}
        return cls({"service": "", "call": request, "settings": settings})

    @classmethod
    def service(cls, name: str, order: Order, **settings: Any) -> Job:
        return cls({"service": name, "order": order.pk, "settings": settings})


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a child said before its end."""

    died_at: str
    signal: int
    status: int
    body: str
    error: str
    passed: list[str]

    @property
    def is_done(self) -> bool:
        return self.status == 200

    def __str__(self) -> str:
        if self.signal:
            return f"killed {self.died_at} (signal {self.signal})"
        return f"{self.error or self.status} {self.body[:300]}"
