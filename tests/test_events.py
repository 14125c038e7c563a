"""An event is acted on in the end, or a person is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from shop_payments.exceptions import TransactionOpenError
from shop_payments.maintenance.reconcile import reconcile
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
from tests.threads import HeldLine, RestlessLine, at_once

pytestmark = pytest.mark.django_db(transaction=True)

Status = WebhookEvent.Status


def sweep(*, after: timedelta, dry_run: bool = False):
    with time_machine.travel(datetime.now(UTC) + after):
        return reconcile(since=timezone.now() - timedelta(hours=72), dry_run=dry_run)


@pytest.fixture
def intent(storefront, order, stripe):
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


@pytest.fixture
def failed(intent, stripe):
    """An event whose intent could not be looked up."""
    at_stripe = pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")
    stripe.inject(Fault("drop_before", method="GET"))
    assert send_event(at_stripe).status_code == 503
    event = WebhookEvent.objects.get()
    assert event.status == Status.FAILED
    return event


def test_a_failed_event_is_tried_again(failed):
    report = sweep(after=timedelta(minutes=3))

    failed.refresh_from_db()
    assert (failed.status, failed.attempts) == (Status.PROCESSED, 2)
    assert (report.events, report.needs_person) == (1, False)
    assert sweep(after=timedelta(minutes=30)).events == 0


def test_it_is_left_alone_for_longer_from_one_failure_to_the_next(failed):
    assert sweep(after=timedelta(minutes=1), dry_run=True).events == 0
    assert sweep(after=timedelta(minutes=3), dry_run=True).events == 1

    WebhookEvent.objects.update(attempts=4)
    assert sweep(after=timedelta(minutes=15), dry_run=True).events == 0
    assert sweep(after=timedelta(minutes=17), dry_run=True).events == 1

    WebhookEvent.objects.update(attempts=19)
    assert sweep(after=timedelta(hours=11), dry_run=True).events == 0
    assert sweep(after=timedelta(hours=13), dry_run=True).events == 1


class Broken:
    """A line on which one intent cannot be looked up, while its list can be had."""

    def __init__(self, stripe: Any, intent_id: str) -> None:
        self._stripe, self._intent_id = stripe, intent_id

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        if method.upper() == "GET" and self._intent_id in url:
            url = url.replace(self._intent_id, "")
        return self._stripe.handle(method, url, headers, body)


def test_an_event_that_keeps_failing_is_set_aside_for_a_person(failed, intent, stripe, configure):
    WebhookEvent.objects.update(attempts=WebhookEvent.MAX_ATTEMPTS - 1)
    configure(STRIPE_TRANSPORT=Broken(stripe, intent.stripe_id))

    report = sweep(after=timedelta(hours=13))

    failed.refresh_from_db()
    assert failed.status == Status.SET_ASIDE
    assert (report.events_set_aside, report.needs_person) == (1, True)
    assert not sweep(after=timedelta(hours=30)).needs_person


def test_a_failure_that_is_not_the_last_is_no_case_for_a_person(failed, intent, stripe, configure):
    configure(STRIPE_TRANSPORT=Broken(stripe, intent.stripe_id))

    report = sweep(after=timedelta(minutes=3))

    failed.refresh_from_db()
    assert (failed.status, failed.attempts) == (Status.FAILED, 2)
    assert not report.events_set_aside


def test_an_intent_that_keeps_changing_is_looked_at_again_later(intent, stripe, configure):
    at_stripe = pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")
    line = RestlessLine(stripe, intent)
    configure(STRIPE_TRANSPORT=line)

    assert send_event(at_stripe).status_code == 503

    event = WebhookEvent.objects.get()
    words = f"PaymentIntentInProgress: {intent.stripe_id} keeps changing."
    assert (event.status, event.outcome, line.looks) == (Status.FAILED, words, 4)


def test_a_refund_waits_for_an_intent_that_keeps_changing(intent, stripe, configure):
    """Written before its order is known to be paid, it would be told before that."""
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    (event,) = (each for each in stripe.events if each["type"] == "refund.created")
    body = json.dumps(event).encode()
    configure(STRIPE_TRANSPORT=RestlessLine(stripe, intent))

    assert post_webhook(body, sign(body)).status_code == 503
    assert not Refund.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert post_webhook(body, sign(body)).status_code == 200
    assert told() == ["payment_received", "order_paid", "order_refunded"]


def told() -> list[str]:
    facts = PaymentHistory.objects.filter(needs_dispatch=True).order_by("pk")
    return list(facts.values_list("kind", flat=True))


queue: list[int] = []


def enqueue(event_pk: int) -> None:
    """A broker that takes the event and loses it."""
    queue.append(event_pk)


def test_an_event_that_a_queue_has_lost_is_processed(intent, stripe, configure, webhooks):
    configure(EVENT_HANDLER="tests.test_events.enqueue")
    pay(stripe, intent.stripe_id)
    webhooks()
    lost = WebhookEvent.objects.get(type="payment_intent.succeeded")
    assert lost.status == Status.RECEIVED

    sweep(after=timedelta(minutes=3))

    lost.refresh_from_db()
    assert lost.status == Status.PROCESSED
    assert OrderPayment.objects.get().status == "paid"


def test_a_queue_that_processes_events_in_a_transaction_is_told_so(
    intent, stripe, configure, webhooks
):
    """Found: the event was said to have failed, and set aside after twenty times."""
    configure(EVENT_HANDLER="tests.test_events.enqueue")
    pay(stripe, intent.stripe_id)
    webhooks()
    event = WebhookEvent.objects.get(type="payment_intent.succeeded")

    with transaction.atomic(), pytest.raises(TransactionOpenError):
        process_event(event.pk)

    event.refresh_from_db()
    assert (event.status, event.attempts) == (Status.RECEIVED, 0)


def test_two_sweeps_at_once_try_an_event_once(failed):
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=3)):
        since = timezone.now() - timedelta(hours=72)
        reports = at_once(*[lambda: reconcile(since=since)] * 3)

    failed.refresh_from_db()
    assert (failed.status, failed.attempts) == (Status.PROCESSED, 2)
    assert sum(report.events for report in reports) == 1


# --- events that are early ----------------------------------------------------------------------


class Eager:
    """A line on which the events of a write arrive before its answer."""

    def __init__(self, stripe: Any) -> None:
        self._stripe = stripe
        self.answers: list[int] = []

    def __call__(self, method: str, *request: Any) -> Any:
        answer = self._stripe.handle(method, *request)
        if method.upper() == "POST":
            for intent in call_stripe(self._stripe, "GET", "payment_intents")["data"]:
                self.answers.append(send_event(intent).status_code)
        return answer


def test_an_event_before_the_answer_to_its_creation(storefront, order, stripe, configure):
    """The attempt is committed, so the intent is known to be ours before it has a row."""
    line = Eager(stripe)
    configure(STRIPE_TRANSPORT=line)

    response = storefront.payment_intent(order)

    assert (response.status_code, line.answers) == (200, [200])
    row = PaymentIntent.objects.get()
    assert row.stripe_id == response.json()["data"]["id"]
    assert WebhookEvent.objects.get().status == Status.PROCESSED


def test_a_payment_before_the_answer_to_its_creation(
    storefront, order, stripe, configure, paid_signals
):
    """With a very quick customer. The answer, when it comes, is old news."""

    class Hasty(Eager):
        def __call__(self, method: str, *request: Any) -> Any:
            answer = self._stripe.handle(method, *request)
            if method.upper() == "POST":
                created = call_stripe(self._stripe, "GET", "payment_intents")["data"][0]
                self.answers.append(send_event(pay(self._stripe, created["id"])).status_code)
            return answer

    line = Hasty(stripe)
    configure(STRIPE_TRANSPORT=line)

    response = storefront.payment_intent(order)

    assert line.answers == [200]
    assert (response.status_code, response.json()["code"]) == (409, "order_already_paid")
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def deliver(stripe: Any, kind: str) -> int:
    """Deliver the one event of this kind."""
    (event,) = [each for each in stripe.events if each["type"] == kind]
    body = json.dumps(event).encode()
    status: int = post_webhook(body, sign(body)).status_code
    return status


@pytest.mark.parametrize("kind", ["refund.created", "charge.refunded", "charge.dispute.created"])
def test_a_refund_or_a_dispute_before_the_answer_to_the_creation(
    storefront, order, stripe, configure, paid_signals, kind
):
    """Found: it was noted as nobody's, and that for ever. It names no attempt, but its intent does.

    Somebody pays in Stripe's dashboard, say, and everything else that Stripe tells is lost.
    """
    line = HeldLine(stripe, "/v1/payment_intents", when="after")
    configure(STRIPE_TRANSPORT=line)

    def tell_of_it() -> int:
        (created,) = call_stripe(stripe, "GET", "payment_intents")["data"]
        disputed = kind.startswith("charge.dispute")
        pay(stripe, created["id"], "pm_card_createDispute" if disputed else "pm_card_visa")
        if not disputed:
            call_stripe(stripe, "POST", "refunds", payment_intent=created["id"], amount="1200")
        return deliver(stripe, kind)

    created, told = line.meanwhile(lambda: storefront.payment_intent(order), tell_of_it)

    assert (told, answer(created)) == (200, (409, "order_already_paid"))
    assert WebhookEvent.objects.get().status == Status.PROCESSED
    assert_mirrors_agree(stripe)
    assert len(paid_signals) == 1


def test_a_dispute_of_an_intent_whose_creation_was_never_answered(storefront, order, stripe):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    lost = call_stripe(stripe, "GET", "payment_intents")["data"][0]
    pay(stripe, lost["id"], "pm_card_createDispute")

    assert deliver(stripe, "charge.dispute.created") == 200

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.dispute_state) == ("paid", "open")
    assert StripeAttempt.objects.get().outcome == "succeeded"


def test_a_refund_of_another_system_is_left_and_costs_one_call(storefront, order, stripe):
    storefront.payment_intent(order)
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    pay(stripe, theirs)
    call_stripe(stripe, "POST", "refunds", payment_intent=theirs)
    stripe.requests.clear()

    assert deliver(stripe, "refund.created") == 200

    assert WebhookEvent.objects.get().status == Status.IGNORED
    assert not PaymentIntent.objects.filter(stripe_id=theirs).exists()
    looks = [f"/v1/payment_intents/{theirs}"]
    assert [request.path for request in stripe.requests] == looks


def test_a_refund_of_an_account_that_our_key_cannot_see_is_left(storefront, order, stripe):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    connected = {"object": "refund", "id": "re_theirs", "payment_intent": "pi_of_their_account"}

    assert send_event(connected, type="refund.created", account="acct_theirs").status_code == 200

    assert WebhookEvent.objects.get().status == Status.IGNORED
