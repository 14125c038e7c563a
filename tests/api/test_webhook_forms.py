"""Events in the forms that other endpoints get: old API versions, thin events, other accounts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from shop_payments.models import Dispute, OrderPayment, PaymentIntent, Refund, WebhookEvent
from shop_payments.sandbox import Fault
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_mirrors_agree
from tests.support import call_stripe, pay, post_webhook, send_event, sign

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def intent_id(storefront: Any, order: Any, stripe: StripeSandbox) -> str:
    """The order's open payment intent; no webhook has come of it."""
    found: str = storefront.payment_intent(order).json()["data"]["id"]
    return found


@pytest.fixture
def every(stripe: StripeSandbox) -> Callable[[Any], None]:
    """Let every webhook from now on come in one form."""
    return lambda form: stripe.inject(Fault(form, times=None))


def outcomes() -> set[tuple[str, str]]:
    return set(WebhookEvent.objects.values_list("status", "outcome"))


@pytest.mark.parametrize("form", ["webhook_old", "webhook_thin"])
def test_a_whole_story_in_another_form(form, every, intent_id, order, stripe, webhooks):
    every(form)

    pay(stripe, intent_id)
    webhooks()
    row = PaymentIntent.objects.get()
    assert OrderPayment.objects.get().status == "paid"
    assert row.latest_charge == stripe.payment_intent(intent_id)["latest_charge"]

    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    webhooks()
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert Refund.objects.get().amount == 1200

    stripe.dispute(intent_id, deliver=False)
    webhooks()
    assert Dispute.objects.get().status == "needs_response"
    assert_mirrors_agree(stripe)


def test_the_charge_of_an_old_event_gets_its_fee(every, intent_id, stripe, webhooks):
    every("webhook_old")
    pay(stripe, intent_id)
    webhooks()

    assert fetch_fees(since=PaymentIntent.objects.get().stripe_created_at) == 1


def test_an_event_that_lacks_the_charge_is_completed_by_a_fetch(intent_id, stripe):
    """What a message does not have is unknown, and not empty."""
    intent = pay(stripe, intent_id)
    event = next(each for each in stripe.events if each["type"] == "payment_intent.succeeded")
    about = {key: value for key, value in intent.items() if key != "latest_charge"}

    body = as_bytes({**event, "data": {"object": about}})
    assert post_webhook(body, sign(body)).status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.status, row.latest_charge) == ("succeeded", intent["latest_charge"])
    assert stripe.requests[-1].method == "GET"


def test_a_later_message_without_it_leaves_a_known_charge(intent_id, stripe, webhooks):
    pay(stripe, intent_id)
    webhooks()
    known = PaymentIntent.objects.get().latest_charge
    event = next(each for each in stripe.events if each["type"] == "payment_intent.succeeded")
    about = {k: v for k, v in event["data"]["object"].items() if k != "latest_charge"}

    body = as_bytes({**event, "id": "evt_another", "data": {"object": about}})
    assert post_webhook(body, sign(body)).status_code == 200

    assert PaymentIntent.objects.get().latest_charge == known != ""


def test_a_cancellation_without_it_leaves_a_known_charge(intent_id, stripe, webhooks):
    pay(stripe, intent_id, "pm_card_chargeDeclined")
    webhooks()
    known = PaymentIntent.objects.get().latest_charge
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    event = next(each for each in stripe.events if each["type"] == "payment_intent.canceled")
    about = {k: v for k, v in event["data"]["object"].items() if k != "latest_charge"}

    body = as_bytes({**event, "data": {"object": about}})
    assert post_webhook(body, sign(body)).status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.status, row.latest_charge) == ("canceled", known)
    assert known


def test_a_final_row_is_completed_by_the_sweep(intent_id, stripe, webhooks):
    pay(stripe, intent_id)
    webhooks()
    PaymentIntent.objects.update(latest_charge="", payment_method="")

    call_command("shop_payments_reconcile", verbosity=0)

    row = PaymentIntent.objects.get()
    at_stripe = stripe.payment_intent(intent_id)
    assert row.latest_charge == at_stripe["latest_charge"]
    assert row.payment_method == at_stripe["payment_method"]


def test_another_accounts_events_are_not_ours(every, intent_id, stripe, webhooks):
    every("webhook_of_account")

    pay(stripe, intent_id)
    webhooks()

    assert OrderPayment.objects.get().status == "unpaid"
    assert outcomes() == {("ignored", "of the connected account acct_1SandboxConnected")}


def test_a_thin_event_of_another_systems_intent_costs_one_call(every, stripe, webhooks, db):
    every("webhook_thin")
    call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")
    before = len(stripe.requests)

    webhooks()

    assert outcomes() == {("ignored", "not one of this shop's payment intents")}
    assert len(stripe.requests) == before + 1


@pytest.mark.parametrize("form", ["webhook_old", "webhook_thin", None])
@pytest.mark.parametrize("kind", ["refund", "dispute"])
def test_events_of_another_systems_payment_cost_one_call_each(
    every, stripe, webhooks, order, form, kind
):
    """A refund or a dispute names no order: its payment intent has to be asked for one."""
    if form:
        every(form)
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    if kind == "refund":
        pay(stripe, theirs)
        call_stripe(stripe, "POST", "refunds", payment_intent=theirs)
    else:
        pay(stripe, theirs, "pm_card_createDispute")
    stripe.requests.clear()
    webhooks()

    assert {status for status, _outcome in outcomes()} == {"ignored"}
    assert 1 <= len(stripe.requests) <= WebhookEvent.objects.count()


# --- events that lack something -----------------------------------------------------------------


def deliver_without(intent: dict[str, Any], **changes: Any) -> Any:
    """Deliver an event about an intent without the keys that are changed to ``...``."""
    changed = {**intent, **changes}
    return send_event({key: value for key, value in changed.items() if value is not ...})


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_received": None},
        {"amount_received": ...},
        {"metadata": ...},
        {"currency": ...},
        {"livemode": ...},
        {"amount": "11200"},
    ],
    ids=str,
)
def test_a_final_event_that_lacks_something_is_completed_by_a_fetch(changes, intent_id, stripe):
    """Found: without an amount 0 had been received for good; without a currency, nothing."""
    intent = pay(stripe, intent_id)

    assert deliver_without(intent, **changes).status_code == 200

    assert PaymentIntent.objects.get().amount_received == 11200
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize("status", ["succeeded", "requires_payment_method"])
def test_an_event_without_metadata_of_an_intent_whose_answer_was_lost(
    status, storefront, order, stripe
):
    """Found: it was "not ours". What an event does not have is unknown, not empty."""
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    storefront.payment_intent(order)
    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    if status == "succeeded":
        intent = pay(stripe, intent["id"])

    assert deliver_without(intent, metadata=...).status_code == 200

    assert PaymentIntent.objects.get().status == status


@pytest.mark.parametrize(
    ("kind", "related"),
    [
        ("v1.payment_intent.succeeded", {"id": "pi_theirs", "type": "payment_intent"}),
        ("v1.refund.created", {"id": "re_theirs", "type": "refund"}),
        ("v1.charge.dispute.created", {"id": "du_theirs", "type": "dispute"}),
    ],
)
def test_a_thin_event_of_a_connected_account_is_not_ours(kind, related, stripe, db):
    """Thin events name the account in their context."""
    body = as_bytes(
        {
            "id": "evt_1",
            "object": "v2.core.event",
            "type": kind,
            "livemode": False,
            "created": "2026-11-29T16:00:00.000Z",
            "context": "acct_theirs",
            "related_object": related,
        }
    )

    assert post_webhook(body, sign(body)).status_code == 200

    assert outcomes() == {("ignored", "of the connected account acct_theirs")}
    assert stripe.requests == []


def test_the_context_of_an_organization_is_no_connected_account(intent_id, stripe):
    """An organization's endpoint gets snapshots of its own accounts with their context."""
    assert send_event(pay(stripe, intent_id), context="acct_ours").status_code == 200

    assert OrderPayment.objects.get().status == "paid"


# --- absence at one moment ----------------------------------------------------------------------


@pytest.fixture
def with_another_accounts_key(stripe, webhooks) -> Callable[[], None]:
    """Have the events delivered while another account's key is in use, and clear it."""

    def deliver() -> None:
        stripe.inject(Fault("another_account", method="GET", times=None))
        webhooks()
        stripe.clear_faults()

    return deliver


@pytest.mark.parametrize("form", [None, "webhook_old", "webhook_thin"])
def test_what_stripe_does_not_know_for_a_moment_is_delivered_again(
    form, every, intent_id, stripe, webhooks, with_another_accounts_key
):
    """Found: refunds and disputes of known payments were ignored, and Stripe was told 200."""
    pay(stripe, intent_id)
    webhooks()
    if form:
        every(form)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="1200")
    stripe.dispute(intent_id, deliver=False)

    with_another_accounts_key()

    assert not Refund.objects.exists()
    acted_on = WebhookEvent.objects.exclude(outcome="no use for this type")
    after_paid = acted_on.exclude(type__contains="payment_intent")
    assert set(after_paid.values_list("status", flat=True)) == {"failed"}

    if form:
        every(form)
    stripe.advance_clock(3600)
    webhooks()
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_mirrors_agree(stripe)


@pytest.mark.parametrize("form", [None, "webhook_thin"])
def test_a_passing_status_that_stripe_does_not_know_for_a_moment_is_delivered_again(
    form, every, intent_id, stripe, webhooks, with_another_accounts_key
):
    if form:
        every(form)
    pay(stripe, intent_id, "pm_card_chargeDeclined")

    with_another_accounts_key()
    assert "processed" not in {status for status, _outcome in outcomes()}

    stripe.advance_clock(3600)
    webhooks()
    assert PaymentIntent.objects.get().last_error_code == "card_declined"
    assert not WebhookEvent.objects.filter(status="failed").exists()


def test_a_dispute_that_names_an_unknown_charge_alone(intent_id, stripe, webhooks):
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


def test_a_thin_event_that_is_quicker_than_the_answer(every, storefront, order, stripe, webhooks):
    every("webhook_thin")
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503

    webhooks()

    row = PaymentIntent.objects.get()
    assert row.status == "requires_payment_method"
    assert storefront.payment_intent(order).json()["data"]["id"] == row.stripe_id


def as_bytes(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()
