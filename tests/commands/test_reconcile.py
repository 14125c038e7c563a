"""``manage.py shop_payments_reconcile``."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.models import Order, OrderPayment, PaymentIntent, ReviewItem, WebhookEvent
from shop_payments.sandbox import Fault, Sandbox
from tests.commands.support import run
from tests.support import pay, send_event, writes

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = "Brought up to date: nothing. Listed 5 pages at Stripe.\n"
ONE_INTENT = "Brought up to date: 1 payment intent. Listed 5 pages at Stripe.\n"


def reconcile(*arguments: str) -> str:
    return run("reconcile", *arguments)[0]


def test_it_says_what_it_did_and_shows_progress(intent, stripe):
    pay(stripe, intent.stripe_id)
    sent = writes(stripe)

    dry = reconcile("--dry-run")
    assert OrderPayment.objects.get().status == "unpaid"
    out, err = run("reconcile")

    assert dry == ONE_INTENT.replace("Brought", "Would bring")
    assert out == ONE_INTENT
    assert err.splitlines()[:2] == ["attempts …", "payment intents …"]
    assert OrderPayment.objects.get().status == "paid"
    assert run("reconcile", "--verbosity", "0") == (NOTHING, "")
    assert writes(stripe) == sent


def test_it_says_how_far_a_long_part_is(stripe):
    moment = timezone.now() - timedelta(hours=1)
    event = {"type": "balance.available", "livemode": False, "payload": {}}
    WebhookEvent.objects.bulk_create(
        WebhookEvent(event_id=f"evt_{number}", stripe_created_at=moment, **event)
        for number in range(201)
    )
    WebhookEvent.objects.update(received_at=moment)

    out, err = run("reconcile")

    assert "201 events" in out
    events = err[err.index("events …") : err.index("orders …")]
    assert events.splitlines() == ["events …", "… 100 of 201", "… 200 of 201"]


class HangUp(StringIO):
    """A reader who is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stderr", [HangUp(), None])
def test_the_work_is_done_even_if_nobody_reads_the_progress(intent, stripe, monkeypatch, stderr):
    """Found: ``2>&1 | head`` ended the sweep in its middle, and ``2>&-`` before its beginning."""
    pay(stripe, intent.stripe_id)
    monkeypatch.setattr("sys.stderr", stderr)
    out = StringIO()

    call_command("shop_payments_reconcile", stdout=out)

    assert out.getvalue() == ONE_INTENT


def test_a_new_review_item_is_an_error_once(intent, stripe, order):
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent.stripe_id)

    with pytest.raises(CommandError, match=r"1 new review item \(in the admin\)$"):
        reconcile()

    assert reconcile() == NOTHING


def test_an_order_that_can_be_read_again_is_evaluated(intent, stripe, order):
    order.lines.update(unit_amount=5123)
    Order.objects.update(currency="kwd")
    send_event(pay(stripe, intent.stripe_id))
    WebhookEvent.objects.update(status="set_aside")
    words = rf"OrderAdapter\.total .* \(order {order.pk}\)"

    with pytest.raises(CommandError, match=words) as first:
        reconcile()
    with pytest.raises(CommandError, match=words) as second:
        reconcile()

    assert "review item" not in str(first.value)
    assert "1 new review item" in str(second.value), "after the third try staff are asked to look"
    assert ReviewItem.objects.get().reason == "order_unreadable"

    order.lines.update(unit_amount=5600)
    Order.objects.update(currency="usd")
    words = "up to date: 1 order evaluated. Listed 5 pages at Stripe.\n"
    assert reconcile("--dry-run") == f"Would bring {words}"
    assert OrderPayment.objects.get().status == "unpaid"
    assert reconcile() == f"Brought {words}"
    assert OrderPayment.objects.get().status == "paid"
    assert ReviewItem.objects.get().closed_itself
    assert reconcile() == NOTHING


def test_a_stripe_that_is_away_is_an_error(intent, stripe):
    stripe.inject(Fault("drop_before", path="/v1/refunds"))

    with pytest.raises(CommandError, match=r"refunds: Stripe could not be reached") as refusal:
        reconcile()
    assert str(refusal.value).endswith("The next run tries again what failed.")

    assert reconcile() == NOTHING


def test_a_key_that_stripe_refuses_is_an_error(intent, stripe, configure):
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_of_somebody_else"]).handle)

    with pytest.raises(CommandError, match="payment intents: "):
        reconcile()

    configure(STRIPE_SECRET_KEY="")
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY"):
        reconcile()


@pytest.mark.parametrize(("since", "is_listed"), [("23", False), ("25", True)])
def test_since_is_a_number_of_hours(intent, stripe, since, is_listed):
    """What is closed here does not make the list any longer."""
    PaymentIntent.objects.update(status="canceled")
    with time_machine.travel(timezone.now() + timedelta(hours=24)):
        before = len(stripe.requests)
        reconcile("--since", since)

    listed = stripe.requests[before]
    assert listed.path == "/v1/payment_intents"
    begins = int(listed.params["created"]["gte"])
    assert (begins <= intent.stripe_created_at.timestamp()) == is_listed


def test_since_is_a_day(intent, stripe):
    pay(stripe, intent.stripe_id)

    assert reconcile("--since", str(timezone.localdate())) == ONE_INTENT
