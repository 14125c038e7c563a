"""The flow of docs/api.md against Stripe's own test mode, over the network.

Run with ``STRIPE_SECRET_KEY=sk_test_… pytest -m stripe_live``; skipped, by name, without a key.
``STRIPE_API_BASE`` may point at a running sandbox instead, to try the tests themselves.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import requests

from shop_payments.models import OrderPayment
from tests.support import answer

KEY = os.environ.get("STRIPE_SECRET_KEY", "")
API_BASE = os.environ.get("STRIPE_API_BASE", "https://api.stripe.com")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.stripe_live,
    pytest.mark.skipif(
        not KEY.startswith(("sk_test_", "rk_test_")), reason="needs STRIPE_SECRET_KEY=sk_test_…"
    ),
]


@pytest.fixture(autouse=True)
def real_stripe(configure: Any) -> None:
    configure(STRIPE_SECRET_KEY=KEY, STRIPE_API_BASE=API_BASE, STRIPE_TRANSPORT=None)


def at_stripe(path: str, **params: str) -> dict[str, Any]:
    """The curl call of docs/api.md, "2. Pay it"."""
    url, headers = f"{API_BASE}/v1/payment_intents/{path}", {"Authorization": f"Bearer {KEY}"}
    values: dict[str, Any] = requests.post(url, data=params, headers=headers, timeout=30).json()
    return values


def test_a_changed_order_is_paid_after_a_declined_card(storefront, payment_system, order):
    created = storefront.payment_intent(order).json()["data"]
    assert created["status"] == "requires_payment_method"
    declined = at_stripe(f"{created['id']}/confirm", payment_method="pm_card_chargeDeclined")
    assert declined["error"]["decline_code"] == "generic_decline"
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    order.lines.update(quantity=3)
    updated = storefront.payment_intent(order).json()["data"]
    assert (updated["id"], updated["amount"]) == (created["id"], "168.00")

    attached = at_stripe(created["id"], payment_method="pm_card_visa")
    assert attached["status"] == "requires_confirmation"
    assert attached["payment_method_types"] == ["card"]
    assert attached["description"] == f"Payment for Order #{order.number}"
    assert attached["metadata"]["order_number"] == order.number
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")

    confirmed = at_stripe(f"{created['id']}/confirm")
    assert confirmed["status"] == "succeeded"
    assert payment_system.payment(order).json()["data"]["status"] == "succeeded"
    assert OrderPayment.objects.get().status == "paid"
