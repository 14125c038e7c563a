"""The sweep finds what was lost, a second one changes nothing, and one fault does not stop it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from shop_payments import signals
from shop_payments.exceptions import GatewayUnavailable
from shop_payments.ledger import units
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.services.settle_payment import settle_payment
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_books_agree, everything, refund_in_dashboard
from tests.factories import OrderFactory
from tests.maintenance.support import API, LATER, Meanwhile, assert_converged, statuses, sweep
from tests.support import Died, answer, call_stripe, debit, pay, send_event, writes
from tests.threads import Hold

pytestmark = pytest.mark.django_db(transaction=True)

CANCEL = "/v1/payment_intents/*/cancel"
on_postgresql = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
lost = pytest.mark.parametrize("fault", ["drop_before", "drop_after"])


# --- lost answers -------------------------------------------------------------------------------


@lost
def test_a_create_without_an_answer(storefront, order, stripe, fault):
    stripe.inject(Fault(fault, method="POST"))
    assert storefront.payment_intent(order).status_code == 503

    report = sweep()

    assert (report.attempts, report.problems) == (1, [])
    assert statuses(stripe) == ["requires_payment_method"]
    assert PaymentIntent.objects.get().attempt.outcome == "succeeded"
    assert_converged(stripe)


def test_a_create_whose_key_is_too_old_is_looked_up(storefront, order, stripe):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    stripe.forget_idempotency_keys()

    sweep(after=timedelta(hours=24))

    assert statuses(stripe) == ["requires_payment_method"]
    assert PaymentIntent.objects.count() == 1
    assert_converged(stripe, after=timedelta(hours=24))


@lost
def test_an_update_without_an_answer(storefront, order, stripe, intent, fault):
    order.lines.update(quantity=3)
    stripe.inject(Fault(fault, method="POST"))
    storefront.payment_intent(order)

    sweep()

    intent.refresh_from_db()
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")
    assert intent.amount == at_stripe["amount"] == 16800
    assert_converged(stripe)


@lost
def test_a_capture_without_an_answer(
    storefront, order, stripe, configure, payment_system, fault, paid_signals
):
    configure(CAPTURE_METHOD="manual")
    storefront.payment_intent(order)
    pay(stripe, PaymentIntent.objects.get().stripe_id)
    answer(payment_system.payment(order))
    stripe.inject(Fault(fault, method="POST"))
    with pytest.raises(GatewayUnavailable):
        capture_payment(order_id=order.pk, origin=API)

    sweep()

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    assert_converged(stripe)


@lost
@pytest.mark.parametrize("hours", [1, 24])
def test_a_refund_without_an_answer(order, stripe, paid, fault, hours):
    stripe.inject(Fault(fault, path="/v1/refunds"))
    with pytest.raises(GatewayUnavailable):
        refund_payment(order_id=order.pk, request=RefundRequest(key="k"), origin=API)
    if hours == 24:
        stripe.forget_idempotency_keys()

    sweep(after=timedelta(hours=hours))
    sweep(after=timedelta(hours=hours + 2))  # absence counts when two looks agree

    is_known = fault == "drop_after" or hours == 1
    assert Refund.objects.get().status == ("succeeded" if is_known else "refused")
    assert_books_agree(stripe)
    assert_converged(stripe, after=timedelta(hours=hours))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("drop_before", method="POST", times=None), "Stripe does not answer"),
        (Fault("error", method="POST", status=429, times=None), "Stripe gets too many requests"),
        (None, "Stripe does not take the key"),
    ],
    ids=["away", "busy", "another key"],
)
def test_a_stripe_that_is_away_ends_a_part_early(
    storefront, stripe, order, configure, fault, words
):
    """Found: each of a thousand calls was refused one by one."""
    orders = [order, *(OrderFactory.create(customer=order.customer) for _ in range(5))]
    stripe.inject(fault or Fault("drop_before", method="POST", times=None))
    for each in orders:
        assert storefront.payment_intent(each).status_code == 503
    if fault is None:
        stripe = Sandbox(secret_keys=["sk_test_of_somebody_else"])
        configure(STRIPE_TRANSPORT=stripe.handle)
    before = len(writes(stripe))

    report = sweep()

    assert len(writes(stripe)) - before <= 3
    assert f"attempts: {words}; the rest is left" in report.problems
    assert StripeAttempt.objects.pending().count() == 6


# --- lost webhooks ------------------------------------------------------------------------------


def test_a_payment_whose_webhook_was_lost(intent, stripe, paid_signals):
    pay(stripe, intent.stripe_id)

    report = sweep()

    assert (report.intents, report.needs_person) == (1, False)
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    assert PaymentHistory.objects.get(kind="order_paid").source == "reconcile"
    assert_converged(stripe)


def test_a_declined_card_whose_webhook_was_lost(intent, stripe):
    pay(stripe, intent.stripe_id, "pm_card_chargeDeclined")
    before = len(stripe.requests)

    sweep()

    intent.refresh_from_db()
    assert intent.last_error_code == "card_declined"
    fetches = [each for each in stripe.requests[before:] if each.path.endswith(intent.stripe_id)]
    assert fetches == [], "a page is as good as a fetch"
    assert_converged(stripe)


def test_a_refund_and_a_dispute_made_while_we_were_down(paid, stripe, storefront, order):
    other = OrderFactory.create(customer=order.customer)
    storefront.payment_intent(other)
    disputed = PaymentIntent.objects.exclude(pk=paid.pk).get()
    pay(stripe, disputed.stripe_id, "pm_card_createDispute")
    call_stripe(stripe, "POST", "refunds", payment_intent=paid.stripe_id, amount="500")

    report = sweep()

    # The dispute came with its payment, which was not known yet.
    assert (report.intents, report.objects["refunds"], report.objects["disputes"]) == (1, 1, 0)
    assert paid.order_payment.refunds.get().amount == 500
    assert disputed.order_payment.disputes.get().status == "needs_response"
    assert report.reviews_opened == 1
    assert report.needs_person
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

    report = sweep()

    assert ["STRIPE_SECRET_KEY" in problem for problem in report.problems] == [True]
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
    storefront.payment_intent(order)
    pay(stripe, PaymentIntent.objects.get().stripe_id)

    first = sweep()
    row = PaymentIntent.objects.get()
    second = sweep(after=timedelta(days=6, hours=12))

    assert row.status == "requires_capture"
    assert row.capture_before is not None, "a page says as much as a fetch"
    assert (first.reviews_opened, second.reviews_opened) == (0, 1)
    assert ReviewItem.objects.get().reason == "authorization_expires"


# --- cancellations ------------------------------------------------------------------------------


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


class ShopWithFaults(BundledOrderAdapter):
    def line_items(self, order):
        raise KeyError("product")


class Undecided(BundledOrderAdapter):
    """A shop that opens the order again while the sweep asks."""

    asked: ClassVar[list[object]] = []

    def is_payable(self, order):
        self.asked.append(order)
        return len(self.asked) > 1


@pytest.mark.parametrize("adapter", [ShopWithFaults, Undecided])
def test_an_order_that_the_shop_did_not_clearly_cancel_stays_payable(
    order, stripe, intent, configure, adapter
):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.{adapter.__name__}"})

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_payment_method"]


class PaidMeanwhile(BundledOrderAdapter):
    """A shop whose customer pays while the sweep asks it."""

    pay: ClassVar[list[Callable[[], Any]]] = []

    def is_payable(self, order):
        while self.pay:
            self.pay.pop()()
        return super().is_payable(order)


def test_money_that_is_reserved_while_the_sweep_asks_is_left_to_staff(
    order, stripe, storefront, configure
):
    """Found: the intent was unpaid when the sweep began to ask, and it was cancelled."""
    adapter = f"{__name__}.PaidMeanwhile"
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual", "ORDER_ADAPTER": adapter})
    storefront.payment_intent(order)
    intent = PaymentIntent.objects.get()
    Order.objects.update(status="cancelled")
    PaidMeanwhile.pay.append(lambda: send_event(pay(stripe, intent.stripe_id)))

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_capture"]
    assert_converged(stripe)


def cancel_unheard(stripe: Any, *orders: Any) -> None:
    """The shop cancels its orders while Stripe is away, and the attempts are given up."""
    stripe.inject(Fault("drop_before", path=CANCEL, times=None))
    for order in orders:
        cancel_payment_on_commit(order_id=order.pk, origin=API)
    StripeAttempt.objects.pending().update(outcome="abandoned", finished_at=timezone.now())


def test_debits_on_their_way_do_not_delay_other_cancellations(
    debits_not_cancelled, storefront, order, stripe
):
    """Found: three in a row counted as a Stripe that is away, in each sweep until they arrived."""
    others = [OrderFactory.create(customer=order.customer) for _ in range(4)]
    for each in (order, *others):
        storefront.payment_intent(each)
    for row in PaymentIntent.objects.order_by("pk")[:3]:
        debit(stripe, row.stripe_id, "pm_usBankAccount_success")
    cancel_unheard(stripe, order, *others)
    stripe.clear_faults()

    report = sweep(after=timedelta(seconds=61))

    assert statuses(stripe) == ["processing"] * 3 + ["canceled"] * 2
    assert (report.cancellations, report.problems) == (2, [])


def test_a_cancellation_that_stripe_refuses_is_not_sent_by_each_sweep(
    debits_not_cancelled, storefront, order, intent, stripe
):
    """Found: each sweep sent it again and kept a row of that, for the days that a debit takes."""
    debit(stripe, intent.stripe_id, "pm_usBankAccount_accountClosed")
    cancel_unheard(stripe, order)
    stripe.clear_faults()
    sweep(after=timedelta(seconds=61))
    refused, attempts = debits_not_cancelled.refused, StripeAttempt.objects.count()

    sweep(after=timedelta(seconds=62))

    assert refused > 0
    assert (debits_not_cancelled.refused, StripeAttempt.objects.count()) == (refused, attempts)
    assert OrderPayment.objects.get().cancel_requested_at is not None

    stripe.advance_clock(10 * 24 * 60 * 60)  # the debit has failed
    sweep(after=timedelta(seconds=63))

    assert statuses(stripe) == ["canceled"]
    assert OrderPayment.objects.get().cancel_requested_at is None


# --- orphans and strangers ----------------------------------------------------------------------


def test_an_orphan_is_cancelled(orphan, stripe):
    report = sweep(after=timedelta(hours=25))

    assert report.orphans == 1
    assert stripe.payment_intent(orphan)["status"] == "canceled"
    assert PaymentIntent.objects.open().count() == 1
    row = PaymentIntent.objects.get(stripe_id=orphan)
    assert (row.status, row.attempt.operation) == ("canceled", "create_intent")
    assert_converged(stripe, after=timedelta(hours=25))


@lost
def test_an_orphan_whose_cancellation_was_not_answered(orphan, stripe, fault):
    stripe.inject(Fault(fault, path=CANCEL))

    first = sweep()
    sweep()

    assert first.needs_person
    assert stripe.payment_intent(orphan)["status"] == "canceled"
    assert_converged(stripe)


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


def test_an_orphan_whose_money_is_on_its_way_is_not_cancelled_by_each_sweep(
    debits_not_cancelled, orphan, stripe
):
    debit(stripe, orphan, "pm_usBankAccount_success")

    first = sweep(after=timedelta(seconds=1))
    second = sweep(after=timedelta(seconds=2))

    assert (first.orphans, second.orphans, debits_not_cancelled.refused) == (0, 0, 1)


def test_an_orphan_becomes_the_orders_intent_if_there_is_no_other(orphan, stripe):
    current = PaymentIntent.objects.get()
    call_stripe(stripe, "POST", f"payment_intents/{current.stripe_id}/cancel")

    sweep()
    sweep()

    found = sorted(PaymentIntent.objects.values_list("status", flat=True))
    assert found == ["canceled", "requires_payment_method"]
    assert_converged(stripe)


def test_a_missing_intent_that_comes_back_when_there_is_another_is_cancelled(
    storefront, order, intent, stripe, configure
):
    """Found: with the right key again, it stayed open beside the order's other intent."""
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)
    storefront.payment_intent(order)  # another account, where it is not known
    configure(STRIPE_TRANSPORT=stripe.handle)
    storefront.payment_intent(order)
    assert statuses(stripe) == ["requires_payment_method"] * 2

    report = sweep()

    assert statuses(stripe) == ["canceled", "requires_payment_method"]
    assert (report.orphans, report.intents, report.problems) == (1, 0, [])
    assert_converged(stripe)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"metadata[order_id]": "1"},
        {"metadata[attempt_id]": "5b6a4dcb-1a4e-4a5f-9a5b-0a6b3f1f0c11"},
        {"metadata[attempt_id]": "x' or 1=1"},
    ],
    ids=["bare", "of another shop", "of another database", "with words"],
)
def test_intents_of_other_systems_are_left_alone(paid, stripe, params):
    theirs = {"amount": "500", "currency": "eur", "allowed_payment_method_types[0]": "card"}
    call_stripe(stripe, "POST", "payment_intents", **theirs, **params)
    paid_one = call_stripe(stripe, "POST", "payment_intents", **theirs, **params)
    pay(stripe, paid_one["id"], "pm_card_createDispute")
    before = (everything(), statuses(stripe), len(writes(stripe)))

    report = sweep(after=timedelta(days=2))

    assert (everything(), statuses(stripe), len(writes(stripe))) == before
    assert not report.needs_person


def test_an_intent_that_names_an_attempt_to_refund_is_not_ours(paid, stripe):
    refund_payment(order_id=paid.order_payment.order_id, request=RefundRequest(key="k"), origin=API)
    attempt = StripeAttempt.objects.get(operation="create_refund")
    params = {"amount": "500", "currency": "usd", "metadata[attempt_id]": str(attempt.pk)}
    call_stripe(stripe, "POST", "payment_intents", **params)

    sweep()

    assert PaymentIntent.objects.count() == 1
    assert "requires_payment_method" in statuses(stripe)


# --- notifications and reviews ------------------------------------------------------------------


def test_a_receiver_that_raised_is_notified_again(
    paid_signals, intent, stripe, payment_system, order
):
    broken = [True]

    def receiver(**kwargs: Any) -> None:
        if broken[0]:
            raise RuntimeError("the warehouse is away")

    signals.order_paid.connect(receiver)
    try:
        pay(stripe, intent.stripe_id)
        payment_system.payment(order)
        first = sweep()
        broken[0] = False
        second = sweep()
    finally:
        signals.order_paid.disconnect(receiver)

    assert "a receiver raised" in first.problems[0]
    assert (second.facts, second.problems) == (1, [])
    assert len(paid_signals) == 3
    assert len({each["fact_id"] for each in paid_signals}) == 1
    assert_converged(stripe)


def test_a_notification_that_a_dead_process_left_is_sent(
    paid_signals, intent, stripe, order, monkeypatch
):
    def die(facts: object, **kwargs: object) -> None:
        raise Died

    pay(stripe, intent.stripe_id)
    with monkeypatch.context() as killed:
        killed.setattr(units, "dispatch", die)
        with pytest.raises(Died):
            settle_payment(order_id=order.pk, origin=API)
    assert paid_signals == []

    report = sweep()

    assert (report.facts, len(paid_signals)) == (2, 1)
    assert_converged(stripe)


def test_a_notification_that_may_be_in_progress_is_left_alone(paid):
    PaymentHistory.objects.update_dispatched_at(None)

    assert sweep(after=timedelta(0)).facts == 0
    assert sweep(after=timedelta(seconds=61)).facts == 2


def test_a_notification_that_one_sweep_is_sending_another_one_does_not_send(paid, paid_signals):
    """The other one runs in the middle of the receiver."""
    PaymentHistory.objects.update_dispatched_at(None)
    paid_signals.clear()
    others: list[Report] = []

    def receiver(**kwargs: Any) -> None:
        others.append(reconcile(since=timezone.now() - timedelta(hours=72)))

    signals.order_paid.connect(receiver)
    try:
        report = sweep()
    finally:
        signals.order_paid.disconnect(receiver)

    assert [other.facts for other in others] == [0]
    assert (report.facts, len(paid_signals)) == (2, 1)


def test_a_dispute_that_is_open_again_is_reported(intent, stripe):
    """Found: its review item is an old one that opens again, so the sweep did not report it."""
    pay(stripe, intent.stripe_id, "pm_card_createDispute")
    sweep()
    Dispute.objects.update(status="won")  # as the bank had decided before the appeal
    ReviewItem.objects.update(closed_at=timezone.now(), closing_note="won")
    OrderPayment.objects.update(needs_review=False, dispute_state="won")

    report = sweep(after=2 * LATER)

    assert report.reviews_opened == 1
    assert report.needs_person


def test_a_review_that_a_clock_ahead_has_opened_is_new_once(storefront, order, stripe):
    """Found: for ten minutes each sweep reported it again, because it went by the opening time."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"], "pm_card_createDispute")

    assert sweep(after=timedelta(minutes=10)).reviews_opened == 1
    assert sweep().reviews_opened == 0


def test_a_part_that_breaks_does_not_stop_the_others(intent, stripe, monkeypatch):
    """Found: a bug in the shop's adapter ended the sweep with a traceback; no signal was sent."""

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


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(
    orphan, storefront, order, stripe, paid_signals
):
    other = OrderFactory.create(customer=order.customer)
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(other)
    pay(stripe, PaymentIntent.objects.get().stripe_id)
    before = (everything(), statuses(stripe), writes(stripe))

    report = sweep(dry_run=True)

    assert (everything(), statuses(stripe), writes(stripe)) == before
    assert (report.attempts, report.intents) == (1, 3)
    assert paid_signals == []


# --- payments that are locked -------------------------------------------------------------------


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


@on_postgresql
@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
def test_a_payment_that_is_locked_does_not_stop_the_others(
    configure, stripe, request, webhooks, capture_method
):
    """Found: with a ``lock_timeout``, the sweep ended there, as if the database were away."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": capture_method})
    two = request.getfixturevalue("two")
    for each in two:
        pay(stripe, each.stripe_id)
    lapsing = capture_method == "manual"
    if lapsing:
        webhooks()

    report = sweep_while_locked(two[0], after=timedelta(days=6, hours=1) if lapsing else LATER)

    assert report.problems == [f"{two[0].stripe_id}: the database refused (LockNotAvailable)"]
    if lapsing:
        assert [each.payment_intent for each in ReviewItem.objects.all()] == [two[1]]
    else:
        found = sorted(OrderPayment.objects.values_list("status", flat=True))
        assert found == ["paid", "unpaid"]


@on_postgresql
def test_many_payments_that_are_locked_do_not_stop_the_notifications(
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


# --- pages: old objects cost few calls ----------------------------------------------------------


@pytest.fixture
def days_ago(storefront, order, stripe):
    """Create our intents (or another system's, ``ours=False``) so many days ago, one a second.

    Call it for the oldest first: the sandbox lists the last one that was made first.
    """

    def create(days: float, count: int = 1, *, ours: bool = True) -> list[str]:
        made: list[str] = []
        began = datetime.now(UTC) - timedelta(days=days)
        for number in range(count):
            with time_machine.travel(began + timedelta(seconds=number), tick=False):
                if ours:
                    each = OrderFactory.create(customer=order.customer)
                    made.append(storefront.payment_intent(each).json()["data"]["id"])
                else:
                    params = {"amount": "500", "currency": "eur"}
                    kind = {"allowed_payment_method_types[0]": "card"}
                    theirs = call_stripe(stripe, "POST", "payment_intents", **params, **kind)
                    made.append(theirs["id"])
        return made

    return create


class Counted:
    """A line to Stripe on which calls about intents are counted."""

    def __init__(self, stripe: Any) -> None:
        self._stripe = stripe
        self.lists, self.fetches = 0, 0

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        path = url.partition("/v1/")[2]
        self.lists += path.startswith("payment_intents?")
        self.fetches += path.startswith("payment_intents/")
        return self._stripe.handle(method, url, headers, body)


@pytest.fixture
def calls(stripe, configure) -> Counted:
    counted = Counted(stripe)
    configure(STRIPE_TRANSPORT=counted)
    return counted


@pytest.fixture
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr("shop_payments.gateway.calls.PAGE_SIZE", 3)
    monkeypatch.setattr("shop_payments.maintenance.reconcile.pages._PAGE", 3)


def paid_orders() -> int:
    return OrderPayment.objects.filter(status="paid").count()


def test_many_old_intents_cost_a_call_and_not_one_each(days_ago, stripe, calls):
    """Found: up to a hundred were fetched one by one, by each sweep until they were closed."""
    for intent_id in days_ago(20, 60):
        pay(stripe, intent_id)

    report = sweep()

    assert (calls.lists, calls.fetches) == (2, 0)
    assert report.intents == paid_orders() == 60


def test_many_in_one_second_are_all_looked_at(days_ago, stripe, calls, small_pages):
    """The objects of one second that do not fit a page cannot be listed any further."""
    with time_machine.travel(datetime.now(UTC) - timedelta(days=20), tick=False):
        made = [each for _ in range(8) for each in days_ago(0)]
    for intent_id in made:
        pay(stripe, intent_id)

    sweep()

    assert paid_orders() == 8


def test_an_intent_that_a_page_should_have_shown_is_fetched(days_ago, stripe, calls, configure):
    pay(stripe, *days_ago(20.5))
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)  # another account
    (hidden,) = days_ago(20)
    configure(STRIPE_TRANSPORT=calls)
    pay(stripe, *days_ago(19.5))

    report = sweep()

    assert (calls.lists, calls.fetches, report.intents) == (2, 1, 3)
    assert PaymentIntent.objects.get(stripe_id=hidden).status == "missing"


def test_old_refunds_that_are_pending_are_listed(days_ago, stripe, calls):
    for number, intent_id in enumerate(days_ago(20, 3)):
        with time_machine.travel(datetime.now(UTC) - timedelta(days=19 - number / 10)):
            pay(stripe, intent_id)
            call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="500")
    sweep(hours=24 * 30)
    Refund.objects.update(status="pending")
    before = len(stripe.requests)

    report = sweep(after=timedelta(minutes=4))

    assert report.objects["refunds"] == 3
    assert [each.path for each in stripe.requests[before:]].count("/v1/refunds") == 2
    assert_books_agree(stripe)


@pytest.mark.parametrize("seed", [1])
def test_wherever_they_lie_all_are_found_with_few_calls(days_ago, stripe, calls, small_pages, seed):
    draw = random.Random(seed)
    moved = 0
    ages = [draw.choice([4, 12, draw.uniform(5, 29)]) + number / 10_000 for number in range(14)]
    for days in sorted(ages, reverse=True):
        what = draw.choice(["ours", "ours", "closed", "theirs"])
        (intent_id,) = days_ago(days, ours=what != "theirs")
        if what == "ours":
            pay(stripe, intent_id)
            moved += 1
        elif what == "closed":
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
            PaymentIntent.objects.filter(stripe_id=intent_id).update(status="canceled")

    report = sweep()

    assert paid_orders() == report.intents == moved
    assert calls.lists + calls.fetches <= 1 + moved
    assert_books_agree(stripe)
