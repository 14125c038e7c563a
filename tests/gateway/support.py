"""What the tests of the gateway share."""

from __future__ import annotations

import threading
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from shop_payments.exceptions import (
    GatewayError,
)
from shop_payments.gateway import get_gateway

PARAMS: dict[str, Any] = {
    "amount": 11200,
    "currency": "usd",
    "description": "Payment for Order #1",
    "metadata": {"order_id": "1", "attempt_id": "an-attempt"},
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}


def new_key() -> str:
    return str(uuid4())


def create(**changes):
    return get_gateway().create_payment_intent({**PARAMS, **changes}, idempotency_key=new_key())


@contextmanager
def http_server(answer):
    """A server that keeps connections alive; ``answer`` takes what ``Sandbox.handle`` takes."""
    connections = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            connections.append(self.client_address)
            super().setup()

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            response = answer(self.command, self.path, dict(self.headers), body)
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", connections
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(expected: type[GatewayError], call) -> GatewayError:
    """Call; return the exception, which is of exactly this class."""
    with pytest.raises(GatewayError) as failure:
        call()
    assert type(failure.value) is expected, repr(failure.value)
    return failure.value


def facts(error: GatewayError) -> tuple[bool, bool, int, str]:
    return error.retryable, error.effect_unknown, error.http_status, error.code


def confirm(intent_id, method):
    return get_gateway().confirm_payment_intent(
        intent_id, payment_method=method, idempotency_key=new_key()
    )


def all_of(error: BaseException) -> str:
    """What an error reporter prints: the traceback with the variables of the app's frames."""
    assert error.__traceback__ is not None
    below_the_test = error.__traceback__.tb_next
    report = traceback.TracebackException(type(error), error, below_the_test, capture_locals=True)
    return "".join(report.format())


def pairs(**values_by_name: list[Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in values_by_name.items() for value in values]
