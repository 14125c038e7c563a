"""POST webhooks/stripe."""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from tests.factories import OrderFactory
from tests.support import (
    BASE,
    answer,
    call_stripe,
    event_body,
    pay,
    plan_of,
    post_webhook,
    send_event,
    sign,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent(storefront, order, stripe):
    """The order's intent, paid at Stripe; nobody has told the shop yet."""
    created = storefront.payment_intent(order).json()["data"]
    return pay(stripe, created["id"])


def is_paid():
    return OrderPayment.objects.get().status == "paid"


def post_in_chunks(body: bytes) -> Any:
    """Deliver a signed event through ASGI, without a Content-Length."""
    path = f"{BASE}/webhooks/stripe"
    headers = {b"content-type": b"application/json", b"stripe-signature": sign(body).encode()}
    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers.items())}
    match = resolve(path)
    return match.func(ASGIRequest(scope, BytesIO(body)), *match.args, **match.kwargs).render()


def answer_of(response: Any) -> tuple[int, str]:
    return response.status_code, json.loads(response.content)["code"]


def test_the_webhook_alone_pays(intent, order, paid_signals):
    response = send_event(intent)

    assert response.status_code == 200
    assert is_paid()
    assert len(paid_signals) == 1
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 1)
    assert event.outcome == f"{intent['id']} is succeeded"


def test_a_final_status_needs_no_call_to_stripe(intent, stripe):
    stripe.requests.clear()

    send_event(intent)

    assert is_paid()
    assert stripe.requests == []


def test_a_duplicate_changes_nothing(intent, paid_signals):
    body = event_body(intent)

    answers = [post_webhook(body, sign(body)).status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    assert WebhookEvent.objects.get().attempts == 1
    assert len(paid_signals) == 1


def test_two_events_about_the_same_payment(intent, paid_signals):
    send_event(intent)
    send_event(intent)

    assert WebhookEvent.objects.count() == 2
    assert len(paid_signals) == 1


def test_no_client_secret_is_stored(intent):
    assert "_secret_" in event_body(intent).decode()

    send_event(intent)

    assert "_secret_" not in json.dumps(WebhookEvent.objects.get().payload)


def test_it_does_not_care_what_the_caller_accepts(intent):
    body = event_body(intent)

    response = Client().post(
        "/api/v1/shop/webhooks/stripe",
        data=body,
        content_type="application/json; charset=utf-8",
        headers={"Stripe-Signature": sign(body), "Accept": "application/xml"},
    )

    assert response.status_code == 200


class TestRefused:
    """400, and nothing is written."""

    def refuses(self, body, signature, code="invalid_signature"):
        response = post_webhook(body, signature)
        assert answer(response) == (400, code)
        assert not WebhookEvent.objects.exists()
        assert not is_paid()

    def test_a_forged_signature(self, intent):
        body = event_body(intent)
        self.refuses(body, sign(body, secret="whsec_of_somebody_else"))

    def test_a_body_that_was_changed(self, intent):
        body = event_body(intent)
        self.refuses(body.replace(b"11200", b"11201"), sign(body))

    def test_an_expired_signature(self, intent):
        body = event_body(intent)
        self.refuses(body, sign(body, timestamp=int(time.time()) - 310))

    def test_a_signature_from_the_future(self, intent):
        body = event_body(intent)
        self.refuses(body, sign(body, timestamp=int(time.time()) + 310))

    @pytest.mark.parametrize("signature", ["", "t=,v1=", "v1=abc", "t=1", "é", "t=1,v1=é"])
    def test_what_is_no_signature(self, intent, signature):
        self.refuses(event_body(intent), signature)

    def test_a_tolerance_of_zero_does_not_turn_the_check_off(self, intent, configure):
        configure(WEBHOOK_TOLERANCE=0)
        body = event_body(intent)

        response = post_webhook(body, sign(body, timestamp=int(time.time()) - 60))

        assert answer(response) == (503, "not_configured")
        assert not WebhookEvent.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [b"[]", b"{}", b"1", b"null", b'"event"', b"{", b"[" * 10000, b'{"object":"event"}'],
    )
    def test_signed_but_not_an_event(self, intent, body):
        self.refuses(body, sign(body), "invalid_payload")

    def test_a_body_that_is_not_utf8(self, intent):
        self.refuses(b"\xff\xfe", "t=1,v1=abc")

    def test_no_signature_header(self, intent):
        response = Client().post(
            "/api/v1/shop/webhooks/stripe", data=event_body(intent), content_type="application/json"
        )
        assert answer(response) == (400, "invalid_signature")

    def test_a_huge_body(self, intent, configure):
        configure(WEBHOOK_MAX_BYTES=1000)
        body = event_body(intent)

        assert answer(post_webhook(body, sign(body))) == (413, "payload_too_large")
        assert not WebhookEvent.objects.exists()

    def test_a_huge_body_is_not_even_read(self, configure):
        configure(WEBHOOK_MAX_BYTES=1000)
        body = BytesIO(b" " * 1001)
        declared: dict[str, Any] = {"CONTENT_LENGTH": "1001", "wsgi.input": body}

        response = Client().generic("POST", f"{BASE}/webhooks/stripe", **declared)

        assert answer(response) == (413, "payload_too_large")
        assert body.tell() == 0

    def test_a_huge_body_that_does_not_say_its_length(self, intent, configure):
        """As servers of ASGI pass on what comes in chunks."""
        body = event_body(intent)

        assert post_in_chunks(body).status_code == 200
        configure(WEBHOOK_MAX_BYTES=1000)
        assert answer_of(post_in_chunks(body)) == (413, "payload_too_large")

    def test_a_body_that_the_host_finds_too_large(self, intent, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        body = event_body(intent)

        assert answer(post_webhook(body, sign(body))) == (413, "payload_too_large")
        assert answer_of(post_in_chunks(body)) == (413, "payload_too_large")
        assert not WebhookEvent.objects.exists()

    def test_no_webhook_secret_is_configured(self, intent, configure):
        """Stripe is asked to come again, so that nothing is lost until the setting is there."""
        configure(STRIPE_WEBHOOK_SECRETS=[])
        body = event_body(intent)

        assert answer(post_webhook(body, sign(body))) == (503, "not_configured")


def test_a_signature_with_an_odd_time_is_no_500(intent):
    """Found: t=<seconds>=x, which Stripe's own code accepts."""
    body = event_body(intent)
    stamp, signature = sign(body).split(",", 1)

    assert post_webhook(body, f"{stamp}=x,{signature}").status_code == 200


def test_a_secret_may_be_rotated(intent, configure):
    configure(STRIPE_WEBHOOK_SECRETS=["whsec_new", "whsec_of_the_tests"])

    assert send_event(intent).status_code == 200


class TestMoneyThatIsNotOurs:
    """200, kept as ignored, and nothing is paid by it."""

    def is_ignored(self, response):
        event = WebhookEvent.objects.get()
        return (response.status_code, event.status) == (200, "ignored") and not is_paid()

    def test_an_intent_with_a_foreign_attempt_id(self, intent, order):
        foreign = {
            **intent,
            "id": "pi_foreign",
            "metadata": {**intent["metadata"], "attempt_id": str(uuid4())},
        }

        # It names the order of another installation; Stripe does not know it under our key now.
        assert send_event(foreign).status_code == 503
        assert WebhookEvent.objects.get().status == "failed"
        assert not is_paid()

    def test_an_intent_with_our_order_id_alone(self, intent, order):
        foreign = {**intent, "id": "pi_foreign", "metadata": {"order_id": str(order.pk)}}

        assert self.is_ignored(send_event(foreign))

    def test_an_intent_that_copies_our_attempt_id(self, intent):
        copied = {**intent, "id": "pi_copied"}

        assert self.is_ignored(send_event(copied))
        assert PaymentIntent.objects.count() == 1

    @pytest.mark.parametrize("attempt_id", ["", "x", "1", "None", "\x00"])
    def test_an_attempt_id_that_is_none(self, intent, attempt_id):
        foreign = {**intent, "id": "pi_foreign", "metadata": {"attempt_id": attempt_id}}

        assert self.is_ignored(send_event(foreign))

    def test_an_event_of_another_kind(self, intent):
        assert self.is_ignored(send_event(intent, type="customer.created"))

    def test_an_event_type_that_nobody_knows_yet(self, intent):
        assert self.is_ignored(send_event({"object": "thing", "id": "x"}, type="thing.happened"))

    def test_another_orders_intent(self, storefront, order, stripe, intent):
        other = OrderFactory.create(customer=order.customer)
        other_intent = pay(stripe, storefront.payment_intent(other).json()["data"]["id"])

        send_event(other_intent)

        assert OrderPayment.objects.get(order=other).status == "paid"
        assert OrderPayment.objects.get(order=order).status == "unpaid"


class TestMoneyThatDoesNotFit:
    @pytest.mark.parametrize(
        ("received", "status", "outstanding"),
        [(11198, "partially_paid", 2), (100, "partially_paid", 11100), (0, "unpaid", 11200)],
    )
    def test_less_than_the_total_leaves_the_rest_outstanding(
        self, intent, received, status, outstanding, paid_signals
    ):
        response = send_event({**intent, "amount_received": received})

        payment = OrderPayment.objects.get()
        assert response.status_code == 200
        assert (payment.status, payment.amount_outstanding) == (status, outstanding)
        assert paid_signals == []

    def test_more_than_the_total_is_excess(self, intent, paid_signals):
        response = send_event({**intent, "amount_received": 11300})

        payment = OrderPayment.objects.get()
        assert response.status_code == 200
        assert (payment.status, payment.amount_excess) == ("paid", 100)
        assert ReviewItem.objects.get().reason == "excess"
        assert len(paid_signals) == 1

    def test_another_currency_does_not_count(self, intent, paid_signals):
        response = send_event({**intent, "currency": "eur"})

        payment = OrderPayment.objects.get()
        assert response.status_code == 200
        assert (payment.status, payment.amount_outstanding) == ("unpaid", 11200)
        assert (payment.amount_uncounted, payment.needs_review) == (11200, True)
        assert ReviewItem.objects.get().reason == "uncounted"
        assert paid_signals == []

    def test_live_money_under_a_test_key_writes_nothing_and_is_sent_again(
        self, intent, paid_signals
    ):
        before = PaymentIntent.objects.values().get()

        response = send_event({**intent, "livemode": True})

        assert answer(response) == (503, "event_failed")
        assert PaymentIntent.objects.values().get() == before
        assert OrderPayment.objects.get().status == "unpaid"
        assert not ReviewItem.objects.exists()
        assert paid_signals == []

    def test_an_order_that_cannot_be_read_has_the_event_sent_again(
        self, intent, order, paid_signals
    ):
        order.lines.update(unit_amount=5123)
        Order.objects.update(currency="kwd")

        refused = send_event(intent, id="evt_1")
        received = PaymentIntent.objects.get().amount_received
        status = OrderPayment.objects.get().status
        order.lines.update(unit_amount=5600)
        Order.objects.update(currency="usd")
        accepted = send_event(intent, id="evt_1")

        assert answer(refused) == (503, "event_failed")
        assert "Retry-After" in refused
        assert (received, status) == (11200, "unpaid"), "what Stripe said is stored, and only that"
        assert accepted.status_code == 200
        assert is_paid()
        assert len(paid_signals) == 1

    def test_a_second_event_does_not_change_what_was_received(self, intent):
        send_event({**intent, "amount_received": 1})

        send_event(intent)

        assert PaymentIntent.objects.get().amount_received == 1
        assert not is_paid()

    def test_what_is_final_keeps_its_figures(self, intent):
        """Also where something signed says otherwise later."""
        send_event(intent)
        before = PaymentIntent.objects.values().get()

        send_event({**intent, "amount_received": 1, "latest_charge": "ch_another"})
        send_event({**intent, "status": "canceled"}, type="payment_intent.canceled")

        assert PaymentIntent.objects.values().get() == before
        assert is_paid()

    def test_an_order_is_paid_by_its_second_intent(
        self, intent, storefront, order, stripe, paid_signals
    ):
        """The first was believed canceled. (Paid twice: see test_stories.py.)"""
        canceled = {**intent, "status": "canceled", "amount_received": 0}
        send_event(canceled, type="payment_intent.canceled")
        second = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        send_event(second)

        assert is_paid()
        assert len(paid_signals) == 1


class TestEventsThatAreOnlyHints:
    def test_a_passing_status_is_looked_up(self, intent, stripe):
        """The event is late: meanwhile the customer has paid."""
        stripe.requests.clear()

        send_event({**intent, "status": "requires_payment_method"}, type="payment_intent.created")

        assert [request.method for request in stripe.requests] == ["GET"]
        assert is_paid()

    def test_a_late_event_about_a_final_intent_needs_no_fetch(self, intent, stripe):
        send_event(intent)
        stripe.requests.clear()

        send_event({**intent, "status": "processing"}, type="payment_intent.processing")

        assert is_paid()
        assert stripe.requests == []

    def test_stripe_is_away(self, intent, stripe):
        """5xx, so that Stripe sends it again; the redelivery heals it."""
        stripe.inject(Fault("drop_before", method="GET"))
        body = event_body({**intent, "status": "processing"})

        assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
        assert WebhookEvent.objects.get().status == "failed"
        assert post_webhook(body, sign(body)).status_code == 200
        event = WebhookEvent.objects.get()
        assert (event.status, event.attempts) == ("processed", 2)
        assert is_paid()

    def test_an_event_that_keeps_failing_is_set_aside(self, intent, stripe):
        stripe.inject(Fault("drop_before", method="GET", times=None))
        body = event_body({**intent, "status": "processing"})

        statuses = [
            post_webhook(body, sign(body)).status_code for _ in range(WebhookEvent.MAX_ATTEMPTS)
        ]

        assert statuses == [503] * (WebhookEvent.MAX_ATTEMPTS - 1) + [200]
        assert WebhookEvent.objects.get().status == "set_aside"

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": "text"},
            {"data": None},
            {"data": {"object": "pi_x"}},
            {"data": {"object": {"object": "charge"}}},
            {"data": {"object": {"object": "payment_intent", "id": 7, "amount": "a lot"}}},
        ],
    )
    def test_a_malformed_intent_is_set_aside_at_once(self, intent, changes):
        response = send_event(intent, **changes)

        assert response.status_code == 200
        assert WebhookEvent.objects.get().status == "set_aside"


class TestTheEventThatComesFirst:
    """The answer to the create call was lost, or is slower than the webhook."""

    def lose_the_answer(self, storefront, order, stripe):
        stripe.inject(Fault("drop_after", method="POST"))
        storefront.payment_intent(order)
        (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
        assert not PaymentIntent.objects.exists()
        return intent

    def test_created_is_adopted(self, storefront, order, stripe):
        intent = self.lose_the_answer(storefront, order, stripe)

        send_event(intent, type="payment_intent.created")

        assert PaymentIntent.objects.get().stripe_id == intent["id"]
        assert StripeAttempt.objects.get().outcome == "succeeded"
        assert storefront.payment_intent(order).json()["data"]["id"] == intent["id"]

    def test_succeeded_is_adopted_and_pays(self, storefront, order, stripe, paid_signals):
        intent = self.lose_the_answer(storefront, order, stripe)

        send_event(pay(stripe, intent["id"]))

        assert is_paid()
        assert len(paid_signals) == 1
        assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")


def test_a_cancelled_intent_is_closed(storefront, order, stripe, webhooks):
    first = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{first}/cancel", cancellation_reason="abandoned")

    webhooks()

    row = PaymentIntent.objects.get()
    assert (row.status, row.cancellation_reason) == ("canceled", "abandoned")


def test_a_host_may_process_events_elsewhere(intent, configure):
    handed_over.clear()
    configure(EVENT_HANDLER="tests.api.test_webhooks.hand_over")

    assert send_event(intent).status_code == 200
    assert not is_paid()

    from shop_payments.services.receive_event import process_event

    process_event(handed_over.pop())
    assert is_paid()


@pytest.mark.parametrize("handler", ["broken_broker", "nobody"])
def test_a_handler_that_raises_leaves_the_event_for_the_next_delivery(
    intent, configure, caplog, handler
):
    configure(EVENT_HANDLER=f"tests.api.test_webhooks.{handler}")
    body = event_body(intent)

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "received"
    assert f"EVENT_HANDLER tests.api.test_webhooks.{handler} did not accept" in caplog.text

    configure(EVENT_HANDLER="")
    assert post_webhook(body, sign(body)).status_code == 200
    assert is_paid()


def broken_broker(event_pk):
    raise OSError("the broker is down")


handed_over: list[int] = []


def hand_over(event_pk):
    handed_over.append(event_pk)


# --- which intent an event is about -------------------------------------------------------------


@pytest.fixture
def many_intents(intent) -> None:
    """So many that the database thinks twice how to find one."""
    payment = OrderPayment.objects.get()
    attempts = [
        StripeAttempt(
            order_payment=payment,
            operation="create_intent",
            params={},
            livemode=False,
            outcome="succeeded",
            finished_at=timezone.now(),
        )
        for _number in range(3000)
    ]
    intents = [
        PaymentIntent(
            order_payment=payment,
            stripe_id=f"pi_{number}",
            attempt=attempt,
            status="canceled",
            amount=11200,
            currency="usd",
            livemode=False,
            latest_charge=f"ch_{number}",
            stripe_created_at=timezone.now(),
        )
        for number, attempt in enumerate(attempts)
    ]
    StripeAttempt.objects.bulk_create(attempts, batch_size=500)
    PaymentIntent.objects.bulk_create(intents, batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def test_an_event_that_names_only_a_charge_finds_its_intent_by_an_index(
    stripe, payment_system, order, intent, many_intents
):
    payment_system.payment(order)
    stripe.open_dispute(intent["latest_charge"])
    (dispute,) = call_stripe(stripe, "GET", "disputes")["data"]

    with CaptureQueriesContext(connection) as queries:
        body = event_body({**dispute, "payment_intent": None}, type="charge.dispute.created")
        assert post_webhook(body, sign(body)).status_code == 200

    assert OrderPayment.objects.get().dispute_state == "open"
    (by_charge,) = [each["sql"] for each in queries if '"latest_charge" = ' in each["sql"]]
    assert "shop_payments_intent_by_charge" in plan_of(by_charge)
