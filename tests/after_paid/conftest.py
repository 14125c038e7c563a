"""An order that has been paid, and who does what with its money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shop_payments import signals
from shop_payments.models import APIKeyScope, Order, OrderPayment
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import AccountingOffice, assert_books_agree, hear_everything
from tests.balance.conftest import open_shop, sent  # noqa: F401
from tests.conftest import issue_key
from tests.support import Caller


@pytest.fixture(autouse=True)
def books_agree(request: pytest.FixtureRequest) -> Iterator[None]:
    """When all is heard that there was to hear, our books say what Stripe's do. After each test."""
    stripe = None
    if "stripe" in request.fixturenames:
        stripe = request.getfixturevalue("stripe")
    yield
    if stripe is not None:
        hear_everything(stripe)
        assert_books_agree(stripe)


@pytest.fixture
def office(db: None) -> AccountingOffice:
    """A program whose key may give money back."""
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
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every signal that is sent after the payment, by name, with its data."""
    received: list[tuple[str, dict[str, Any]]] = []
    names = ("order_refunded", "refund_failed", "dispute_opened", "dispute_closed", "review_needed")
    receivers = []
    for name in names:

        def receiver(*, name: str = name, data: dict[str, Any], **kwargs: Any) -> None:
            received.append((name, data))

        receivers.append((getattr(signals, name), receiver))
        getattr(signals, name).connect(receiver)
    yield received
    for signal, receiver in receivers:
        signal.disconnect(receiver)
