"""Not one webhook arrives, for a thousand orders: one sweep finds all that was paid, in few calls.

A hundred orders are allowed five calls. ``RELIABILITY_LOST_ORDERS`` asks for another number of
orders. Nothing here is drawn, so there is no seed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, PaymentIntent, ReviewItem
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory
from tests.reliability.__main__ import replay
from tests.support import pay, sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ORDERS = sized("RELIABILITY_LOST_ORDERS", sample=120, full=1000)
AGAIN = replay("lost", runs=ORDERS)


@pytest.fixture
def stripe(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    return stripe_sandbox


def test_one_sweep_finds_what_no_webhook_has_told(storefront, order, stripe, figure, paid_signals):
    orders = [order, *(OrderFactory.create(customer=order.customer) for _ in range(ORDERS - 1))]
    for each in orders:
        assert storefront.payment_intent(each).status_code == 200
    for stripe_id in PaymentIntent.objects.values_list("stripe_id", flat=True):
        pay(stripe, stripe_id)
    assert not OrderPayment.objects.filter(status="paid").exists()
    before = len(stripe.requests)

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        report = reconcile(since=datetime.now(UTC) - timedelta(hours=72))

    calls = stripe.requests[before:]
    assert {call.method for call in calls} == {"GET"}
    assert report.pages == len(calls) <= -(-ORDERS // 100) * 5
    assert OrderPayment.objects.filter(status="paid").count() == ORDERS
    assert len(paid_signals) == ORDERS
    assert ReviewItem.objects.count() == 0
    figure(
        f"{ORDERS} orders whose webhooks were all lost: {len(calls)} list calls to Stripe, 0 lost,"
        f" 0 doubled ({connection.vendor})"
    )
