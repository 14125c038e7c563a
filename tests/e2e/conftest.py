"""A real browser (Debian's Chromium, driven by Playwright), and servers for clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from pytest_django.live_server_helper import LiveServer

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.support import BASE, WEBHOOK_SECRET

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launch(playwright: Playwright) -> Browser:
    # The same engine without the windows, which opens a page in a third of the time.
    executable = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if executable is None:
        pytest.skip("needs Chromium (Debian's package chromium-headless-shell or chromium)")
    return playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)


@pytest.fixture(scope="module")
def shared_browser() -> Iterator[Browser]:
    """A browser for all tests of a module that uses no database. See `page` for why."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page of a browser without any past.

    One browser a test: Playwright runs an event loop in this thread for as long as it lives, which
    Django takes for async code, and the tests after this one must not notice.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser.new_context().new_page()
        browser.close()
        # A connection that was opened while the loop ran is not seen once it has ended.
        connections.close_all()


@pytest.fixture
def sandbox(configure: Any) -> Iterator[SandboxServer]:
    """Stripe, over HTTP."""
    with SandboxServer(Sandbox()) as server:
        configure(STRIPE_API_BASE=server.url, STRIPE_TRANSPORT=None)
        yield server


@pytest.fixture
def shop(sandbox: SandboxServer, transactional_db: None) -> Iterator[str]:
    """The URL of a shop that gets the webhooks of `sandbox`."""
    server = LiveServer("127.0.0.1")
    sandbox.sandbox.add_webhook(f"{server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    yield server.url
    server.stop()
