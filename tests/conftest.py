"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.dispatch import Signal

from shop_payments import signals
from shop_payments.ledger.facts import SIGNALS
from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentIntent
from shop_payments.testing import StripeSandbox
from tests.books import AccountingOffice, assert_books_agree, hear_everything
from tests.factories import OrderFactory, TokenFactory
from tests.shop import DepositAdapter, Shop
from tests.stored import assert_only_codes_are_stored
from tests.support import Alteration, Caller, assert_state_follows_from_rows, issue_key

__all__ = ["issue_key"]

pytest_plugins = ["shop_payments.testing.plugin"]


@pytest.fixture(autouse=True)
def told_after_the_commit() -> Iterator[None]:
    """Whatever a test does: nobody is told what a rollback could still undo."""
    too_early: list[str] = []

    def receiver(*, order_payment: OrderPayment, data: dict[str, Any], **kwargs: Any) -> None:
        blocks = connection.atomic_blocks
        if not all(getattr(block, "_from_testcase", False) for block in blocks):
            too_early.append(f"{order_payment}: {data}")

    with connected(dict.fromkeys(SIGNALS.values(), receiver)):
        yield
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
        assert_only_codes_are_stored()


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


@pytest.fixture
def storefront(order: Order) -> Caller:
    """The customer's client: their token and the storefront's key."""
    token = TokenFactory.create(user=order.customer)
    return Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))


@pytest.fixture
def intent_id(storefront: Caller, order: Order, stripe: StripeSandbox) -> str:
    """The order's open payment intent; no webhook has come of it."""
    found: str = storefront.payment_intent(order).json()["data"]["id"]
    return found


@pytest.fixture
def intent(intent_id: str) -> PaymentIntent:
    """The row of the order's open payment intent."""
    return PaymentIntent.objects.get()


@pytest.fixture
def payment_system(db: None) -> Caller:
    """The payment system's client: a key and no user."""
    return Caller(key=issue_key(APIKeyScope.PAYMENTS))


# --- after "paid" -------------------------------------------------------------------------------


@pytest.fixture
def office(db: None) -> AccountingOffice:
    """A program whose key may refund."""
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


@pytest.fixture
def pay_order(
    storefront: Caller, order: Order, stripe: StripeSandbox, webhooks: Callable[[], int]
) -> Callable[..., OrderPayment]:
    """Take the order to paid, as a customer does, and return its payment."""

    def pay(payment_method: str = "pm_card_visa") -> OrderPayment:
        intent = storefront.payment_intent(order).json()["data"]
        stripe.pay(intent["id"], payment_method, deliver=False)
        webhooks()
        return OrderPayment.objects.get()

    return pay


@pytest.fixture
def paid(pay_order: Callable[..., OrderPayment]) -> OrderPayment:
    """The payment of an order of 112.00 usd that has been paid."""
    return pay_order()


@pytest.fixture
def authorized(
    configure: Callable[..., None], stripe: StripeSandbox, pay_order: Callable[..., OrderPayment]
) -> OrderPayment:
    """The payment of an order of 112.00 usd whose money is reserved."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    return pay_order()


@pytest.fixture
def open_shop(
    configure: Callable[..., None], stripe: StripeSandbox, webhooks: Callable[[], int]
) -> Iterator[Callable[..., Shop]]:
    """Build a shop with one order of the total that the test names; settings as keywords."""

    def build(total: int, *, currency: str = "usd", **settings: Any) -> Shop:
        path = f"{DepositAdapter.__module__}.{DepositAdapter.__name__}"
        configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": path, **settings})
        return Shop(stripe, total=total, currency=currency)

    yield build
    DepositAdapter.now = None


@pytest.fixture
def alter(configure: Callable[..., None], stripe: StripeSandbox) -> Iterator[Alteration]:
    """Change what Stripe answers, for one test."""
    alteration = Alteration(configure, stripe)
    yield alteration
    alteration.stop()


@pytest.fixture
def books_agree(stripe: StripeSandbox) -> Iterator[None]:
    """After the test, when every event has arrived, our books say what Stripe's do."""
    yield
    hear_everything(stripe)
    assert_books_agree(stripe)


Sent = list[tuple[str, dict[str, Any]]]
"""Signals that were sent, by name, with their data."""


@contextmanager
def connected(receivers: dict[Signal, Callable[..., None]]) -> Iterator[None]:
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    try:
        yield
    finally:
        for signal, receiver in receivers.items():
            signal.disconnect(receiver)


def _listen(*names: str) -> Iterator[Sent]:
    received: Sent = []

    def listener(name: str) -> Callable[..., None]:
        return lambda *, data, **_more: received.append((name, data))

    with connected({getattr(signals, name): listener(name) for name in names}):
        yield received


@pytest.fixture
def sent() -> Iterator[Sent]:
    """Every signal about money that is sent."""
    yield from _listen("payment_received", "order_paid", "order_refunded")


@pytest.fixture
def told() -> Iterator[Sent]:
    """Every signal that is sent after the payment."""
    yield from _listen(
        "order_refunded", "refund_failed", "dispute_opened", "dispute_closed", "review_needed"
    )


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

    with connected({signals.order_paid: receiver}):
        yield received


class Database:
    """The database of the settings, which a test may take away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.comes_back, self._change = monkeypatch.undo, monkeypatch.setitem

    def goes_away(self) -> None:
        connection.close()
        is_file = connection.vendor == "sqlite"
        lost = {"NAME": "/nowhere/at/all.sqlite3"} if is_file else {"HOST": "127.0.0.1", "PORT": 1}
        for name, value in lost.items():
            self._change(connection.settings_dict, name, value)


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
    return lambda line: record_property("figure", f"{line} ({connection.vendor})")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    passed = terminalreporter.stats.get("passed", [])
    found = [each for report in passed for each in report.user_properties]
    if lines := [value for name, value in found if name == "figure"]:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
