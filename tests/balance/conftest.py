"""A shop whose order can be of any total, with webhooks that arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shop_payments import signals
from shop_payments.testing import StripeSandbox
from tests.balance.shop import DepositAdapter, Shop

Sent = list[tuple[str, dict[str, Any]]]


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
def sent() -> Iterator[Sent]:
    """Every signal about money that is sent, by name, with its data."""
    received: Sent = []
    names = ("payment_received", "order_paid", "order_refunded")
    receivers = []
    for name in names:

        def receiver(*, name: str = name, data: dict[str, Any], **kwargs: Any) -> None:
            received.append((name, data))

        receivers.append((getattr(signals, name), receiver))
        getattr(signals, name).connect(receiver)
    yield received
    for signal, receiver in receivers:
        signal.disconnect(receiver)
