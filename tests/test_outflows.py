"""What has gone back of a payment before the payment is known here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from shop_payments import signals
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment
from shop_payments.sandbox import Fault
from tests.support import call_stripe, pay, releases_heard

pytestmark = pytest.mark.django_db


def sweep() -> Any:
    return reconcile(since=timezone.now() - timedelta(days=1))


@pytest.fixture
def refunded(storefront, order, stripe) -> str:
    """A payment that was made and refunded in the dashboard, and no webhook has come."""
    intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    return intent_id


NOT_RELEASED = {"payment_received": False, "order_paid": False, "order_refunded": False}


def test_a_sweep_releases_nothing_that_was_refunded_meanwhile(refunded):
    with releases_heard() as heard:
        sweep()

    assert heard == NOT_RELEASED
    assert OrderPayment.objects.get().status == "refunded"


def test_call_3_releases_nothing_that_was_refunded_meanwhile(refunded, order, payment_system):
    with releases_heard() as heard:
        payment_system.payment(order)

    assert heard == NOT_RELEASED


def test_a_thin_event_releases_nothing_that_was_refunded_meanwhile(
    storefront, order, stripe, webhooks
):
    stripe.inject(Fault("webhook_thin", times=None))
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    with releases_heard() as heard:
        webhooks()

    assert heard == NOT_RELEASED


def test_an_answer_that_was_lost_releases_nothing_that_was_refunded_meanwhile(
    storefront, order, stripe
):
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    storefront.payment_intent(order)
    [intent] = call_stripe(stripe, "GET", "payment_intents")["data"]
    pay(stripe, intent["id"])
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"])

    with releases_heard() as heard:
        sweep()

    assert heard == NOT_RELEASED


def test_the_shop_knows_of_a_dispute_when_it_is_notified_of_the_payment(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id, "pm_card_createDispute")
    heard = []

    def hear(*, order_payment: OrderPayment, **_data: Any) -> None:
        heard.append(OrderPayment.objects.get(pk=order_payment.pk).dispute_state)

    signals.order_paid.connect(hear)
    sweep()
    signals.order_paid.disconnect(hear)

    assert heard == ["open"]


def test_a_payment_is_written_with_its_refunds_or_not_at_all(refunded, stripe):
    stripe.inject(Fault("error", status=500, method="GET", path="/v1/refunds", times=9))

    with releases_heard() as heard:
        assert sweep().problems
    assert heard == {}
    assert OrderPayment.objects.get().status == "unpaid"

    stripe.clear_faults()
    with releases_heard() as heard:
        sweep()
    assert heard == NOT_RELEASED


def test_nothing_is_listed_of_a_payment_that_nothing_was_returned_of(
    storefront, order, stripe, payment_system
):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    asked = len(stripe.requests)

    payment_system.payment(order)

    assert len(stripe.requests) == asked + 1
