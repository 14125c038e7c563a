"""The sweep finds what was lost, a second one changes nothing, and one fault does not stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from shop_payments import signals
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    SweepState,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.testing import StripeSandbox
from tests.books import assert_books_agree, everything, refund_in_dashboard
from tests.conftest import connected
from tests.factories import OrderFactory
from tests.maintenance.support import API, LATER, Meanwhile, assert_converged, statuses, sweep
from tests.support import call_stripe, debit, pay, send_event, writes
from tests.threads import Hold

pytestmark = pytest.mark.django_db

CANCEL = "/v1/payment_intents/*/cancel"
commits = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
lost = pytest.mark.parametrize("fault", ["drop_before", "drop_after"])


# --- lost answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "hours"), [("drop_before", 1), ("drop_after", 24)])
def test_a_create_and_an_update_without_an_answer(storefront, order, stripe, fault, hours):
    after = timedelta(hours=hours)
    stripe.inject(Fault(fault, method="POST"))
    assert storefront.payment_intent(order).status_code == 503
    if hours == 24:  # the key is too old, so the intent is looked up
        stripe.forget_idempotency_keys()

    report = sweep(after=after)

    assert (report.attempts, report.problems) == (1, [])
    assert statuses(stripe) == ["requires_payment_method"]
    assert PaymentIntent.objects.get().attempt.outcome == "succeeded"
    assert_converged(stripe, after=after)

    order.lines.update(quantity=3)
    stripe.inject(Fault(fault, method="POST"))
    assert storefront.payment_intent(order).status_code == 503
    sweep(after=after)

    intent = PaymentIntent.objects.get()
    assert intent.amount == stripe.payment_intent(intent.stripe_id)["amount"] == 16800
    assert_converged(stripe, after=after)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("away", "Stripe does not answer"),
        ("busy", "Stripe gets too many requests"),
        ("another key", "Stripe does not accept the key"),
    ],
)
def test_a_stripe_that_is_away_ends_a_part_early(storefront, stripe, order, configure, kind, words):
    """Found: each of a thousand calls was refused one by one."""
    fault = Fault("drop_before", method="POST", times=None)
    stripe.inject(replace(fault, kind="error", status=429) if kind == "busy" else fault)
    for each in (order, *OrderFactory.create_batch(5, customer=order.customer)):
        assert storefront.payment_intent(each).status_code == 503
    if kind == "another key":
        stripe = Sandbox(secret_keys=["sk_test_of_somebody_else"])
        configure(STRIPE_TRANSPORT=stripe.handle)
    before = len(writes(stripe))

    report = sweep()

    assert len(writes(stripe)) - before <= 3
    assert f"attempts: {words}; the rest was not tried" in report.problems
    assert StripeAttempt.objects.pending().count() == 6


# --- lost webhooks ------------------------------------------------------------------------------


def test_a_refund_and_a_dispute_made_while_we_were_down(
    paid, stripe, storefront, order, paid_signals
):
    other = OrderFactory.create(customer=order.customer)
    storefront.payment_intent(other)
    disputed = PaymentIntent.objects.exclude(pk=paid.pk).get()
    pay(stripe, disputed.stripe_id, "pm_card_createDispute")
    call_stripe(stripe, "POST", "refunds", payment_intent=paid.stripe_id, amount="500")
    paid_signals.clear()

    report = sweep()

    # The dispute came with its payment, which was not known yet.
    assert (report.intents, report.objects["refunds"], report.objects["disputes"]) == (1, 1, 0)
    assert (report.reviews_opened, report.needs_staff) == (1, True)
    assert paid.order_payment.refunds.get().amount == 500
    assert disputed.order_payment.disputes.get().status == "needs_response"
    assert len(paid_signals) == 1
    assert disputed.order_payment.history.get(kind="order_paid").source == "reconcile"
    assert_books_agree(stripe)
    assert_converged(stripe)


def test_a_refund_that_is_listed_before_its_payment_is_reported_after_it(intent, stripe):
    """Found: the list of refunds came through, but not that of intents; it was never reported."""
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    stripe.inject(Fault("error", status=429, method="GET", path="/v1/payment_intents"))

    sweep()
    sweep(after=2 * LATER)

    facts = list(PaymentHistory.objects.filter(needs_dispatch=True).order_by("pk"))
    assert [fact.kind for fact in facts] == ["payment_received", "order_paid", "order_refunded"]
    assert OrderPayment.objects.get().status == "refunded"


def test_the_key_of_another_account_closes_no_intent(storefront, order, stripe, configure):
    for each in (order, *OrderFactory.create_batch(2, customer=order.customer)):
        storefront.payment_intent(each)
    PaymentIntent.objects.update(stripe_created_at=timezone.now() - timedelta(days=9))
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)

    (problem,) = sweep().problems

    assert "STRIPE_SECRET_KEY" in problem
    assert PaymentIntent.objects.filter(status="requires_payment_method").count() == 3


def test_an_outdated_page_is_not_applied(intent, stripe, configure, webhooks):
    pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")

    def fail_authentication() -> None:
        webhooks()  # from here on they arrive
        stripe.authenticate(intent.stripe_id, succeed=False, deliver=False)
        webhooks()

    line = Meanwhile(stripe, "GET payment_intents?", fail_authentication, answer=True)
    configure(STRIPE_TRANSPORT=line)
    sweep()

    intent.refresh_from_db()
    assert intent.status == "requires_payment_method"
    assert intent.last_error_code == "payment_intent_authentication_failure"


def test_an_authorization_whose_webhook_was_lost_is_reported_before_it_lapses(
    storefront, order, stripe, configure
):
    configure(CAPTURE_METHOD="manual")
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    first = sweep()
    row = PaymentIntent.objects.get()
    second = sweep(after=timedelta(days=6, hours=12))

    assert row.status == "requires_capture"
    assert row.capture_before is not None, "a page says as much as a fetch"
    assert (first.reviews_opened, second.reviews_opened) == (0, 1)
    assert ReviewItem.objects.get().reason == "authorization_expires"


# --- cancellations ------------------------------------------------------------------------------


@commits
@lost
def test_a_cancellation_without_an_answer(order, stripe, intent, fault):
    stripe.inject(Fault(fault, path=CANCEL))
    cancel_payment_on_commit(order_id=order.pk, origin=API)

    sweep()

    assert statuses(stripe) == ["canceled"]
    assert OrderPayment.objects.get().cancel_requested_at is None
    assert_converged(stripe)


def test_an_order_that_the_shop_cancelled_without_a_word(order, stripe, intent):
    Order.objects.update(status="cancelled")
    rows = everything()
    assert sweep(dry_run=True).cancellations == 1
    assert (everything(), statuses(stripe)) == (rows, ["requires_payment_method"])

    assert sweep().cancellations == 1

    assert statuses(stripe) == ["canceled"]
    fact = PaymentHistory.objects.get(kind="cancel_requested")
    assert (fact.source, fact.payment_intent) == ("reconcile", intent)
    assert_converged(stripe)


class AskedOnce(BundledOrderAdapter):
    """A shop in which something happens while the sweep asks it."""

    meanwhile: ClassVar[list[Callable[[], Any]]] = []

    def is_payable(self, order):
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().is_payable(order)


@pytest.mark.parametrize("is_broken", [True, False])
def test_an_order_that_the_shop_did_not_clearly_cancel_stays_payable(
    order, stripe, intent, configure, is_broken
):
    """The order cannot be read; or the shop opens it again."""
    Order.objects.update(number="BROKEN-1", status="cancelled")
    if is_broken:
        configure(ORDER_ADAPTER="tests.api.adapters.RaisesForTotal")
    else:
        configure(ORDER_ADAPTER=f"{__name__}.AskedOnce")
        AskedOnce.meanwhile.append(lambda: Order.objects.update(status="open"))

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_payment_method"]


def test_money_that_is_reserved_while_the_sweep_asks_is_left_to_staff(
    order, stripe, storefront, configure
):
    """Found: the intent was unpaid when the sweep began to ask, and it was cancelled."""
    configure(CAPTURE_METHOD="manual", ORDER_ADAPTER=f"{__name__}.AskedOnce")
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    Order.objects.update(status="cancelled")
    AskedOnce.meanwhile.append(lambda: send_event(pay(stripe, intent_id)))

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_capture"]
    assert_converged(stripe)


@commits
def test_debits_on_their_way_delay_no_other_cancellation_and_are_not_sent_by_each_sweep(
    debits_not_cancelled, storefront, order, stripe
):
    """Found: three refusals in a row counted as a Stripe that is away, in each sweep. And each
    sweep sent them again and kept a row of that, for the days that a debit takes."""
    orders = [order, *OrderFactory.create_batch(4, customer=order.customer)]
    for each in orders:
        storefront.payment_intent(each)
    for row in PaymentIntent.objects.order_by("pk")[:3]:
        debit(stripe, row.stripe_id, "pm_usBankAccount_accountClosed")
    # The shop cancels while Stripe is away, and the attempts are given up.
    stripe.inject(Fault("drop_before", path=CANCEL, times=None))
    for each in orders:
        cancel_payment_on_commit(order_id=each.pk, origin=API)
    StripeAttempt.objects.pending().update(outcome="abandoned", finished_at=timezone.now())
    stripe.clear_faults()

    report = sweep(after=timedelta(seconds=61))

    assert statuses(stripe) == ["processing"] * 3 + ["canceled"] * 2
    assert (report.cancellations, report.problems) == (2, [])
    refused, attempts = debits_not_cancelled.refused, StripeAttempt.objects.count()
    sweep(after=timedelta(seconds=62))
    assert refused > 0
    assert (debits_not_cancelled.refused, StripeAttempt.objects.count()) == (refused, attempts)
    assert OrderPayment.objects.exclude(cancel_requested_at=None).count() == 3

    stripe.advance_clock(10 * 24 * 60 * 60)  # the debits have failed
    sweep(after=timedelta(seconds=63))

    assert statuses(stripe) == ["canceled"] * 5
    assert not OrderPayment.objects.exclude(cancel_requested_at=None).exists()


# --- orphans and strangers ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", "drop_before", "drop_after"])
def test_an_orphan_is_cancelled(orphan, stripe, fault):
    after = timedelta(hours=25)
    if fault:
        stripe.inject(Fault(fault, path=CANCEL))
        assert sweep(after=after).needs_staff

    report = sweep(after=after)

    assert report.orphans == (not fault)
    assert stripe.payment_intent(orphan)["status"] == "canceled"
    assert PaymentIntent.objects.open().count() == 1
    row = PaymentIntent.objects.get(stripe_id=orphan)
    assert (row.status, row.attempt.operation) == ("canceled", "create_intent")
    assert_converged(stripe, after=after)


def test_an_orphan_that_was_paid_is_in_review_as_excess(orphan, stripe):
    pay(stripe, orphan)
    pay(stripe, PaymentIntent.objects.get().stripe_id)

    report = sweep()

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert (item.reason, item.data["amount"]) == ("excess", 11200)
    assert (payment.status, payment.amount_received) == ("paid", 22400)
    assert report.reviews_opened == 1
    assert_converged(stripe)


def test_an_orphan_that_is_paid_while_it_is_cancelled_counts_as_paid(orphan, stripe, configure):
    """Found: it was reported as cancelled, and nobody was asked about the money."""
    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "/cancel", lambda: pay(stripe, orphan)))

    report = sweep()

    assert (report.orphans, report.intents) == (0, 1)
    assert PaymentIntent.objects.get(stripe_id=orphan).status == "succeeded"


def test_a_missing_intent_that_comes_back_when_there_is_another_is_cancelled(
    storefront, order, intent, stripe, configure
):
    """Found: with the right key again, it stayed open beside the order's other intent."""
    for account in (StripeSandbox(), stripe):  # the first one does not know it
        configure(STRIPE_TRANSPORT=account.handle)
        storefront.payment_intent(order)
    assert statuses(stripe) == ["requires_payment_method"] * 2

    report = sweep()

    assert statuses(stripe) == ["canceled", "requires_payment_method"]
    assert (report.orphans, report.intents, report.problems) == (1, 0, [])
    assert_converged(stripe)


def test_intents_of_other_systems_are_left_alone(paid, stripe):
    refund_payment(order_id=paid.order_payment.order_id, request=RefundRequest(key="k"), origin=API)
    refund = StripeAttempt.objects.get(operation="create_refund")
    theirs = {"amount": "500", "currency": "eur", "allowed_payment_method_types[0]": "card"}
    for params in (
        {"metadata[order_id]": "1"},
        {"metadata[attempt_id]": "5b6a4dcb-1a4e-4a5f-9a5b-0a6b3f1f0c11"},
        {"metadata[attempt_id]": "x' or 1=1"},
        {"metadata[attempt_id]": str(refund.pk)},
    ):
        call_stripe(stripe, "POST", "payment_intents", **theirs, **params)
        paid_one = call_stripe(stripe, "POST", "payment_intents", **theirs, **params)
        pay(stripe, paid_one["id"], "pm_card_createDispute")
    before = (everything(), statuses(stripe), len(writes(stripe)))

    report = sweep(after=timedelta(days=2))

    assert (everything(), statuses(stripe), len(writes(stripe))) == before
    assert not report.needs_staff


# --- notifications and reviews ------------------------------------------------------------------


def test_a_notification_that_one_sweep_is_sending_another_one_does_not_send(paid, paid_signals):
    """The other one runs in the middle of the receiver, after the first one seemed to be dead."""
    PaymentHistory.objects.update_dispatched_at(None)
    paid_signals.clear()
    others: list[Report] = []

    def receiver(**kwargs: Any) -> None:
        SweepState.objects.update(acquired_at=None)
        others.append(reconcile(since=timezone.now() - timedelta(hours=72)))

    with connected({signals.order_paid: receiver}):
        report = sweep()

    assert [other.facts for other in others] == [0]
    assert (report.facts, len(paid_signals)) == (2, 1)


def test_a_dispute_that_is_open_again_is_reported(intent, stripe):
    """Found: its review item is an old one that opens again, so the sweep did not report it."""
    pay(stripe, intent.stripe_id, "pm_card_createDispute")
    sweep()
    Dispute.objects.update(status="won")  # as the bank had decided before the appeal
    ReviewItem.objects.update(closed_at=timezone.now(), closing_data={"note": "won"})
    OrderPayment.objects.update(needs_review=False, dispute_state="won")

    report = sweep(after=2 * LATER)

    assert report.reviews_opened == 1
    assert report.needs_staff


def test_a_review_that_a_clock_ahead_has_opened_is_new_once(storefront, order, stripe):
    """Found: for ten minutes each sweep reported it again, because it went by the opening time."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"], "pm_card_createDispute")

    assert sweep(after=timedelta(minutes=10)).reviews_opened == 1
    assert sweep().reviews_opened == 0


def test_a_part_that_breaks_does_not_stop_the_others(intent, stripe, monkeypatch):
    """Found: a bug in the shop's adapter ended the sweep with a traceback; no signal was sent."""

    pay(stripe, intent.stripe_id)
    sweep()
    PaymentHistory.objects.update_dispatched_at(None)
    OrderPayment.objects.update(cancel_requested_at=timezone.now())

    def broken(*_anything: object) -> object:
        raise RuntimeError("the shop's own")

    monkeypatch.setattr("shop_payments.orders.BundledOrderAdapter.parse_id", broken)

    report = sweep(after=2 * LATER)

    assert report.facts == 2
    assert [problem for problem in report.problems if "RuntimeError" in problem]


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(
    orphan, storefront, order, stripe, paid_signals
):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(OrderFactory.create(customer=order.customer))
    pay(stripe, PaymentIntent.objects.get().stripe_id)
    before = (everything(), statuses(stripe), writes(stripe))

    report = sweep(dry_run=True)

    assert (everything(), statuses(stripe), writes(stripe)) == before
    assert (report.attempts, report.intents) == (1, 3)
    assert paid_signals == []


# --- payments that are locked -------------------------------------------------------------------


@commits
@on_postgresql
def test_a_payment_that_is_locked_does_not_stop_the_others(stripe, storefront, order):
    """Found: with a ``lock_timeout``, the sweep ended there, as if the database were away."""
    for each in (order, OrderFactory.create(customer=order.customer)):
        pay(stripe, storefront.payment_intent(each).json()["data"]["id"])
    first = PaymentIntent.objects.earliest("pk")
    hold = Hold()

    def keep_it_locked() -> None:
        with transaction.atomic():
            OrderPayment.objects.locked().get(payment_intents=first)
            hold.hold()

    def sweep_impatiently() -> Report:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        return sweep()

    _held, report = hold.meanwhile(keep_it_locked, sweep_impatiently)

    assert report.problems == [f"{first.stripe_id}: the database refused (LockNotAvailable)"]
    found = OrderPayment.objects.order_by("pk").values_list("status", flat=True)
    assert [*found] == ["unpaid", "paid"]


# --- pages: old objects cost few calls ----------------------------------------------------------


@pytest.fixture
def days_ago(storefront, order):
    """Create intents so many days ago, one a second, the oldest first."""

    def create(days: float, count: int = 1) -> list[str]:
        made: list[str] = []
        began = datetime.now(UTC) - timedelta(days=days)
        for number in range(count):
            with time_machine.travel(began + timedelta(seconds=number), tick=False):
                each = OrderFactory.create(customer=order.customer)
                made.append(storefront.payment_intent(each).json()["data"]["id"])
        return made

    return create


def looks(stripe: Any, work: Callable[[], Report]) -> tuple[int, int, Report]:
    """The pages of intents and the single intents that are asked for, and the report."""
    before = len(stripe.requests)
    report = work()
    paths = [each.path for each in stripe.requests[before:] if each.method == "GET"]
    intents = "/v1/payment_intents"
    return paths.count(intents), sum(f"{intents}/" in path for path in paths), report


def paid_orders() -> int:
    return OrderPayment.objects.filter(status="paid").count()


def test_many_old_intents_cost_a_call_and_not_one_each(days_ago, stripe):
    """Found: up to a hundred were fetched one by one, by each sweep until they were closed."""
    for intent_id in days_ago(20, 20):
        pay(stripe, intent_id)

    pages, fetches, report = looks(stripe, sweep)

    assert (pages, fetches) == (2, 0)
    assert report.intents == paid_orders() == 20


def test_many_in_one_second_are_all_looked_at(days_ago, stripe, monkeypatch):
    """The objects of one second that do not fit a page cannot be listed any further."""
    monkeypatch.setattr("shop_payments.gateway.calls.PAGE_SIZE", 3)
    monkeypatch.setattr("shop_payments.maintenance.reconcile.pages._PAGE", 3)
    with time_machine.travel(datetime.now(UTC) - timedelta(days=20), tick=False):
        made = [each for _ in range(8) for each in days_ago(0)]
    for intent_id in made:
        pay(stripe, intent_id)

    sweep()

    assert paid_orders() == 8


def test_an_intent_that_a_page_should_have_shown_is_fetched(days_ago, stripe, configure):
    pay(stripe, *days_ago(20.5))
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)  # another account
    (hidden,) = days_ago(20)
    configure(STRIPE_TRANSPORT=stripe.handle)
    pay(stripe, *days_ago(19.5))

    pages, fetches, report = looks(stripe, sweep)

    assert (pages, fetches, report.intents) == (2, 1, 3)
    assert PaymentIntent.objects.get(stripe_id=hidden).status == "missing"
