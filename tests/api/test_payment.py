"""POST orders/{order_id}/payment: a hint that is believed only on proof."""

from __future__ import annotations

import pytest

from shop_payments import signals
from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent, ReviewItem
from shop_payments.money import format_amount
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


class TestMoneyThatDoesNotCoverTheOrder:
    """It counts, and the order still owes the rest."""

    def still_owes(self, response, outstanding):
        data = response.json()["data"]
        payment = OrderPayment.objects.get()
        return (
            answer(response) == (409, "payment_not_completed")
            and list(data)
            == [
                "id",
                "amount",
                "currency",
                "status",
                "line_items",
                "outstanding",
                "payment_status",
            ]
            and (data["outstanding"], data["payment_status"]) == (outstanding, "partially_paid")
            and payment.status == "partially_paid"
            and payment.paid_at is None
        )

    def test_less_than_was_asked_for(self, payment_system, order, stripe, intent_id, paid_signals):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", amount="50")
        pay(stripe, intent_id)

        assert self.still_owes(payment_system.payment(order), "111.50")
        assert not ReviewItem.objects.exists()
        assert paid_signals == []

    def test_a_cent_is_missing(self, payment_system, order, stripe, intent_id):
        """Stripe charges no cent, so the customer cannot pay it: staff are asked to waive it."""
        stripe.advance(intent_id, "succeeded", amount_received=11199)

        assert self.still_owes(payment_system.payment(order), "0.01")
        assert ReviewItem.objects.get().reason == "rest_too_small"

    def test_the_order_costs_more_since(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        order.lines.update(quantity=3)

        response = payment_system.payment(order)

        assert self.still_owes(response, "56.00")
        assert response.json()["message"] == ("The payment is not completed: 56.00 is outstanding.")
        assert not ReviewItem.objects.exists()

    def test_the_next_call_1_asks_for_the_rest(
        self, storefront, payment_system, order, stripe, intent_id, paid_signals
    ):
        pay(stripe, intent_id)
        order.lines.update(quantity=3)
        payment_system.payment(order)

        rest = storefront.payment_intent(order).json()["data"]
        open_intent = payment_system.payment(order)
        pay(stripe, rest["id"])
        settled = payment_system.payment(order)

        assert (rest["amount"], rest["id"] != intent_id) == ("56.00", True)
        assert self.still_owes_before_the_rest(open_intent, rest["id"])
        assert settled.status_code == 200
        assert (settled.json()["data"]["id"], settled.json()["data"]["amount"]) == (
            rest["id"],
            "56.00",
        )
        assert len(paid_signals) == 1

    def still_owes_before_the_rest(self, response, intent_id):
        """Call 3 describes the open intent, and says what is still to be paid."""
        data = response.json()["data"]
        return (
            answer(response) == (409, "payment_not_completed")
            and (data["id"], data["status"]) == (intent_id, "requires_payment_method")
            and (data["outstanding"], data["payment_status"]) == ("56.00", "partially_paid")
        )


class TestMoneyThatDoesNotCount:
    """It is recorded and shown to staff, and covers nothing."""

    def is_in_review(self, response):
        payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
        data = response.json()["data"]
        return (
            answer(response) == (409, "payment_mismatch")
            and data["status"] == "succeeded"
            and data["payment_status"] == payment.status == "unpaid"
            and data["outstanding"] == payment_outstanding(payment)
            and payment.needs_review
            and item.reason == "uncounted"
            and item.suggested_action != ""
        )

    def test_a_wrong_currency(self, payment_system, order, stripe, intent_id, paid_signals):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", currency="jpy")
        pay(stripe, intent_id)

        response = payment_system.payment(order)

        assert self.is_in_review(response)
        assert response.json()["data"]["outstanding"] == "112.00"
        assert "_secret_" not in response.content.decode()
        assert paid_signals == []

    def test_the_order_was_cancelled(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        Order.objects.update(status=Order.Status.CANCELLED)

        response = payment_system.payment(order)

        assert self.is_in_review(response)
        assert response.json()["data"]["outstanding"] == "0.00"

    def test_the_orders_currency_was_changed(self, payment_system, order, stripe, intent_id):
        pay(stripe, intent_id)
        Order.objects.update(currency="isk")

        response = payment_system.payment(order)

        assert self.is_in_review(response)
        assert response.json()["data"]["outstanding"] == "112"

    def test_asked_again_the_review_is_opened_once(self, payment_system, order, stripe, intent_id):
        reasons = []

        def receiver(**kwargs):
            reasons.append(kwargs["data"]["reason"])

        signals.review_needed.connect(receiver)
        pay(stripe, intent_id)
        Order.objects.update(status=Order.Status.CANCELLED)

        for _ in range(3):
            assert answer(payment_system.payment(order)) == (409, "payment_mismatch")

        assert ReviewItem.objects.count() == 1
        assert reasons == ["uncounted"]

    def test_it_counts_once_the_order_is_open_again(
        self, payment_system, order, stripe, intent_id, paid_signals
    ):
        pay(stripe, intent_id)
        Order.objects.update(status=Order.Status.CANCELLED)
        payment_system.payment(order)
        Order.objects.update(status=Order.Status.OPEN)

        assert payment_system.payment(order).status_code == 200
        assert not ReviewItem.objects.open().exists()
        assert len(paid_signals) == 1

    def test_live_money_under_a_test_key_is_no_answer(
        self, payment_system, order, stripe, intent_id
    ):
        """The key is wrong, not the payment: nothing is written, and the call is repeated later."""
        before = OrderPayment.objects.values().get()
        stripe.advance(intent_id, "succeeded", livemode=True)

        response = payment_system.payment(order)

        assert answer(response) == (503, "not_configured")
        assert "Retry-After" in response
        assert OrderPayment.objects.values().get() == before
        assert PaymentIntent.objects.get().status == "requires_payment_method"


def payment_outstanding(payment: OrderPayment) -> str:
    return format_amount(payment.amount_outstanding, payment.currency)


class TestAnOrderThatCannotBeRead:
    def test_the_payment_is_settled_once_it_can(
        self, payment_system, order, stripe, intent_id, paid_signals
    ):
        pay(stripe, intent_id)
        Order.objects.update(currency="kwd")
        order.lines.update(unit_amount=5123)

        response = payment_system.payment(order)

        assert answer(response) == (503, "order_unreadable")
        assert int(response["Retry-After"]) > 0
        assert PaymentIntent.objects.get().status == "succeeded", "what Stripe said is stored"
        assert OrderPayment.objects.get().status == "unpaid", "and nothing follows from it yet"
        Order.objects.update(currency="usd")
        order.lines.update(unit_amount=5600)
        assert payment_system.payment(order).status_code == 200
        assert OrderPayment.objects.get().status == "paid"
        assert len(paid_signals) == 1

    @pytest.mark.parametrize("begun", [False, True], ids=["without an intent", "with one"])
    def test_an_adapter_that_cannot_find_it(
        self, storefront, payment_system, order, stripe, configure, begun
    ):
        if begun:
            pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        configure(ORDER_ADAPTER="tests.api.adapters.RaisesForFind")

        settled, asked = payment_system.payment(order), storefront.payment_intent(order)

        for response in (settled, asked):
            assert answer(response) == (503, "order_unreadable")
            assert int(response["Retry-After"]) > 0


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
