"""POST orders/{order_id}/payment-intent."""

from __future__ import annotations

import json
import re

import pytest

from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
)
from shop_payments.sandbox import Fault
from tests.factories import OrderLineFactory
from tests.support import answer, call_stripe, pay, send_event, writes

pytestmark = pytest.mark.django_db


def test_the_answer_is_the_contracts(storefront, order, stripe):
    response = storefront.payment_intent(order)

    body = response.json()
    data = body["data"]
    assert response.status_code == 200
    assert list(body) == ["message", "data"]
    assert body["message"] == "Payment intent created successfully"
    assert list(data) == ["id", "client_secret", "amount", "currency", "status", "line_items"]
    assert re.fullmatch(r"pi_\w{24,}", data["id"])
    assert re.fullmatch(data["id"] + r"_secret_\w{25}", data["client_secret"])
    assert (data["amount"], data["currency"]) == ("112.00", "usd")
    assert data["status"] == "requires_payment_method"
    assert data["line_items"] == [
        {
            "name": "Main product 2",
            "amount": 5600,
            "currency": "usd",
            "quantity": 2,
            "description": "",
        }
    ]


def test_the_intent_at_stripe_is_the_contracts(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")

    assert intent["amount"] == 11200
    assert intent["currency"] == "usd"
    assert intent["description"] == f"Payment for Order #{order.number}"
    assert intent["receipt_email"] == order.email
    assert intent["payment_method_types"] == ["card"]
    assert intent["automatic_payment_methods"] is None
    assert intent["metadata"] == {
        "order_id": str(order.pk),
        "order_number": order.number,
        "line_items": '[{"name":"Main product 2","amount":5600,"currency":"usd",'
        '"quantity":2,"description":""}]',
        "attempt_id": str(StripeAttempt.objects.get().pk),
    }


def test_attaching_a_payment_method_gives_requires_confirmation(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    intent = call_stripe(
        stripe, "POST", f"payment_intents/{intent_id}", payment_method="pm_card_visa"
    )

    assert intent["status"] == "requires_confirmation"
    assert storefront.payment_intent(order).json()["data"]["status"] == "requires_confirmation"


def test_asked_again_it_answers_the_same_with_one_call_to_stripe(storefront, order, stripe):
    first = storefront.payment_intent(order)
    stripe.requests.clear()

    second = storefront.payment_intent(order)

    assert second.json() == first.json()
    assert [request.method for request in stripe.requests] == ["GET"]


def test_a_changed_order_updates_the_same_intent_in_one_call(storefront, order, stripe):
    first = storefront.payment_intent(order).json()["data"]
    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)
    stripe.requests.clear()

    second = storefront.payment_intent(order).json()["data"]

    assert second["id"] == first["id"]
    assert second["amount"] == "116.90"
    assert writes(stripe) == [f"/v1/payment_intents/{first['id']}"]
    intent = call_stripe(stripe, "GET", f"payment_intents/{first['id']}")
    assert "Postage" in intent["metadata"]["line_items"]
    assert intent["metadata"]["attempt_id"] == str(PaymentIntent.objects.get().attempt_id)


def test_a_changed_currency_updates_the_same_intent(storefront, order, stripe):
    first = storefront.payment_intent(order).json()["data"]
    Order.objects.update(currency="eur")

    second = storefront.payment_intent(order).json()["data"]

    assert (second["id"], second["currency"]) == (first["id"], "eur")


def test_a_receipt_address_that_is_gone_is_taken_away_at_stripe(storefront, order, stripe):
    storefront.payment_intent(order)
    Order.objects.update(email="")

    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    assert call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["receipt_email"] is None


def test_lines_that_fit_again_take_the_count_away(storefront, order, stripe):
    OrderLineFactory.create_batch(60, order=order, name="One more")
    storefront.payment_intent(order)
    order.lines.filter(name="One more").delete()

    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    metadata = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["metadata"]
    assert "line_items_omitted" not in metadata
    assert len(json.loads(metadata["line_items"])) == 1


def test_sixty_lines_unicode_and_a_name_of_400_characters(storefront, order, stripe):
    order.lines.all().delete()
    names = ["Ünïcödé – 漢字 – 😀", *(f"Product {n}" for n in range(58)), "x" * 400]
    for name in names:
        OrderLineFactory(order=order, name=name, unit_amount=100, quantity=1)

    data = storefront.payment_intent(order).json()["data"]

    assert [line["name"] for line in data["line_items"]] == names
    metadata = call_stripe(stripe, "GET", f"payment_intents/{data['id']}")["metadata"]
    shown = json.loads(metadata["line_items"])
    assert [line["name"] for line in shown] == names[: len(shown)]
    assert int(metadata["line_items_omitted"]) == 60 - len(shown)
    assert len(metadata["line_items"]) <= 500


@pytest.mark.parametrize("name", ["x" * 500, "😀" * 500, '"' * 500, "\\" * 500])
def test_one_line_too_long_for_metadata_is_shortened(storefront, order, stripe, name):
    order.lines.update(name=name, description="d" * 2000)

    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    metadata = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["metadata"]
    (line,) = json.loads(metadata["line_items"])
    assert len(line["name"]) > 150
    assert name.startswith(line["name"])


@pytest.mark.parametrize(
    ("currency", "unit_amount", "amount"),
    [
        ("usd", 5600, "112.00"),
        ("jpy", 250, "500"),
        ("krw", 25000, "50000"),
        ("kwd", 2560, "5.120"),
        ("isk", 25000, "500"),
        ("ugx", 500000, "10000"),
        ("huf", 25001, "500.02"),
    ],
)
def test_currencies_come_out_right_in_both_directions(
    storefront, order, stripe, payment_system, currency, unit_amount, amount
):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])
    paid = payment_system.payment(order).json()["data"]

    assert data["amount"] == paid["amount"] == amount
    assert call_stripe(stripe, "GET", f"payment_intents/{data['id']}")["amount"] == unit_amount * 2
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize(
    ("currency", "unit_amount"), [("kwd", 5123), ("isk", 50050), ("ugx", 1), ("u$d", 100)]
)
def test_what_a_currency_cannot_represent_is_refused_before_stripe_is_asked(
    storefront, order, stripe, currency, unit_amount
):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
    assert stripe.requests == []
    assert not OrderPayment.objects.exists()


def test_below_stripes_minimum(storefront, order, stripe):
    order.lines.update(unit_amount=1)

    assert answer(storefront.payment_intent(order)) == (422, "amount_too_small")
    order.lines.update(unit_amount=5600)
    assert storefront.payment_intent(order).status_code == 200


def test_above_stripes_maximum(storefront, order, stripe):
    order.lines.update(unit_amount=99_999_999)

    assert answer(storefront.payment_intent(order)) == (422, "amount_too_large")


class TestOrdersThatCannotBePaid:
    def test_an_empty_order(self, storefront, order, stripe):
        order.lines.all().delete()

        assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")

    def test_a_free_order(self, storefront, order, stripe):
        order.lines.update(unit_amount=0)

        assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")

    def test_a_cancelled_order(self, storefront, order, stripe):
        Order.objects.update(status=Order.Status.CANCELLED)

        assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")
        assert stripe.requests == []

    def test_a_paid_order(self, storefront, order, stripe, webhooks):
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        webhooks()

        assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")

    def test_an_intent_found_succeeded_is_settled(self, storefront, order, stripe, paid_signals):
        """No webhook has come; the storefront's own question finds the payment."""
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

        assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
        assert OrderPayment.objects.get().status == "paid"
        assert len(paid_signals) == 1

    def test_a_payment_that_is_processing(self, storefront, order, stripe):
        stripe.advance(storefront.payment_intent(order).json()["data"]["id"], "processing")

        assert answer(storefront.payment_intent(order)) == (409, "payment_processing")
        assert OrderPayment.objects.get().status == "pending"

    def test_a_payment_that_is_authorized(self, storefront, order, stripe):
        stripe.advance(storefront.payment_intent(order).json()["data"]["id"], "requires_capture")

        assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
        assert OrderPayment.objects.get().status == "authorized"

    def test_a_processing_payment_that_fails_may_be_tried_again(self, storefront, order, stripe):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        stripe.advance(intent_id, "processing")
        storefront.payment_intent(order)
        stripe.advance(intent_id, "requires_payment_method")

        assert storefront.payment_intent(order).json()["data"]["id"] == intent_id

    def test_a_payment_in_review(self, storefront, order, stripe, webhooks):
        """Money came in another currency, and staff have not given it back."""
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", currency="eur")
        pay(stripe, intent_id)
        webhooks()

        assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
        assert ReviewItem.objects.get().reason == "uncounted"

    def test_an_order_that_costs_more_since_asks_for_the_rest(
        self, storefront, order, stripe, webhooks
    ):
        first = storefront.payment_intent(order).json()["data"]["id"]
        pay(stripe, first)
        order.lines.update(unit_amount=9900)
        webhooks()

        data = storefront.payment_intent(order).json()["data"]

        assert (data["id"] != first, data["amount"]) == (True, "86.00")
        assert not ReviewItem.objects.exists()


def test_a_cancelled_intent_is_replaced(storefront, order, stripe):
    first = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{first}/cancel")

    second = storefront.payment_intent(order).json()["data"]["id"]

    assert second != first
    assert PaymentIntent.objects.open().get().stripe_id == second


def test_a_test_intent_that_stripe_has_forgotten_is_replaced(storefront, order, stripe, configure):
    """Test data was deleted in the dashboard, or the sandbox was started anew."""
    from shop_payments.sandbox import Sandbox

    first = storefront.payment_intent(order).json()["data"]["id"]
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    second = storefront.payment_intent(order).json()["data"]["id"]

    assert second != first
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"
    assert storefront.payment_intent(order).json()["data"]["id"] == second


def test_a_changed_order_whose_intent_is_forgotten_gets_another(
    storefront, order, stripe, configure
):
    from shop_payments.sandbox import Sandbox

    first = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=3)
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    second = storefront.payment_intent(order).json()["data"]

    assert second["id"] != first
    assert second["amount"] == "168.00"


def test_a_declined_card_leaves_the_intent_to_be_tried_again(storefront, order, stripe, webhooks):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id, "pm_card_chargeDeclinedInsufficientFunds")
    webhooks()

    assert storefront.payment_intent(order).json()["data"]["id"] == intent_id
    fact = PaymentHistory.objects.get(kind="payment_failed")
    assert fact.data["decline_code"] == "insufficient_funds"
    assert fact.sentence == (
        'payment failed: "Your card has insufficient funds." (insufficient_funds), via webhook'
    )


@pytest.mark.parametrize("body", [{"amount": 1}, [], "x", 5, [1]])
def test_a_body_with_anything_in_it_is_refused(storefront, order, stripe, body):
    response = storefront.payment_intent(order, body)

    assert answer(response) == (400, "invalid_request")
    assert stripe.requests == []


def test_an_empty_object_is_taken(storefront, order, stripe):
    assert storefront.payment_intent(order, {}).status_code == 200


def test_a_body_that_is_not_json(storefront, order):
    response = storefront.client.post(
        f"/api/v1/shop/orders/{order.pk}/payment-intent",
        data="{",
        content_type="application/json",
        headers=storefront.headers,
    )

    assert answer(response) == (400, "parse_error")


def test_a_form_is_refused(storefront, order):
    response = storefront.client.post(
        f"/api/v1/shop/orders/{order.pk}/payment-intent",
        data={"a": "b"},
        headers=storefront.headers,
    )

    assert answer(response) == (415, "unsupported_media_type")


def test_get_is_not_allowed(storefront, order):
    assert answer(storefront.get(f"orders/{order.pk}/payment-intent")) == (
        405,
        "method_not_allowed",
    )


class TestStripeInTrouble:
    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    def test_a_broken_connection_is_503_and_the_next_call_finishes_it(
        self, storefront, order, stripe, kind
    ):
        stripe.inject(Fault(kind, method="POST"))

        response = storefront.payment_intent(order)

        assert answer(response) == (503, "gateway_unavailable")
        assert int(response["Retry-After"]) > 0
        assert storefront.payment_intent(order).status_code == 200
        assert len(call_stripe(stripe, "GET", "payment_intents")["data"]) == 1
        assert StripeAttempt.objects.get().outcome == "succeeded"

    def test_an_answer_that_was_lost_is_finished_with_the_saved_parameters(
        self, storefront, order, stripe
    ):
        """The order has changed since; the saved request goes first, then the change."""
        stripe.inject(Fault("drop_after", method="POST"))
        storefront.payment_intent(order)
        order.lines.update(quantity=3)

        response = storefront.payment_intent(order)

        assert response.json()["data"]["amount"] == "168.00"
        assert len(call_stripe(stripe, "GET", "payment_intents")["data"]) == 1
        assert [attempt.operation for attempt in StripeAttempt.objects.order_by("created_at")] == [
            "create_intent",
            "update_intent",
        ]

    @pytest.mark.parametrize("status", [409, 429, 503])
    def test_busy_is_503(self, storefront, order, stripe, status):
        stripe.inject(Fault("error", method="POST", status=status))

        response = storefront.payment_intent(order)

        assert answer(response) == (503, "gateway_unavailable")
        assert "Retry-After" in response
        assert storefront.payment_intent(order).status_code == 200

    def test_a_saved_500_does_not_block_the_order(self, storefront, order, stripe):
        """Stripe repeats a 500 under the same key for 24 hours."""
        stripe.inject(Fault("error", method="POST", status=500))

        assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
        assert storefront.payment_intent(order).status_code == 200
        outcomes = StripeAttempt.objects.order_by("created_at").values_list("outcome", flat=True)
        assert list(outcomes) == ["abandoned", "succeeded"]

    def test_a_saved_500_of_an_update_does_not_block_the_order(self, storefront, order, stripe):
        storefront.payment_intent(order)
        order.lines.update(quantity=3)
        stripe.inject(Fault("error", method="POST", status=500))

        assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
        assert storefront.payment_intent(order).json()["data"]["amount"] == "168.00"

    def test_a_lost_update_is_finished(self, storefront, order, stripe):
        storefront.payment_intent(order)
        order.lines.update(quantity=3)
        stripe.inject(Fault("drop_after", method="POST"))

        assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
        order.lines.update(quantity=4)
        assert storefront.payment_intent(order).json()["data"]["amount"] == "224.00"
        assert not StripeAttempt.objects.pending().exists()

    def test_a_key_that_stripe_refuses_is_502(self, storefront, order, configure):
        from shop_payments.sandbox import Sandbox

        configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)

        response = storefront.payment_intent(order)

        assert answer(response) == (502, "gateway_error")
        assert response.json()["data"]["stripe_request_id"].startswith("req_")

    def test_no_key_at_all_is_503(self, storefront, order, configure):
        configure(STRIPE_SECRET_KEY="")

        assert answer(storefront.payment_intent(order)) == (503, "not_configured")
        assert not OrderPayment.objects.exists()


def test_an_update_whose_answer_grew_old_on_its_way_is_not_believed(
    storefront, order, stripe, configure
):
    """The customer pays by a slow method while Stripe's answer to the update is on its way."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=3)
    overtaken = False

    def line(method, *request):
        nonlocal overtaken
        answer_on_its_way = stripe.handle(method, *request)
        if method.upper() == "POST" and not overtaken:
            overtaken = True
            assert send_event(stripe.advance(intent_id, "processing")).status_code == 200
        return answer_on_its_way

    configure(STRIPE_TRANSPORT=line)

    response = storefront.payment_intent(order)

    assert overtaken
    assert answer(response) == (409, "payment_processing")
    assert OrderPayment.objects.get().status == "pending"
