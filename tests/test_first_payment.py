"""An order goes from created to paid, through HTTP, each way and every way at once."""

from __future__ import annotations

import pytest

from shop_payments.models import OrderPayment

pytestmark = pytest.mark.django_db


def confirm(stripe, intent_id, method="pm_card_visa"):
    """Pay as a customer's browser would."""
    return stripe.handle(
        "POST",
        f"/v1/payment_intents/{intent_id}/confirm",
        {"Authorization": "Bearer sk_test_of_the_tests"},
        f"payment_method={method}",
    )


def test_it_creates_an_intent(storefront, order, stripe):
    response = storefront.payment_intent(order)
    assert response.status_code == 200, response.json()
    print(response.json())


def test_the_webhook_alone_pays(storefront, order, stripe, webhooks, paid_signals):
    intent = storefront.payment_intent(order).json()["data"]
    assert confirm(stripe, intent["id"]).status == 200
    assert webhooks() == 2
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_post_payment_alone_pays(storefront, order, stripe, payment_system, paid_signals):
    intent = storefront.payment_intent(order).json()["data"]
    confirm(stripe, intent["id"])
    response = payment_system.payment(order)
    assert response.status_code == 200, response.json()
    assert OrderPayment.objects.get().status == "paid"
    assert payment_system.payment(order).json() == response.json()
    assert len(paid_signals) == 1
