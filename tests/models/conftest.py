"""Fixtures of the tests of models."""

from __future__ import annotations

import pytest

from shop_payments.models import Order, OrderPayment


@pytest.fixture
def payment(order: Order) -> OrderPayment:
    return OrderPayment.objects.create(order=order)
