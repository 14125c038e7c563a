"""Call 1 waits for Stripe's answer, and meanwhile the order comes to owe less."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from shop_payments import services
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, PaymentIntent, Source
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from tests.support import answer, call_stripe, pay, send_event
from tests.test_unknown_intents import make_elsewhere

pytestmark = pytest.mark.django_db

BY_STAFF = Origin(source=Source.ADMIN, actor="staff 1")


@pytest.fixture
def meanwhile(stripe, settings) -> Callable[[Callable[[], Any]], None]:
    """Have something happen once, when Stripe has acted and its answer is still on its way."""

    def arrange(happen: Callable[[], Any]) -> None:
        waiting = [happen]

        def line(method: str, url: str, headers: Any, body: Any) -> Any:
            response = stripe.handle(method, url, headers, body)
            if waiting and method.upper() == "POST" and "/v1/payment_intents" in url:
                waiting.pop()()
            return response

        settings.SHOP_PAYMENTS = {**django_settings.SHOP_PAYMENTS, "STRIPE_TRANSPORT": line}

    return arrange


def at_stripe(stripe, intent_id: str) -> dict[str, Any]:
    return call_stripe(stripe, "GET", f"payment_intents/{intent_id}")


def payable_at_stripe(stripe) -> list[int]:
    """The amounts of all intents that a customer could still pay."""
    intents = call_stripe(stripe, "GET", "payment_intents")["data"]
    return [each["amount"] for each in intents if each["status"] == "requires_payment_method"]


def lower(order) -> None:
    order.lines.update(unit_amount=2500)
    services.reevaluate_order(order.pk)


def test_the_shop_lowers_the_order(storefront, order, stripe, meanwhile):
    meanwhile(lambda: lower(order))

    response = storefront.payment_intent(order)

    assert response.json()["data"]["amount"] == "50.00"
    assert payable_at_stripe(stripe) == [5000]


def test_the_shop_lowers_the_order_while_its_intent_is_updated(
    storefront, order, stripe, meanwhile
):
    storefront.payment_intent(order)
    order.lines.update(quantity=3)
    meanwhile(lambda: lower(order))

    response = storefront.payment_intent(order)

    assert response.json()["data"]["amount"] == "75.00"
    assert payable_at_stripe(stripe) == [7500]


def test_an_earlier_intent_turns_out_to_be_paid(storefront, order, stripe, meanwhile):
    """It was missing for a moment: the key was another account's."""
    first = storefront.payment_intent(order).json()["data"]["id"]
    PaymentIntent.objects.update(status="missing")
    pay(stripe, first)
    meanwhile(lambda: send_event(at_stripe(stripe, first)))

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "order_already_paid")
    assert OrderPayment.objects.get().status == "paid"
    assert payable_at_stripe(stripe) == []


def test_staff_waive_what_is_left(storefront, order, stripe, webhooks, configure, meanwhile):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": "tests.api.adapters.Deposit"})
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    webhooks()
    everything = EntryRequest(reason="agreed")
    meanwhile(lambda: waive_amount(order_id=order.pk, request=everything, origin=BY_STAFF))

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "order_already_paid")
    assert payable_at_stripe(stripe) == []


def test_a_payment_is_heard_of_that_is_not_known_here(storefront, order, stripe, meanwhile):
    lost = make_elsewhere(stripe, order, paid=True)
    meanwhile(lambda: send_event(at_stripe(stripe, lost)))

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "payment_in_review")
    assert payable_at_stripe(stripe) == []


def test_nothing_happens_and_one_call_is_enough(storefront, order, stripe, meanwhile):
    meanwhile(lambda: None)
    before = len(stripe.requests)

    assert storefront.payment_intent(order).status_code == 200

    assert len(stripe.requests) == before + 1


def test_the_shop_wants_the_payment_cancelled(storefront, order, stripe, meanwhile):
    """A wish that is younger than the request is not taken back by it."""
    meanwhile(lambda: cancel_payment_on_commit(order_id=order.pk, origin=BY_STAFF))

    storefront.payment_intent(order)
    reconcile(since=timezone.now() - timedelta(days=1))

    assert OrderPayment.objects.get().cancel_requested_at is None
    assert payable_at_stripe(stripe) == []
