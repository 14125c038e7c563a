"""Money of a payment intent that was cancelled after a partial capture is not forgotten."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import permutations

import pytest
from django.utils import timezone

from shop_payments.exceptions import OrderNotRefundable
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, PaymentIntent, ReviewItem
from shop_payments.sandbox import Fault, SandboxResponse
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.after_paid.support import refund_in_dashboard, refunds_at_stripe
from tests.balance.shop import STAFF
from tests.support import answer, call_stripe, post_webhook, sign

pytestmark = pytest.mark.django_db(transaction=True)

TOTAL, CAPTURED = 11200, 7000


@pytest.fixture
def cancelled(configure, stripe, storefront, order):
    """Capture a part of an order's authorization in several steps, then cancel. Nobody is told."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    stripe.pay(intent_id, deliver=False)
    stripe.capture_part(intent_id, 4000)
    stripe.capture_part(intent_id, 3000)
    intent = call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    assert (intent["status"], intent["amount_received"]) == ("canceled", CAPTURED)
    return intent_id


def assert_in_review(storefront, payment_system, order, intent_id, stripe):
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("unpaid", True)
    assert (payment.amount_uncounted, payment.amount_received) == (CAPTURED, 0)
    item = ReviewItem.objects.open().get()
    assert (item.reason, item.data["amount"]) == ("uncounted", CAPTURED)
    assert item.detail == (
        f"70.00 USD received with {intent_id}, and then the payment intent was cancelled"
    )
    assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False
    assert len(call_stripe(stripe, "GET", "payment_intents")["data"]) == 1


_EVENTS = ["authorized", "first part", "second part", "canceled"]


@pytest.mark.parametrize("order_of_arrival", list(permutations(range(4))), ids=str)
def test_it_is_in_review_in_any_order_of_arrival(
    cancelled, stripe, storefront, payment_system, order, order_of_arrival
):
    events = [each for each in stripe.events if each["type"].startswith("payment_intent.")][1:]
    assert len(events) == len(_EVENTS)

    for position in order_of_arrival:
        body = json.dumps(events[position]).encode()
        assert post_webhook(body, sign(body)).status_code == 200

    assert_in_review(storefront, payment_system, order, cancelled, stripe)


@pytest.mark.parametrize("form", ["webhook_old", "webhook_thin", "webhook_doubled"])
def test_it_is_in_review_in_any_form_of_the_event(
    configure, stripe, storefront, payment_system, order, webhooks, form
):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    stripe.pay(intent_id)
    stripe.capture_part(intent_id, CAPTURED)
    stripe.inject(Fault(form, type="payment_intent.canceled"))

    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    webhooks()

    assert_in_review(storefront, payment_system, order, intent_id, stripe)


def test_an_event_that_does_not_name_the_amount_is_looked_up(
    cancelled, stripe, storefront, payment_system, order
):
    event = stripe.events[-1]
    assert event["type"] == "payment_intent.canceled"
    del event["data"]["object"]["amount_received"]
    body = json.dumps(event).encode()

    assert post_webhook(body, sign(body)).status_code == 200

    assert_in_review(storefront, payment_system, order, cancelled, stripe)


def test_the_sweep_finds_it(cancelled, stripe, storefront, payment_system, order):
    report = reconcile(since=timezone.now() - timedelta(hours=1))

    assert (report.intents, report.reviews_opened) == (1, 1)
    assert_in_review(storefront, payment_system, order, cancelled, stripe)


def test_call_3_finds_it(cancelled, stripe, storefront, payment_system, order):
    response = payment_system.payment(order)

    assert answer(response) == (409, "payment_mismatch")
    assert_in_review(storefront, payment_system, order, cancelled, stripe)


def test_call_1_finds_it_and_does_not_ask_for_the_money_again(
    cancelled, stripe, storefront, payment_system, order
):
    response = storefront.payment_intent(order)

    assert answer(response) == (409, "payment_in_review")
    assert_in_review(storefront, payment_system, order, cancelled, stripe)


def test_staff_who_cancel_it_here_find_the_money_in_review(
    configure, stripe, storefront, payment_system, order, webhooks
):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    stripe.pay(intent_id)
    stripe.capture_part(intent_id, CAPTURED)
    webhooks()

    cancel_payment(order_id=order.pk, origin=STAFF)

    assert_in_review(storefront, payment_system, order, intent_id, stripe)


@pytest.fixture
def in_review(cancelled, payment_system, order):
    payment_system.payment(order)
    return ReviewItem.objects.open().get()


def test_a_refund_of_a_part_in_the_dashboard_leaves_the_rest_in_review(
    in_review, stripe, storefront, order, webhooks
):
    refund_in_dashboard(stripe, amount="2000")
    webhooks()

    in_review.refresh_from_db()
    assert in_review.data["amount"] == 5000
    assert in_review.suggested_action.startswith("Refund 50.00 USD ")
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")


def test_it_closes_itself_when_the_money_is_refunded_in_the_dashboard(
    in_review, stripe, storefront, order, webhooks
):
    refund_in_dashboard(stripe)
    webhooks()

    in_review.refresh_from_db()
    assert in_review.closed_itself
    data = storefront.payment_intent(order).json()["data"]
    assert data["amount"] == "112.00"
    assert data["id"] != in_review.payment_intent.stripe_id


def test_a_refund_that_fails_opens_it_again(in_review, stripe, storefront, order, webhooks):
    refund = refund_in_dashboard(stripe)
    webhooks()
    stripe.advance_refund(refund["id"], "failed")
    webhooks()

    in_review.refresh_from_db()
    assert in_review.closed_at is None
    assert in_review.data["amount"] == CAPTURED
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")


def test_programs_are_told_who_refunds_it(in_review, office, stripe, order):
    response = office.refund(order)

    assert answer(response) == (409, "order_not_refundable")
    assert "Staff can refund it in the admin" in response.json()["message"]
    assert not refunds_at_stripe(stripe)


def test_it_is_never_refunded_by_itself(cancelled, configure, stripe, payment_system, order):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})
    order.status = "cancelled"
    order.save()

    payment_system.payment(order)
    reconcile(since=timezone.now() - timedelta(hours=1))

    assert ReviewItem.objects.open().get().reason == "uncounted"
    assert not refunds_at_stripe(stripe)


def test_where_stripe_refuses_the_refund_the_error_names_the_dashboard(
    in_review, configure, stripe, order
):
    def refuse(method, url, headers, body):
        if method == "GET" or not url.endswith("/v1/refunds"):
            return stripe.handle(method, url, headers, body)
        error = {"type": "invalid_request_error", "message": "This PaymentIntent was canceled."}
        return SandboxResponse(400, {}, json.dumps({"error": error}).encode())

    # Stripe does not say whether it refunds such an intent: the sandbox does.
    configure(**{**stripe.shop_payments(), "STRIPE_TRANSPORT": refuse})
    intent = PaymentIntent.objects.get()
    request = RefundRequest(key="k", intent_id=intent.stripe_id)

    with pytest.raises(OrderNotRefundable) as caught:
        refund_payment(order_id=order.pk, request=request, origin=STAFF)

    assert f"Refund its charge ({intent.latest_charge}) in Stripe's dashboard" in str(caught.value)
    assert OrderPayment.objects.get().amount_uncounted == CAPTURED
