"""Stripe behind a socket."""

from __future__ import annotations

import pytest

from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.gateway.support import (
    http_server,
)


@pytest.fixture
def over_http(configure):
    """Have the app talk HTTP to ``answer``; returns the connections that were accepted."""
    with_servers = []

    def serve(answer, **values):
        context = http_server(answer)
        url, connections = context.__enter__()
        with_servers.append(context)
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, **values)
        return connections

    yield serve
    for context in with_servers:
        context.__exit__(None, None, None)


@pytest.fixture
def stripe_server(configure):
    """A sandbox on a socket; the app talks to it."""
    with SandboxServer(StripeSandbox()) as server:
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=server.url, READ_TIMEOUT=5)
        yield server.sandbox
