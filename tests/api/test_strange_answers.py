"""Answers that Stripe should not give: never a 400, 422 or 500, and nothing half-done."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, WebhookEvent
from shop_payments.sandbox import Sandbox, SandboxResponse
from tests.support import answer, call_stripe, event_body, pay, post_webhook, send_event, sign

pytestmark = pytest.mark.django_db

Change = Callable[[Any], Any]


class StrangeStripe:
    """A Stripe whose answers are changed on their way."""

    def __init__(self, stripe: Sandbox, change: Change) -> None:
        self._stripe, self._change = stripe, change

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        response = self._stripe.handle(method, url, headers, body)
        changed = self._change(json.loads(response.body))
        return replace(response, body=json.dumps(changed).encode())


@pytest.fixture
def intent(storefront, order, stripe):
    """The order's intent, paid at Stripe; nobody has told the shop yet."""
    return pay(stripe, storefront.payment_intent(order).json()["data"]["id"])


def without(name: str) -> Change:
    return lambda values: {key: value for key, value in values.items() if key != name}


def with_(**changes: Any) -> Change:
    return lambda values: {**values, **changes}


MALFORMED: dict[str, Change] = {
    "a list": lambda values: [],
    "null": lambda values: None,
    "nothing": lambda values: {},
    "no mode": without("livemode"),
    "no object": lambda values: {"object": "payment_intent"},
    "another object": with_(object="list"),
    "a currency of four letters": with_(currency="usdc"),
    "an amount beyond all columns": with_(amount=10**20),
    "an amount in a string": with_(amount="112.00"),
    "a time beyond all calendars": with_(created=10**12),
    "a long id": with_(id="pi_" + "x" * 300),
    "NUL in the id": with_(id="pi_\x00"),
    "a lone surrogate in the id": with_(id="pi_\ud800"),
    "a lone surrogate in the secret": with_(client_secret="pi_secret_\ud800"),
    "no status": with_(status=None),
    "metadata in a list": with_(metadata=["attempt_id"]),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_to_create(storefront, order, stripe, configure, change):
    """The attempt stays: once Stripe is itself again, the same intent is found."""
    configure(STRIPE_TRANSPORT=StrangeStripe(stripe, change))

    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
    assert not PaymentIntent.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    response = storefront.payment_intent(order)
    (created,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert response.json()["data"]["id"] == created["id"]


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_to_settle(payment_system, order, intent, stripe, configure, change):
    configure(STRIPE_TRANSPORT=StrangeStripe(stripe, change))

    assert answer(payment_system.payment(order)) == (503, "gateway_unavailable")
    assert OrderPayment.objects.get().status == "unpaid"


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_does_not_set_an_event_aside(intent, stripe, configure, change):
    """The event is well; Stripe sends it again, and it pays."""
    body = event_body({**intent, "status": "processing"})
    configure(STRIPE_TRANSPORT=StrangeStripe(stripe, change))

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "failed"

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert post_webhook(body, sign(body)).status_code == 200
    assert OrderPayment.objects.get().status == "paid"


def test_a_status_longer_than_its_column_is_kept_in_part(storefront, order, stripe, configure):
    configure(STRIPE_TRANSPORT=StrangeStripe(stripe, with_(status="x" * 100)))

    assert storefront.payment_intent(order).status_code == 200
    assert storefront.payment_intent(order).status_code == 200
    assert PaymentIntent.objects.get().status == "x" * 64


UNSTORABLE = "bad\x00 \ud800"


def test_text_that_no_database_stores(payment_system, order, intent, stripe, configure):
    """NUL and lone surrogates, in whatever a fetched intent has of text."""
    failure = {"message": UNSTORABLE, "code": UNSTORABLE, "decline_code": UNSTORABLE}
    strange = with_(
        status="requires_payment_method",
        payment_method=UNSTORABLE,
        latest_charge={"id": UNSTORABLE},
        cancellation_reason=UNSTORABLE,
        last_payment_error={**failure, "charge": UNSTORABLE},
        metadata={**intent["metadata"], UNSTORABLE: UNSTORABLE},
    )
    configure(STRIPE_TRANSPORT=StrangeStripe(stripe, strange))

    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert PaymentIntent.objects.get().last_error_code == "bad? ?"
    assert PaymentHistory.objects.filter(kind="payment_failed").exists()


def test_text_that_no_database_stores_in_an_event(intent, order):
    body = {**intent, "status": "canceled", "cancellation_reason": UNSTORABLE}

    assert send_event(body).status_code == 200
    assert PaymentIntent.objects.get().cancellation_reason == "bad? ?"


def test_an_event_with_an_id_beyond_the_column(intent):
    body = event_body(intent, id="evt_" + "x" * 300)

    assert answer(post_webhook(body, sign(body))) == (400, "invalid_payload")


def refusal(values: Any) -> Any:
    return {"error": {"type": "invalid_request_error", "message": UNSTORABLE, "code": UNSTORABLE}}


def test_a_refusal_that_no_database_stores(storefront, order, stripe, configure):
    def refuse(*request: Any) -> SandboxResponse:
        return replace(StrangeStripe(stripe, refusal)(*request), status=400)

    configure(STRIPE_TRANSPORT=refuse)

    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")


def test_an_answer_that_was_cut_short_leaks_nothing(intent, stripe, configure, caplog):
    """Found: the SDK quotes a body that it cannot read."""

    def cut(*request: Any) -> SandboxResponse:
        response: SandboxResponse = stripe.handle(*request)
        return replace(response, body=response.body[:-40])

    configure(STRIPE_TRANSPORT=cut)
    with caplog.at_level(logging.DEBUG):
        response = send_event({**intent, "status": "processing"})

    outcome = WebhookEvent.objects.get().outcome
    assert outcome == "GatewayUnavailable: The answer was not Stripe's (HTTP 200)"
    for text in (response.content.decode(), caplog.text):
        assert "_secret_" not in text
        assert intent["metadata"]["order_number"] not in text
