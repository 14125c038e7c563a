"""Call 1 for an order that is paid in several payments."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shop_payments.models import Order, OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.orders import OrderAdapter
from tests.api import adapters
from tests.support import answer, pay, writes

pytestmark = pytest.mark.django_db


@pytest.fixture
def use(configure):
    """Run the shop with another adapter."""

    def configure_adapter(adapter: type[OrderAdapter]) -> None:
        configure(ORDER_ADAPTER=f"{adapter.__module__}.{adapter.__name__}")

    return configure_adapter


@pytest.fixture
def order(order: Order) -> Order:
    """An order of 300.00 usd."""
    order.lines.update(unit_amount=15000)
    return order


def ask(storefront, order):
    """Call 1: the intent's id and what it asks for."""
    data = storefront.payment_intent(order).json()["data"]
    return data["id"], data["amount"]


def test_a_deposit_and_then_the_rest(
    storefront, payment_system, order, stripe, webhooks, use, paid_signals
):
    use(adapters.Deposit)

    first, deposit = ask(storefront, order)
    again = ask(storefront, order)
    pay(stripe, first)
    webhooks()
    after_the_deposit = OrderPayment.objects.get()
    signals_after_the_deposit = len(paid_signals)
    second, rest = ask(storefront, order)
    pay(stripe, second)
    webhooks()

    assert (deposit, again, rest) == ("90.00", (first, "90.00"), "210.00")
    assert first != second
    assert (after_the_deposit.status, after_the_deposit.amount_outstanding) == (
        "partially_paid",
        21000,
    )
    assert signals_after_the_deposit == 0
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert payment_system.payment(order).json()["data"]["id"] == second


def test_the_line_items_are_those_of_the_whole_order(storefront, order, stripe, use):
    use(adapters.Deposit)

    data = storefront.payment_intent(order).json()["data"]

    assert data["amount"] == "90.00"
    assert [(line["amount"], line["quantity"]) for line in data["line_items"]] == [(15000, 2)]


def test_what_a_client_sends_is_never_the_amount(storefront, order, stripe, use):
    use(adapters.Deposit)

    response = storefront.payment_intent(order, {"amount": "1.00"})

    assert answer(response) == (400, "invalid_request")
    assert writes(stripe) == []


def test_a_deposit_that_is_the_whole_order(storefront, order, stripe, webhooks, use):
    """The total has fallen to the deposit: after it nothing is left to ask for."""
    use(adapters.Deposit)
    order.lines.update(unit_amount=4500)

    first, amount = ask(storefront, order)
    pay(stripe, first)
    webhooks()

    assert amount == "90.00"
    assert OrderPayment.objects.get().status == "paid"


def test_an_open_intent_is_brought_to_the_next_amount(storefront, order, stripe, webhooks, use):
    """The shop has begun to ask for deposits while an intent for all of it was open."""
    first, whole = ask(storefront, order)
    use(adapters.Deposit)

    assert (whole, ask(storefront, order)) == ("300.00", (first, "90.00"))


FAULTS = [
    adapters.AsksForMore,
    adapters.AsksForNothing,
    adapters.AsksForLessThanNothing,
    adapters.AsksInAnotherCurrency,
    adapters.AsksForANumber,
    adapters.AsksForNone,
    adapters.LeavesTooLittle,
    adapters.RaisesWhatToPayNow,
]


@pytest.mark.parametrize("adapter", FAULTS)
def test_an_amount_that_cannot_be_is_the_shops_fault(storefront, order, stripe, use, adapter):
    use(adapter)

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "order_unreadable")
    assert response.json() == {
        "message": "The order could not be read. Try again in a moment.",
        "code": "order_unreadable",
    }
    assert int(response["Retry-After"]) > 0
    assert stripe.requests == []
    assert not PaymentIntent.objects.exists()
    assert not StripeAttempt.objects.exists()
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


@pytest.mark.parametrize("adapter", FAULTS)
def test_after_a_deposit_nothing_is_sent_either(
    storefront, order, stripe, webhooks, use, configure, adapter
):
    use(adapters.Deposit)
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    use(adapter)
    stripe.requests.clear()

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "order_unreadable")
    assert stripe.requests == []
    assert (PaymentIntent.objects.count(), StripeAttempt.objects.count()) == (1, 1)
    use(adapters.Deposit)
    assert ask(storefront, order)[1] == "210.00"


def test_the_smallest_rest_that_stripe_charges_may_be_left(storefront, order, stripe, use):
    """0.50 USD is charged; 0.49 is not, and a deposit that leaves it is refused."""
    use(adapters.Deposit)
    order.lines.update(unit_amount=4525)  # 90.50 in all
    assert ask(storefront, order)[1] == "90.00"
    order.lines.update(unit_amount=4520)  # 90.40 in all

    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")


@pytest.mark.parametrize("quantity", [2, 3])
def test_an_order_without_lines_and_with_a_total_can_be_paid(
    storefront, payment_system, order, stripe, use, quantity
):
    use(adapters.WithoutLines)
    order.lines.update(quantity=quantity)

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])
    settled = payment_system.payment(order)

    assert (data["amount"], data["line_items"]) == (f"{quantity * 150}.00", [])
    assert settled.status_code == 200
    assert settled.json()["data"]["line_items"] == []
    assert OrderPayment.objects.get().status == "paid"


def test_call_3_says_what_is_outstanding_between_two_payments(
    storefront, payment_system, order, stripe, use
):
    use(adapters.Deposit)
    first, _deposit = ask(storefront, order)
    pay(stripe, first)

    paid_deposit = payment_system.payment(order)
    second, _rest = ask(storefront, order)
    open_rest = payment_system.payment(order)

    assert answer(paid_deposit) == answer(open_rest) == (409, "payment_not_completed")
    data, later = paid_deposit.json()["data"], open_rest.json()["data"]
    assert paid_deposit.json()["message"] == (
        "The payment is not completed: 210.00 is outstanding."
    )
    assert open_rest.json()["message"] == ("The payment is not completed: requires_payment_method.")
    assert [(each["id"], each["status"]) for each in (data, later)] == [
        (first, "succeeded"),
        (second, "requires_payment_method"),
    ]
    for each in (data, later):
        assert (each["outstanding"], each["payment_status"]) == ("210.00", "partially_paid")
        assert "client_secret" not in each


def test_the_rest_below_stripes_minimum_is_refused_and_offered_to_staff(
    storefront, order, stripe, webhooks
):
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    order.lines.update(unit_amount=15010)  # 0.20 more in all

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_too_small")
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("partially_paid", True)
    item = payment.review_items.get()
    assert (item.reason, item.closed_at) == ("rest_too_small", None)
    assert "waive" in item.suggested_action.lower()
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


def test_a_deposit_paid_months_ago_still_counts(storefront, order, stripe, webhooks, use):
    use(adapters.Deposit)
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    stripe.advance_clock(timedelta(days=120).total_seconds())

    assert ask(storefront, order)[1] == "210.00"
