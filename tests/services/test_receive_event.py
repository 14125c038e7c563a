"""Stripe's events: stored once, acted on, and tried again where something was in the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.receive_event import process_event
from tests.after_paid.support import assert_mirrors_agree
from tests.support import (
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
def intent_id(storefront, order, stripe) -> str:
    """The order's open payment intent; no webhook has come of it."""
    found: str = storefront.payment_intent(order).json()["data"]["id"]
    return found


@pytest.fixture
def intent(intent_id, stripe) -> dict[str, Any]:
    """The order's intent, paid at Stripe; the shop does not know it yet."""
    return pay(stripe, intent_id)


def is_paid() -> bool:
    return OrderPayment.objects.get().status == "paid"


def post(event: dict[str, Any]) -> Any:
    body = json.dumps(event).encode()
    return post_webhook(body, sign(body))


def outcomes() -> set[tuple[str, str]]:
    return set(WebhookEvent.objects.values_list("status", "outcome"))


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
    assert event.outcome == f"{intent['id']} is succeeded"
    assert "_secret_" not in json.dumps(event.payload)
    send_event(intent)
    assert WebhookEvent.objects.count() == 2
    assert len(paid_signals) == 1


def test_a_cancelled_intent_is_closed(intent_id, stripe, webhooks):
    path = f"payment_intents/{intent_id}/cancel"
    call_stripe(stripe, "POST", path, cancellation_reason="abandoned")

    webhooks()

    row = PaymentIntent.objects.get()
    assert (row.status, row.cancellation_reason) == ("canceled", "abandoned")


# --- what is not ours ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "pi_copied"},
        {"id": "pi_foreign", "metadata": {"order_id": "1"}},
        {"id": "pi_foreign", "metadata": {"attempt_id": "x"}},
        {"id": "pi_foreign", "metadata": {"attempt_id": "\x00"}},
    ],
    ids=["a copied attempt", "no attempt", "a malformed attempt", "NUL"],
)
def test_an_intent_that_is_not_ours_is_ignored(intent, changes):
    assert send_event({**intent, **changes}).status_code == 200

    assert WebhookEvent.objects.get().status == "ignored"
    assert PaymentIntent.objects.count() == 1
    assert not is_paid()


def test_an_intent_with_an_unknown_attempt_is_tried_again(intent):
    """It names an order of ours, and Stripe does not know it under our key now."""
    metadata = {**intent["metadata"], "attempt_id": str(uuid4())}

    assert send_event({**intent, "id": "pi_foreign", "metadata": metadata}).status_code == 503
    assert WebhookEvent.objects.get().status == "failed"
    assert not is_paid()


@pytest.mark.parametrize("kind", ["customer.created", "thing.happened"])
def test_an_event_of_another_kind_is_ignored(intent, kind):
    assert send_event(intent, type=kind).status_code == 200

    assert outcomes() == {("ignored", "no use for this type")}
    assert not is_paid()


@pytest.mark.parametrize(
    ("kind", "related"),
    [("v1.payment_intent.succeeded", "payment_intent"), ("v1.refund.created", "refund")],
)
def test_another_accounts_events_are_not_ours(intent, stripe, kind, related):
    """Thin events name the account in their context."""
    stripe.requests.clear()
    thin = {
        "id": "evt_1",
        "object": "v2.core.event",
        "type": kind,
        "livemode": False,
        "created": "2026-11-29T16:00:00.000Z",
        "context": "acct_theirs",
        "related_object": {"id": intent["id"], "type": related},
    }

    assert post(thin).status_code == 200
    assert send_event(intent, account="acct_theirs").status_code == 200

    assert outcomes() == {("ignored", "of the connected account acct_theirs")}
    assert stripe.requests == []
    assert not is_paid()


def test_the_context_of_an_organization_is_no_connected_account(intent):
    """An organization's endpoint gets snapshots of its own accounts with their context."""
    assert send_event(intent, context="acct_ours").status_code == 200

    assert is_paid()


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("webhook_thin", "payment"),
        (None, "refund"),
        ("webhook_old", "dispute"),
        ("webhook_thin", "dispute"),
    ],
)
def test_an_event_of_another_system_costs_one_call(every, stripe, webhooks, order, form, kind):
    """A refund or a dispute names no order: its payment intent has to be asked for one."""
    every(form)
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    if kind != "payment":
        pay(stripe, theirs, "pm_card_createDispute" if kind == "dispute" else "pm_card_visa")
    if kind == "refund":
        call_stripe(stripe, "POST", "refunds", payment_intent=theirs)
    stripe.requests.clear()

    webhooks()

    assert {status for status, _outcome in outcomes()} == {"ignored"}
    assert 1 <= len(stripe.requests) <= WebhookEvent.objects.count()


# --- money that does not fit --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected", "reason"),
    [
        ({"amount_received": 100}, ("partially_paid", 11100, 0, 0), None),
        ({"amount_received": 0}, ("unpaid", 11200, 0, 0), None),
        ({"amount_received": 11300}, ("paid", 0, 100, 0), "excess"),
        ({"currency": "eur"}, ("unpaid", 11200, 0, 11200), "uncounted"),
    ],
    ids=["less", "nothing", "more", "another currency"],
)
def test_money_that_does_not_fit(intent, changes, expected, reason, paid_signals):
    assert send_event({**intent, **changes}).status_code == 200

    payment = OrderPayment.objects.get()
    found = (payment.amount_outstanding, payment.amount_excess, payment.amount_uncounted)
    assert (payment.status, *found) == expected
    assert [item.reason for item in ReviewItem.objects.all()] == ([reason] if reason else [])
    assert len(paid_signals) == (expected[0] == "paid")


def test_live_money_under_a_test_key_writes_nothing_and_is_tried_again(intent):
    before = PaymentIntent.objects.values().get()

    assert answer(send_event({**intent, "livemode": True})) == (503, "event_failed")
    assert PaymentIntent.objects.values().get() == before
    assert not is_paid()
    assert not ReviewItem.objects.exists()


@pytest.mark.parametrize("fault", ["total", "find"])
def test_an_order_that_cannot_be_read_has_the_event_tried_again(
    intent, order, configure, paid_signals, fault
):
    if fault == "find":
        configure(ORDER_ADAPTER="tests.api.adapters.CannotLookUp")
    else:
        order.lines.update(unit_amount=5123)
        Order.objects.update(currency="kwd")

    refused = send_event(intent, id="evt_1")

    assert answer(refused) == (503, "event_failed")
    assert "Retry-After" in refused
    assert PaymentIntent.objects.get().amount_received == 11200, "what Stripe said is stored"
    assert OrderPayment.objects.get().status == "unpaid"
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    order.lines.update(unit_amount=5600)
    Order.objects.update(currency="usd")
    assert send_event(intent, id="evt_1").status_code == 200
    assert is_paid()
    assert len(paid_signals) == 1


# --- events that are only hints -----------------------------------------------------------------


def test_a_passing_status_is_looked_up_unless_the_intent_is_final(intent, stripe):
    """The first event is late: meanwhile the customer has paid."""
    stripe.requests.clear()

    send_event({**intent, "status": "requires_payment_method"}, type="payment_intent.created")
    assert [request.method for request in stripe.requests] == ["GET"]
    assert is_paid()

    send_event({**intent, "status": "processing"}, type="payment_intent.processing")
    assert len(stripe.requests) == 1


def test_the_next_delivery_heals_a_failure(intent, stripe):
    stripe.inject(Fault("drop_before", method="GET"))
    body = event_body({**intent, "status": "processing"})

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "failed"
    assert post_webhook(body, sign(body)).status_code == 200
    event = WebhookEvent.objects.get()
    assert (event.status, event.attempts) == ("processed", 2)
    assert is_paid()


def test_an_event_that_keeps_failing_is_set_aside(intent, stripe):
    stripe.inject(Fault("drop_before", method="GET", times=None))
    body = event_body({**intent, "status": "processing"})

    statuses = [
        post_webhook(body, sign(body)).status_code for _ in range(WebhookEvent.MAX_ATTEMPTS)
    ]

    assert statuses == [503] * (WebhookEvent.MAX_ATTEMPTS - 1) + [200]
    assert WebhookEvent.objects.get().status == "set_aside"


@pytest.mark.parametrize(
    "data",
    [
        "text",
        None,
        {"object": "pi_x"},
        {"object": {"object": "charge"}},
        {"object": {"object": "payment_intent", "id": 7, "amount": "a lot"}},
    ],
)
def test_a_malformed_intent_is_set_aside_at_once(intent, data):
    assert send_event(intent, data=data).status_code == 200
    assert WebhookEvent.objects.get().status == "set_aside"


@pytest.mark.parametrize(
    "change",
    [
        lambda values: [],
        lambda values: {**values, "created": 10**12},
        lambda values: {**values, "metadata": ["attempt_id"]},
    ],
    ids=["a list", "a time beyond all calendars", "a list as metadata"],
)
def test_a_malformed_answer_does_not_set_an_event_aside(intent, stripe, configure, change):
    def strange(*request: Any) -> Any:
        answer = stripe.handle(*request)
        return replace(answer, body=json.dumps(change(json.loads(answer.body))).encode())

    body = event_body({**intent, "status": "processing"})
    configure(STRIPE_TRANSPORT=strange)

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "failed"
    configure(STRIPE_TRANSPORT=stripe.handle)
    assert post_webhook(body, sign(body)).status_code == 200
    assert is_paid()


def test_an_answer_that_was_cut_short_leaks_nothing(intent, stripe, configure, caplog):
    """Found: the SDK quotes a body that it cannot read."""

    def cut(*request: Any) -> Any:
        response = stripe.handle(*request)
        return replace(response, body=response.body[:-40])

    configure(STRIPE_TRANSPORT=cut)
    with caplog.at_level(logging.DEBUG):
        response = send_event({**intent, "status": "processing"})

    outcome = WebhookEvent.objects.get().outcome
    assert outcome == "GatewayUnavailable: The answer was not Stripe's (HTTP 200)"
    for text in (response.content.decode(), caplog.text):
        assert "_secret_" not in text
        assert intent["metadata"]["order_number"] not in text


# --- events before the answer to the creation ---------------------------------------------------


@pytest.fixture
def unanswered(storefront, order, stripe) -> dict[str, Any]:
    """An intent whose creation was not answered."""
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    storefront.payment_intent(order)
    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert not PaymentIntent.objects.exists()
    return dict(intent)


def test_the_event_of_an_unanswered_creation_inserts_the_intent(
    unanswered, storefront, order, stripe
):
    send_event(unanswered, type="payment_intent.created")

    assert PaymentIntent.objects.get().stripe_id == unanswered["id"]
    assert StripeAttempt.objects.get().outcome == "succeeded"
    assert storefront.payment_intent(order).json()["data"]["id"] == unanswered["id"]


def test_the_payment_of_an_unanswered_creation_pays(
    unanswered, storefront, order, stripe, paid_signals
):
    send_event(pay(stripe, unanswered["id"]))

    assert is_paid()
    assert len(paid_signals) == 1
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")


@pytest.mark.parametrize("status", ["succeeded", "requires_payment_method"])
def test_without_metadata_the_intent_is_fetched(unanswered, stripe, status):
    """Found: the event was "not ours". What an event does not have is unknown, not empty."""
    if status == "succeeded":
        unanswered = pay(stripe, unanswered["id"])

    assert deliver_without(unanswered, metadata=...).status_code == 200

    assert PaymentIntent.objects.get().status == status


def test_a_thin_event_of_an_unanswered_creation_inserts_the_intent(
    webhooks, unanswered, every, storefront, order
):
    every("webhook_thin")

    webhooks()

    row = PaymentIntent.objects.get()
    assert row.status == "requires_payment_method"
    assert storefront.payment_intent(order).json()["data"]["id"] == row.stripe_id


# --- the host's queue ---------------------------------------------------------------------------

handed_over: list[int] = []


def hand_over(event_pk: int) -> None:
    handed_over.append(event_pk)


def broken_broker(event_pk: int) -> None:
    raise OSError("the broker is down")


def test_a_host_may_process_events_elsewhere(intent, configure):
    handed_over.clear()
    configure(EVENT_HANDLER=f"{__name__}.hand_over")

    assert send_event(intent).status_code == 200
    assert not is_paid()

    process_event(handed_over.pop())
    assert is_paid()


@pytest.mark.parametrize("handler", ["broken_broker", "not_there"])
def test_a_handler_that_raises_leaves_the_event_for_the_next_delivery(
    intent, configure, caplog, handler
):
    configure(EVENT_HANDLER=f"{__name__}.{handler}")
    body = event_body(intent)

    assert answer(post_webhook(body, sign(body))) == (503, "event_failed")
    assert WebhookEvent.objects.get().status == "received"
    assert f"EVENT_HANDLER {__name__}.{handler} did not accept" in caplog.text

    configure(EVENT_HANDLER="")
    assert post_webhook(body, sign(body)).status_code == 200
    assert is_paid()


# --- other forms: old API versions, thin events, fields that are missing -------------------------


@pytest.fixture
def every(stripe) -> Callable[[str | None], None]:
    """Let every webhook from now on come in one form."""

    def arrange(form: Any) -> None:
        if form:
            stripe.inject(Fault(form, times=None))

    return arrange


@pytest.mark.parametrize("form", ["webhook_old", "webhook_thin"])
def test_a_whole_story_in_another_form(form, every, intent_id, stripe, webhooks):
    every(form)

    pay(stripe, intent_id)
    webhooks()
    assert is_paid()
    at_stripe = stripe.payment_intent(intent_id)
    assert PaymentIntent.objects.get().latest_charge == at_stripe["latest_charge"]

    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    webhooks()
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert Refund.objects.get().amount == 1200

    stripe.dispute(intent_id, deliver=False)
    webhooks()
    assert Dispute.objects.get().status == "needs_response"
    assert_mirrors_agree(stripe)


def deliver_without(intent: dict[str, Any], **changes: Any) -> Any:
    """Deliver an event about an intent without the keys that are changed to ``...``."""
    changed = {**intent, **changes}
    return send_event({key: value for key, value in changed.items() if value is not ...})


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_received": None},
        {"amount_received": ...},
        {"latest_charge": ...},
        {"metadata": ...},
        {"currency": ...},
        {"livemode": ...},
        {"amount": "11200"},
    ],
    ids=str,
)
def test_a_final_event_that_lacks_a_field_is_completed_by_a_fetch(intent, changes):
    """Found: without an amount 0 had been received for good; without a currency, nothing."""
    assert deliver_without(intent, **changes).status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.amount_received, row.latest_charge) == (11200, intent["latest_charge"])
    assert is_paid()


def test_an_event_that_names_only_a_charge_finds_its_intent_by_an_index(
    intent, stripe, payment_system, order
):
    payment_system.payment(order)
    stripe.open_dispute(intent["latest_charge"])
    (dispute,) = call_stripe(stripe, "GET", "disputes")["data"]

    with CaptureQueriesContext(connection) as queries:
        response = send_event({**dispute, "payment_intent": None}, type="charge.dispute.created")

    assert response.status_code == 200
    assert OrderPayment.objects.get().dispute_state == "open"
    (by_charge,) = [each["sql"] for each in queries if '"latest_charge" = ' in each["sql"]]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # few rows are read without an index
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "shop_payments_intent_by_charge" in plan_of(by_charge)


# --- objects that Stripe does not know for a moment ---------------------------------------------


@pytest.fixture
def with_another_accounts_key(stripe, webhooks) -> Callable[[], None]:
    """Deliver the events while another account's key is in use."""

    def deliver() -> None:
        stripe.inject(Fault("another_account", method="GET", times=None))
        webhooks()
        stripe.clear_faults()

    return deliver


@pytest.mark.parametrize("form", [None, "webhook_old", "webhook_thin"])
def test_an_object_that_stripe_does_not_know_is_tried_again(
    form, every, intent_id, stripe, webhooks, with_another_accounts_key
):
    """Found: refunds and disputes of known payments were ignored, and Stripe got a 200."""
    pay(stripe, intent_id)
    webhooks()
    every(form)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    stripe.dispute(intent_id, deliver=False)

    with_another_accounts_key()

    assert not Refund.objects.exists()
    acted_on = WebhookEvent.objects.exclude(outcome="no use for this type")
    after_paid = acted_on.exclude(type__contains="payment_intent")
    assert set(after_paid.values_list("status", flat=True)) == {"failed"}
    every(form)
    stripe.advance_clock(3600)
    webhooks()
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_mirrors_agree(stripe)


@pytest.mark.parametrize("form", [None, "webhook_thin"])
def test_a_passing_status_that_stripe_does_not_know_is_tried_again(
    form, every, intent_id, stripe, webhooks, with_another_accounts_key
):
    every(form)
    pay(stripe, intent_id, "pm_card_chargeDeclined")

    with_another_accounts_key()
    assert "processed" not in {status for status, _outcome in outcomes()}

    stripe.advance_clock(3600)
    webhooks()
    assert PaymentIntent.objects.get().last_error_code == "card_declined"
    assert not WebhookEvent.objects.filter(status="failed").exists()


def test_a_dispute_that_names_only_an_unknown_charge_is_tried_again(intent_id, stripe, webhooks):
    pay(stripe, intent_id, "pm_card_createDispute")
    webhooks()
    PaymentIntent.objects.update(latest_charge="")
    (dispute,) = call_stripe(stripe, "GET", "disputes")["data"]
    del dispute["payment_intent"]
    stripe.inject(Fault("another_account", method="GET", times=None))

    assert send_event(dispute, type="charge.dispute.updated").status_code == 503
    stripe.clear_faults()

    call_command("shop_payments_events", "replay", "--failed", verbosity=0)
    assert WebhookEvent.objects.get(type="charge.dispute.updated").status == "processed"
