"""The sandbox on a socket of this machine."""

from __future__ import annotations

import socket
import sys
import threading
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from .sandbox import Sandbox
from .wire.loopback import is_loopback

DELIVERY_POLL_SECONDS = 0.05


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_port = False  # a port that is taken must be refused

    def server_bind(self) -> None:
        """Bind without asking DNS for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """Say nothing: a request line may hold what belongs in no log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def get_environ(self) -> dict[str, Any]:
        """Keep the path as it was sent, and no header that would pass for another one.

        In an environ `Idempotency_Key` is `Idempotency-Key`; Stripe does not know the former.
        """
        for name in {name for name in self.headers if "_" in name}:
            del self.headers[name]
        return {**super().get_environ(), "RAW_URI": self.path}


class SandboxServer:
    """A threaded HTTP server for a sandbox, with a thread that delivers its webhooks.

    Usable as a context manager.

    Raises:
        ValueError: for a host that is not this machine.
    """

    def __init__(self, sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> None:
        if not is_loopback(host):
            raise ValueError(f"The sandbox serves this machine only (127.0.0.1), not {host!r}.")
        self.sandbox = sandbox
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Base address, for STRIPE_API_BASE.

        Raises:
            RuntimeError: before `start`.
        """
        if self._server is None:
            raise RuntimeError("The sandbox server is not running; call start() first.")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_port}"

    def start(self) -> None:
        """Listen and return at once.

        Raises:
            OSError: if the port is taken.
            RuntimeError: if it was started already.
        """
        if self._server is not None:
            raise RuntimeError("The sandbox server is running already.")
        server_class = _IPv6Server if ":" in self._host else _Server
        self._server = server_class((self._host, self._port), _QuietHandler)
        self._server.set_app(self.sandbox.wsgi_app)
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
        """Stop listening and delivering; what waits for delivery stays with the sandbox."""
        if self._server is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(timeout=5)
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
            self.sandbox.deliver_due()
