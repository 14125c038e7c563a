"""Stripe's events: stored once, acted on, and tried again where something was in the way."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction

from shop_payments.exceptions import TransactionOpenError
from shop_payments.models import OrderPayment, PaymentIntent, Refund, ReviewItem, WebhookEvent
from shop_payments.sandbox import Fault
from shop_payments.services.receive_event import process_event
from tests.books import assert_mirrors_agree
from tests.support import answer, call_stripe, event_body, pay, post_webhook, send_event, sign

pytestmark = pytest.mark.django_db


@pytest.fixture
def intent(intent_id, stripe) -> dict[str, Any]:
    """The order's intent, paid at Stripe; the shop does not know it yet."""
    return pay(stripe, intent_id)


def is_paid() -> bool:
    return OrderPayment.objects.get().status == "paid"


def outcomes() -> set[tuple[str, str]]:
    return {(event.status, event.outcome) for event in WebhookEvent.objects.all()}


def statuses() -> set[str]:
    return {status for status, _outcome in outcomes()}


def test_an_event_alone_pays_without_a_call_to_stripe(intent, stripe, paid_signals):
    body = event_body(intent)
    assert b"_secret_" in body
    stripe.requests.clear()

    statuses = [post_webhook(body, sign(body)).status_code for _delivery in range(3)]

    assert statuses == [200] * 3
    assert is_paid()
    assert stripe.requests == []
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 1)
    assert event.outcome == "Payment status: succeeded"
    assert "_secret_" not in json.dumps(event.payload)
    send_event(intent)
    assert WebhookEvent.objects.count() == 2
    assert len(paid_signals) == 1


def test_what_is_not_ours_is_ignored(intent):
    assert send_event(intent, type="customer.created").status_code == 200
    assert outcomes() == {("ignored", "events of this type are not needed")}
    for changes in (
        {"id": "pi_copied"},  # with its attempt
        {"id": "pi_foreign", "metadata": {"order_id": "1"}},
        {"id": "pi_foreign", "metadata": {"attempt_id": "\x00"}},
    ):
        assert send_event({**intent, **changes}).status_code == 200

    assert statuses() == {"ignored"}
    assert PaymentIntent.objects.count() == 1
    assert not is_paid()


def test_an_intent_with_an_unknown_attempt_is_tried_again(intent):
    """It names an order of ours, and Stripe does not know it under our key now."""
    metadata = {**intent["metadata"], "attempt_id": str(uuid4())}

    assert send_event({**intent, "id": "pi_foreign", "metadata": metadata}).status_code == 503
    assert WebhookEvent.objects.get().status == "failed"
    assert not is_paid()


def test_another_accounts_events_are_not_ours(intent, stripe):
    """Thin events name the account in their context.

    An organization's endpoint gets snapshots of its own accounts with their context.
    """
    stripe.requests.clear()
    thin = {
        "id": "evt_1",
        "object": "v2.core.event",
        "type": "v1.payment_intent.succeeded",
        "livemode": False,
        "created": "2026-11-29T16:00:00.000Z",
        "context": "acct_theirs",
        "related_object": {"id": intent["id"], "type": "payment_intent"},
    }
    body = json.dumps(thin).encode()
    refund = {"object": "refund", "id": "re_theirs", "payment_intent": "pi_theirs"}

    assert post_webhook(body, sign(body)).status_code == 200
    assert send_event(intent, account="acct_theirs").status_code == 200
    assert send_event(refund, type="refund.created", account="acct_theirs").status_code == 200

    assert outcomes() == {("ignored", "from a connected account")}
    assert stripe.requests == []
    assert not is_paid()
    assert send_event(intent, context="acct_ours").status_code == 200
    assert is_paid()


@pytest.mark.parametrize(
    ("form", "kind"), [("webhook_thin", "payment"), (None, "refund"), ("webhook_old", "dispute")]
)
def test_an_event_of_another_system_costs_one_call(stripe, webhooks, order, form, kind):
    """A refund or a dispute names no order: its payment intent has to be asked for one."""
    if form:
        stripe.inject(Fault(form, times=None))
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    if kind != "payment":
        pay(stripe, theirs, "pm_card_createDispute" if kind == "dispute" else "pm_card_visa")
    if kind == "refund":
        call_stripe(stripe, "POST", "refunds", payment_intent=theirs)
    stripe.requests.clear()

    webhooks()

    assert statuses() == {"ignored"}
    assert 1 <= len(stripe.requests) <= WebhookEvent.objects.count()


def test_live_money_under_a_test_key_writes_nothing_and_is_tried_again(intent):
    before = PaymentIntent.objects.values().get()

    assert answer(send_event({**intent, "livemode": True})) == (503, "event_failed")
    assert PaymentIntent.objects.values().get() == before
    assert not is_paid()
    assert not ReviewItem.objects.exists()


def test_a_malformed_intent_is_set_aside_at_once(intent):
    malformed = {"object": "payment_intent", "id": 7, "amount": "a lot"}
    for data in ("text", {"object": "pi_x"}, {"object": malformed}):
        assert send_event(intent, data=data).status_code == 200

    assert statuses() == {"set_aside"}


@pytest.mark.parametrize("status", ["succeeded", "requires_payment_method"])
@pytest.mark.parametrize("form", [None, "webhook_thin"])
def test_an_event_of_an_unanswered_creation_inserts_the_intent(
    storefront, order, stripe, webhooks, status, form
):
    """Found: without metadata it was "not ours". What an event does not have is unknown."""
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    storefront.payment_intent(order)
    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    if status == "succeeded":
        intent = pay(stripe, intent["id"])
    assert not PaymentIntent.objects.exists()

    if form:
        stripe.inject(Fault(form, times=None))
        webhooks()
    else:
        assert send_without(intent, "metadata").status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.stripe_id, row.status) == (intent["id"], status)
    if status != "succeeded":
        assert storefront.payment_intent(order).json()["data"]["id"] == row.stripe_id


@pytest.mark.django_db(transaction=True)
def test_a_host_may_process_events_elsewhere(intent, configure, monkeypatch):
    """Outside of a transaction. Found: an event in one was set aside after twenty failures."""
    queue: list[int] = []
    monkeypatch.setattr(f"{__name__}.hand_over", queue.append)
    configure(EVENT_HANDLER=f"{__name__}.hand_over")

    assert send_event(intent).status_code == 200
    assert not is_paid()

    with transaction.atomic(), pytest.raises(TransactionOpenError):
        process_event(queue[0])
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("received", 0)
    process_event(queue[0])
    assert is_paid()


@pytest.mark.django_db(transaction=True)
def test_a_second_delivery_does_not_insert_the_event_again(intent, stripe, configure, monkeypatch):
    """The INSERT fails without a transaction around it."""
    queue: list[int] = []
    monkeypatch.setattr(f"{__name__}.hand_over", queue.append)
    configure(EVENT_HANDLER=f"{__name__}.hand_over")
    body, ignored = event_body(intent), event_body(intent, type="customer.created")

    assert [post_webhook(body, sign(body)).status_code for _delivery in range(2)] == [200] * 2
    configure(EVENT_HANDLER="")
    assert [post_webhook(ignored, sign(ignored)).status_code for _each in range(2)] == [200] * 2

    assert len({*queue}) == 1
    assert statuses() == {"received", "ignored"}
    assert WebhookEvent.objects.count() == 2


def test_an_event_is_stored_after_a_try_that_the_database_rolled_back(
    intent_id, stripe, refused_insert
):
    """Found: the try that had inserted it was undone, and the next one only fetched the intent."""
    intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")

    assert send_event(intent, type="payment_intent.processing").status_code == 200

    assert refused_insert == []
    assert outcomes() == {("processed", "the payment was looked up")}


@pytest.fixture
def refused_insert():
    """Let the database roll back the first INSERT of an event. Meanwhile, the intent changes."""
    faults = [OperationalError("database is locked")]
    changes = [{"status": "processing"}]

    def roll_back(execute: Any, sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if faults and sql.startswith('INSERT INTO "shop_payments_webhookevent"'):
            raise faults.pop()
        if changes and not faults:
            PaymentIntent.objects.update(**changes.pop())
        return done

    with connection.execute_wrapper(roll_back):
        yield faults


def hand_over(event_pk: int) -> None:
    raise OSError("the broker is down")


def test_a_handler_that_raises_leaves_the_event_for_the_next_delivery(intent, configure, caplog):
    configure(EVENT_HANDLER=f"{__name__}.hand_over")
    body = event_body(intent)

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "received"
    assert f"EVENT_HANDLER {__name__}.hand_over did not accept" in caplog.text

    configure(EVENT_HANDLER="")
    assert post_webhook(body, sign(body)).status_code == 200
    assert is_paid()


# --- other forms: old API versions, thin events, fields that are missing -------------------------


def send_without(intent: dict[str, Any], *names: str) -> Any:
    """Deliver an event about an intent without these fields."""
    return send_event({name: value for name, value in intent.items() if name not in names})


@pytest.mark.parametrize("field", ["amount_received", "latest_charge", "currency", "amount"])
def test_a_final_event_that_lacks_a_field_is_completed_by_a_fetch(intent, field):
    """Found: without an amount 0 had been received for good; without a currency, nothing."""
    if field == "amount":
        response = send_event({**intent, "amount": "11200"})
    else:
        response = send_without(intent, field)

    assert response.status_code == 200
    row = PaymentIntent.objects.get()
    assert (row.amount_received, row.latest_charge) == (11200, intent["latest_charge"])
    assert is_paid()


def test_an_event_that_names_only_a_charge_finds_its_intent(intent, stripe, payment_system, order):
    payment_system.payment(order)
    stripe.open_dispute(intent["latest_charge"])
    (dispute,) = call_stripe(stripe, "GET", "disputes")["data"]

    response = send_event({**dispute, "payment_intent": None}, type="charge.dispute.created")

    assert response.status_code == 200
    assert OrderPayment.objects.get().dispute_state == "open"


# --- objects that Stripe does not know for a moment ---------------------------------------------


@pytest.mark.parametrize("form", ["webhook_old", "webhook_thin"])
def test_an_object_that_stripe_does_not_know_is_tried_again(form, intent_id, stripe, webhooks):
    """Found: refunds and disputes of known payments were ignored, and Stripe got a 200."""
    pay(stripe, intent_id)
    webhooks()
    stripe.inject(Fault(form, times=None))
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    stripe.dispute(intent_id, deliver=False)

    stripe.inject(Fault("another_account", method="GET", times=None))
    webhooks()
    stripe.clear_faults()

    assert not Refund.objects.exists()
    acted_on = WebhookEvent.objects.exclude(outcome_data__sentence="unused_type")
    after_paid = acted_on.exclude(type__contains="payment_intent")
    assert set(after_paid.values_list("status", flat=True)) == {"failed"}
    stripe.inject(Fault(form, times=None))
    stripe.advance_clock(3600)
    webhooks()
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_mirrors_agree(stripe)
