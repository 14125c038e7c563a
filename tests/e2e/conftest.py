"""A real browser (Debian's Chromium, driven by Playwright), and servers for clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from playwright.sync_api import Browser, Page, sync_playwright
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


@pytest.fixture(scope="package")
def shared_browser() -> Iterator[Browser]:
    """The browser of all tests of this directory.

    Playwright runs an event loop in this thread for as long as it lives. Django takes that for
    async code, and keeps its connections apart from those of the time without a loop.
    """
    # The same engine without windows, which opens a page in a third of the time.
    executable = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if executable is None:
        pytest.skip("needs Chromium (Debian's package chromium-headless-shell or chromium)")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
        connections.close_all()


@pytest.fixture
def page(shared_browser: Browser, transactional_db: None) -> Iterator[Page]:
    """A page of a profile without any past."""
    yield shared_browser.new_context().new_page()
    for context in shared_browser.contexts:
        context.close()


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
