"""Fixtures of the canary tests."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox
from tests.canary.detector import NEW_KEY, Canary
from tests.canary.scene import Scene, reachable


@pytest.fixture
def stripe() -> StripeSandbox:
    return StripeSandbox()


@pytest.fixture
def canary(stripe: StripeSandbox) -> Iterator[Canary]:
    canary = Canary(stripe)
    with canary.trap.listening():
        yield canary


@pytest.fixture
def scene(
    db: None, canary: Canary, stripe: StripeSandbox, configure: Callable[..., None]
) -> Iterator[Scene]:
    """The app talks to Stripe over a socket."""
    with SandboxServer(stripe) as server:
        configure(**reachable(server.url))
        yield Scene(canary, stripe)


@pytest.fixture
def new_secret(scene: Scene, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> str:
    """The random part of the keys that are issued from now on."""
    secret = canary.learn(NEW_KEY, "NewKeyOfTheCanary-0123456789_abcdefghij3rT5w")
    # Not a function of the tests: what is sealed must not call one.
    monkeypatch.setattr(secrets, "token_urlsafe", {32: secret}.__getitem__)
    return secret
