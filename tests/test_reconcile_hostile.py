"""What a sweep meets that nobody meant it to: each was a bug once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.db import DataError, connection, transaction
from django.utils import timezone

from shop_payments.maintenance.cancellations import cancel_abandoned_intents
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Dispute,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory
from tests.support import call_stripe, debit, pay, send_event, writes
from tests.test_reconcile import API, LATER, assert_converged, statuses, sweep
from tests.threads import Hold

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def intent(storefront, order, stripe) -> PaymentIntent:
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


@pytest.fixture
def orphan(storefront, order, stripe) -> str:
    """An intent of ours that another one has taken the place of before we heard of it."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    StripeAttempt.objects.get().finish("abandoned")  # a look-up that came too early
    storefront.payment_intent(order)
    both = call_stripe(stripe, "GET", "payment_intents")["data"]
    return next(
        str(each["id"])
        for each in both
        if not PaymentIntent.objects.filter(stripe_id=each["id"]).exists()
    )


class Meanwhile:
    """A line to Stripe on which something happens once, just before a request or its answer."""

    def __init__(self, stripe: Any, request: str, act: Callable[[], Any], *, answer: bool = False):
        self._stripe, self._request, self._act, self._answer = stripe, request, act, answer
        self._is_done = False

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        is_now = not self._is_done and self._request in f"{method.upper()} {url}"
        self._is_done = self._is_done or is_now
        if is_now and not self._answer:
            self._act()
        answer = self._stripe.handle(method, url, headers, body)
        if is_now and self._answer:
            self._act()
        return answer


class NoWayBack:
    """A Stripe that cancels nothing whose money is on its way, as with most payment methods."""

    def __init__(self, stripe: Any) -> None:
        self._stripe, self.refused = stripe, 0

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        path = url.partition("/v1/")[2]
        is_cancel = path.endswith("/cancel")
        if is_cancel and self._status(path.removesuffix("/cancel")) == "processing":
            self.refused += 1
            words = {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}
            return SandboxResponse(400, {}, json.dumps({"error": words}).encode())
        return self._stripe.handle(method, url, headers, body)

    def _status(self, path: str) -> str:
        return str(call_stripe(self._stripe, "GET", path)["status"])


class Refusing:
    """A Stripe that refuses one path, as to a restricted key."""

    def __init__(self, stripe: Any, path: str, *, status: int) -> None:
        self._stripe, self._path, self._status = stripe, path, status

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        if urlsplit(url).path == self._path:
            error = {"type": "invalid_request_error", "message": "This key may not do that."}
            return SandboxResponse(self._status, {}, json.dumps({"error": error}).encode())
        return self._stripe.handle(method, url, headers, body)


@pytest.fixture
def no_way_back(configure, stripe) -> NoWayBack:
    line = NoWayBack(stripe)
    configure(STRIPE_TRANSPORT=line, ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    return line


# --- cancellations ------------------------------------------------------------------------------


def cancel_unheard(stripe: Any, *orders: Any) -> None:
    """The shop cancels its orders while Stripe is away, and what was begun is given up."""
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel", times=None))
    for order in orders:
        cancel_payment_on_commit(order_id=order.pk, origin=API)
    stripe.clear_faults()
    StripeAttempt.objects.pending().update(outcome="abandoned", finished_at=timezone.now())


def test_debits_on_their_way_do_not_keep_other_cancellations_waiting(
    no_way_back, storefront, order, stripe
):
    """Three in a row were taken for a Stripe that is away, in each sweep until they came."""
    others = [OrderFactory.create(customer=order.customer) for _ in range(4)]
    for each in (order, *others):
        storefront.payment_intent(each)
    for row in PaymentIntent.objects.order_by("pk")[:3]:
        debit(stripe, row.stripe_id, "pm_usBankAccount_success")
    cancel_unheard(stripe, order, *others)

    report = sweep(after=timedelta(seconds=61))

    assert statuses(stripe) == ["processing"] * 3 + ["canceled"] * 2
    assert (report.cancellations, report.problems) == (2, [])


def test_what_stripe_does_not_cancel_is_not_asked_for_in_each_sweep(
    no_way_back, storefront, order, intent, stripe
):
    """Each sweep sent it again, and kept a row of that, for the days that a debit takes."""
    debit(stripe, intent.stripe_id, "pm_usBankAccount_accountClosed")
    cancel_unheard(stripe, order)
    sweep(after=timedelta(seconds=61))
    refused, attempts = no_way_back.refused, StripeAttempt.objects.count()

    sweep(after=timedelta(seconds=62))

    assert refused > 0
    assert (no_way_back.refused, StripeAttempt.objects.count()) == (refused, attempts)
    assert OrderPayment.objects.get().cancel_requested_at is not None

    stripe.advance_clock(10 * 24 * 60 * 60)  # the debit has failed
    sweep(after=timedelta(seconds=63))

    assert statuses(stripe) == ["canceled"]
    assert OrderPayment.objects.get().cancel_requested_at is None


def test_an_intent_that_took_the_place_of_an_abandoned_one_is_kept(
    storefront, order, intent, stripe, configure
):
    """The customer came back between the look and the cancellation, and lost their new intent."""

    def come_back() -> None:
        call_stripe(stripe, "POST", f"payment_intents/{intent.stripe_id}/cancel")
        assert storefront.payment_intent(order).status_code == 200

    old = timezone.now()
    configure(
        STRIPE_TRANSPORT=Meanwhile(
            stripe,
            f"GET https://api.stripe.com/v1/payment_intents/{intent.stripe_id}",
            come_back,
            answer=True,
        )
    )

    assert cancel_abandoned_intents(older_than=old, origin=API) == 0

    assert statuses(stripe) == ["canceled", "requires_payment_method"]


def test_one_abandoned_intent_that_fails_at_stripe_does_not_keep_the_others(
    storefront, order, intent, stripe
):
    """The first that failed ended the part, in each sweep, and nothing was counted."""
    storefront.payment_intent(OrderFactory.create(customer=order.customer))
    stripe.inject(Fault("error", status=500, path=f"/v1/payment_intents/{intent.stripe_id}/cancel"))

    report = sweep(after=timedelta(days=31))

    assert statuses(stripe) == ["requires_payment_method", "canceled"]
    assert (report.abandoned, len(report.problems)) == (1, 1)


# --- orphans ------------------------------------------------------------------------------------


def test_an_orphan_that_is_paid_while_it_is_cancelled_is_money_and_not_cancelled(
    orphan, stripe, configure
):
    """It was counted as cancelled, and nobody was asked about the money."""
    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "/cancel", lambda: pay(stripe, orphan)))

    report = sweep()

    assert (report.orphans, report.intents) == (0, 1)
    assert PaymentIntent.objects.get(stripe_id=orphan).status == "succeeded"


def test_an_orphan_whose_money_is_on_its_way_is_not_cancelled_in_each_sweep(
    no_way_back, orphan, stripe
):
    debit(stripe, orphan, "pm_usBankAccount_success")

    first = sweep(after=timedelta(seconds=1))
    second = sweep(after=timedelta(seconds=2))

    assert (first.orphans, second.orphans, no_way_back.refused) == (0, 0, 1)


def test_a_missing_intent_that_comes_back_when_its_place_is_taken_is_cancelled(
    storefront, order, intent, stripe, configure
):
    """With the right key again, it stayed open beside the order's other one, to be paid."""
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)
    storefront.payment_intent(order)  # another account, where it is not known
    configure(STRIPE_TRANSPORT=stripe.handle)
    storefront.payment_intent(order)
    assert statuses(stripe) == ["requires_payment_method"] * 2

    report = sweep()

    assert statuses(stripe) == ["canceled", "requires_payment_method"]
    assert (report.orphans, report.intents, report.problems) == (1, 0, [])
    assert_converged(stripe)


# --- what a person is told ----------------------------------------------------------------------


def test_a_dispute_that_is_open_again_is_reported(intent, stripe):
    """Its item is an old one, asked about anew; the sweep ended as if nobody had to look."""
    pay(stripe, intent.stripe_id, "pm_card_createDispute")
    sweep()
    Dispute.objects.update(status="won")  # as the bank had decided before the appeal
    ReviewItem.objects.update(closed_at=timezone.now(), closing_note="won")
    OrderPayment.objects.update(needs_review=False, dispute_state="won")

    report = sweep(after=2 * LATER)

    assert report.reviews_opened == 1
    assert report.needs_person


def test_a_part_that_breaks_does_not_keep_the_others_from_being_done(intent, stripe, monkeypatch):
    """A fault in the shop's adapter ended the sweep with a traceback, and no signal was sent."""

    def broken(self: Any, raw: object) -> object:
        raise RuntimeError("the shop's own")

    pay(stripe, intent.stripe_id)
    sweep()
    PaymentHistory.objects.update_dispatched_at(None)
    OrderPayment.objects.update(cancel_requested_at=timezone.now())
    monkeypatch.setattr("shop_payments.orders.BundledOrderAdapter.parse_id", broken)

    report = sweep(after=2 * LATER)

    assert report.facts == 2
    assert [problem for problem in report.problems if "RuntimeError" in problem]


def test_the_key_of_another_account_closes_no_intent(storefront, order, stripe, configure):
    for each in (order, *OrderFactory.create_batch(2, customer=order.customer)):
        storefront.payment_intent(each)
    PaymentIntent.objects.update(stripe_created_at=timezone.now() - timedelta(days=9))
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)

    report = sweep()

    assert ["STRIPE_SECRET_KEY" in problem for problem in report.problems] == [True]
    open_ones = PaymentIntent.objects.filter(status="requires_payment_method")
    assert open_ones.count() == 3


def test_a_key_that_stripe_does_not_take_ends_a_part_early(storefront, order, stripe, configure):
    """Each of a thousand calls was refused one by one."""
    stripe.inject(Fault("drop_before", method="POST", times=None))
    for each in (order, *(OrderFactory.create(customer=order.customer) for _ in range(5))):
        storefront.payment_intent(each)
    other = Sandbox(secret_keys=["sk_test_of_somebody_else"])
    configure(STRIPE_TRANSPORT=other.handle)

    report = sweep()

    assert len(writes(other)) == 3
    assert "attempts: Stripe does not take the key; the rest is left" in report.problems
    assert StripeAttempt.objects.pending().count() == 6


def test_an_event_that_fails_for_the_key_is_a_problem(intent, stripe, configure):
    """It was said to have failed again, and nothing was wrong."""
    send_event(call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}"))
    WebhookEvent.objects.update(status="failed", attempts=1)
    line = Refusing(stripe, f"/v1/payment_intents/{intent.stripe_id}", status=403)
    configure(STRIPE_TRANSPORT=line)

    report = sweep()

    assert len(report.problems) == 1
    assert "may not" in report.problems[0]


def test_events_are_left_to_the_next_sweep_while_stripe_is_busy(intent, stripe):
    stripe.inject(Fault("error", method="GET", status=429, times=None))
    for _ in range(6):
        send_event(stripe.events[0]["data"]["object"])
    before = len(stripe.requests)

    report = sweep()

    asked = [each for each in stripe.requests[before:] if each.path.endswith(intent.stripe_id)]
    assert len(asked) <= 3
    assert "events: Stripe gets too many requests; the rest is left" in report.problems
    assert "rate_limit, status 429, req_" in "".join(report.problems)


def test_what_a_database_error_quotes_is_not_shown(intent, stripe, monkeypatch):
    """The progress of a nightly run ends up in mails."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DataError("value too long: jane@example.com")

    send_event(call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}"))
    WebhookEvent.objects.update(status="failed", attempts=1)
    monkeypatch.setattr("shop_payments.sync.payment_intents.refresh_intent", refuse)
    lines: list[str] = []

    with time_machine.travel(datetime.now(UTC) + 2 * LATER):
        reconcile(since=timezone.now() - timedelta(hours=72), on_progress=lines.append)

    failed = [line for line in lines if "failed again" in line]
    assert [line.rpartition(": ")[2] for line in failed] == ["DataError"]


@pytest.fixture
def two(storefront, order, stripe):
    """The intents of two orders."""
    for each in (order, OrderFactory.create(customer=order.customer)):
        assert storefront.payment_intent(each).status_code == 200
    return list(PaymentIntent.objects.order_by("pk"))


def sweep_while_locked(*intents: PaymentIntent, **how: Any) -> Report:
    """A sweep that soon gives up waiting, while the shop keeps the intents' payments locked."""
    hold = Hold()

    def keep_it_locked() -> None:
        with transaction.atomic():
            list(OrderPayment.objects.locked().filter(payment_intents__in=intents))
            hold.hold()

    def sweep_impatiently() -> Report:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        return sweep(**how)

    _held, report = hold.meanwhile(keep_it_locked, sweep_impatiently)
    assert isinstance(report, Report), report
    return report


on_postgresql = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")


@on_postgresql
def test_a_payment_that_somebody_has_locked_does_not_keep_the_others(two, stripe):
    """With a ``lock_timeout``, the whole sweep ended there, as if the database were away."""
    for each in two:
        pay(stripe, each.stripe_id)

    report = sweep_while_locked(two[0])

    assert report.problems == [f"{two[0].stripe_id}: the database refused (LockNotAvailable)"]
    assert sorted(OrderPayment.objects.values_list("status", flat=True)) == ["paid", "unpaid"]


@on_postgresql
def test_an_authorization_that_somebody_has_locked_does_not_keep_the_others(
    configure, stripe, request, webhooks
):
    """Found: the sweep ended there, nobody was asked of the others, and no signal was sent."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    two = request.getfixturevalue("two")
    for each in two:
        pay(stripe, each.stripe_id)
    webhooks()

    report = sweep_while_locked(two[0], after=timedelta(days=6, hours=1))

    assert report.problems == [f"{two[0].stripe_id}: the database refused (LockNotAvailable)"]
    assert [each.payment_intent for each in ReviewItem.objects.all()] == [two[1]]


@on_postgresql
def test_many_payments_that_somebody_has_locked_do_not_keep_what_was_not_told(
    two, stripe, storefront, order, payment_system, paid_signals
):
    """Found: after three of them the sweep ended, as if the database were away."""
    pay(stripe, two[0].stripe_id)
    assert payment_system.payment(order).status_code == 200
    PaymentHistory.objects.filter(kind="order_paid").update_dispatched_at(None)
    for _ in range(3):
        storefront.payment_intent(OrderFactory.create(customer=order.customer))
    locked = PaymentIntent.objects.exclude(pk=two[0].pk)
    for each in locked:
        pay(stripe, each.stripe_id)

    report = sweep_while_locked(*locked)

    assert len(report.problems) == 4
    assert report.problems[3] == (
        "payment intents: the database refused (LockNotAvailable); the rest is left"
    )
    assert (report.facts, len(paid_signals)) == (1, 2)
