"""Call 3: the order is paid only on proof from Stripe."""

from __future__ import annotations

import pytest

from shop_payments import signals
from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent, ReviewItem
from shop_payments.sandbox import Fault, Sandbox
from tests.factories import OrderFactory
from tests.support import StripeOfTomorrow, answer, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent_id(storefront, order, stripe) -> str:
    """The order's open payment intent."""
    found: str = storefront.payment_intent(order).json()["data"]["id"]
    return found


def test_the_order_is_paid_and_the_shop_is_notified_once(
    payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    stripe.requests.clear()

    first = payment_system.payment(order)
    calls = [(request.method, request.path) for request in stripe.requests]
    again = payment_system.payment(order)

    payment = OrderPayment.objects.get()
    assert (first.status_code, again.content) == (200, first.content)
    assert calls == [("GET", f"/v1/payment_intents/{intent_id}")]
    assert (payment.status, payment.needs_review) == ("paid", False)
    assert payment.paid_at is not None
    (sent,) = paid_signals
    assert (sent["order"], sent["order_payment"]) == (order, payment)
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (sent["fact_id"], fact.source) == (fact.fact_id, "api")
    assert fact.dispatched_at is not None
    assert fact.actor.startswith("key ")
    assert fact.request_id.startswith("req_")


def test_a_paid_order_that_became_cheaper_stays_paid(payment_system, order, stripe, intent_id):
    pay(stripe, intent_id)
    payment_system.payment(order)
    order.lines.update(unit_amount=1)

    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"


def test_the_payment_of_another_order_proves_nothing(
    storefront, payment_system, order, stripe, intent_id
):
    other = OrderFactory.create(customer=order.customer)
    pay(stripe, storefront.payment_intent(other).json()["data"]["id"])

    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert payment_system.payment(other).status_code == 200
    assert OrderPayment.objects.get(order=order).status == "unpaid"


def test_an_unknown_status_proves_nothing(payment_system, order, stripe, intent_id):
    with StripeOfTomorrow(stripe, status="requires_blessing"):
        response = payment_system.payment(order)

    assert answer(response) == (409, "payment_not_completed")
    assert PaymentIntent.objects.open().get().status == "requires_blessing"


def test_an_intent_that_stripe_no_longer_has(payment_system, order, intent_id, configure):
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    for _call in range(2):
        assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")


def test_without_an_answer_it_is_503(payment_system, order, stripe, intent_id):
    pay(stripe, intent_id)
    stripe.inject(Fault("drop_before", method="GET"))

    assert answer(payment_system.payment(order)) == (503, "gateway_unavailable")
    assert payment_system.payment(order).status_code == 200


# --- money that does not cover the order --------------------------------------------------------


def still_owed(response) -> tuple[str, str, str]:
    """The intent that a 409 describes, the status of its payment, and what is outstanding."""
    assert answer(response) == (409, "payment_not_completed")
    data = response.json()["data"]
    assert "client_secret" not in data
    assert data["payment_status"] == OrderPayment.objects.get().status
    return data["id"], data["payment_status"], data["outstanding"]


def test_a_cent_is_missing(payment_system, order, stripe, intent_id, paid_signals):
    """Stripe charges no cent, so the customer cannot pay it: staff are asked to waive it."""
    stripe.advance(intent_id, "succeeded", amount_received=11199)

    response = payment_system.payment(order)

    assert still_owed(response) == (intent_id, "partially_paid", "0.01")
    assert ReviewItem.objects.get().reason == "rest_too_small"
    assert paid_signals == []


def test_an_order_that_costs_more_since_asks_for_the_rest(
    storefront, payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    order.lines.update(quantity=3)

    first = payment_system.payment(order)
    rest = storefront.payment_intent(order).json()["data"]
    second = payment_system.payment(order)
    pay(stripe, rest["id"])
    settled = payment_system.payment(order).json()["data"]

    assert first.json()["message"] == "The payment is not completed: 56.00 is outstanding."
    assert second.json()["message"] == "The payment is not completed: requires_payment_method."
    data = second.json()["data"]
    assert (data["id"], data["outstanding"], data["payment_status"]) == (
        rest["id"],
        "56.00",
        "partially_paid",
    )
    assert (
        (settled["id"], settled["amount"]) == (rest["id"], rest["amount"]) == (rest["id"], "56.00")
    )
    assert not ReviewItem.objects.exists()
    assert len(paid_signals) == 1


# --- money that does not count ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "outstanding"),
    [({"currency": "isk"}, "112"), ({"status": Order.Status.CANCELLED}, "0.00")],
    ids=["another currency", "cancelled"],
)
def test_money_that_does_not_count_is_in_review(
    payment_system, order, stripe, intent_id, paid_signals, change, outstanding
):
    requested: list[str] = []

    def receiver(**kwargs):
        requested.append(kwargs["data"]["reason"])

    signals.review_needed.connect(receiver)
    pay(stripe, intent_id)
    Order.objects.update(**change)

    first, second = (payment_system.payment(order) for _call in range(2))
    signals.review_needed.disconnect(receiver)

    assert answer(first) == answer(second) == (409, "payment_mismatch")
    data = first.json()["data"]
    assert (data["status"], data["payment_status"]) == ("succeeded", "unpaid")
    assert (data["outstanding"], "client_secret" in data) == (outstanding, False)
    item = ReviewItem.objects.get()
    assert (item.reason, requested) == ("uncounted", ["uncounted"])
    assert item.suggested_action
    assert paid_signals == []


def test_money_counts_once_the_order_is_open_again(
    payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    Order.objects.update(status=Order.Status.CANCELLED)
    payment_system.payment(order)
    Order.objects.update(status=Order.Status.OPEN)

    assert payment_system.payment(order).status_code == 200
    assert not ReviewItem.objects.open().exists()
    assert len(paid_signals) == 1


def test_live_money_under_a_test_key_writes_nothing(payment_system, order, stripe, intent_id):
    """The key is wrong, not the payment: the call is repeated later."""
    before = OrderPayment.objects.values().get()
    stripe.advance(intent_id, "succeeded", livemode=True)

    response = payment_system.payment(order)

    assert answer(response) == (503, "not_configured")
    assert "Retry-After" in response
    assert OrderPayment.objects.values().get() == before
    assert PaymentIntent.objects.get().status == "requires_payment_method"


# --- faults of the shop -------------------------------------------------------------------------


def test_an_unreadable_order_is_settled_once_it_can_be_read(
    payment_system, order, stripe, intent_id, paid_signals
):
    pay(stripe, intent_id)
    Order.objects.update(currency="kwd")
    order.lines.update(unit_amount=5123)

    response = payment_system.payment(order)

    assert answer(response) == (503, "order_unreadable")
    assert int(response["Retry-After"]) > 0
    assert PaymentIntent.objects.get().status == "succeeded", "what Stripe said is stored"
    assert OrderPayment.objects.get().status == "unpaid", "nothing follows from it yet"
    Order.objects.update(currency="usd")
    order.lines.update(unit_amount=5600)
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_an_order_that_the_adapter_cannot_find_is_not_settled(
    payment_system, order, stripe, intent_id, configure
):
    pay(stripe, intent_id)
    configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")

    assert answer(payment_system.payment(order)) == (503, "order_unreadable")
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    assert payment_system.payment(order).status_code == 200


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
