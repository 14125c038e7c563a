"""The sweep finds what changed at Stripe by its events, and compares the lists once a day."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from shop_payments.exceptions import SweepRunning
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    OrderPayment,
    SweepState,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services import may_release
from tests.books import assert_books_agree, assert_mirrors_agree, everything
from tests.factories import OrderFactory
from tests.maintenance.support import Meanwhile
from tests.services.restore import make_elsewhere
from tests.support import call_stripe, pay

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = 86_400


def sweep(after: timedelta, *, dry_run: bool = False) -> Report:
    """Sweep as cron does, some time from now."""
    with time_machine.travel(datetime.now(UTC) + after):
        return reconcile(dry_run=dry_run)


def paths_since(stripe, number: int) -> list[str]:
    return [each.path for each in stripe.requests[number:]]


@pytest.fixture
def swept(intent, stripe, webhooks):
    """The open intent of an order, after a sweep that has compared the lists."""
    webhooks()
    assert sweep(timedelta(0)).problems == []
    return intent


def test_a_sweep_of_a_quiet_shop_is_one_request(swept, storefront, order, stripe):
    """Found: each sweep listed all open intents of the last thirty days."""
    for _order in range(5):
        storefront.payment_intent(OrderFactory.create(customer=order.customer))
    sweep(HOUR)
    begin = len(stripe.requests)

    report = sweep(2 * HOUR)

    assert paths_since(stripe, begin) == ["/v1/events"]
    assert (report.pages, report.missed_events, report.problems) == (1, 0, [])


def test_events_that_never_arrived_are_processed(swept, storefront, order, stripe, paid_signals):
    other, delayed = OrderFactory.create_batch(2, customer=order.customer)
    intents = [storefront.payment_intent(each).json()["data"]["id"] for each in (other, delayed)]
    pay(stripe, swept.stripe_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=swept.stripe_id, amount="1200")
    pay(stripe, intents[0], "pm_card_createDispute")
    call_stripe(stripe, "POST", f"payment_intents/{intents[1]}/cancel")
    begin = len(stripe.requests)

    report = sweep(HOUR)

    assert report.problems == []
    assert report.missed_events == WebhookEvent.objects.filter(status="processed").count() > 5
    listed = [path for path in paths_since(stripe, begin) if path == "/v1/payment_intents"]
    assert (len(listed), report.methods, report.intents) == (1, 2, 0), "for the methods only"
    assert_mirrors_agree(stripe)
    assert_books_agree(stripe)
    statuses = OrderPayment.objects.order_by("order_id").values_list("status", "dispute_state")
    assert [*statuses] == [("partially_refunded", ""), ("paid", "open"), ("unpaid", "")]
    assert len(paid_signals) == 2
    rows = everything()
    assert sweep(2 * HOUR).missed_events == 0
    assert everything() == rows


@pytest.mark.parametrize("hours", [23, 25])
def test_the_lists_are_compared_once_a_day(swept, stripe, hours):
    """Stripe has no event of what is deleted in test mode."""
    begin = len(stripe.requests)

    report = sweep(timedelta(hours=hours))

    assert ("/v1/payment_intents" in paths_since(stripe, begin)) == (hours == 25)
    assert report.problems == []


def test_the_lists_are_compared_if_stripe_has_forgotten_the_newest_event(swept, stripe):
    """Its events go back 30 days. The lists then begin before the sweep that compared them last."""
    SweepState.objects.update(compared_at=datetime.now(UTC) + timedelta(days=31))
    pay(stripe, swept.stripe_id)

    with time_machine.travel(datetime.now(UTC) + timedelta(days=31)):
        stripe.advance_clock(31 * 24 * 60 * 60)
        SweepState.objects.update(compared_at=datetime.now(UTC) - HOUR)
        report = reconcile()

    assert (report.missed_events, report.intents, report.problems) == (0, 1, [])
    assert OrderPayment.objects.get().status == "paid"


def test_a_gap_of_ten_days_has_no_hole(swept, storefront, order, stripe):
    """The lists begin where the last sweep that compared them began."""
    other = OrderFactory.create(customer=order.customer)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=5)):
        pay(stripe, storefront.payment_intent(other).json()["data"]["id"])
        WebhookEvent.objects.all().delete()
    SweepState.objects.update(newest_event="")

    report = sweep(timedelta(days=10))

    assert report.problems == []
    assert OrderPayment.objects.get(order=other).status == "paid"


def test_a_key_that_may_not_list_events_compares_the_lists(swept, stripe, configure):
    objects = ("payment_intent", "refund", "dispute", "radar_early_fraud_warning", "review")
    key = "rk_test_of_the_shop_0123456789abcdef"
    stripe.restrict_key(key, *(f"rak_{each}_read" for each in objects))
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": key})
    pay(stripe, swept.stripe_id)

    report = sweep(HOUR)

    assert (report.intents, report.problems) == (1, [])
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize("fault", [Fault("refused"), Fault("error", status=503)])
def test_a_list_of_events_that_fails_makes_the_sweep_compare_the_lists(swept, stripe, fault):
    stripe.inject(replace(fault, method="GET", path="/v1/events", times=None))
    pay(stripe, swept.stripe_id)

    report = sweep(HOUR)

    assert (report.missed_events, report.intents) == (0, 1)
    (problem,) = report.problems
    assert problem.startswith("missed events:")
    assert OrderPayment.objects.get().status == "paid"


def test_a_sweep_with_another_accounts_key_changes_nothing(swept, stripe, configure):
    """The next one, with the right key, goes on where the last one had stopped."""
    pay(stripe, swept.stripe_id)
    rows, state = everything(), SweepState.objects.get()
    right = stripe.shop_payments()

    configure(**{**right, "STRIPE_SECRET_KEY": "sk_test_of_another_account_0123456789"})
    stripe.inject(Fault("another_account", times=None))
    wrong = sweep(HOUR)
    stripe.clear_faults()

    assert wrong.problems
    assert everything() == rows
    assert SweepState.objects.get().newest_event == state.newest_event
    configure(**right)
    assert sweep(2 * HOUR).missed_events == 1
    assert OrderPayment.objects.get().status == "paid"


def test_a_stripe_that_fails_in_the_middle(
    swept, storefront, order, stripe, configure, monkeypatch
):
    """What was read is done, and the next sweep continues there."""
    monkeypatch.setattr("shop_payments.gateway.client.PAGE_SIZE", 3)
    for each in OrderFactory.create_batch(4, customer=order.customer):
        storefront.payment_intent(each)
    fail = Fault("drop_before", path="/v1/events")
    line = Meanwhile(stripe, "GET events", lambda: stripe.inject(fail), answer=True)
    configure(STRIPE_TRANSPORT=line)

    first, second = sweep(HOUR), sweep(2 * HOUR)

    assert (first.missed_events, second.missed_events) == (3, 1)
    problem = "missed events: Stripe could not be reached at https://api.stripe.com"
    assert first.problems == [f"{problem} (APIConnectionError)"]
    assert second.problems == []


def test_a_dry_run_counts_missed_events(swept, stripe):
    pay(stripe, swept.stripe_id)
    rows, state = everything(), SweepState.objects.values().get()

    report = sweep(HOUR, dry_run=True)

    assert report.missed_events == 1
    assert (everything(), SweepState.objects.values().get()) == (rows, state)


def test_missed_events_go_to_the_queue_of_the_shop(swept, stripe, configure):
    pay(stripe, swept.stripe_id)
    configure(EVENT_HANDLER=f"{__name__}.queue")
    queued.clear()

    assert sweep(HOUR).missed_events == 1

    assert queued == [WebhookEvent.objects.get().pk]
    assert OrderPayment.objects.get().status == "unpaid"


queued: list[int] = []


def queue(event_pk: int) -> None:
    queued.append(event_pk)


# --- one sweep at a time ------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "runs"), [(-6, True), (-4, False), (6, True)])
def test_one_sweep_runs_at_a_time(swept, stripe, minutes, runs):
    """One that was killed counts as running for five minutes, also by a clock that is ahead."""
    SweepState.objects.update(acquired_at=datetime.now(UTC) + timedelta(minutes=minutes))
    begin = len(stripe.requests)

    if runs:
        assert sweep(timedelta(0)).pages == 1
        assert SweepState.objects.get().acquired_at is None
    else:
        with pytest.raises(SweepRunning, match=r"^Another sweep is running; it was alive at \d"):
            sweep(timedelta(0))
        assert len(stripe.requests) == begin
        assert sweep(timedelta(0), dry_run=True).pages == 1


def test_the_command_says_so_and_is_no_failure(swept, capsys):
    SweepState.objects.update(acquired_at=datetime.now(UTC))

    call_command("shop_payments_reconcile", "-v0")

    assert capsys.readouterr().out.startswith("Another sweep is running")


def test_a_sweep_that_seemed_dead_leaves_the_rest_to_another_one(
    swept, stripe, configure, monkeypatch
):
    monkeypatch.setattr("shop_payments.maintenance.reconcile.sweep._ALIVE_EVERY", 0)
    pay(stripe, swept.stripe_id)
    moment = datetime.now(UTC) + HOUR

    def start_another() -> None:
        SweepState.objects.update(acquired_at=moment)

    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "GET events", start_another))

    with pytest.raises(SweepRunning, match=r"^Another sweep has started meanwhile"):
        sweep(timedelta(0))

    assert OrderPayment.objects.get().status == "unpaid"
    assert SweepState.objects.get().acquired_at == moment, "the other one is still running"


# --- what is read again -------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a trigger in SQLite's words")
def test_an_event_that_could_not_be_stored_is_read_again(swept, stripe):
    """Found: the next sweep began after it, so the payment was found a day later."""
    pay(stripe, swept.stripe_id)
    stripe.advance_clock(600)
    call_stripe(stripe, "POST", "refunds", payment_intent=swept.stripe_id, amount="100")
    refused = next(each for each in stripe.events if each["type"] == "payment_intent.succeeded")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON shop_payments_webhookevent WHEN"
            f" NEW.event_id = '{refused['id']}' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        first = sweep(HOUR)
        cursor.execute("DROP TRIGGER full_disk")

    assert first.problems
    assert not WebhookEvent.objects.filter(event_id=refused["id"]).exists()
    assert sweep(2 * HOUR).missed_events == 1
    assert WebhookEvent.objects.filter(event_id=refused["id"]).exists()


def test_an_event_that_is_listed_late_is_read_even_if_our_clock_is_ahead(swept, stripe, configure):
    """Found: the last minutes were those of our clock."""
    pay(stripe, swept.stripe_id)
    call_stripe(stripe, "POST", "refunds", payment_intent=swept.stripe_id, amount="100")
    hidden: list[Any] = []

    def line(method: str, url: str, headers: Any, body: Any) -> Any:
        answer = stripe.handle(method, url, headers, body)
        if "/v1/events" not in url or hidden:
            return answer
        values = json.loads(answer.body)
        hidden.extend(e for e in values["data"] if e["type"] == "payment_intent.succeeded")
        values["data"] = [each for each in values["data"] if each not in hidden]
        return replace(answer, body=json.dumps(values).encode())

    configure(STRIPE_TRANSPORT=line)
    sweep(timedelta(minutes=10))
    assert not WebhookEvent.objects.filter(event_id=hidden[0]["id"]).exists()

    sweep(timedelta(minutes=40))

    assert WebhookEvent.objects.get(event_id=hidden[0]["id"]).status == "processed"


def test_events_that_came_under_the_key_of_the_other_mode_are_processed(
    swept, stripe, webhooks, order, configure
):
    """Found: they counted as known, and a dispute was found a day later."""
    right = stripe.shop_payments()
    pay(stripe, swept.stripe_id)
    webhooks()
    configure(**{**right, "STRIPE_SECRET_KEY": "sk_live_of_the_tests"})
    stripe.dispute(swept.stripe_id, deliver=False)
    webhooks()
    assert OrderPayment.objects.get().dispute_state == ""

    configure(**right)
    sweep(HOUR / 2)

    assert OrderPayment.objects.get().dispute_state == "open"
    assert not may_release(order.pk)


def test_the_lists_are_compared_if_the_events_cannot_be_listed(swept, stripe):
    pay(stripe, swept.stripe_id)
    stripe.inject(Fault("drop_before", path="/v1/events", times=None))

    report = sweep(HOUR)

    (problem,) = report.problems
    assert problem.startswith("missed events: Stripe could not be reached")
    assert OrderPayment.objects.get().status == "paid"


def test_an_object_that_keeps_failing_does_not_make_the_lists_longer(
    swept, storefront, order, stripe, configure
):
    """Found: they began before the last sweep without a problem, further back each day."""
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForNumber")
    other = OrderFactory.create(customer=order.customer, number="BROKEN-1")
    make_elsewhere(stripe, other)
    for day in (2, 5, 10):
        begin = len(stripe.requests)
        assert sweep(timedelta(days=day)).problems
        assert sweep(timedelta(days=day, hours=1)).problems, "the next sweep tries it again"
        listed = [each for each in stripe.requests[begin:] if each.path == "/v1/payment_intents"]
        since = int(listed[0].params["created"]["gte"])
        assert datetime.now(UTC).timestamp() + day * DAY - since < 9 * DAY


def test_somebody_who_waits_for_the_lists_learns_that_another_sweep_runs(swept):
    """Found: after a restore, a script opened the shop although nothing had been compared."""
    SweepState.objects.update(acquired_at=datetime.now(UTC))

    with pytest.raises(CommandError, match=r"^Another sweep is running.* Nothing was compared"):
        call_command("shop_payments_reconcile", "-v0", "--since", "720")
