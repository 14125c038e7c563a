"""Not one webhook arrives: one sweep finds all payments, in few calls.

A hundred orders are allowed five calls. ``RELIABILITY_LOST_ORDERS`` asks for another number of
orders.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, PaymentIntent, ReviewItem
from tests.factories import OrderFactory
from tests.reliability.__main__ import replay
from tests.support import pay, sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ORDERS = sized("RELIABILITY_LOST_ORDERS", sample=30, full=1000)
AGAIN = replay("lost", runs=ORDERS)


@pytest.mark.parametrize("by", ["events", "lists"])
def test_one_sweep_finds_all_payments(storefront, order, stripe, figure, paid_signals, by):
    if by == "events":
        assert storefront.payment_intent(order).status_code == 200
        reconcile()
    orders = [order, *(OrderFactory.create(customer=order.customer) for _ in range(ORDERS - 1))]
    for each in orders:
        assert storefront.payment_intent(each).status_code == 200
    for stripe_id in PaymentIntent.objects.values_list("stripe_id", flat=True):
        pay(stripe, stripe_id)
    assert not OrderPayment.objects.filter(status="paid").exists()
    stripe.requests.clear()
    started = time.monotonic()

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        report = reconcile()

    took, calls = time.monotonic() - started, stripe.requests
    assert {call.method for call in calls} == {"GET"}
    paths = Counter(call.path for call in calls)
    if by == "events":
        # The events, and the payments with their methods, which no event says.
        assert paths.pop("/v1/events") == -(-report.missed_events // 100)
        assert paths.pop("/v1/payment_intents") <= -(-ORDERS // 100) * 2
        assert not paths
        assert report.methods == ORDERS
    else:
        assert len(calls) <= -(-ORDERS // 100) * 5 + 1
    assert OrderPayment.objects.filter(status="paid").count() == len(paid_signals) == ORDERS
    assert ReviewItem.objects.count() == 0
    figure(
        f"{ORDERS} orders whose webhooks were all lost, by {by}: {report.missed_events} events,"
        f" {len(calls)} calls to Stripe, {took:.0f} s, 0 lost, 0 doubled"
    )
