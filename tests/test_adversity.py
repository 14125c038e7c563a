"""What went wrong when the services were attacked, each case by its name.

The attackers: Stripe saying something else than the mirror believes, keys that are rolled at the
wrong moment, answers that are lost, and shops whose orders cannot be read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.db import transaction

from shop_payments.exceptions import GatewayUnavailable, TransactionOpenError
from shop_payments.ledger.facts import Origin
from shop_payments.models import (
    Order,
    OrderLine,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    Source,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.settle_payment import settle_payment
from tests.support import StripeOfTomorrow, answer, call_stripe, pay, send_event, writes
from tests.test_recovery import START, DyingLine, die

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent_id(storefront, order, stripe):
    return storefront.payment_intent(order).json()["data"]["id"]


def intents_at_stripe(stripe):
    return call_stripe(stripe, "GET", "payment_intents")["data"]


class TestTheOrderChangedAfterTheIntentHadMoved:
    """Stripe refuses the update; the state is looked at, once, and told."""

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("processing", "payment_processing"),
            ("requires_capture", "payment_authorized"),
        ],
    )
    def test_it_is_told_why(self, storefront, order, stripe, intent_id, status, code):
        stripe.advance(intent_id, status)
        order.lines.update(quantity=3)
        before = len(writes(stripe))

        response = storefront.payment_intent(order)

        assert answer(response) == (409, code)
        assert len(writes(stripe)) == before + 1
        assert PaymentIntent.objects.get().status == status
        assert not storefront.get(f"orders/{order.pk}").json()["data"]["payable"]

    def test_the_rest_is_asked_for_where_it_has_succeeded(
        self, storefront, order, stripe, intent_id
    ):
        stripe.advance(intent_id, "succeeded")
        order.lines.update(quantity=3)

        data = storefront.payment_intent(order).json()["data"]

        assert data["id"] != intent_id
        assert data["amount"] == "56.00"
        payment = OrderPayment.objects.get()
        assert (payment.status, payment.amount_received) == ("partially_paid", 11200)

    def test_a_cancelled_intent_is_replaced(self, storefront, order, stripe, intent_id):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
        order.lines.update(quantity=3)

        data = storefront.payment_intent(order).json()["data"]

        assert data["id"] != intent_id
        assert data["amount"] == "168.00"


def test_a_look_up_that_is_lost_leaves_the_create_to_the_next_caller(
    storefront, order, stripe, nobody_waits
):
    """The answer to the key is a 500 for ever, and the list that would tell more does not come."""
    intents = "/v1/payment_intents"
    stripe.inject(Fault("error", status=500, method="POST", path=intents))
    stripe.inject(Fault("drop_before", method="GET", path=intents))
    first, second = storefront.payment_intent(order), storefront.payment_intent(order)
    assert [answer(first), answer(second)] == 2 * [(503, "gateway_unavailable")]

    assert storefront.payment_intent(order).status_code == 200


class TestTheIntentAsksForAnotherSum:
    """The customer is never handed an intent that does not ask for what is due."""

    def test_it_was_changed_at_stripe(self, storefront, order, stripe, intent_id):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}", amount="5000")

        data = storefront.payment_intent(order).json()["data"]

        assert (data["id"], data["amount"]) == (intent_id, "112.00")

    def test_a_lost_update_was_looked_up_too_late(self, storefront, order, stripe, configure):
        with time_machine.travel(START, tick=False) as clock:
            storefront.payment_intent(order)
            order.lines.update(quantity=3)
            configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=True))
            die(storefront, order)
            order.lines.update(quantity=2)
            clock.shift(timedelta(hours=24))

            data = storefront.payment_intent(order).json()["data"]

        assert data["amount"] == "112.00"

    def test_an_update_took_effect_under_a_saved_500(self, storefront, order, stripe, configure):
        storefront.payment_intent(order)
        order.lines.update(quantity=3)
        configure(STRIPE_TRANSPORT=EffectUnderA500(stripe))
        assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
        order.lines.update(quantity=2)

        data = storefront.payment_intent(order).json()["data"]

        assert data["amount"] == "112.00"

    def test_a_status_that_nobody_knows_cannot_be_updated(self, storefront, order, stripe):
        storefront.payment_intent(order)
        with StripeOfTomorrow(stripe, status="requires_magic"):
            storefront.payment_intent(order)
            order.lines.update(quantity=3)

            response = storefront.payment_intent(order)

        assert answer(response) == (409, "payment_processing")


class EffectUnderA500:
    """Stripe acts on the update to 168.00, and saves a 500 as the answer to its key."""

    def __init__(self, stripe):
        self._stripe, self._keys = stripe, set()

    def __call__(self, method, url, headers, body):
        response = self._stripe.handle(method, url, headers, body)
        key = {name.lower(): value for name, value in headers.items()}.get("idempotency-key")
        if key is None or (key not in self._keys and "16800" not in str(body)):
            return response
        again = {"Idempotent-Replayed": "true"} if key in self._keys else {}
        self._keys.add(key)
        error = {"error": {"type": "api_error", "message": "oops"}}
        return replace(
            response,
            status=500,
            body=json.dumps(error).encode(),
            headers={**response.headers, **again},
        )


class TestStripeHasForgottenTheIntent:
    def test_a_paid_order_stays_paid(self, storefront, payment_system, order, stripe, configure):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        pay(stripe, intent_id)
        payment_system.payment(order)
        configure(STRIPE_TRANSPORT=Sandbox().handle)

        response = payment_system.payment(order)

        assert answer(response) == (404, "payment_intent_missing")
        assert PaymentIntent.objects.get().status == "succeeded"
        assert OrderPayment.objects.get().is_paid

    def test_a_cancelled_intent_stays_cancelled(
        self, storefront, payment_system, order, stripe, configure
    ):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
        payment_system.payment(order)
        configure(STRIPE_TRANSPORT=Sandbox().handle)

        assert answer(payment_system.payment(order)) == (404, "payment_intent_missing")
        assert PaymentIntent.objects.get().status == "canceled"

    def test_a_test_key_for_a_moment_does_not_put_live_orders_into_review(
        self, storefront, payment_system, order, stripe, intent_id
    ):
        PaymentIntent.objects.update(livemode=True)

        assert answer(payment_system.payment(order)) == (503, "not_configured")
        assert not OrderPayment.objects.get().needs_review

    def test_an_unresolved_capture_does_not_block_the_order(
        self, storefront, order, stripe, configure
    ):
        """The sandbox was started again: the intent is closed, and the order gets another one."""
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

    def test_in_live_mode_a_person_is_asked_and_nothing_is_replaced(
        self, storefront, payment_system, order, stripe, intent_id, configure
    ):
        PaymentIntent.objects.update(livemode=True)
        with LiveStripeThatKnowsNothing() as base:
            configure(STRIPE_SECRET_KEY="sk_live_x", STRIPE_API_BASE=base, STRIPE_TRANSPORT=None)
            answers = [
                answer(payment_system.payment(order)),
                answer(storefront.payment_intent(order)),
            ]

        assert answers == [
            (404, "payment_intent_missing"),
            (409, "payment_in_review"),
        ]
        assert ReviewItem.objects.get().reason == "intent_missing"
        assert PaymentIntent.objects.get().is_open


class LiveStripeThatKnowsNothing:
    """The sandbox takes no live key; this answers 404 to everything."""

    def __enter__(self):
        from threading import Thread
        from wsgiref.simple_server import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log_message(self, *args):
                pass

        def app(environ, start_response):
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No."}
            body = json.dumps({"error": error}).encode()
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [body]

        self._server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def refused_key(*args):
    error = {"type": "invalid_request_error", "message": "Expired API Key provided"}
    return SandboxResponse(401, {}, json.dumps({"error": error}).encode())


class TestTheKeyIsRolledAtTheWrongMoment:
    def test_a_refused_key_says_nothing_of_what_was_done_before(
        self, storefront, order, stripe, configure
    ):
        """The create was carried out and its answer lost; the retry meets a refused key."""
        stripe.inject(Fault("drop_after", method="POST"))
        storefront.payment_intent(order)
        configure(STRIPE_TRANSPORT=refused_key)
        assert answer(storefront.payment_intent(order)) == (502, "gateway_error")
        configure(STRIPE_TRANSPORT=stripe.handle)

        assert storefront.payment_intent(order).status_code == 200
        assert len(intents_at_stripe(stripe)) == 1


def test_an_attempt_whose_place_was_taken_does_not_block_the_order(
    storefront, order, stripe, configure
):
    """A test intent was flagged missing, its successor's creator died, and it comes back."""
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


class UnreadableOrders(BundledOrderAdapter):
    """A shop whose orders cannot be read any more."""

    trouble = ""

    def get_queryset(self):
        orders = super().get_queryset()
        return orders.none() if self.trouble == "deleted softly" else orders

    def line_items(self, order):
        if self.trouble == "a product is gone":
            raise KeyError("product")
        return super().line_items(order)


@pytest.fixture
def trouble(configure, stripe, monkeypatch):
    """Let something happen to the shop's orders."""

    def set_trouble(name):
        monkeypatch.setattr(UnreadableOrders, "trouble", name)

    configure(ORDER_ADAPTER="tests.test_adversity.UnreadableOrders", STRIPE_TRANSPORT=stripe.handle)
    return set_trouble


def test_money_for_an_order_that_cannot_be_found_is_recorded_and_waits(
    storefront, payment_system, order, stripe, trouble
):
    """Found: one exception while the webhook was processed, and it was unpaid for ever."""
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    trouble("deleted softly")

    assert send_event(intent).status_code == 503
    assert answer(payment_system.payment(order)) == (503, "order_unreadable")
    assert PaymentIntent.objects.get().amount_received == 11200

    trouble("")
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().is_paid


def test_lines_that_cannot_be_read_keep_no_order_from_being_paid(
    storefront, payment_system, order, stripe, trouble
):
    """What the order costs is all that matters."""
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    trouble("a product is gone")

    assert send_event(intent).status_code == 200
    assert OrderPayment.objects.get().is_paid
    assert payment_system.payment(order).json()["data"]["line_items"] == []


@pytest.mark.parametrize("email", ["customer@localhost", "not an address"])
def test_a_receipt_address_that_stripe_refuses_does_not_block_the_order(
    storefront, order, stripe, email
):
    Order.objects.update(email=email)

    answers = [storefront.payment_intent(order) for _ in range(2)]

    assert [response.status_code for response in answers] == [200, 200]
    (intent,) = intents_at_stripe(stripe)
    assert intent["receipt_email"] is None


def test_a_service_called_inside_a_transaction_says_so(order, stripe):
    origin = Origin(source=Source.API)
    with transaction.atomic():
        with pytest.raises(TransactionOpenError, match=r"on_commit"):
            create_payment_intent(order_id=order.pk, user=order.customer, origin=origin)
        with pytest.raises(TransactionOpenError):
            settle_payment(order_id=order.pk, origin=origin)


def test_metadata_of_many_lines_does_not_take_ages(storefront, order, stripe):
    """It was quadratic, under the order's lock: 13 s for 4,000 lines."""
    lines = [OrderLine(order=order, name="x", unit_amount=1, quantity=1) for _ in range(4000)]
    OrderLine.objects.bulk_create(lines)

    intent_id = storefront.payment_intent(order).json()["data"]["id"]

    metadata = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["metadata"]
    shown = json.loads(metadata["line_items"])
    assert len(shown) + int(metadata["line_items_omitted"]) == 4001


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            400,
            {"error": {"type": "invalid_request_error", "code": "x_unexpected_state"}},
            (502, "gateway_error"),
        ),
        (200, {"object": "payment_intent", "deep": None}, (503, "gateway_unavailable")),
    ],
    ids=["a create refused for its state", "an answer nested too deeply"],
)
def test_an_answer_that_makes_no_sense_is_no_500(
    storefront, order, stripe, configure, status, body, expected
):
    text = json.dumps(body).replace("null", "[" * 400 + "]" * 400)
    configure(STRIPE_TRANSPORT=lambda *request: SandboxResponse(status, {}, text.encode()))

    assert answer(storefront.payment_intent(order)) == expected


def test_the_answer_to_another_customer_is_not_shown(storefront, order, stripe, configure):
    """A proxy mixes two answers up. It was a 500, or the other one's intent was taken in."""
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="11200", currency="usd")

    def crossed(method, url, headers, body):
        stripe.handle(method, url, headers, body)
        return stripe.handle("GET", f"/v1/payment_intents/{theirs['id']}", headers)

    configure(STRIPE_TRANSPORT=crossed)
    response = storefront.payment_intent(order)
    assert answer(response) == (503, "gateway_unavailable")
    assert theirs["id"] not in str(response.json())

    configure(STRIPE_TRANSPORT=stripe.handle)
    ours = storefront.payment_intent(order).json()["data"]["id"]
    assert ours != theirs["id"]
    assert {each["id"] for each in intents_at_stripe(stripe)} == {ours, theirs["id"]}


def test_half_a_list_does_not_say_that_nothing_was_created(storefront, order, stripe, configure):
    """It did: the order got a second intent beside the one under a saved 500."""
    stripe.inject(Fault("error_after", method="POST"))
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")

    def cut(method, url, headers, body):
        response = stripe.handle(method, url, headers, body)
        page = json.loads(response.body)
        if page.get("object") != "list":
            return response
        return replace(response, body=json.dumps({**page, "data": [], "has_more": True}).encode())

    configure(STRIPE_TRANSPORT=cut)
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert storefront.payment_intent(order).status_code == 200
    assert len(intents_at_stripe(stripe)) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_saved_not_now_does_not_block_the_order_for_a_day(
    storefront, order, stripe, configure, status
):
    """Nothing says that Stripe never saves one. The same answer was asked for again and again."""
    saved: set[str] = set()

    def saving(method, url, headers, body):
        key = headers.get("Idempotency-Key")
        if key is None or (saved and key not in saved):
            return stripe.handle(method, url, headers, body)
        replayed = {"Idempotent-Replayed": "true"} if key in saved else {}
        saved.add(key)
        error = {"type": "invalid_request_error", "code": "lock_timeout", "message": "Not now."}
        return SandboxResponse(status, replayed, json.dumps({"error": error}).encode())

    configure(STRIPE_TRANSPORT=saving)
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")

    assert storefront.payment_intent(order).status_code == 200
    assert len(saved) == 1
    assert len(intents_at_stripe(stripe)) == 1
