"""Events that come before their intent has a row, or while it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction

from shop_payments.exceptions import TransactionOpenError
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.receive_event import process_event
from tests.after_paid.support import assert_mirrors_agree, refund_in_dashboard
from tests.support import answer, call_stripe, pay, post_webhook, send_event, sign
from tests.threads import RestlessLine

pytestmark = pytest.mark.django_db(transaction=True)

Status = WebhookEvent.Status


def deliver(stripe: Any, kind: str) -> int:
    """Deliver the one event of this kind."""
    (event,) = [each for each in stripe.events if each["type"] == kind]
    body = json.dumps(event).encode()
    return int(post_webhook(body, sign(body)).status_code)


@pytest.fixture
def intent(storefront, order, stripe):
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


@pytest.fixture
def lost(storefront, order, stripe) -> str:
    """An intent whose creation was not answered."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    return str(call_stripe(stripe, "GET", "payment_intents")["data"][0]["id"])


# --- an intent that keeps changing --------------------------------------------------------------


def test_an_intent_that_keeps_changing_is_looked_at_again_later(intent, stripe, configure):
    at_stripe = pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")
    line = RestlessLine(stripe, intent)
    configure(STRIPE_TRANSPORT=line)

    assert send_event(at_stripe).status_code == 503

    event = WebhookEvent.objects.get()
    words = f"PaymentIntentInProgress: {intent.stripe_id} keeps changing."
    assert (event.status, event.outcome, line.looks) == (Status.FAILED, words, 4)


def test_a_refund_waits_for_an_intent_that_keeps_changing(intent, stripe, configure):
    """Otherwise the shop would be notified of the refund before the payment."""
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    configure(STRIPE_TRANSPORT=RestlessLine(stripe, intent))

    assert deliver(stripe, "refund.created") == 503
    assert not Refund.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert deliver(stripe, "refund.created") == 200
    facts = PaymentHistory.objects.filter(needs_dispatch=True).order_by("pk")
    kinds = list(facts.values_list("kind", flat=True))
    assert kinds == ["payment_received", "order_paid", "order_refunded"]


# --- an intent without a row --------------------------------------------------------------------


class Quick:
    """A line on which something happens at Stripe, and its events arrive, before the answer."""

    def __init__(self, stripe: Any, act: Any) -> None:
        self._stripe, self._act = stripe, act
        self.answers: list[int] = []

    def __call__(self, method: str, *request: Any) -> Any:
        answer = self._stripe.handle(method, *request)
        if method.upper() == "POST":
            (created,) = call_stripe(self._stripe, "GET", "payment_intents")["data"]
            self.answers.append(self._act(created))
        return answer


def test_an_event_before_the_answer_to_the_creation(storefront, order, stripe, configure):
    """The attempt is committed, so the intent is known to be ours before it has a row."""
    line = Quick(stripe, lambda created: send_event(created).status_code)
    configure(STRIPE_TRANSPORT=line)

    response = storefront.payment_intent(order)

    assert (response.status_code, line.answers) == (200, [200])
    assert PaymentIntent.objects.get().stripe_id == response.json()["data"]["id"]
    assert WebhookEvent.objects.get().status == Status.PROCESSED


@pytest.mark.parametrize(
    "kind",
    [
        "payment_intent.succeeded",
        "refund.created",
        "charge.refunded",
        "charge.dispute.created",
    ],
)
def test_money_moves_before_the_answer_to_the_creation(
    storefront, order, stripe, configure, paid_signals, kind
):
    """Found: a refund or a dispute was ignored for ever. It names no attempt, but its intent does.

    Somebody pays in Stripe's dashboard, say, and all other events are lost.
    """

    def act(created: Any) -> int:
        disputed = kind.startswith("charge.dispute")
        pay(stripe, created["id"], "pm_card_createDispute" if disputed else "pm_card_visa")
        if kind in {"refund.created", "charge.refunded"}:
            call_stripe(stripe, "POST", "refunds", payment_intent=created["id"], amount="1200")
        return deliver(stripe, kind)

    line = Quick(stripe, act)
    configure(STRIPE_TRANSPORT=line)

    response = storefront.payment_intent(order)

    assert (line.answers, answer(response)) == ([200], (409, "order_already_paid"))
    assert WebhookEvent.objects.get().status == Status.PROCESSED
    assert_mirrors_agree(stripe)
    assert len(paid_signals) == 1


def test_a_dispute_of_an_intent_whose_creation_was_never_answered(lost, stripe):
    pay(stripe, lost, "pm_card_createDispute")

    assert deliver(stripe, "charge.dispute.created") == 200

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.dispute_state) == ("paid", "open")
    assert StripeAttempt.objects.get().outcome == "succeeded"


# --- objects of others --------------------------------------------------------------------------


def test_a_refund_of_another_system_is_ignored_after_one_call(intent, stripe):
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    pay(stripe, theirs)
    call_stripe(stripe, "POST", "refunds", payment_intent=theirs)
    stripe.requests.clear()

    assert deliver(stripe, "refund.created") == 200

    assert WebhookEvent.objects.get().status == Status.IGNORED
    assert not PaymentIntent.objects.filter(stripe_id=theirs).exists()
    assert [each.path for each in stripe.requests] == [f"/v1/payment_intents/{theirs}"]


def test_a_refund_of_an_account_that_our_key_cannot_see_is_ignored(lost):
    connected = {"object": "refund", "id": "re_theirs", "payment_intent": "pi_of_their_account"}

    assert send_event(connected, type="refund.created", account="acct_theirs").status_code == 200

    assert WebhookEvent.objects.get().status == Status.IGNORED


# --- a queue of the host ------------------------------------------------------------------------


def keep(event_pk: int) -> None:
    """A queue whose worker has not come to the event yet."""


def test_a_queue_that_processes_events_in_a_transaction_is_an_error(
    intent, stripe, configure, webhooks
):
    """Found: the event counted as failed, and was set aside after twenty times."""
    configure(EVENT_HANDLER=f"{__name__}.keep")
    pay(stripe, intent.stripe_id)
    webhooks()
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")

    with transaction.atomic(), pytest.raises(TransactionOpenError):
        process_event(event.pk)

    event.refresh_from_db()
    assert (event.status, event.attempts) == (Status.RECEIVED, 0)
