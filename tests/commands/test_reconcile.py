"""``manage.py shop_payments_reconcile``."""

from __future__ import annotations

import time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.management.commands.shop_payments_reconcile import Command
from shop_payments.models import Order, OrderPayment, ReviewItem, WebhookEvent
from shop_payments.sandbox import Fault
from tests.commands.support import run
from tests.support import pay, send_event, writes

pytestmark = pytest.mark.django_db

NOTHING = "Brought up to date: nothing. Listed 1 page at Stripe.\n"
"""Of the second sweep, which only looks for events that never arrived."""

ONE_INTENT = "Brought up to date: 1 payment intent. Listed 5 pages at Stripe.\n"


def reconcile(*arguments: str) -> str:
    return run("reconcile", *arguments)[0]


def test_it_says_what_it_did_and_shows_progress(intent, stripe):
    pay(stripe, intent.stripe_id)
    sent = writes(stripe)
    dry = reconcile("--dry-run", "--since", str(timezone.localdate()))
    assert OrderPayment.objects.get().status == "unpaid"
    out, err = run("reconcile")
    assert dry == ONE_INTENT.replace("Brought", "Would bring")
    assert out == ONE_INTENT
    assert err.splitlines()[:2] == ["attempts …", "missed events …"]
    assert OrderPayment.objects.get().status == "paid"
    assert run("reconcile", "--verbosity", "0") == (NOTHING, "")
    assert writes(stripe) == sent


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_not_red_and_counts_are_shown_on_request(intent):
    """Found: Django colors stderr on a terminal, so the progress looked like errors."""
    screen = Terminal()
    call_command(Command(stderr=screen, force_color=True), "--since", "1")
    err = screen.getvalue()
    assert "payment intents …" in err.splitlines()
    assert "\x1b[" not in err
    assert "page" not in err
    assert "… page 1" in run("reconcile", "--since", "1", "--verbosity", "2")[1].splitlines()


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
    stripe.inject(Fault("drop_before", path="/v1/refunds"))
    with pytest.raises(CommandError, match=r"refunds: Stripe could not be reached") as refusal:
        reconcile()
    assert str(refusal.value).endswith("The next run retries failed work.")
    assert reconcile().startswith("Brought up to date: nothing. Listed 5 pages")
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent.stripe_id)
    with pytest.raises(CommandError, match=r"1 new review item \(in the admin\)$"):
        reconcile()
    assert reconcile() == NOTHING


def test_an_order_that_can_be_read_again_is_evaluated(intent, stripe, order, configure):
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForTotal")
    Order.objects.update(number="BROKEN-1")
    send_event(pay(stripe, intent.stripe_id))
    WebhookEvent.objects.update(status="set_aside")
    tried = []
    for _try in range(2):
        with pytest.raises(
            CommandError, match=rf"OrderAdapter\.total .* \(order {order.pk}\)"
        ) as refusal:
            reconcile()
        tried.append("1 new review item" in str(refusal.value))
    # The event, the list of intents and the orders that wait: staff are asked after three tries.
    assert tried == [True, False]
    Order.objects.update(number="1")
    words = "up to date: 1 order evaluated. Listed 1 page at Stripe.\n"
    assert reconcile("--dry-run") == f"Would bring {words}"
    assert OrderPayment.objects.get().status == "unpaid"
    assert reconcile() == f"Brought {words}"
    assert OrderPayment.objects.get().status == "paid"
    assert ReviewItem.objects.get().closed_automatically


def test_since_is_a_number_of_hours(stripe):
    reconcile("--since", "25")
    listed = stripe.requests[0]
    assert listed.path == "/v1/payment_intents"
    hours = (time.time() - int(listed.params["created"]["gte"])) / 3600
    assert hours == pytest.approx(25, abs=0.1)
