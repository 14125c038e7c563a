"""POST orders/{order_id}/payment: a hint that is believed only on proof."""

from __future__ import annotations

import pytest

from shop_payments import signals
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
)
from shop_payments.sandbox import Fault
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, pay, send_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent_id(storefront, order, stripe):
    return storefront.payment_intent(order).json()["data"]["id"]


def test_the_answer_is_the_contracts(storefront, payment_system, order, stripe, intent_id):
    created = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent_id)

    response = payment_system.payment(order)

    body = response.json()
    assert response.status_code == 200
    assert body["message"] == "Order marked as paid successfully"
    assert list(body["data"]) == list(created)
    assert body["data"] == {**created, "status": "succeeded"}


def test_the_order_is_paid_and_the_shop_is_told_once(
    payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)

    answers = [payment_system.payment(order) for _ in range(3)]

    payment = OrderPayment.objects.get()
    assert {response.status_code for response in answers} == {200}
    assert len({response.content for response in answers}) == 1
    assert (payment.status, payment.needs_review) == ("paid", False)
    assert payment.paid_at is not None
    (told,) = paid_signals
    assert told["order"] == order
    assert told["order_payment"] == payment
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (told["fact_id"], fact.source) == (fact.fact_id, "api")
    assert fact.dispatched_at is not None
    assert fact.actor.startswith("key ")
    assert fact.request_id.startswith("req_")


def test_it_takes_one_call_to_stripe(payment_system, order, stripe, intent_id):
    pay(stripe, intent_id)
    stripe.requests.clear()

    payment_system.payment(order)

    assert [(request.method, request.path) for request in stripe.requests] == [
        ("GET", f"/v1/payment_intents/{intent_id}")
    ]


def test_paid_stays_paid_when_the_order_changes_afterwards(
    payment_system, order, stripe, intent_id
):
    pay(stripe, intent_id)
    payment_system.payment(order)
    order.lines.update(unit_amount=1)

    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"


class TestNotProven:
    def test_an_order_without_an_intent(self, payment_system, order, stripe):
        assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")

    @pytest.mark.parametrize(
        "status",
        [
            "requires_payment_method",
            "requires_action",
            "processing",
            "requires_capture",
            "canceled",
        ],
    )
    def test_an_intent_that_has_not_succeeded(
        self, payment_system, order, stripe, intent_id, status
    ):
        stripe.advance(intent_id, status)

        response = payment_system.payment(order)

        assert answer(response) == (409, "payment_not_completed")
        data = response.json()["data"]
        assert list(data) == ["id", "amount", "currency", "status", "line_items"]
        assert (data["id"], data["status"]) == (intent_id, status)
        assert "_secret_" not in response.content.decode()
        assert OrderPayment.objects.get().paid_at is None

    def test_a_declined_card(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id, "pm_card_chargeDeclined")

        assert answer(payment_system.payment(order)) == (409, "payment_not_completed")

    def test_another_orders_payment(self, payment_system, order, stripe, storefront, intent_id):
        other = OrderFactory.create(customer=order.customer)
        paid = storefront.payment_intent(other).json()["data"]["id"]
        pay(stripe, paid)

        assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
        assert payment_system.payment(other).status_code == 200
        assert OrderPayment.objects.get(order=order).status == "unpaid"

    def test_a_status_that_nobody_knows_yet(self, payment_system, order, stripe, intent_id):
        from tests.support import StripeOfTomorrow

        with StripeOfTomorrow(stripe, status="requires_blessing"):
            response = payment_system.payment(order)

        assert answer(response) == (409, "payment_not_completed")
        assert PaymentIntent.objects.open().get().status == "requires_blessing"

    def test_an_intent_that_stripe_has_forgotten(
        self, payment_system, order, stripe, intent_id, configure
    ):
        from shop_payments.sandbox import Sandbox

        configure(STRIPE_TRANSPORT=Sandbox().handle)

        assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")
        assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")

    def test_stripe_is_away(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        stripe.inject(Fault("drop_before", method="GET"))

        assert answer(payment_system.payment(order)) == (503, "gateway_unavailable")
        assert payment_system.payment(order).status_code == 200


class TestMoneyThatDoesNotFit:
    """It is recorded and shown to a person, and never believed."""

    def is_in_review(self, reason):
        payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
        return (
            payment.status == "unpaid"
            and payment.needs_review
            and item.reason == reason
            and item.suggested_action != ""
        )

    def test_a_wrong_amount(self, payment_system, order, stripe, intent_id, paid_signals):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", amount="50")
        pay(stripe, intent_id)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("amount_mismatch")
        assert str(ReviewItem.objects.get()) == (
            "the amount differs from what is due: "
            f"0.50 USD received with {intent_id}, but 112.00 USD was due"
        )
        assert paid_signals == []

    def test_part_of_the_amount(self, payment_system, order, stripe, intent_id):
        stripe.advance(intent_id, "succeeded", amount_received=11199)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("amount_mismatch")

    def test_a_wrong_currency(self, payment_system, order, stripe, intent_id):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", currency="jpy")
        pay(stripe, intent_id)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("currency_mismatch")

    def test_the_order_has_changed_since(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        order.lines.update(quantity=3)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("amount_mismatch")

    def test_the_order_was_cancelled(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        Order.objects.update(status=Order.Status.CANCELLED)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("order_not_payable")

    def test_the_order_cannot_be_represented_any_more(
        self, payment_system, order, stripe, intent_id
    ):
        pay(stripe, intent_id)
        Order.objects.update(currency="isk")

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("currency_mismatch")

    def test_another_mode(self, payment_system, order, stripe, intent_id):
        stripe.advance(intent_id, "succeeded", livemode=True)

        assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
        assert self.is_in_review("wrong_mode")

    def test_asked_again_the_review_is_opened_once(self, payment_system, order, stripe, intent_id):
        told = []

        def receiver(**kwargs):
            told.append(kwargs["data"]["reason"])

        signals.review_needed.connect(receiver)
        stripe.advance(intent_id, "succeeded", amount_received=1)

        for _ in range(3):
            assert answer(payment_system.payment(order)) == (409, "payment_mismatch")

        assert ReviewItem.objects.count() == 1
        assert told == ["amount_mismatch"]


def test_a_receiver_that_raises_does_not_undo_the_payment(payment_system, order, stripe, intent_id):
    def receiver(**kwargs):
        raise RuntimeError("the mail server is away")

    signals.order_paid.connect(receiver)
    pay(stripe, intent_id)

    response = payment_system.payment(order)
    signals.order_paid.disconnect(receiver)

    assert response.status_code == 200
    assert OrderPayment.objects.get().status == "paid"
    assert PaymentHistory.objects.undispatched().get().kind == "order_paid"


@pytest.mark.parametrize("call", ["payment", "payment_intent"])
def test_an_answer_that_grew_old_on_its_way_is_not_believed(
    storefront, payment_system, order, stripe, configure, intent_id, call
):
    """A slow payment fails while Stripe's answer, that it is being processed, is on its way."""
    error = {"code": "payment_intent_payment_attempt_failed", "message": "The payment failed."}
    stripe.advance(intent_id, "processing")
    overtaken = False

    def line(*request):
        nonlocal overtaken
        answer_on_its_way = stripe.handle(*request)
        if not overtaken:
            overtaken = True
            failed = stripe.advance(intent_id, "requires_payment_method", last_payment_error=error)
            assert send_event(failed, type="payment_intent.payment_failed").status_code == 200
        return answer_on_its_way

    configure(STRIPE_TRANSPORT=line)

    response = getattr(storefront if call == "payment_intent" else payment_system, call)(order)

    assert overtaken
    assert response.json()["data"]["status"] == "requires_payment_method"
    assert PaymentIntent.objects.get().status == "requires_payment_method"
    assert OrderPayment.objects.get().status == "unpaid"
