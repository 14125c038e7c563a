from __future__ import annotations

from collections.abc import Iterator

import pytest

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox.support import Api, Clock, Receiver

URL = "http://127.0.0.1:9/webhooks"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock=clock, seed=1)


@pytest.fixture
def api(sandbox: Sandbox) -> Api:
    return Api(sandbox)


@pytest.fixture
def receiver(sandbox: Sandbox) -> Receiver:
    """A webhook endpoint for all events."""
    receiver = Receiver()
    sandbox.add_webhook(URL, "whsec_test", deliver=receiver)
    return receiver


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox()) as server:
        yield server
