"""An event is processed in the end, or staff are asked: what the sweep does with the inbox."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shop_payments.models import OrderPayment, PaymentIntent, WebhookEvent
from shop_payments.sandbox import Fault
from tests.maintenance.support import Refusing, sweep
from tests.support import pay, send_event

pytestmark = pytest.mark.django_db

Status = WebhookEvent.Status


@pytest.fixture
def failed(intent, stripe):
    """An event whose intent could not be looked up."""
    at_stripe = pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")
    PaymentIntent.objects.update(as_of=None)  # so the event is only a hint
    stripe.inject(Fault("drop_before", method="GET"))
    assert send_event(at_stripe).status_code == 503
    event = WebhookEvent.objects.get()
    assert event.status == Status.FAILED
    return event


def test_the_wait_grows_with_each_failure(failed):
    for attempts, minutes in ((1, 2), (4, 16), (19, 12 * 60)):
        WebhookEvent.objects.update(attempts=attempts)

        assert sweep(after=timedelta(minutes=minutes - 1), dry_run=True).events == 0
        assert sweep(after=timedelta(minutes=minutes + 1), dry_run=True).events == 1


def test_an_event_that_keeps_failing_is_set_aside_for_staff(failed, intent, stripe, configure):
    path = f"payment_intents/{intent.stripe_id}"
    configure(STRIPE_TRANSPORT=Refusing(stripe, lambda asked: asked == path, status=404))
    first = sweep(after=timedelta(minutes=3))

    failed.refresh_from_db()
    assert (failed.status, failed.attempts, first.events_set_aside) == (Status.FAILED, 2, 0)
    WebhookEvent.objects.update(attempts=WebhookEvent.MAX_ATTEMPTS - 1)

    report = sweep(after=timedelta(hours=13))

    failed.refresh_from_db()
    assert failed.status == Status.SET_ASIDE
    assert (report.events_set_aside, report.needs_staff) == (1, True)
    assert not sweep(after=timedelta(hours=30)).needs_staff


def test_an_event_that_fails_because_of_the_key_is_a_problem(failed, intent, stripe, configure):
    """Found: the sweep said that it failed again, and ended as if nothing was wrong."""
    path = f"payment_intents/{intent.stripe_id}"
    configure(STRIPE_TRANSPORT=Refusing(stripe, lambda asked: asked == path, status=403))

    (problem,) = sweep(after=timedelta(minutes=3)).problems

    assert "(status 403)" in problem


def lose(event_pk: int) -> None:
    """A queue that accepts the event and loses it."""


def test_an_event_that_a_queue_has_lost_is_processed(intent, stripe, configure, webhooks):
    configure(EVENT_HANDLER=f"{__name__}.lose")
    pay(stripe, intent.stripe_id)
    webhooks()
    lost = WebhookEvent.objects.get(type="payment_intent.succeeded")
    assert lost.status == Status.RECEIVED

    sweep(after=timedelta(minutes=3))

    lost.refresh_from_db()
    assert lost.status == Status.PROCESSED
    assert OrderPayment.objects.get().status == "paid"


def test_events_are_left_to_the_next_sweep_while_stripe_is_busy(intent, stripe):
    PaymentIntent.objects.update(as_of=None)  # so the events are only hints
    stripe.inject(Fault("error", method="GET", status=429, times=None))
    for _ in range(6):
        send_event(stripe.events[0]["data"]["object"])
    before = len(stripe.requests)

    report = sweep()

    asked = [each for each in stripe.requests[before:] if each.path.endswith(intent.stripe_id)]
    assert len(asked) <= 3
    assert "events: Stripe gets too many requests; the rest was not tried" in report.problems
    assert "rate_limit, status 429, req_" in "".join(report.problems)
