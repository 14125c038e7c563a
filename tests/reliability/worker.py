"""One web process: takes calls as lines of JSON, and answers each from a thread of its own.

``python -m tests.reliability.worker THREADS FILE WITHOUT`` with ``tests.reliability.settings``.
What is called is the project's WSGI application; a receiver of ``order_paid`` appends to FILE. A
call that names a gate gets its thread, says so, and waits for the line that opens the gate, with
the moment at which all of them begin. WITHOUT names switches (see ``switches.py``), or is empty.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.core.wsgi import get_wsgi_application
from django.db import connection

from tests.reliability import switches


def serve(application: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Send one call through the application."""
    body = call["body"].encode()
    environ: dict[str, Any] = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in call["headers"].items()
    }
    setup_testing_defaults(environ)
    environ |= {
        "REQUEST_METHOD": call["method"],
        "PATH_INFO": call["path"],
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
    }
    begun: list[Any] = []
    started_at = time.time()
    chunks = application(environ, lambda *head: begun.append(head))
    try:
        content = b"".join(chunks)
    finally:
        chunks.close()
    return {
        "id": call["id"],
        "status": int(begun[0][0].split()[0]),
        "headers": dict(begun[0][1]),
        "body": content.decode(),
        "worker": [os.getpid(), threading.get_ident()],
        "started_at": started_at,
        "ended_at": time.time(),
    }


class Gates:
    """What calls of several processes wait for, in order to begin at the same moment."""

    def __init__(self) -> None:
        self._gates: dict[str, Future[float]] = defaultdict(Future)

    def open(self, name: str, moment: float) -> None:
        self._gates[name].set_result(moment)

    def wait(self, name: str, *, later: float) -> None:
        moment = self._gates[name].result(timeout=60) + later
        time.sleep(max(0.0, moment - time.time()))


def keep_a_record(path: str) -> None:
    """Append a line for every ``order_paid``; one small write to a file so opened is never torn."""
    from shop_payments.signals import order_paid

    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def receiver(*, order: Any, fact_id: Any, **kwargs: Any) -> None:
        os.write(record, f"{order.pk} {fact_id} {os.getpid()}\n".encode())

    order_paid.connect(receiver, weak=False)


def main(threads: int, record: str, without: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what anything else prints is no answer
    speaking = threading.Lock()
    application = get_wsgi_application()
    switches.throw(without)
    keep_a_record(record)

    def say(answer: dict[str, Any]) -> None:
        with speaking:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    def run(call: dict[str, Any]) -> None:
        try:
            if call["gate"]:
                say({"id": f"{call['id']} is at the gate"})
                gates.wait(call["gate"], later=call["later"])
            say(serve(application, call))
        except BaseException as error:
            say({"id": call["id"], "error": repr(error)})
            raise

    gates = Gates()
    everybody = threading.Barrier(threads)

    def warm_up() -> None:
        try:
            connection.ensure_connection()
        except Exception:
            everybody.abort()
            raise
        everybody.wait(timeout=30)

    with ThreadPoolExecutor(threads) as pool:
        for warm in [pool.submit(warm_up) for _ in range(threads)]:
            warm.result()
        first = {"id": "", "method": "GET", "path": "/api/v1/shop", "headers": {}, "body": ""}
        serve(application, first)
        say({"id": "ready"})
        for line in sys.stdin:
            order = json.loads(line)
            if "open" in order:
                gates.open(order["open"], order["moment"])
            else:
                pool.submit(run, order)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
