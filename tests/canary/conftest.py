"""Fixtures of the canary tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shop_payments.sandbox import Sandbox, SandboxServer
from shop_payments.testing import StripeSandbox
from tests.canary.detector import Canary
from tests.canary.scene import Scene, reachable


@pytest.fixture
def stripe() -> Sandbox:
    return StripeSandbox()


@pytest.fixture
def canary(stripe: Sandbox) -> Iterator[Canary]:
    canary = Canary(stripe)
    with canary.trap.listening():
        yield canary


@pytest.fixture
def scene(
    db: None, canary: Canary, stripe: Sandbox, configure: Callable[..., None]
) -> Iterator[Scene]:
    """The app talks to Stripe over a socket."""
    with SandboxServer(stripe) as server:
        configure(**reachable(server.url))
        yield Scene(canary, stripe)
