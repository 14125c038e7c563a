"""Run a command that ends with whoever asked for it, however that one ends.

``python -m tests.reliability.leash [--user NAME] [--remove FOLDER] COMMAND…`` gives the command a
process group of its own and says its process id. This process ends when the command does. When its
input ends before that, because whoever held the other end has let go or was killed, the group is
ended and the folder removed. ``Leashed`` in ``processes.py`` is the other end.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

_SECONDS_TO_END = 10


def run_as(user: str) -> dict[str, Any]:
    """Arguments of ``subprocess`` that give up root's rights; none where there is no user."""
    if not user:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _end(command: subprocess.Popen[bytes]) -> None:
    # At SIGINT PostgreSQL drops its clients and tidies up, and gunicorn and Python end.
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(command.pid, number)
        with suppress(subprocess.TimeoutExpired):
            command.wait(_SECONDS_TO_END)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.leash")
    parser.add_argument("--user", default="")
    parser.add_argument("--remove")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = subprocess.Popen(
        options.command,
        cwd=options.remove,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        **run_as(options.user),
    )
    sys.stdout.write(f"{command.pid}\n")
    sys.stdout.flush()

    let_go = threading.Event()

    def follow() -> None:
        command.wait()
        if not let_go.is_set():
            os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    sys.stdin.read()
    let_go.set()
    _end(command)
    if options.remove:
        shutil.rmtree(options.remove, ignore_errors=True)


if __name__ == "__main__":
    main()
