"""Unpaid intents that nobody needs any more are closed, and no others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from shop_payments.models import PaymentIntent
from shop_payments.sandbox import Fault
from tests.factories import OrderFactory
from tests.maintenance.support import (
    API,
    Meanwhile,
    assert_converged,
    cancel_abandoned_intents,
    statuses,
    sweep,
)
from tests.support import call_stripe

pytestmark = pytest.mark.django_db

NOW = timedelta(0)


def until(days: int) -> int:
    return int((timezone.now() + timedelta(days=days)).timestamp())


@pytest.fixture
def begin(storefront, order, stripe):
    """Create the order's intent so many days ago; it waits for an action of the customer."""

    def create(days: int, action: dict[str, Any] | None = None) -> str:
        with time_machine.travel(timezone.now() - timedelta(days=days), tick=True):
            intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
            if action:
                stripe.advance(intent_id, "requires_action", next_action=action)
                sweep(after=NOW)
        return intent_id

    return create


def test_an_intent_that_its_customer_has_just_asked_for_is_not_abandoned(
    begin, storefront, order, stripe
):
    intent_id = begin(31)
    with time_machine.travel(timezone.now() - timedelta(minutes=1), tick=True):
        assert storefront.payment_intent(order).json()["data"]["id"] == intent_id

    assert sweep(after=NOW).abandoned == 0
    assert stripe.payment_intent(intent_id)["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    ("action", "details", "days", "closed"),
    [
        # The customer may still pay elsewhere.
        ("verify_with_microdeposits", lambda: {"arrival_date": until(-3)}, 4, 0),
        ("display_bank_transfer_instructions", lambda: {"amount_remaining": 100}, 40, 0),
        ("oxxo_display_details", lambda: {"expires_after": until(5)}, 40, 0),
        ("pix_display_qr_code", lambda: {"expires_at": until(1)}, 40, 0),
        ("card_await_notification", lambda: {"charge_attempt_at": until(1)}, 40, 0),
        ("an_action_that_stripe_adds_one_day", dict, 40, 0),
        # That takes minutes, or is over.
        ("verify_with_microdeposits", lambda: {"arrival_date": until(-11)}, 31, 1),
        ("oxxo_display_details", lambda: {"expires_after": until(-1)}, 31, 1),
        ("redirect_to_url", lambda: {"url": "https://bank.example"}, 31, 1),
    ],
)
def test_an_action_is_waited_for_if_it_may_take_days(
    begin, stripe, configure, action, details, days, closed
):
    configure(**{**stripe.shop_payments(), "ABANDONED_AFTER_DAYS": 3})
    intent_id = begin(days, {"type": action, action: details()})

    assert sweep(after=NOW).abandoned == closed
    at_stripe = stripe.payment_intent(intent_id)
    expected = ("canceled", "abandoned") if closed else ("requires_action", None)
    assert (at_stripe["status"], at_stripe["cancellation_reason"]) == expected
    assert PaymentIntent.objects.get().status == at_stripe["status"]
    assert_converged(stripe, after=NOW)


@pytest.mark.parametrize("is_news", [False, True])
def test_an_intent_that_its_customer_asks_for_during_the_sweep_is_not_abandoned(
    begin, storefront, order, stripe, configure, is_news
):
    """Found: it was cancelled right after its customer got its secret."""
    intent_id = begin(31)
    if is_news:  # the look has something to write
        stripe.advance(intent_id, "requires_confirmation")
    line = Meanwhile(
        stripe, "GET payment_intents/", lambda: storefront.payment_intent(order), answer=True
    )
    configure(**{**stripe.shop_payments(), "STRIPE_TRANSPORT": line})

    old = timezone.now() - timedelta(days=30)
    assert cancel_abandoned_intents(older_than=old, origin=API) == 0

    assert stripe.payment_intent(intent_id)["status"] != "canceled"


def test_the_successor_of_an_abandoned_intent_is_kept(storefront, order, intent, stripe, configure):
    """Found: the customer came back between the look and the cancellation, and lost the new one."""
    path = f"payment_intents/{intent.stripe_id}"

    def come_back() -> None:
        call_stripe(stripe, "POST", f"{path}/cancel")
        assert storefront.payment_intent(order).status_code == 200

    old = timezone.now()
    configure(STRIPE_TRANSPORT=Meanwhile(stripe, f"GET {path}", come_back, answer=True))

    assert cancel_abandoned_intents(older_than=old, origin=API) == 0

    assert statuses(stripe) == ["canceled", "requires_payment_method"]


def test_an_abandoned_intent_that_fails_at_stripe_does_not_stop_the_others(
    storefront, order, intent, stripe
):
    """Found: the first failure ended the part, in each sweep, and nothing was counted."""
    storefront.payment_intent(OrderFactory.create(customer=order.customer))
    stripe.inject(Fault("error", status=500, path=f"/v1/payment_intents/{intent.stripe_id}/cancel"))

    report = sweep(after=timedelta(days=31))

    assert statuses(stripe) == ["requires_payment_method", "canceled"]
    assert (report.abandoned, len(report.problems)) == (1, 1)
