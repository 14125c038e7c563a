"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from shop_payments import signals
from shop_payments.ledger.facts import SIGNALS
from shop_payments.models import APIKey, APIKeyScope, Order, OrderPayment
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, assert_state_follows_from_rows

pytest_plugins = ["shop_payments.testing.plugin"]


@pytest.fixture(autouse=True)
def told_after_the_commit() -> Iterator[None]:
    """Whatever a test does: nobody is told what a rollback could still undo."""
    too_early: list[str] = []

    def receiver(*, order_payment: OrderPayment, data: dict[str, Any], **kwargs: Any) -> None:
        blocks = connection.atomic_blocks
        if not all(getattr(block, "_from_testcase", False) for block in blocks):
            too_early.append(f"{order_payment}: {data}")

    for signal in SIGNALS.values():
        signal.connect(receiver)
    yield
    for signal in SIGNALS.values():
        signal.disconnect(receiver)
    assert not too_early


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Change some keys of SHOP_PAYMENTS for one test."""

    def change(**values: Any) -> None:
        settings.SHOP_PAYMENTS = {**django_settings.SHOP_PAYMENTS, **values}

    return change


@pytest.fixture
def stripe(
    request: pytest.FixtureRequest, stripe_sandbox: StripeSandbox
) -> Iterator[StripeSandbox]:
    """What shops get as ``stripe_sandbox``, and no webhooks without the fixture `webhooks`.

    Whatever a test does with it: in the end, every order's state is computed anew from its rows.
    """
    has_rows = "db" in request.fixturenames or request.node.get_closest_marker("django_db")
    if has_rows:
        request.getfixturevalue("db")  # so that it is there for as long as this one
    stripe_sandbox.disconnect_webhooks()
    yield stripe_sandbox
    if has_rows and not request.node.get_closest_marker("by_hand"):
        assert_state_follows_from_rows()


@pytest.fixture
def webhooks(stripe: StripeSandbox) -> Callable[[], int]:
    """Have Stripe deliver its events to the app, when called; returns the number of deliveries."""
    stripe.connect_webhooks()
    return stripe.deliver_due


@pytest.fixture
def order(db: None) -> Order:
    """An open order of a customer, 112.00 usd."""
    order: Order = OrderFactory.create()
    return order


def issue_key(*scopes: APIKeyScope) -> str:
    _key, secret = APIKey.objects.issue(label="tests", scopes=[str(scope) for scope in scopes])
    return secret.reveal()


@pytest.fixture
def storefront(order: Order) -> Caller:
    """The customer's client: their token and the storefront's key."""
    token = TokenFactory.create(user=order.customer)
    return Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))


@pytest.fixture
def payment_system(db: None) -> Caller:
    """The payment system's client: a key and no user."""
    return Caller(key=issue_key(APIKeyScope.PAYMENTS))


@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request of this test has to wait for another one."""

    def wait_for(*args: Any) -> None:
        raise AssertionError("a request waits for another one")

    monkeypatch.setattr("shop_payments.outbox.turns.WaitBudget.wait_for", wait_for)


@pytest.fixture
def paid_signals() -> Iterator[list[dict[str, Any]]]:
    """Every ``order_paid`` that is sent, with its arguments."""
    received: list[dict[str, Any]] = []

    def receiver(**kwargs: Any) -> None:
        received.append(kwargs)

    signals.order_paid.connect(receiver)
    yield received
    signals.order_paid.disconnect(receiver)


class Database:
    """The database of the settings, which a test may take away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def goes_away(self) -> None:
        connection.close()
        lost: dict[str, Any] = {"HOST": "127.0.0.1", "PORT": "1"}
        if connection.vendor == "sqlite":
            lost = {"NAME": "/nowhere/at/all.sqlite3"}
        for name, value in lost.items():
            self._monkeypatch.setitem(connection.settings_dict, name, value)

    def comes_back(self) -> None:
        self._monkeypatch.undo()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Take the database away and bring it back."""
    database = Database(monkeypatch)
    yield database
    database.comes_back()


# --- figures ------------------------------------------------------------------------------------


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a figure that was measured; each is a line at the end of the run."""
    return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
