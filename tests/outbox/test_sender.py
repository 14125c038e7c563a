"""Each write to Stripe is finished, and once, whatever happens to process, line or key."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import transaction

from shop_payments.conf import get_config
from shop_payments.exceptions import GatewayUnavailable, TransactionOpenError
from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderLine, OrderPayment, PaymentIntent, Source, StripeAttempt
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.settle_payment import settle_payment
from tests.support import (
    DyingLine,
    StripeOfTomorrow,
    answer,
    call_stripe,
    die,
    pay,
    send_event,
    writes,
)

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNAVAILABLE = (503, "gateway_unavailable")
deaths = pytest.mark.parametrize("after_the_effect", [False, True])


def ids_at_stripe(stripe) -> list[str]:
    return [intent["id"] for intent in call_stripe(stripe, "GET", "payment_intents")["data"]]


@pytest.fixture
def intent_id(storefront, order, stripe):
    return storefront.payment_intent(order).json()["data"]["id"]


# --- a process that died ------------------------------------------------------------------------


@deaths
def test_a_create_is_finished_with_the_same_key(
    storefront, order, stripe, configure, after_the_effect
):
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=after_the_effect))
    with time_machine.travel(START, tick=False) as clock:
        die(storefront, order)
        clock.shift(timedelta(seconds=get_config().INTENT_WAIT_SECONDS + 1))

        response = storefront.payment_intent(order)

    assert response.status_code == 200
    assert ids_at_stripe(stripe) == [response.json()["data"]["id"]]
    assert StripeAttempt.objects.get().outcome == "succeeded"


@deaths
def test_an_update_is_finished_with_the_same_key(
    storefront, order, stripe, configure, after_the_effect
):
    """And then sent again, as the order has changed since."""
    storefront.payment_intent(order)
    order.lines.update(quantity=3)
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=after_the_effect))
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        die(storefront, order)
        order.lines.update(quantity=4)
        clock.shift(timedelta(seconds=6))

        response = storefront.payment_intent(order)

    assert response.json()["data"]["amount"] == "224.00"
    assert not StripeAttempt.objects.pending().exists()
    assert len(ids_at_stripe(stripe)) == 1


def test_right_after_a_death_the_order_is_busy_for_a_moment(storefront, order, stripe, configure):
    """Nobody can know whether the other process is dead or slow."""
    line = DyingLine(stripe, after_the_effect=True)
    configure(INTENT_WAIT_SECONDS=0.3, STRIPE_TRANSPORT=line)
    die(storefront, order)

    storefront.payment_intent(order)

    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


@deaths
@pytest.mark.parametrize("hours", [22.9, 23.1, 24 * 40])
def test_one_intent_however_late_a_create_is_finished(
    storefront, order, configure, after_the_effect, hours
):
    """After a day Stripe has forgotten the key: the intent is looked up."""
    stripe = Sandbox()
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=after_the_effect))
    with time_machine.travel(START, tick=False) as clock:
        die(storefront, order)
        clock.shift(timedelta(hours=hours))
        response = storefront.payment_intent(order)

        assert ids_at_stripe(stripe) == [response.json()["data"]["id"]]
    assert PaymentIntent.objects.count() == 1


def test_an_intent_is_found_however_often_its_answer_was_lost(storefront, order, configure):
    """It may be as old as the first sending; the last one is many hours younger."""
    stripe = Sandbox()
    configure(STRIPE_TRANSPORT=stripe.handle)
    with time_machine.travel(START, tick=False) as clock:
        for _sending in range(3):
            stripe.inject(Fault("drop_after", method="POST"))
            assert answer(storefront.payment_intent(order)) == UNAVAILABLE
            clock.shift(timedelta(hours=11))

        response = storefront.payment_intent(order)

        assert ids_at_stripe(stripe) == [response.json()["data"]["id"]]


def test_an_attempt_whose_order_has_another_intent_does_not_block_it(
    storefront, order, stripe, configure
):
    """A test intent was flagged missing, the process that replaced it died, and it comes back."""
    other = Sandbox()  # another account's key was set for a moment
    with time_machine.travel(START, tick=True) as clock:
        first = storefront.payment_intent(order).json()["data"]["id"]
        configure(STRIPE_TRANSPORT=DyingLine(other, after_the_effect=False))
        die(storefront, order)
        configure(STRIPE_TRANSPORT=stripe.handle)
        pay(stripe, first, "pm_card_chargeDeclined")
        returned = call_stripe(stripe, "GET", f"payment_intents/{first}")
        send_event(returned, type="payment_intent.payment_failed")
        clock.shift(timedelta(minutes=1))

        response = storefront.payment_intent(order)

    assert response.status_code == 200
    assert not StripeAttempt.objects.pending().exists()
    assert PaymentIntent.objects.open().count() == 1


# --- answers that were lost, saved or mixed up --------------------------------------------------


def test_a_look_up_that_is_lost_leaves_the_create_to_the_next_caller(
    storefront, order, stripe, nobody_waits
):
    """The saved answer is a 500, and the list that would tell more does not come."""
    intents = "/v1/payment_intents"
    stripe.inject(Fault("error", status=500, method="POST", path=intents))
    stripe.inject(Fault("drop_before", method="GET", path=intents))
    for _call in range(2):
        assert answer(storefront.payment_intent(order)) == UNAVAILABLE

    assert storefront.payment_intent(order).status_code == 200


def test_half_a_list_does_not_say_that_nothing_was_created(storefront, order, stripe, configure):
    """Found: the order got a second intent beside the one under a saved 500."""
    stripe.inject(Fault("error_after", method="POST"))
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE

    def cut(method, url, headers, body):
        response = stripe.handle(method, url, headers, body)
        page = json.loads(response.body)
        if page.get("object") != "list":
            return response
        return replace(response, body=json.dumps({**page, "data": [], "has_more": True}).encode())

    configure(STRIPE_TRANSPORT=cut)
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


def saved_answer(stripe, status, *, acts, is_meant=lambda body: True):
    """A line on which the answer to one key is an error for ever; Stripe may have acted."""
    saved: set[str] = set()

    def handle(method, url, headers, body):
        key = headers.get("Idempotency-Key")
        if key is None or (key not in saved and (saved or not is_meant(str(body)))):
            return stripe.handle(method, url, headers, body)
        replayed = {"Idempotent-Replayed": "true"} if key in saved else {}
        if acts and not replayed:
            stripe.handle(method, url, headers, body)
        saved.add(key)
        error = {"type": "invalid_request_error", "code": "lock_timeout", "message": "Not now."}
        return SandboxResponse(status, replayed, json.dumps({"error": error}).encode())

    return handle


@pytest.mark.parametrize("status", [429, 503])
def test_a_saved_refusal_does_not_block_the_order_for_a_day(
    storefront, order, stripe, configure, status
):
    """Found: the same answer was asked for again and again."""
    configure(STRIPE_TRANSPORT=saved_answer(stripe, status, acts=False))
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE

    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


def test_an_update_that_took_effect_under_a_saved_500_is_taken_back(
    storefront, order, stripe, configure, intent_id
):
    """The customer never gets an intent that asks for another amount than is outstanding."""
    order.lines.update(quantity=3)
    line = saved_answer(stripe, 500, acts=True, is_meant=lambda body: "16800" in body)
    configure(STRIPE_TRANSPORT=line)
    assert answer(storefront.payment_intent(order)) == UNAVAILABLE
    order.lines.update(quantity=2)

    assert storefront.payment_intent(order).json()["data"]["amount"] == "112.00"


def test_a_lost_update_that_is_looked_up_too_late_is_taken_back(
    storefront, order, stripe, configure
):
    with time_machine.travel(START, tick=False) as clock:
        storefront.payment_intent(order)
        order.lines.update(quantity=3)
        configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=True))
        die(storefront, order)
        order.lines.update(quantity=2)
        clock.shift(timedelta(hours=24))

        data = storefront.payment_intent(order).json()["data"]

    assert data["amount"] == "112.00"


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


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, '{"error": {"type": "invalid_request_error", "code": "x_unexpected_state"}}', 502),
        (200, '{"object": "payment_intent", "deep": %s}' % ("[" * 400 + "]" * 400), 503),
    ],
    ids=["a create refused for its state", "an answer nested too deeply"],
)
def test_an_answer_without_sense_is_no_500(
    storefront, order, stripe, configure, status, body, expected
):
    configure(STRIPE_TRANSPORT=lambda *request: SandboxResponse(status, {}, body.encode()))

    assert storefront.payment_intent(order).status_code == expected


# --- intents that moved or are gone -------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [("processing", "payment_processing"), ("requires_capture", "payment_authorized")],
)
def test_an_update_that_comes_too_late_is_refused_with_the_reason(
    storefront, order, stripe, intent_id, status, code
):
    stripe.advance(intent_id, status)
    order.lines.update(quantity=3)
    before = len(writes(stripe))

    response = storefront.payment_intent(order)

    assert answer(response) == (409, code)
    assert len(writes(stripe)) == before + 1
    assert PaymentIntent.objects.get().status == status
    assert not storefront.get(f"orders/{order.pk}").json()["data"]["payable"]


@pytest.mark.parametrize(("status", "amount"), [("succeeded", "56.00"), ("canceled", "168.00")])
def test_an_update_of_a_closed_intent_becomes_a_new_intent(
    storefront, order, stripe, intent_id, status, amount
):
    stripe.advance(intent_id, status)
    order.lines.update(quantity=3)

    data = storefront.payment_intent(order).json()["data"]

    assert (data["id"] != intent_id, data["amount"]) == (True, amount)


def test_an_intent_in_an_unknown_status_cannot_be_updated(storefront, order, stripe, intent_id):
    with StripeOfTomorrow(stripe, status="requires_magic"):
        storefront.payment_intent(order)
        order.lines.update(quantity=3)

        assert answer(storefront.payment_intent(order)) == (409, "payment_processing")


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_a_closed_intent_that_stripe_has_forgotten_keeps_its_status(
    storefront, payment_system, order, stripe, configure, intent_id, status
):
    stripe.advance(intent_id, status)
    payment_system.payment(order)
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")
    assert PaymentIntent.objects.get().status == status
    assert OrderPayment.objects.get().is_paid == (status == "succeeded")


def test_an_unresolved_capture_of_a_forgotten_intent_does_not_block_the_order(
    storefront, order, stripe, configure
):
    configure(**stripe.shop_payments(), CAPTURE_METHOD="manual")
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    storefront.payment_intent(order)  # it is authorized, as the app now knows
    stripe.inject(Fault("drop_before", method="POST", times=2))
    with pytest.raises(GatewayUnavailable):
        capture_payment(order_id=order.pk, origin=Origin(source=Source.ADMIN))
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    assert storefront.payment_intent(order).status_code == 200

    statuses = [row.status for row in PaymentIntent.objects.order_by("pk")]
    assert statuses == ["missing", "requires_payment_method"]


def test_a_refused_key_says_nothing_about_the_sending_before(storefront, order, stripe, configure):
    """The create was carried out and its answer lost; then the key is rolled."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    error = json.dumps({"error": {"type": "invalid_request_error", "message": "Expired API Key"}})
    configure(STRIPE_TRANSPORT=lambda *request: SandboxResponse(401, {}, error.encode()))
    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")
    configure(STRIPE_TRANSPORT=stripe.handle)

    assert storefront.payment_intent(order).status_code == 200
    assert len(ids_at_stripe(stripe)) == 1


# --- what is sent -------------------------------------------------------------------------------


def test_a_service_called_inside_a_transaction_says_so(order, stripe):
    origin = Origin(source=Source.API)
    with transaction.atomic():
        with pytest.raises(TransactionOpenError, match=r"on_commit"):
            create_payment_intent(order_id=order.pk, user=order.customer, origin=origin)
        with pytest.raises(TransactionOpenError):
            settle_payment(order_id=order.pk, origin=origin)


def test_metadata_of_many_lines_is_made_quickly(storefront, order, stripe):
    """Found: it was quadratic, under the order's lock: 13 s for 4,000 lines."""
    lines = [OrderLine(order=order, name="x", unit_amount=1, quantity=1) for _ in range(4000)]
    OrderLine.objects.bulk_create(lines)

    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    metadata = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["metadata"]
    shown = json.loads(metadata["line_items"])
    assert len(shown) + int(metadata["line_items_omitted"]) == 4001


class WithoutLines(BundledOrderAdapter):
    """A shop in which a product was deleted."""

    def line_items(self, order):
        raise KeyError("product")


def test_lines_that_cannot_be_read_do_not_stop_a_payment(
    storefront, payment_system, order, stripe, intent_id, configure
):
    configure(ORDER_ADAPTER=f"{__name__}.WithoutLines", STRIPE_TRANSPORT=stripe.handle)

    assert send_event(pay(stripe, intent_id)).status_code == 200
    assert OrderPayment.objects.get().is_paid
    assert payment_system.payment(order).json()["data"]["line_items"] == []
