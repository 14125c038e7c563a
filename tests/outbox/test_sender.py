"""Each write to Stripe is finished, and once, whatever happens to process, line or key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from tests.books import at
from tests.maintenance.support import Meanwhile
from tests.support import Died, answer, call_stripe

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNAVAILABLE = (503, "gateway_unavailable")


def ids_at_stripe(stripe) -> list[str]:
    return [intent["id"] for intent in call_stripe(stripe, "GET", "payment_intents")["data"]]


# --- a process that died ------------------------------------------------------------------------


def die() -> None:
    raise Died


@pytest.mark.parametrize("after_the_effect", [False, True])
@pytest.mark.parametrize("hours", [22.9, 24 * 40])
def test_a_create_is_finished_with_the_same_key(
    storefront, order, configure, after_the_effect, hours
):
    """After a day Stripe has forgotten the key: the intent is looked up."""
    stripe = Sandbox()
    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "POST", die, answer=after_the_effect))
    with time_machine.travel(START, tick=False) as clock:
        with pytest.raises(Died):
            storefront.payment_intent(order)
        clock.shift(timedelta(hours=hours))
        response = storefront.payment_intent(order)

        assert response.status_code == 200
        assert ids_at_stripe(stripe) == [response.json()["data"]["id"]]
    assert PaymentIntent.objects.count() == 1
    assert StripeAttempt.objects.latest("created_at").outcome == "succeeded"


def test_an_intent_is_found_however_often_its_answer_was_lost(storefront, order, stripe):
    """It may be as old as the first sending; the last one is many hours younger."""
    for sending in range(3):
        stripe.inject(Fault("drop_after", method="POST"))
        with at(11 * sending):
            assert answer(storefront.payment_intent(order)) == UNAVAILABLE

    with at(33):
        response = storefront.payment_intent(order)

    assert ids_at_stripe(stripe) == [response.json()["data"]["id"]]


# --- answers that were lost, saved or mixed up --------------------------------------------------


def test_half_a_list_does_not_say_that_nothing_was_created(storefront, order, stripe, alter):
    """Found: the order got a second intent beside the one under a saved 500."""
    stripe.inject(Fault("error_after", method="POST"))
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE
    alter("/v1/payment_intents", lambda page: {**page, "data": [], "has_more": True})
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE
    alter.stop()

    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


def test_an_update_that_took_effect_under_a_saved_500_is_taken_back(
    storefront, order, stripe, intent_id
):
    """The customer never gets an intent that asks for another amount than is outstanding."""
    order.lines.update(quantity=3)
    stripe.inject(Fault("error_after", method="POST"))
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE
    order.lines.update(quantity=2)

    assert storefront.payment_intent(order).json()["data"]["amount"] == "112.00"


def test_an_answer_about_another_customers_intent_is_not_shown(
    storefront, order, stripe, configure
):
    """A proxy mixes two answers up. Found: a 500, or the other intent became the order's."""
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="11200", currency="usd")["id"]

    def crossed(method, url, headers, body):
        stripe.handle(method, url, headers, body)
        return stripe.handle("GET", f"/v1/payment_intents/{theirs}", headers)

    configure(STRIPE_TRANSPORT=crossed)
    response = storefront.payment_intent(order)
    assert answer(response) == UNAVAILABLE
    assert theirs not in str(response.json())

    configure(STRIPE_TRANSPORT=stripe.handle)
    ours = storefront.payment_intent(order).json()["data"]["id"]
    assert {*ids_at_stripe(stripe)} == {ours, theirs}


def test_an_answer_without_sense_is_no_500(storefront, order, configure):
    refused = '{"error": {"type": "invalid_request_error", "code": "x_unexpected_state"}}'
    deep = '{"object": "payment_intent", "deep": %s}' % ("[" * 400 + "]" * 400)
    for status, body, expected in ((200, deep, 503), (400, refused, 502)):
        line = SandboxResponse(status, {}, body.encode())
        configure(STRIPE_TRANSPORT=lambda *request, line=line: line)
        assert storefront.payment_intent(order).status_code == expected


# --- intents that moved or are gone -------------------------------------------------------------


@pytest.mark.parametrize(("status", "amount"), [("succeeded", "56.00"), ("canceled", "168.00")])
def test_an_update_that_comes_too_late_becomes_a_new_intent(
    storefront, order, stripe, intent_id, status, amount
):
    stripe.advance(intent_id, status)
    order.lines.update(quantity=3)

    data = storefront.payment_intent(order).json()["data"]

    assert (data["id"] != intent_id, data["amount"]) == (True, amount)


def test_a_closed_intent_that_stripe_has_forgotten_keeps_its_status(
    payment_system, order, stripe, configure, intent_id
):
    stripe.advance(intent_id, "succeeded")
    payment_system.payment(order)
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")
    assert PaymentIntent.objects.get().status == "succeeded"
    assert OrderPayment.objects.get().is_paid


def test_a_refused_key_says_nothing_about_the_sending_before(storefront, order, stripe, alter):
    """The create was carried out and its answer lost; then the key is rolled."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    alter.refuse("/v1/payment_intents", status=401, message="Expired API Key")
    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")
    alter.stop()

    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


# --- one request at a time works on an attempt --------------------------------------------------


def test_a_process_whose_clock_is_ahead_blocks_nobody(storefront, order, stripe, configure):
    configure(**{**stripe.shop_payments(), "INTENT_WAIT_SECONDS": 0.2})
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503
    ahead = timezone.now() + timedelta(minutes=10)
    StripeAttempt.objects.update(acquired_at=ahead)  # and it was killed

    assert answer(storefront.payment_intent(order)) == (200, None)
    assert PaymentIntent.objects.get().status == "requires_payment_method"
