"""The same order, asked for by everybody at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
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


def test_sixteen_tabs_get_one_intent(storefront, order, stripe):
    calls = [
        lambda client=client: client.payment_intent(order) for client in copies(storefront, 16)
    ]

    answers = at_once(*calls)

    assert {response.status_code for response in answers} == {200}
    assert len({response.content for response in answers}) == 1
    assert len(intents_at_stripe(stripe)) == 1
    assert OrderPayment.objects.count() == PaymentIntent.objects.count() == 1


def test_sixteen_tabs_after_a_change_update_it_once(storefront, order, stripe):
    storefront.payment_intent(order)
    order.lines.update(quantity=3)
    calls = [
        lambda client=client: client.payment_intent(order) for client in copies(storefront, 16)
    ]

    answers = at_once(*calls)

    assert {response.json()["data"]["amount"] for response in answers} == {"168.00"}
    assert StripeAttempt.objects.filter(operation="update_intent").count() == 1


def test_a_second_tab_waits_for_a_slow_stripe(storefront, order, stripe):
    stripe.inject(Fault("latency", method="POST", seconds=0.5))
    first, second = copies(storefront, 2)

    answers = at_once(lambda: first.payment_intent(order), lambda: second.payment_intent(order))

    assert answers[0].content == answers[1].content
    assert [request.method for request in stripe.requests].count("POST") == 1


def test_a_second_tab_does_not_wait_for_ever(storefront, order, configure):
    """It asks Stripe itself in the end, which is at it still, and says so."""
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


def test_one_slow_order_does_not_hold_up_another(storefront, order, stripe, configure):
    """No lock is held and no transaction is open while Stripe is called.

    The slow order's answer is let go once the other order has its own.
    """
    other = OrderFactory.create(customer=order.customer)
    line = HeldLine(stripe)
    configure(STRIPE_TRANSPORT=line)
    first, second = copies(storefront, 2)

    slow, quick = line.meanwhile(
        lambda: first.payment_intent(order), lambda: second.payment_intent(other)
    )

    assert [slow.status_code, quick.status_code] == [200, 200]
    assert [made["metadata"]["order_id"] for made in intents_at_stripe(stripe)] == [
        str(order.pk),
        str(other.pk),
    ], "newest first: the slow one was served last"


@pytest.mark.parametrize("first", ["webhook", "payment", "both at once"])
def test_the_order_is_paid_once_whoever_comes_first(
    storefront, payment_system, order, stripe, paid_signals, first
):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    body = event_body(intent)

    def by_webhook() -> Any:
        return post_webhook(body, sign(body))

    def by_payment() -> Any:
        return payment_system.payment(order)

    if first == "both at once":
        answers = at_once(*[by_webhook, by_payment] * 4)
    else:
        pair = [by_webhook, by_payment] if first == "webhook" else [by_payment, by_webhook]
        answers = [call() for call in pair * 2]

    assert {response.status_code for response in answers} == {200}
    assert OrderPayment.objects.get().status == "paid"
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1
    assert len(paid_signals) == 1


def test_the_same_event_delivered_eight_times_at_once(storefront, order, stripe, paid_signals):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    body = event_body(intent)

    answers = at_once(*[lambda: post_webhook(body, sign(body))] * 8)

    assert {response.status_code for response in answers} == {200}
    assert len(paid_signals) == 1


def test_a_slower_delivery_that_fails_does_not_undo_a_quicker_one(
    storefront, order, stripe, configure
):
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

    def slow() -> Any:
        return post_webhook(body, sign(body))

    def quick() -> Any:
        slow_is_there.wait(5)
        response = post_webhook(body, sign(body))
        quick_is_done.set()
        return response

    configure(STRIPE_TRANSPORT=line)

    answers = at_once(slow, quick)

    assert [response.status_code for response in answers] == [200, 200]
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 1)


def test_the_webhook_overtakes_the_answer_to_the_create_call(storefront, order, stripe, webhooks):
    """Stripe's event arrives while our own call still waits for its answer."""
    stop = threading.Event()

    def deliver() -> None:
        while not stop.is_set():
            webhooks()
            time.sleep(0.01)

    def create() -> Any:
        try:
            return storefront.payment_intent(order)
        finally:
            time.sleep(0.1)
            stop.set()

    response, _nothing = at_once(create, deliver)

    assert response.status_code == 200
    assert PaymentIntent.objects.count() == 1
    assert stripe.pending_deliveries == []
