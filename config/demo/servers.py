"""The shop on a port of this machine, and the settings that make it talk to the sandbox."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.servers.basehttp import (
    ThreadedWSGIServer,
    WSGIRequestHandler,
    get_internal_wsgi_application,
)
from django.core.signals import setting_changed

from shop_payments.sandbox import Sandbox, SandboxServer

HOST = "127.0.0.1"


class _Server(ThreadedWSGIServer):
    block_on_close = False
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking DNS for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    """Say nothing of requests: the screen belongs to the demo."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def port_option(option: str, port: int) -> Iterator[None]:
    """Say of a port that cannot be listened on which option names another one."""
    try:
        yield
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Cannot listen on port {port} ({error}). Choose another one with {option}."
        ) from error


@contextmanager
def serve_sandbox(port: int) -> Iterator[SandboxServer]:
    """Run a new sandbox, with nothing in it, on ``port`` (0 for any)."""
    server = SandboxServer(Sandbox(), HOST, port)
    with port_option("--sandbox-port", port):
        server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def serve_shop(port: int) -> Iterator[str]:
    """Run the project in threads on ``port`` (0 for any); yield its base address.

    The port is taken at once; requests are answered as soon as somebody sends one.
    """
    with port_option("--port", port):
        server = _Server((HOST, port), _QuietHandler)
    server.set_app(get_internal_wsgi_application())
    # A refused request is its caller's business; only what breaks is shown here.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="shop", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def use_sandbox(url: str) -> None:
    """Point the app at the sandbox, with secrets that nobody else knows.

    They replace whatever the environment says, so no key of an account is ever used.
    """
    value = {
        "STRIPE_SECRET_KEY": f"sk_test_demo{secrets.token_hex(12)}",
        "STRIPE_PUBLISHABLE_KEY": f"pk_test_demo{secrets.token_hex(12)}",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(24)}",
        "STRIPE_API_BASE": url,
        "ORDER_ADAPTER": "config.demo.shop.DemoAdapter",
        "THROTTLE_RATES": settings.SHOP_PAYMENTS["THROTTLE_RATES"],
    }
    settings.SHOP_PAYMENTS = value
    setting_changed.send(sender=None, setting="SHOP_PAYMENTS", value=value, enter=True)
