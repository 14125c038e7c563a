"""Programs that the tests start, kill and start again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.reliability.crew import PATIENCE, ROOT

_NOT_OURS = ("DJANGO_", "STRIPE_", "DATABASE_URL", "CACHE_URL", "PYTEST_", "RELIABILITY_")


def clean_environ(**values: str) -> dict[str, str]:
    """The environment without anything that says how another one is to be served."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return {**kept, **values}


def free_port() -> int:
    """A port that stays free while its server is away.

    It is none of those that outgoing connections get: one of these could take it, or be connected
    to itself.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Leashed:
    """A program that ends with this process; see ``leash.py``. Its output goes to ``log``."""

    def __init__(
        self,
        *command: str,
        log: Path,
        environ: dict[str, str] | None = None,
        user: str = "",
        remove: str = "",
    ) -> None:
        self.name, self.log = Path(command[0]).name, log
        options = [*(("--user", user) if user else ()), *(("--remove", remove) if remove else ())]
        with log.open("ab") as output:
            self._leash = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.leash", *options, *command],
                cwd=ROOT,
                env=environ or clean_environ(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C ends us, and that ends the leash
            )
        assert self._leash.stdout is not None
        first_line = self._leash.stdout.readline()
        if not first_line:
            raise RuntimeError(f"{self.name} did not start; its log:\n{self.log_tail()}")
        self.pid = int(first_line)

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Return when it is ready; stop it and raise where it ends or is not ready in time."""
        deadline = time.monotonic() + PATIENCE
        while not is_ready():
            if self._leash.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} is not ready; its log:\n{self.log_tail()}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal, and return when it has ended."""
        os.kill(self.pid, number)
        self._ended()

    def kill(self) -> None:
        """SIGKILL to the program and all that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        assert self._leash.stdin is not None
        with suppress(OSError):  # it has ended already
            self._leash.stdin.close()
        self._ended()

    def _ended(self) -> None:
        self._leash.wait(PATIENCE)
        for pipe in (self._leash.stdin, self._leash.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]
