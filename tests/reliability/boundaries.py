"""Every place where a process can die that the world outside can tell apart.

A place is before or after something that leaves the process: a statement, the end of a
transaction, a request to Stripe (and the moment at which it is sent and not answered), a call of
the host's receivers. They are found by wrapping what every statement and every request goes
through, so a new statement is a new place. Between two places nobody else can see a difference.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import requests
import urllib3
from django.db import connection


class Boundaries:
    """Counts the places as they are passed; at number ``kill_at`` (from 1) the process dies."""

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
        """Statements, and the beginnings and ends of transactions that Django sends without one."""

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            self.at(f"before {in_short(sql)}")
            result = run(sql, params, many, context)
            self.at(f"after {in_short(sql)}")
            return result

        connection.ensure_connection()  # what opening it says is no statement of ours
        connection.execute_wrappers.append(execute)
        ends = {"_commit": "COMMIT", "_rollback": "ROLLBACK", "_set_autocommit": "autocommit"}
        for method, name in ends.items():
            setattr(connection, method, self.around(name, getattr(connection, method)))

    def watch_http(self) -> None:
        """Requests: not sent yet, sent, and answered."""
        send = requests.Session.send
        wait = urllib3.connection.HTTPConnection.getresponse

        def send_request(session: Any, request: Any, **kwargs: Any) -> Any:
            path = re.sub(r"pi_[^/]+", "{id}", request.path_url.partition("?")[0])
            name = f"{request.method} {path}"
            self.at(f"before {name}")
            answer = send(session, request, **kwargs)
            self.at(f"after {name}")
            return answer

        def wait_for_answer(http: Any) -> Any:
            self.at("sent, not answered")
            return wait(http)

        for owner, name, function in (
            (requests.Session, "send", send_request),
            (urllib3.connection.HTTPConnection, "getresponse", wait_for_answer),
        ):
            setattr(owner, name, function)


def in_short(sql: str) -> str:
    """What a statement does to which table, for people."""
    words = re.sub(r"\s+", " ", sql).replace('"', "").replace("shop_payments_", "")
    words = re.sub(r"^SELECT .*? FROM ", "SELECT … FROM ", words)
    words = re.sub(r"^(INSERT INTO \w+) .*$", r"\1", words)
    words = re.sub(r"^(UPDATE \w+ SET \w+) .*$", r"\1 …", words)
    lock = " FOR UPDATE" if " FOR UPDATE" in words else ""
    return f"{words.split(' WHERE ')[0][:60]}{lock}"
