"""``python -m tests.reliability.later SECONDS COMMAND…``: a management command, that much later.

For those that leave alone what is younger than a minute.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine
from django.core.management import execute_from_command_line


def main(seconds: float, command: list[str]) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
