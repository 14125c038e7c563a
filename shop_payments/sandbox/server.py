"""An HTTP server for the sandbox, on this machine only."""

from __future__ import annotations

import socket
import sys
import threading
from socketserver import BaseRequestHandler, TCPServer
from types import TracebackType
from typing import Any

from .sandbox import Sandbox
from .wire.http import HttpConnection, HttpError, HttpRequest
from .wire.loopback import is_loopback
from .wire.messages import SandboxResponse

DELIVERY_POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
"""Seconds for which `stop` waits for threads."""

MAX_CONNECTIONS = 512
"""Connections at once, each with a thread. Others wait until one ends.

While more than half are open, none is kept for further requests.
"""


class _Server(TCPServer):
    allow_reuse_address = True
    allow_reuse_port = False  # binding to a port in use must fail
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.is_stopping = False
        self._places = threading.Semaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    @property
    def is_crowded(self) -> bool:
        """Whether connections must not be kept open between requests."""
        return len(self._open) > MAX_CONNECTIONS // 2

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, as soon as there is a place."""
        while not self._places.acquire(timeout=DELIVERY_POLL_SECONDS):
            if self.is_stopping:
                self.shutdown_request(request)
                return
        with self._lock:
            self._open.add(request)
        threading.Thread(
            target=self._serve,
            args=(request, client_address),
            name="sandbox-connection",
            daemon=True,
        ).start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # a thread has no other place for it
            self.handle_error(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)
            self.shutdown_request(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback if the connection broke."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        """Close the open connections, which may wait for further requests."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseRequestHandler):
    """Logs nothing, because a request line may contain a client secret."""

    server: _Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = HttpConnection(self.request)
        try:
            while (request := connection.read()) is not None:
                response = self._answer(request)
                keep_alive = request.keep_alive and not self.server.is_crowded
                connection.write(response, keep_alive=keep_alive)
                if not keep_alive:
                    return
        except HttpError as error:
            connection.refuse(error)

    def _answer(self, request: HttpRequest) -> SandboxResponse:
        try:
            return self.server.sandbox.handle(
                request.method, request.target, request.headers, request.body
            )
        except OSError:  # a fault breaks the connection
            raise
        except Exception:  # a mistake in the sandbox must not look like a broken connection
            self.server.handle_error(self.request, self.client_address)
            text = b"The sandbox has made a mistake. See its output.\n"
            return SandboxResponse(500, {"content-type": "text/plain"}, text)


class SandboxServer:
    """A threaded HTTP server for a sandbox, with a thread that delivers its webhooks.

    It is a context manager.

    Raises:
        ValueError: `host` is not this machine.
    """

    def __init__(self, sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> None:
        if not is_loopback(host):
            raise ValueError(f"The sandbox listens on this machine only (127.0.0.1), not {host!r}.")
        self.sandbox = sandbox
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """The server's base address, for `STRIPE_API_BASE`.

        Raises:
            RuntimeError: the server is not running.
        """
        if self._server is None:
            raise RuntimeError("The sandbox server is not running; call start() first.")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_address[1]}"

    def start(self) -> None:
        """Start the threads and return.

        Raises:
            OSError: the port is in use.
            RuntimeError: the server is running.
        """
        if self._server is not None:
            raise RuntimeError("The sandbox server is running already.")
        server_class = _IPv6Server if ":" in self._host else _Server
        self._server = server_class((self._host, self._port), self.sandbox)
        self.sandbox.base_url = self.url
        self._stopping.clear()
        self._threads = [
            threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.05},
                name="sandbox-server",
                daemon=True,
            ),
            threading.Thread(target=self._deliver, name="sandbox-webhooks", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the server and its threads. Pending deliveries stay in the sandbox."""
        if self._server is None:
            return
        self._stopping.set()
        self._server.is_stopping = True
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        for thread in self._threads:
            thread.join(timeout=STOP_SECONDS)
        self._server = None

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _deliver(self) -> None:
        while not self._stopping.wait(DELIVERY_POLL_SECONDS):
            self.sandbox.deliver_in_background()
        self.sandbox.stop_delivering(STOP_SECONDS)
