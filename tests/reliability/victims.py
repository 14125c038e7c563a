"""A process whose children each do one job, and are killed in the middle of it.

The process reads jobs from its input and answers each with a result. A job is done by a forked
child, so that a death costs milliseconds.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import time_machine
from django.conf import settings
from django.db import connection, connections
from django.test import Client, override_settings

from tests.reliability import switches
from tests.reliability.boundaries import Boundaries
from tests.reliability.ears import listen
from tests.reliability.web import ROOT, Call
from tests.support import BASE

SCRIPT = "import django; django.setup(); from tests.reliability.victims import main; main()"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something to do, pickled on its way."""

    work: Callable[[], Any]
    """A status and a body are its result; anything else is a success."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes of SHOP_PAYMENTS."""

    is_event: bool = False
    kill_at: int | None = None
    """The number of the place, from 1, at which the child dies."""

    later: float = 0.0
    """Seconds from now."""

    without: str = ""
    """Names of switches."""

    @classmethod
    def call(cls, call: Call, **settings: Any) -> Job:
        is_event = "Stripe-Signature" in call.headers
        return cls(work=partial(request, call), settings=settings, is_event=is_event)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a child said before its end."""

    died_at: str = ""
    signal: int = 0
    status: int = 0
    body: str = ""
    error: str = ""
    passed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.signal:
            return f"killed {self.died_at} (signal {self.signal})"
        return f"{self.error or self.status} {self.body[:300]}"


def request(call: Call) -> tuple[int, str]:
    """Send a request through the whole of Django."""
    client = Client(raise_request_exception=False)
    kind: dict[str, Any] = {"content_type": "application/json", "headers": call.headers}
    answer = client.generic(call.method, call.path, call.body, **kind)
    return answer.status_code, answer.content.decode()


class Victim:
    """The process, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._log, self._record = folder / "victim.log", folder / "notified"
        self.stripe_url = ""
        """The Stripe that the jobs call."""

    def __enter__(self) -> Victim:
        environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.reliability.settings",
            "RELIABILITY_DATABASE": str(connection.settings_dict["NAME"]),
            "STRIPE_API_BASE": "http://127.0.0.1:1",
        }
        command = [sys.executable, "-c", SCRIPT, str(self._record)]
        with self._log.open("wb") as log:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._popen = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=log, **pipes)
        return self

    def __exit__(self, *exc: object) -> None:
        self._popen.communicate()  # the end of its input is its end

    def do(self, job: Job, **values: Any) -> Result:
        """Let a child do the job, with ``values`` of it replaced."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        settings = {"STRIPE_API_BASE": self.stripe_url, **job.settings}
        pickle.dump(replace(job, settings=settings, **values), self._popen.stdin)
        self._popen.stdin.flush()
        try:
            result: Result = pickle.load(self._popen.stdout)
        except EOFError:
            raise RuntimeError(f"the victim's parent died; its log:\n{self.log_tail()}") from None
        return result

    def notified(self) -> Counter[str]:
        """Count how often the receivers were notified of each fact, by its id."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return Counter(line.split()[1] for line in lines)

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


# --- in the process -----------------------------------------------------------------------------


def do(job: Job, boundaries: Boundaries, record: str) -> Any:
    """Do the job in this process."""
    boundaries.watch_database()
    boundaries.watch_http()
    listen(record, boundaries.around)
    switches.throw(job.without)
    later = datetime.now(UTC) + timedelta(seconds=job.later)
    with (
        override_settings(SHOP_PAYMENTS={**settings.SHOP_PAYMENTS, **job.settings}),
        time_machine.travel(later, tick=True),
    ):
        return job.work()


def in_a_child(job: Job, record: str) -> Result:
    """Fork, do the job there, and return what the child said before its end."""
    hear, speak = os.pipe()
    child = os.fork()
    if child:
        os.close(speak)
        with os.fdopen(hear, "rb") as said:
            words = said.read()
        _, status = os.waitpid(child, 0)
        result: Result = pickle.loads(words)
        return replace(result, signal=os.WTERMSIG(status))

    def say(**values: Any) -> None:
        os.write(speak, pickle.dumps(Result(**values)))

    try:
        os.close(hear)
        boundaries = Boundaries(kill_at=job.kill_at, last_words=lambda place: say(died_at=place))
        done = do(job, boundaries, record)
        status, body = done if isinstance(done, tuple) else (200, "")
        say(status=status, body=body[:1000], passed=tuple(boundaries.passed))
    except BaseException as error:
        traceback.print_exc()
        say(error=type(error).__name__)
    finally:
        os._exit(0)


def main() -> None:
    """Do the jobs of the input; receivers of the signals append to the file that is named."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what anything else prints is no answer
    request(Call(method="GET", path=BASE))  # import everything
    connections.close_all()  # a connection cannot be shared with a child
    with suppress(EOFError):
        while True:
            pickle.dump(in_a_child(pickle.load(sys.stdin.buffer), sys.argv[1]), answers)
            answers.flush()
