"""Stripe over HTTP, on a socket."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shop_payments.sandbox import SandboxResponse, SandboxServer
from shop_payments.testing import StripeSandbox


@pytest.fixture
def over_http(configure):
    """Connect the app over HTTP with ``answer``, a function with the parameters of Sandbox.handle.

    ``answer`` returns a response or yields its bytes. Returns the list of the app's connections,
    which the server keeps alive.
    """
    connections: list[Any] = []
    answers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            connections.append(self.client_address)
            super().setup()

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            response = answers[-1](self.command, self.path, dict(self.headers), body)
            if not isinstance(response, SandboxResponse):
                self.close_connection = True
                with suppress(OSError):  # the client has disconnected
                    for part in response:
                        self.wfile.write(part)
                return
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    def serve(answer, **values):
        answers.append(answer)
        url = f"http://127.0.0.1:{server.server_port}"
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, **values)
        return connections

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serve
        server.shutdown()
        thread.join()


@pytest.fixture
def stripe_server(configure):
    """A sandbox on a socket, to which the app is connected."""
    with SandboxServer(StripeSandbox()) as server:
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=server.url, READ_TIMEOUT=5)
        yield server.sandbox
