"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from shop_payments.models import Order, PaymentIntent
from shop_payments.testing import StripeSandbox
from tests.support import Caller


@pytest.fixture
def intent(storefront: Caller, order: Order, stripe: StripeSandbox) -> PaymentIntent:
    """The open intent of the order."""
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()
