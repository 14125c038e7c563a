"""Requests, webhooks, sweeps and purges at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from shop_payments import signals
from shop_payments.exceptions import GatewayUnavailable
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.maintenance.retention import PurgeReport, purge_personal_data
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Source,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_books_agree
from tests.factories import OrderFactory
from tests.support import Caller, answer, call_stripe, event_body, pay, post_webhook, sign
from tests.threads import HeldLine, Hold, at_once

pytestmark = pytest.mark.django_db(transaction=True)


def copies(caller: Caller, count: int) -> Sequence[Caller]:
    """Clients of the same customer, one for each thread."""
    clients = [Caller() for _ in range(count)]
    for client in clients:
        client.headers = dict(caller.headers)
    return clients


def intents_at_stripe(stripe: Any) -> list[dict[str, Any]]:
    intents: list[dict[str, Any]] = call_stripe(stripe, "GET", "payment_intents")["data"]
    return intents


# --- customers ----------------------------------------------------------------------------------


def test_sixteen_tabs_get_one_intent(storefront, order, stripe):
    calls = [lambda each=each: each.payment_intent(order) for each in copies(storefront, 16)]

    answers = at_once(*calls)

    assert {response.status_code for response in answers} == {200}
    assert len({response.content for response in answers}) == 1
    assert len(intents_at_stripe(stripe)) == 1
    assert OrderPayment.objects.count() == PaymentIntent.objects.count() == 1

    order.lines.update(quantity=3)
    answers = at_once(*calls)

    assert {response.json()["data"]["amount"] for response in answers} == {"168.00"}
    assert StripeAttempt.objects.filter(operation="update_intent").count() == 1


def test_a_second_tab_waits_for_a_slow_stripe(storefront, order, stripe):
    stripe.inject(Fault("latency", method="POST", seconds=0.5))
    first, second = copies(storefront, 2)

    answers = at_once(lambda: first.payment_intent(order), lambda: second.payment_intent(order))

    assert answers[0].content == answers[1].content
    assert [request.method for request in stripe.requests].count("POST") == 1


def test_a_second_tab_does_not_wait_forever(storefront, order, configure):
    """In the end it asks Stripe itself, which is still busy and says so."""
    pause = Hold()
    stripe = StripeSandbox(sleep=pause.hold)
    stripe.inject(Fault("latency", method="POST", seconds=1))
    configure(INTENT_WAIT_SECONDS=0.2, STRIPE_TRANSPORT=stripe.handle)
    first, second = copies(storefront, 2)

    slow, impatient = pause.meanwhile(
        lambda: first.payment_intent(order), lambda: second.payment_intent(order)
    )

    assert slow.status_code == 200
    assert answer(impatient) == (409, "payment_intent_in_progress")
    assert impatient["Retry-After"] == "1"
    assert len(intents_at_stripe(stripe)) == 1


def test_a_slow_order_does_not_delay_another(storefront, order, stripe, configure):
    """No lock is held and no transaction is open while Stripe is called."""
    other = OrderFactory.create(customer=order.customer)
    line = HeldLine(stripe)
    configure(STRIPE_TRANSPORT=line)
    first, second = copies(storefront, 2)

    slow, quick = line.meanwhile(
        lambda: first.payment_intent(order), lambda: second.payment_intent(other)
    )

    assert [slow.status_code, quick.status_code] == [200, 200]
    served = [made["metadata"]["order_id"] for made in intents_at_stripe(stripe)]
    assert served == [str(order.pk), str(other.pk)], "newest first: the slow one was served last"


# --- webhooks -----------------------------------------------------------------------------------


def test_an_order_is_paid_once_by_webhooks_and_calls(
    storefront, payment_system, order, stripe, paid_signals
):
    body = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))

    def by_webhook() -> Any:
        return post_webhook(body, sign(body))

    answers = at_once(*[by_webhook, lambda: payment_system.payment(order)] * 4)

    assert {response.status_code for response in answers} == {200}
    assert OrderPayment.objects.get().status == "paid"
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1
    assert len(paid_signals) == 1
    assert WebhookEvent.objects.count() == 1


def test_a_slow_delivery_that_fails_does_not_undo_a_quick_one(storefront, order, stripe, configure):
    """Found: the event was marked as failed, and Stripe was asked to send it again."""
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    body = event_body({**intent, "status": "processing"})
    slow_is_there, quick_is_done = threading.Event(), threading.Event()

    def line(*request: Any) -> Any:
        if slow_is_there.is_set():
            return stripe.handle(*request)
        slow_is_there.set()
        quick_is_done.wait(5)
        raise ConnectionError

    def quick() -> Any:
        slow_is_there.wait(5)
        response = post_webhook(body, sign(body))
        quick_is_done.set()
        return response

    configure(STRIPE_TRANSPORT=line)

    answers = at_once(lambda: post_webhook(body, sign(body)), quick)

    assert [response.status_code for response in answers] == [200, 200]
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 1)


# --- sweeps and purges --------------------------------------------------------------------------


def sweeps(count: int) -> list[Any]:
    """So many sweeps at once, a little later."""
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=3)):
        since = timezone.now() - timedelta(hours=72)
        return at_once(*[lambda: reconcile(since=since)] * count)


def test_sweeps_at_once_double_nothing(storefront, payment_system, order, stripe, paid_signals):
    refunded: list[Any] = []

    def receiver(*, data: Any, **kwargs: Any) -> None:
        refunded.append(data)

    signals.order_refunded.connect(receiver)
    try:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        payment_system.payment(order)
        others = [OrderFactory.create(customer=order.customer) for _ in range(3)]
        stripe.inject(Fault("drop_after", path="/v1/payment_intents", method="POST", times=1))
        for other in others:
            storefront.payment_intent(other)
        for row in PaymentIntent.objects.open():
            pay(stripe, row.stripe_id)
        stripe.inject(Fault("drop_after", path="/v1/refunds"))
        with pytest.raises(GatewayUnavailable):
            refund_payment(
                order_id=order.pk,
                request=RefundRequest(key="k"),
                origin=Origin(source=Source.API),
            )
        PaymentHistory.objects.update_dispatched_at(None)
        paid_signals.clear()

        results = sweeps(3)
    finally:
        signals.order_refunded.disconnect(receiver)

    assert all(isinstance(result, Report) for result in results), results
    assert len(intents_at_stripe(stripe)) == 4
    assert (len(paid_signals), len(refunded)) == (3, 1)
    assert_books_agree(stripe)


def test_sweeps_at_once_try_an_event_once(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    body = event_body(pay(stripe, intent_id, "pm_card_authenticationRequired"))
    stripe.inject(Fault("drop_before", method="GET"))
    assert post_webhook(body, sign(body)).status_code == 503

    reports = sweeps(3)

    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 2)
    assert sum(report.events for report in reports) == 1


def test_purges_at_once_share_the_rows(storefront, order, stripe):
    long_ago = datetime.now(UTC) - timedelta(days=200)
    with time_machine.travel(long_ago):
        for _ in range(10):
            each = OrderFactory.create(customer=order.customer)
            body = event_body(pay(stripe, storefront.payment_intent(each).json()["data"]["id"]))
            assert post_webhook(body, sign(body)).status_code == 200

    reports = at_once(*[lambda: purge_personal_data(batch_size=3)] * 2)

    assert all(isinstance(report, PurgeReport) for report in reports), reports
    assert sum(report.events for report in reports) == 10
    # A payment that the other purge has locked is skipped, and found by the next run.
    last = purge_personal_data()
    assert sum(report.attempts for report in reports) + last.attempts == 10
    assert not WebhookEvent.objects.filter(purged_at=None).exists()
    assert not StripeAttempt.objects.filter(purged_at=None).exists()
