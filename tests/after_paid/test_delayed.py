"""Bank debits: the money is on its way for days, and may not come after all."""

from __future__ import annotations

import pytest

from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent
from tests.support import answer
from tests.support import debit as debit_at_stripe

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = 5 * 24 * 60 * 60


@pytest.fixture
def debit(configure, stripe, storefront, order, webhooks):
    """Have the customer pay by bank debit."""
    types = ["card", "us_bank_account"]
    configure(**{**stripe.shop_payments(), "ALLOWED_PAYMENT_METHOD_TYPES": types})

    def pay(payment_method: str) -> str:
        intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
        assert debit_at_stripe(stripe, intent_id, payment_method)["status"] == "processing"
        webhooks()
        return intent_id

    return pay


def test_money_on_its_way_is_neither_paid_nor_payable(
    debit, storefront, payment_system, office, order, paid_signals
):
    debit("pm_usBankAccount_success")

    assert OrderPayment.objects.get().status == "pending"
    assert paid_signals == []
    assert answer(storefront.payment_intent(order)) == (409, "payment_processing")
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert answer(office.refund(order)) == (409, "order_not_refundable")
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


def test_the_bank_pays_days_later(debit, stripe, webhooks, paid_signals):
    debit("pm_usBankAccount_success")

    stripe.advance_clock(DAYS)
    webhooks()

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_a_late_failure_opens_the_order_again(
    debit, storefront, order, stripe, webhooks, paid_signals
):
    intent_id = debit("pm_usBankAccount_insufficientFunds")

    stripe.advance_clock(DAYS)
    webhooks()
    again = storefront.payment_intent(order)

    assert OrderPayment.objects.get().status == "unpaid"
    assert (again.status_code, again.json()["data"]["id"]) == (200, intent_id)
    assert "insufficient funds" in PaymentHistory.objects.get(kind="payment_failed").sentence
    stripe.pay(intent_id, deliver=False)
    webhooks()
    assert OrderPayment.objects.get().status == "paid"
    assert PaymentIntent.objects.count() == len(paid_signals) == 1
