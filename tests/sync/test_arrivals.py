"""Events that come before their intent has a row, or while it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, Refund, WebhookEvent
from shop_payments.sandbox import Fault
from tests.books import assert_mirrors_agree, refund_in_dashboard, sweep
from tests.maintenance.support import Meanwhile
from tests.support import answer, call_stripe, pay, post_webhook, releases_heard, sign
from tests.threads import RestlessLine

pytestmark = pytest.mark.django_db(transaction=True)


def deliver(stripe: Any, kind: str) -> int:
    """Deliver the one event of this kind."""
    (event,) = [each for each in stripe.events if each["type"] == kind]
    body = json.dumps(event).encode()
    return int(post_webhook(body, sign(body)).status_code)


def test_an_event_waits_for_an_intent_that_keeps_changing(storefront, order, stripe, configure):
    """Otherwise the shop would be notified of the refund before the payment."""
    storefront.payment_intent(order)
    intent = PaymentIntent.objects.get()
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    line = RestlessLine(stripe, intent)
    configure(STRIPE_TRANSPORT=line)

    assert deliver(stripe, "refund.created") == 503
    event = WebhookEvent.objects.get()
    words = f"PaymentIntentInProgress: {intent.stripe_id} keeps changing."
    assert (event.status, event.error_text, line.looks) == ("failed", words, 4)
    assert not Refund.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert deliver(stripe, "refund.created") == 200
    facts = PaymentHistory.objects.filter(needs_dispatch=True).order_by("pk")
    kinds = list(facts.values_list("kind", flat=True))
    assert kinds == ["payment_received", "order_paid", "order_refunded"]


@pytest.mark.parametrize(
    "kind",
    ["payment_intent.created", "refund.created", "charge.dispute.created"],
)
def test_something_happens_before_the_answer_to_the_creation(
    storefront, order, stripe, configure, paid_signals, kind
):
    """Found: a refund or a dispute was ignored for ever. It names no attempt, but its intent does.

    Somebody pays in Stripe's dashboard, say, and all other events are lost.
    """
    is_open = kind == "payment_intent.created"

    def act() -> None:
        (created,) = call_stripe(stripe, "GET", "payment_intents")["data"]
        if not is_open:
            pay(
                stripe, created["id"], f"pm_card_{'createDispute' if 'dispute' in kind else 'visa'}"
            )
        if "refund" in kind:
            call_stripe(stripe, "POST", "refunds", payment_intent=created["id"], amount="1200")
        assert deliver(stripe, kind) == 200

    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "POST payment_intents", act, answer=True))

    response = storefront.payment_intent(order)

    assert answer(response) == ((200, None) if is_open else (409, "order_already_paid"))
    assert WebhookEvent.objects.get().status == "processed"
    assert_mirrors_agree(stripe)
    assert len(paid_signals) == (0 if is_open else 1)


# --- what has gone back of a payment before the payment is known here ---------------------------

NOT_RELEASED = {"payment_received": False, "order_paid": False, "order_refunded": False}


@pytest.mark.parametrize("found_by", ["sweep", "call 3", "thin event"])
def test_nothing_is_released_that_was_refunded_meanwhile(
    payment_system, order, stripe, webhooks, intent_id, found_by
):
    stripe.inject(Fault("webhook_thin", times=None))
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    with releases_heard() as heard:
        if found_by == "thin event":
            webhooks()
        elif found_by == "call 3":
            payment_system.payment(order)
        else:
            sweep(hours=0)

    assert heard == NOT_RELEASED
    assert OrderPayment.objects.get().status == "refunded"


def test_a_payment_is_written_with_its_refunds_or_not_at_all(stripe, intent_id):
    pay(stripe, intent_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    stripe.inject(Fault("error", status=500, method="GET", path="/v1/refunds", times=9))

    with releases_heard() as heard:
        assert sweep(hours=0).problems
    assert heard == {}
    assert OrderPayment.objects.get().status == "unpaid"

    stripe.clear_faults()
    with releases_heard() as heard:
        sweep(hours=0)
    assert heard == NOT_RELEASED
