"""The payment of an order that never held money is deleted, and no other."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import ProtectedError

from shop_payments.exceptions import (
    GatewayUnavailable,
    PaymentNotDeletable,
    TransactionOpenError,
)
from shop_payments.models import OrderPayment, ReviewItem, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services import delete_payment, refund_payment
from shop_payments.services.refund_payment import RefundRequest
from tests.books import STAFF, sweep
from tests.support import call_stripe, debit, pay

pytestmark = pytest.mark.django_db


def delete(order):
    return delete_payment(order_id=order.pk, origin=STAFF)


@pytest.fixture
def intent_id(storefront, order, stripe):
    return storefront.payment_intent(order).json()["data"]["id"]


def status_at_stripe(stripe, intent_id):
    return call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["status"]


def test_the_intent_is_cancelled_and_the_order_can_be_deleted(
    order, intent_id, stripe, webhooks, caplog
):
    caplog.set_level("INFO", "shop_payments")
    with pytest.raises(ProtectedError):
        order.delete()

    assert delete(order)

    assert status_at_stripe(stripe, intent_id) == "canceled"
    assert f"Payment deleted: order={order.pk} source=admin by=staff 1" in caplog.text
    assert not delete(order)
    webhooks()  # about an intent that is not known any more
    sweep()
    assert not OrderPayment.objects.exists()
    assert not ReviewItem.objects.exists()
    order.delete()


def test_a_declined_payment_is_deleted_and_the_customer_may_begin_again(
    order, intent_id, stripe, webhooks, storefront
):
    pay(stripe, intent_id, "pm_card_chargeDeclined")
    webhooks()

    assert delete(order)

    created = storefront.payment_intent(order)
    assert created.status_code == 200
    assert created.json()["data"]["id"] != intent_id


@pytest.mark.parametrize("how", ["paid", "refunded", "processing", "authorized"])
def test_a_payment_with_money_stays(order, stripe, storefront, webhooks, configure, how):
    if how == "authorized":
        configure(CAPTURE_METHOD="manual")
    elif how == "processing":
        configure(ALLOWED_PAYMENT_METHOD_TYPES=["us_bank_account"])
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    if how == "processing":
        debit(stripe, intent_id, "pm_usBankAccount_processing")
    else:
        pay(stripe, intent_id)
    webhooks()
    if how == "refunded":
        request = RefundRequest(amount_decimal=Decimal(112), key="a")
        refund_payment(order_id=order.pk, request=request, origin=STAFF)

    with pytest.raises(PaymentNotDeletable):
        delete(order)

    assert OrderPayment.objects.get().payment_intents.get().stripe_id == intent_id
    assert status_at_stripe(stripe, intent_id) != "canceled"


def test_money_that_arrives_meanwhile_stays(order, intent_id, stripe):
    """The webhook is late: the row says unpaid, and Stripe says succeeded."""
    pay(stripe, intent_id)

    with pytest.raises(Exception, match="paid"):
        delete(order)

    assert OrderPayment.objects.get().status == "paid"


def test_a_write_without_a_known_outcome_stays(order, storefront, stripe):
    stripe.inject(Fault("drop_after", method="POST", times=None))
    assert storefront.payment_intent(order).status_code == 503
    stripe.clear_faults()

    with pytest.raises(PaymentNotDeletable, match="not known yet"):
        delete(order)
    sweep()
    assert delete(order)
    assert not StripeAttempt.objects.exists()


def test_stripe_is_unreachable(order, intent_id, stripe):
    stripe.inject(Fault("drop_before", times=None))

    with pytest.raises(GatewayUnavailable):
        delete(order)

    assert OrderPayment.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_open_intent_is_not_cancelled_inside_a_transaction(order, intent_id):
    with pytest.raises(TransactionOpenError), transaction.atomic():
        delete(order)
    assert OrderPayment.objects.exists()
