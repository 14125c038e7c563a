"""What Stripe says of payment intents, in any order, is written to their rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command

from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent
from tests.support import answer, call_stripe, pay, send_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent_id(storefront, order, stripe) -> str:
    """The order's open payment intent."""
    found: str = storefront.payment_intent(order).json()["data"]["id"]
    return found


def test_a_final_intent_keeps_its_figures(intent_id, stripe):
    """Also where something signed says otherwise later."""
    intent = pay(stripe, intent_id)
    send_event(intent)
    before = PaymentIntent.objects.values().get()

    send_event({**intent, "amount_received": 1, "latest_charge": "ch_another"})
    send_event({**intent, "status": "canceled"}, type="payment_intent.canceled")

    assert PaymentIntent.objects.values().get() == before
    assert OrderPayment.objects.get().status == "paid"


def test_an_order_is_paid_by_its_second_intent(intent_id, storefront, order, stripe, paid_signals):
    """An event said that the first was cancelled. Paid twice: see tests/test_stories.py."""
    canceled = {**stripe.payment_intent(intent_id), "status": "canceled"}
    send_event(canceled, type="payment_intent.canceled")
    send_event(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


@pytest.mark.parametrize("then", ["succeeded", "canceled"])
def test_a_message_without_a_charge_leaves_a_known_one(intent_id, stripe, webhooks, then):
    """What a message does not have is unknown, and not empty."""
    pay(stripe, intent_id, "pm_card_visa" if then == "succeeded" else "pm_card_chargeDeclined")
    webhooks()
    known = PaymentIntent.objects.get().latest_charge
    if then == "canceled":
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    intent = stripe.payment_intent(intent_id)
    del intent["latest_charge"]

    assert send_event(intent).status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.status, row.latest_charge) == (then, known)
    assert known


def test_the_sweep_completes_a_final_row(intent_id, stripe, webhooks):
    pay(stripe, intent_id)
    webhooks()
    PaymentIntent.objects.update(latest_charge="", payment_method="")

    call_command("shop_payments_reconcile", verbosity=0)

    row = PaymentIntent.objects.get()
    at_stripe = stripe.payment_intent(intent_id)
    assert row.latest_charge == at_stripe["latest_charge"]
    assert row.payment_method == at_stripe["payment_method"]


@pytest.mark.parametrize("call", ["payment", "payment_intent"])
def test_an_answer_that_was_overtaken_is_not_written(
    storefront, payment_system, order, stripe, configure, intent_id, call
):
    """A slow payment fails while Stripe's answer, that it is processing, is on its way."""
    error = {"code": "payment_intent_payment_attempt_failed", "message": "The payment failed."}
    stripe.advance(intent_id, "processing")
    waiting = [{"last_payment_error": error}]

    def line(*request: Any) -> Any:
        answer_on_its_way = stripe.handle(*request)
        if waiting:
            failed = stripe.advance(intent_id, "requires_payment_method", **waiting.pop())
            assert send_event(failed, type="payment_intent.payment_failed").status_code == 200
        return answer_on_its_way

    configure(STRIPE_TRANSPORT=line)

    response = getattr(storefront if call == "payment_intent" else payment_system, call)(order)

    assert waiting == []
    assert response.json()["data"]["status"] == "requires_payment_method"
    assert PaymentIntent.objects.get().status == "requires_payment_method"
    assert OrderPayment.objects.get().status == "unpaid"


BAD = "bad\x00 \ud800"
"""NUL and lone surrogates, which no database stores."""


def test_a_fetched_text_that_no_database_stores_is_cleaned(
    payment_system, order, stripe, intent_id, configure
):
    strange = {
        "status": "requires_payment_method",
        "payment_method": BAD,
        "latest_charge": {"id": BAD},
        "cancellation_reason": BAD,
        "last_payment_error": {"message": BAD, "code": BAD, "decline_code": BAD, "charge": BAD},
        "metadata": {**stripe.payment_intent(intent_id)["metadata"], BAD: BAD},
    }

    def handle(*request: Any) -> Any:
        response = stripe.handle(*request)
        values = {**json.loads(response.body), **strange}
        return replace(response, body=json.dumps(values).encode())

    configure(STRIPE_TRANSPORT=handle)

    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert PaymentIntent.objects.get().last_error_code == "bad? ?"
    assert PaymentHistory.objects.filter(kind="payment_failed").exists()


def test_a_text_of_an_event_that_no_database_stores_is_cleaned(stripe, intent_id):
    intent = {**stripe.payment_intent(intent_id), "status": "canceled", "cancellation_reason": BAD}

    assert send_event(intent).status_code == 200
    assert PaymentIntent.objects.get().cancellation_reason == "bad? ?"
