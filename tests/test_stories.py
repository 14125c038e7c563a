"""What staff read of a payment that did not go well, word by word.

Each story is driven through the front door: HTTP in, the sandbox beside it, signed webhooks back.
Read the sentences aloud after a change: whoever answers the shop's telephone has nothing else.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from shop_payments.models import Order, OrderPayment
from shop_payments.testing import StripeSandbox
from tests.admin.support import change, text_of
from tests.support import StripeOfTomorrow, call_stripe, pay, send_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent_id(storefront: Any, order: Order, stripe: StripeSandbox) -> str:
    """The intent with which the customer's browser has opened the payment."""
    data: dict[str, Any] = storefront.payment_intent(order).json()["data"]
    return str(data["id"])


@dataclass
class Told:
    """What is said of an order's payment, to staff and to programs."""

    history: list[str]
    """Oldest first."""

    reviews: list[tuple[str, str]]
    """What does not fit, and what to do about it."""

    status: str
    """As the order's page in the admin has it."""

    notes: list[str]
    """What that page says about changing the order."""

    customer_sees: tuple[str, bool]
    """``payment_status`` and ``needs_review`` of GET orders/{id}."""


def words_of(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", fragment)).split())


def told(order: Order, storefront: Any, admin_client: Client) -> Told:
    """Read everything, and see that the payment's page shows the same sentences."""
    payment = OrderPayment.objects.get(order=order)
    history = [fact.sentence for fact in payment.history.order_by("pk")]
    reviews = [(str(item), item.suggested_action) for item in payment.review_items.all()]

    page = words_of(text_of(admin_client.get(change(payment))))
    places = [page.index(sentence) for sentence in reversed(history)]
    assert places == sorted(places), "the page tells the newest first"
    for item in payment.review_items.all():
        assert f"{item.get_reason_display()} {item.detail} {item.suggested_action}" in page

    order_page = text_of(admin_client.get(change(order)))
    link = re.search(rf'<a href="{change(payment)}">(.*?)</a>', order_page)
    notes = re.findall(r'<p class="shop-payments-note">(.*?)</p>', order_page)
    seen = storefront.get(f"orders/{order.pk}").json()["data"]
    return Told(
        history=history,
        reviews=reviews,
        status=words_of(link[1]) if link else "",
        notes=[words_of(note) for note in notes],
        customer_sees=(seen["payment_status"], seen["needs_review"]),
    )


def said(response: Any) -> tuple[int, str | None, str]:
    """Status, code and message of an answer."""
    body = response.json()
    return response.status_code, body.get("code"), body["message"]


STILL_OPEN = (
    "The customer has been asked for 112.00 USD. If less is outstanding after the change, the "
    "payment is lowered or cancelled at Stripe at once. If more is outstanding, the customer is "
    "asked for it when they next open the payment."
)
IN_REVIEW = (409, "payment_in_review", "A payment of this order is being reviewed by the shop.")
MISMATCH = (
    *(409, "payment_mismatch"),
    "The payment was received but does not count for the order. It is in review.",
)


def received(now: str) -> str:
    """The note on an order for which money has come."""
    return (
        f"112.00 USD was received for this order. {now} If the order becomes dearer, what is "
        "missing is outstanding, and the customer can pay it. If it becomes cheaper, what was "
        "received too much is shown in the review, with a button that refunds it. Nothing is "
        "refunded by itself, even if you cancel the order."
    )


def test_a_declined_card(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id
):
    pay(stripe, intent_id, "pm_card_chargeDeclinedInsufficientFunds")
    webhooks()

    answers = [payment_system.payment(order), storefront.payment_intent(order)]

    assert [said(response) for response in answers] == [
        (
            409,
            "payment_not_completed",
            "The payment is not completed: requires_payment_method.",
        ),
        (200, None, "Payment intent created successfully"),
    ]
    assert answers[1].json()["data"]["id"] == intent_id, "the customer may try another card"
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            'payment failed: "Your card has insufficient funds." (insufficient_funds), via webhook',
        ],
        reviews=[],
        status="unpaid",
        notes=[STILL_OPEN],
        customer_sees=("unpaid", False),
    )


def test_a_declined_card_and_then_a_good_one(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id
):
    pay(stripe, intent_id, "pm_card_chargeDeclined")
    webhooks()
    pay(stripe, intent_id)
    webhooks()

    assert said(payment_system.payment(order)) == (200, None, "Order marked as paid successfully")
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            'payment failed: "Your card was declined." (generic_decline), via webhook',
            f"payment received: 112.00 USD received with {intent_id}, via webhook",
            f"order paid: 112.00 USD received with {intent_id}, via webhook",
        ],
        reviews=[],
        status="paid",
        notes=[received("The order is paid.")],
        customer_sees=("paid", False),
    )


def test_an_authentication_that_expired(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id
):
    """The customer's bank asked, and they went away."""
    pay(stripe, intent_id, "pm_card_authenticationRequired")
    webhooks()
    expired = {
        "code": "payment_intent_payment_attempt_expired",
        "message": "The latest payment attempt for the PaymentIntent has expired.",
        "type": "invalid_request_error",
    }
    stripe.advance(intent_id, "requires_payment_method", last_payment_error=expired)
    webhooks()

    assert said(payment_system.payment(order)) == (
        409,
        "payment_not_completed",
        "The payment is not completed: requires_payment_method.",
    )
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            "status changed: requires_action (the customer's bank asks them to approve the "
            "payment), via webhook",
            'payment failed: "The latest payment attempt for the PaymentIntent has expired." '
            "(payment_intent_payment_attempt_expired), via webhook",
            "status changed: requires_payment_method (the customer may try again, or use another "
            "card), via webhook",
        ],
        reviews=[],
        status="unpaid",
        notes=[STILL_OPEN],
        customer_sees=("unpaid", False),
    )


def test_an_order_that_became_dearer_while_its_customer_paid(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id, paid_signals
):
    order.lines.update(unit_amount=6000)
    pay(stripe, intent_id)
    webhooks()

    assert said(payment_system.payment(order)) == (
        409,
        "payment_not_completed",
        "The payment is not completed: 8.00 is outstanding.",
    )
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            f"payment received: 112.00 USD received with {intent_id}, via webhook",
        ],
        reviews=[],
        status="partially paid",
        notes=[received("8.00 USD is outstanding.")],
        customer_sees=("partially_paid", False),
    )
    assert paid_signals == []

    rest = storefront.payment_intent(order).json()["data"]
    assert rest["amount"] == "8.00"
    pay(stripe, rest["id"])
    webhooks()

    assert said(payment_system.payment(order)) == (200, None, "Order marked as paid successfully")
    assert len(paid_signals) == 1


def test_an_order_that_became_cheaper_while_its_customer_paid(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id
):
    order.lines.update(unit_amount=5000)
    pay(stripe, intent_id)
    webhooks()

    assert said(payment_system.payment(order)) == (200, None, "Order marked as paid successfully")
    excess = (
        f"112.00 USD received with {intent_id}; the order costs 100.00 USD, so 12.00 USD is too "
        "much"
    )
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            f"payment received: 112.00 USD received with {intent_id}, via webhook",
            f"order paid: 112.00 USD received with {intent_id}, via webhook",
            f"needs review: {excess}, via webhook",
        ],
        reviews=[(f"more was received than the order costs: {excess}", "Refund 12.00 USD.")],
        status="paid, needs review",
        notes=[received("12.00 USD was received too much.")],
        customer_sees=("paid", True),
    )


def test_a_currency_that_does_not_fit(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id
):
    order.currency = "eur"
    order.save()
    pay(stripe, intent_id)
    webhooks()

    answers = [payment_system.payment(order), storefront.payment_intent(order)]

    assert [said(response) for response in answers] == [MISMATCH, IN_REVIEW]
    misfit = f"112.00 USD received with {intent_id}, but the order costs 112.00 EUR"
    assert told(order, storefront, admin_client).reviews == [
        (
            f"money came that does not count for the order: {misfit}",
            "Refund 112.00 USD and let the customer pay again.",
        )
    ]


def test_money_that_comes_after_the_order_was_cancelled(
    storefront, payment_system, order, stripe, webhooks, admin_client, intent_id, paid_signals
):
    order.status = Order.Status.CANCELLED
    order.save()
    pay(stripe, intent_id)
    webhooks()

    answers = [payment_system.payment(order), storefront.payment_intent(order)]

    assert [said(response) for response in answers] == [
        MISMATCH,
        (409, "order_not_payable", "The order is empty, free or cancelled."),
    ]
    misfit = f"112.00 USD received with {intent_id}, but the shop wants no money for the order"
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            f"needs review: {misfit}, via webhook",
        ],
        reviews=[
            (
                f"money came that does not count for the order: {misfit}",
                "Refund 112.00 USD, or open the order again: then it counts.",
            )
        ],
        status="unpaid, needs review",
        notes=[
            "Money was received that does not count, because the shop wanted none for this order. "
            "It counts if you open the order again."
        ],
        customer_sees=("unpaid", True),
    )
    assert paid_signals == []


def test_money_that_comes_for_an_order_that_is_paid(
    storefront,
    payment_system,
    order,
    stripe,
    webhooks,
    admin_client,
    intent_id,
    configure,
    paid_signals,
):
    """A key of another test account was in use for an hour: the first tab was still open."""
    another_account = StripeSandbox()
    configure(STRIPE_TRANSPORT=another_account.handle)
    second_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(another_account, second_id)
    assert payment_system.payment(order).status_code == 200
    configure(STRIPE_TRANSPORT=stripe.handle)
    stripe.advance_clock(60)
    pay(stripe, intent_id)
    webhooks()

    assert said(storefront.payment_intent(order)) == (
        409,
        "order_already_paid",
        "The order has been paid.",
    )
    excess = (
        f"112.00 USD received with {intent_id}; the order costs 112.00 USD, so 112.00 USD is too "
        "much"
    )
    assert told(order, storefront, admin_client) == Told(
        history=[
            f"payment intent created: {intent_id}, 112.00 USD, via API",
            f"payment intent missing at Stripe: Stripe does not know {intent_id} under the key in "
            "use, via API",
            f"payment intent created: {second_id}, 112.00 USD, via API",
            f"payment received: 112.00 USD received with {second_id}, via API",
            f"order paid: 112.00 USD received with {second_id}, via API",
            f"payment received: 112.00 USD received with {intent_id}, via webhook",
            f"needs review: {excess}, via webhook",
        ],
        reviews=[(f"more was received than the order costs: {excess}", "Refund 112.00 USD.")],
        status="paid, needs review",
        notes=[received("112.00 USD was received too much.").replace("112.00", "224.00", 1)],
        customer_sees=("paid", True),
    )
    assert len(paid_signals) == 1


def test_a_payment_that_was_called_off_at_stripe(
    storefront, order, stripe, webhooks, admin_client, intent_id
):
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    webhooks()

    assert told(order, storefront, admin_client).history[-1] == (
        "status changed: canceled (this payment intent will not bring any money), via webhook"
    )


def test_a_status_that_nobody_knows_is_told_as_it_is(order, stripe, storefront, intent_id):
    with StripeOfTomorrow(stripe, status="requires_magic"):
        send_event(call_stripe(stripe, "GET", f"payment_intents/{intent_id}"))

    payment = OrderPayment.objects.get(order=order)
    assert str(payment.history.first()) == "status changed: requires_magic, via webhook"
