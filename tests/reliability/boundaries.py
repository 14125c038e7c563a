"""Every place where the death of a process makes a difference to anybody else.

A place is before or after something that leaves the process: a statement, the end of a
transaction, a request to Stripe (and the moment at which it is sent and not answered), a call of
a receiver. Places are found by wrapping what every statement and every request goes through, so a
new statement is a new place.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.db import connection


class Boundaries:
    """Count the places as they are passed; at number ``kill_at`` (from 1) the process dies."""

    def __init__(self, *, kill_at: int | None, last_words: Callable[[str], None]) -> None:
        self.passed: list[str] = []
        self._kill_at, self._last_words = kill_at, last_words

    def at(self, place: str) -> None:
        """Pass ``place``, or die here."""
        self.passed.append(place)
        if len(self.passed) == self._kill_at:
            self._last_words(place)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with a place before it and one after it."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.at(f"before {name}")
            result = function(*args, **kwargs)
            self.at(f"after {name}")
            return result

        return wrapped

    def watch_database(self) -> None:
        """Watch statements, and the ends of transactions, for which Django sends none."""

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            self.at(f"before {in_short(sql)}")
            result = run(sql, params, many, context)
            self.at(f"after {in_short(sql)}")
            return result

        connection.ensure_connection()  # its statements are not ours
        connection.execute_wrappers.append(execute)
        ends = {"_commit": "COMMIT", "_rollback": "ROLLBACK", "_set_autocommit": "autocommit"}
        for method, name in ends.items():
            setattr(connection, method, self.around(name, getattr(connection, method)))

    def watch_http(self) -> None:
        """Watch requests: not sent yet, sent, and answered."""
        send = urllib3.PoolManager.request
        wait = urllib3.connection.HTTPConnection.getresponse

        def send_request(pool: Any, method: str, url: str, **kwargs: Any) -> Any:
            path = re.sub(r"pi_[^/]+", "{id}", urlsplit(url).path)
            self.at(f"before {method} {path}")
            answer = send(pool, method, url, **kwargs)
            self.at(f"after {method} {path}")
            return answer

        def wait_for_answer(http: Any) -> Any:
            self.at("sent, not answered")
            return wait(http)

        for owner, name, function in (
            (urllib3.PoolManager, "request", send_request),
            (urllib3.connection.HTTPConnection, "getresponse", wait_for_answer),
        ):
            setattr(owner, name, function)


def in_short(sql: str) -> str:
    """Say what a statement does to which table."""
    words = re.sub(r"\s+", " ", sql).replace('"', "").replace("shop_payments_", "")
    words = re.sub(r"^SELECT .*? FROM ", "SELECT … FROM ", words)
    words = re.sub(r"^(INSERT INTO \w+) .*$", r"\1", words)
    words = re.sub(r"^(UPDATE \w+ SET \w+) .*$", r"\1 …", words)
    lock = " FOR UPDATE" if " FOR UPDATE" in words else ""
    return f"{words.split(' WHERE ')[0][:60]}{lock}"
