"""Whatever was lost, one sweep finds it, and a second one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from django.utils import timezone

from shop_payments import signals
from shop_payments.exceptions import GatewayUnavailable
from shop_payments.ledger import units
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.services.settle_payment import settle_payment
from tests.after_paid.support import assert_books_agree, everything, refund_in_dashboard
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, debit, pay, send_event, writes
from tests.threads import RestlessLine, at_once

pytestmark = pytest.mark.django_db(transaction=True)

API = Origin(source=Source.API)
LATER = timedelta(minutes=2)
"""After which nobody is taken to be at it still."""


def sweep(*, after: timedelta = LATER, hours: int = 72, dry_run: bool = False) -> Report:
    """One run of the sweeper, a little later."""
    with time_machine.travel(datetime.now(UTC) + after):
        since = timezone.now() - timedelta(hours=hours)
        return reconcile(since=since, dry_run=dry_run)


def assert_converged(stripe, *, after: timedelta = LATER) -> None:
    """A second sweep changes no row and writes nothing at Stripe."""
    rows, sent = everything(), writes(stripe)

    again = sweep(after=after)

    assert everything() == rows
    assert writes(stripe) == sent
    assert (again.problems, again.reviews_opened) == ([], 0)
    assert not StripeAttempt.objects.pending().exists()
    assert not PaymentHistory.objects.undispatched().exists()


def statuses(stripe) -> list[str]:
    """The statuses of all intents at Stripe, oldest first."""
    found = call_stripe(stripe, "GET", "payment_intents", limit="100")["data"]
    return [intent["status"] for intent in found][::-1]


@pytest.fixture
def intent(storefront, order, stripe):
    storefront.payment_intent(order)
    return PaymentIntent.objects.get()


@pytest.fixture
def paid(intent, payment_system, order, stripe):
    pay(stripe, intent.stripe_id)
    payment_system.payment(order)
    intent.refresh_from_db()
    return intent


# --- lost answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_create_without_an_answer(storefront, order, stripe, fault):
    stripe.inject(Fault(fault, method="POST"))
    assert storefront.payment_intent(order).status_code == 503

    report = sweep()

    assert (report.attempts, report.problems) == (1, [])
    assert statuses(stripe) == ["requires_payment_method"]
    assert PaymentIntent.objects.get().attempt.outcome == "succeeded"
    assert_converged(stripe)


def test_a_create_that_was_lost_and_paid_meanwhile(storefront, order, stripe, paid_signals):
    """The repeated answer is old news; the list that follows is not."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    pay(stripe, call_stripe(stripe, "GET", "payment_intents")["data"][0]["id"])

    sweep()

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    assert_converged(stripe)


def test_a_create_whose_key_is_too_old_is_looked_up(storefront, order, stripe):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    stripe.forget_idempotency_keys()

    sweep(after=timedelta(hours=24))

    assert statuses(stripe) == ["requires_payment_method"]
    assert PaymentIntent.objects.count() == 1
    assert_converged(stripe, after=timedelta(hours=24))


def test_a_refund_that_is_listed_while_intents_cannot_be_is_told(intent, stripe):
    """The list of refunds comes through, and the order is not known to be paid yet."""
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    stripe.inject(Fault("error", status=429, method="GET", path="/v1/payment_intents"))

    sweep()
    sweep(after=2 * LATER)

    told = list(PaymentHistory.objects.filter(needs_dispatch=True).order_by("pk"))
    assert [fact.kind for fact in told] == ["payment_received", "order_paid", "order_refunded"]
    assert OrderPayment.objects.get().status == "refunded"


def test_a_refund_is_left_where_its_intent_keeps_changing(intent, stripe, configure):
    """The list of intents does not come through, and every look at the intent is out of date."""
    pay(stripe, intent.stripe_id)
    refund_in_dashboard(stripe)
    stripe.inject(Fault("error", status=429, method="GET", path="/v1/payment_intents"))
    configure(STRIPE_TRANSPORT=RestlessLine(stripe, intent))

    report = sweep()

    assert f"{intent.stripe_id}: {intent.stripe_id} keeps changing." in report.problems
    assert not Refund.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    sweep(after=2 * LATER)
    assert OrderPayment.objects.get().status == "refunded"
    assert_converged(stripe, after=2 * LATER)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_an_update_without_an_answer(storefront, order, stripe, intent, fault):
    order.lines.update(quantity=3)
    stripe.inject(Fault(fault, method="POST"))
    storefront.payment_intent(order)

    sweep()

    intent.refresh_from_db()
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")
    assert intent.amount == at_stripe["amount"] == 16800
    assert_converged(stripe)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
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


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_cancellation_without_an_answer(order, stripe, intent, fault):
    stripe.inject(Fault(fault, path="/v1/payment_intents/*/cancel"))
    cancel_payment_on_commit(order_id=order.pk, origin=API)

    sweep()

    assert statuses(stripe) == ["canceled"]
    assert OrderPayment.objects.get().cancel_requested_at is None
    assert_converged(stripe)


def test_a_cancellation_of_which_only_the_shops_word_is_left(order, stripe, intent):
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
    """A shop that takes the order up again while the sweep asks."""

    asked: ClassVar[list[object]] = []

    def is_payable(self, order):
        self.asked.append(order)
        return len(self.asked) > 1


@pytest.mark.parametrize("adapter", [ShopWithFaults, Undecided])
def test_an_order_that_the_shop_does_not_say_it_gave_up_stays_payable(
    order, stripe, intent, configure, adapter
):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.{adapter.__name__}"})

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_payment_method"]


def test_a_cancelled_order_whose_money_is_on_its_way_keeps_its_intent(
    order, stripe, storefront, configure
):
    configure(**stripe.shop_payments(), ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    storefront.payment_intent(order)
    debit(stripe, PaymentIntent.objects.get().stripe_id, "pm_usBankAccount_success")
    Order.objects.update(status="cancelled")

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["processing"]
    assert_converged(stripe)


class PaidMeanwhile(BundledOrderAdapter):
    """A shop whose customer pays while the sweep asks it."""

    pay: ClassVar[list[Callable[[], Any]]] = []

    def is_payable(self, order):
        while self.pay:
            self.pay.pop()()
        return super().is_payable(order)


def test_money_that_is_reserved_while_the_sweep_asks_is_left_to_a_person(
    order, stripe, storefront, configure
):
    """Found: what had been unpaid when the sweep began to ask was let go as well."""
    adapter = f"{__name__}.PaidMeanwhile"
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual", "ORDER_ADAPTER": adapter})
    storefront.payment_intent(order)
    intent = PaymentIntent.objects.get()
    Order.objects.update(status="cancelled")
    PaidMeanwhile.pay.append(lambda: send_event(pay(stripe, intent.stripe_id)))

    assert sweep().cancellations == 0

    assert statuses(stripe) == ["requires_capture"]
    assert_converged(stripe)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("hours", [1, 24])
def test_a_refund_without_an_answer(order, stripe, paid, fault, hours):
    stripe.inject(Fault(fault, path="/v1/refunds"))
    with pytest.raises(GatewayUnavailable):
        refund_payment(order_id=order.pk, request=RefundRequest(key="k"), origin=API)
    if hours == 24:
        stripe.forget_idempotency_keys()

    sweep(after=timedelta(hours=hours))
    sweep(after=timedelta(hours=hours + 2))  # absence counts when two looks agree

    was_heard_of = fault == "drop_after" or hours == 1
    assert Refund.objects.get().status == ("succeeded" if was_heard_of else "refused")
    assert_books_agree(stripe)
    assert_converged(stripe, after=timedelta(hours=hours))


@pytest.mark.parametrize(("status", "code"), [(500, None), (429, "rate_limit")])
def test_a_sweep_that_is_refused_is_finished_by_the_next(storefront, order, stripe, status, code):
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    stripe.inject(Fault("error", method="POST", status=status, code=code))

    sweep()
    sweep()

    assert statuses(stripe) == ["requires_payment_method"]
    assert_converged(stripe)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("drop_before", method="POST", times=None), "Stripe does not answer"),
        (Fault("error", method="POST", status=429, times=None), "Stripe gets too many requests"),
    ],
    ids=["away", "busy"],
)
def test_a_stripe_that_is_away_ends_a_part_early(storefront, stripe, order, fault, words):
    """Where it is busy, each of what was left was asked for, and refused."""
    orders = [order, *(OrderFactory.create(customer=order.customer) for _ in range(5))]
    stripe.inject(fault)
    for each in orders:
        assert storefront.payment_intent(each).status_code == 503
    before = len(writes(stripe))

    report = sweep()

    assert len(writes(stripe)) - before <= 3
    assert f"attempts: {words}; the rest is left" in report.problems
    assert StripeAttempt.objects.pending().count() == 6


# --- lost webhooks ------------------------------------------------------------------------------


def test_a_payment_of_which_nobody_told_us(intent, stripe, paid_signals):
    pay(stripe, intent.stripe_id)

    report = sweep()

    assert (report.intents, report.needs_person) == (1, False)
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert fact.source == "reconcile"
    assert_converged(stripe)


def test_a_declined_card_of_which_nobody_told_us(intent, stripe):
    pay(stripe, intent.stripe_id, "pm_card_chargeDeclined")
    fetched = len([each for each in stripe.requests if each.path.endswith(intent.stripe_id)])

    sweep()

    intent.refresh_from_db()
    assert intent.last_error_code == "card_declined"
    again = [each for each in stripe.requests if each.path.endswith(intent.stripe_id)]
    assert len(again) == fetched, "a page is as good as a fetch"
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


def test_what_is_open_is_looked_at_whatever_its_age(intent, stripe):
    PaymentIntent.objects.update(stripe_created_at=timezone.now() - timedelta(days=20))
    pay(stripe, intent.stripe_id)

    report = sweep(hours=1, after=timedelta(hours=2))

    assert report.intents == 1
    assert OrderPayment.objects.get().status == "paid"


def test_a_pending_refund_is_looked_at_whatever_its_age(paid, stripe):
    refund_in_dashboard(stripe)
    sweep()
    Refund.objects.update(status="pending", stripe_created_at=timezone.now() - timedelta(days=9))

    report = sweep(hours=1, after=timedelta(hours=2))

    assert report.objects["refunds"] == 1
    assert Refund.objects.get().status == "succeeded"


def test_an_intent_that_stripe_does_not_know_any_more(intent, stripe):
    PaymentIntent.objects.update(
        stripe_id="pi_deleted", stripe_created_at=timezone.now() - timedelta(days=9)
    )

    sweep()

    intent.refresh_from_db()
    assert intent.status == "missing"


class OldPage:
    """A line on which something happens between a list of intents and its arrival, once."""

    def __init__(self, stripe: Any, meanwhile: Any) -> None:
        self._stripe, self._meanwhile = stripe, meanwhile

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        page = self._stripe.handle(method, url, headers, body)
        if method.upper() == "GET" and "/v1/payment_intents?" in url and self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return page


def test_a_page_that_grew_old_is_not_believed(intent, stripe, configure, webhooks):
    pay(stripe, intent.stripe_id, "pm_card_authenticationRequired")

    def fail_authentication() -> None:
        webhooks()  # from here on they arrive
        stripe.authenticate(intent.stripe_id, succeed=False, deliver=False)
        webhooks()

    configure(STRIPE_TRANSPORT=OldPage(stripe, fail_authentication))
    sweep()

    intent.refresh_from_db()
    assert intent.status == "requires_payment_method"
    assert intent.last_error_code == "payment_intent_authentication_failure"


# --- orphans and strangers ----------------------------------------------------------------------


@pytest.fixture
def orphan(storefront, order, stripe) -> str:
    """An intent whose creation was not answered, and whose order has another one since."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    lost = call_stripe(stripe, "GET", "payment_intents")["data"][0]["id"]
    # What a look-up leaves behind that could not see the intent yet.
    StripeAttempt.objects.get().finish("abandoned")
    storefront.payment_intent(order)
    assert len(statuses(stripe)) == 2
    return str(lost)


def test_an_orphan_is_cancelled(orphan, stripe):
    report = sweep(after=timedelta(hours=25))

    assert report.orphans == 1
    assert call_stripe(stripe, "GET", f"payment_intents/{orphan}")["status"] == "canceled"
    assert PaymentIntent.objects.open().count() == 1
    row = PaymentIntent.objects.get(stripe_id=orphan)
    assert (row.status, row.attempt.operation) == ("canceled", "create_intent")
    assert_converged(stripe, after=timedelta(hours=25))


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_an_orphan_whose_cancellation_was_not_answered(orphan, stripe, fault):
    stripe.inject(Fault(fault, path="/v1/payment_intents/*/cancel"))

    first = sweep()
    sweep()

    assert first.needs_person
    assert call_stripe(stripe, "GET", f"payment_intents/{orphan}")["status"] == "canceled"
    assert_converged(stripe)


def test_an_orphan_that_was_paid_all_the_same_is_in_review_as_excess(
    orphan, stripe, payment_system, order
):
    pay(stripe, orphan)
    current = PaymentIntent.objects.get()
    pay(stripe, current.stripe_id)

    report = sweep()

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert (item.reason, item.data["amount"]) == ("excess", 11200)
    assert (payment.status, payment.amount_received) == ("paid", 22400)
    assert report.reviews_opened == 1
    assert_converged(stripe)


def test_an_orphan_is_taken_in_where_its_place_is_free(orphan, storefront, order, stripe):
    current = PaymentIntent.objects.get()
    call_stripe(stripe, "POST", f"payment_intents/{current.stripe_id}/cancel")

    sweep()
    sweep()

    assert sorted(PaymentIntent.objects.values_list("status", flat=True)) == [
        "canceled",
        "requires_payment_method",
    ]
    assert_converged(stripe)


STRANGERS = {
    "without metadata": {},
    "of another shop's order": {"metadata[order_id]": "1"},
    "of another database": {"metadata[attempt_id]": "5b6a4dcb-1a4e-4a5f-9a5b-0a6b3f1f0c11"},
    "with words instead of an id": {"metadata[attempt_id]": "x' or 1=1"},
}


@pytest.mark.parametrize("params", STRANGERS.values(), ids=STRANGERS.keys())
def test_strangers_on_the_account_are_left_alone(paid, stripe, params):
    mine = {"amount": "500", "currency": "eur", "allowed_payment_method_types[0]": "card", **params}
    open_one = call_stripe(stripe, "POST", "payment_intents", **mine)
    paid_one = call_stripe(stripe, "POST", "payment_intents", **mine)
    pay(stripe, paid_one["id"], "pm_card_createDispute")
    before = (everything(), statuses(stripe), len(writes(stripe)))

    report = sweep(after=timedelta(days=2))

    assert (everything(), statuses(stripe), len(writes(stripe))) == before
    assert not report.needs_person
    assert open_one["status"] == "requires_payment_method"


def test_an_intent_that_names_a_refund_of_ours_is_not_ours(paid, stripe):
    """A refund's metadata names an attempt, too. It is no attempt to create an intent."""
    refund_payment(order_id=paid.order_payment.order_id, request=RefundRequest(key="k"), origin=API)
    attempt = StripeAttempt.objects.get(operation="create_refund")
    call_stripe(
        stripe,
        "POST",
        "payment_intents",
        amount="500",
        currency="usd",
        **{"metadata[attempt_id]": str(attempt.pk)},
    )

    sweep()

    assert PaymentIntent.objects.count() == 1
    assert "requires_payment_method" in statuses(stripe)


# --- wanted, abandoned --------------------------------------------------------------------------


def test_many_cancellations_of_a_stripe_that_is_away_are_left_for_later(storefront, order, stripe):
    orders = [order, *(OrderFactory.create(customer=order.customer) for _ in range(4))]
    for each in orders:
        storefront.payment_intent(each)
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel", times=None))
    for each in orders:
        cancel_payment_on_commit(order_id=each.pk, origin=API)
    # What is claimed is finished first; here it is about wishes.
    StripeAttempt.objects.pending().update(outcome="abandoned", finished_at=timezone.now())

    first = sweep()
    stripe.clear_faults()
    sweep()

    assert len(first.problems) == 4
    assert set(statuses(stripe)) == {"canceled"}
    assert_converged(stripe)


def test_an_abandoned_intent_is_closed(intent, stripe):
    report = sweep(after=timedelta(days=31))

    intent.refresh_from_db()
    assert (report.abandoned, intent.cancellation_reason) == (1, "abandoned")
    assert_converged(stripe, after=timedelta(days=31))


def test_an_authorization_that_nobody_told_us_of_and_that_is_about_to_lapse(
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


# --- signals ------------------------------------------------------------------------------------


def test_a_receiver_that_raised_is_told_again(paid_signals, intent, stripe, payment_system, order):
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


class Died(BaseException):
    """Stands for kill -9."""


def test_what_a_dead_process_did_not_tell_is_told(paid_signals, intent, stripe, order, monkeypatch):
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


def test_what_is_being_told_this_moment_is_left_alone(paid_signals, paid):
    PaymentHistory.objects.update_dispatched_at(None)

    assert sweep(after=timedelta(0)).facts == 0
    assert sweep(after=timedelta(seconds=61)).facts == 2


# --- two at once, and dry -----------------------------------------------------------------------


def test_two_sweeps_at_once_double_nothing(storefront, order, stripe, paid, paid_signals, told):
    others = [OrderFactory.create(customer=order.customer) for _ in range(3)]
    stripe.inject(Fault("drop_after", path="/v1/payment_intents", method="POST", times=1))
    for other in others:
        storefront.payment_intent(other)
    for row in PaymentIntent.objects.open():
        pay(stripe, row.stripe_id)
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    with pytest.raises(GatewayUnavailable):
        refund_payment(order_id=order.pk, request=RefundRequest(key="k"), origin=API)
    paid_signals.clear()

    with time_machine.travel(datetime.now(UTC) + LATER):
        since = timezone.now() - timedelta(hours=72)
        results = at_once(*[lambda: reconcile(since=since)] * 3)

    assert all(isinstance(result, Report) for result in results), results
    assert len(statuses(stripe)) == 4
    assert len(paid_signals) == 2
    assert [name for name, _data in told] == ["order_refunded"]
    assert_books_agree(stripe)
    sweep()
    assert_converged(stripe)


@pytest.fixture
def told():
    received: list[tuple[str, Any]] = []

    def receiver(*, data: Any, **kwargs: Any) -> None:
        received.append(("order_refunded", data))

    signals.order_refunded.connect(receiver)
    yield received
    signals.order_refunded.disconnect(receiver)


def test_signals_are_sent_once_by_two_sweeps_at_once(paid, paid_signals):
    PaymentHistory.objects.update_dispatched_at(None)
    paid_signals.clear()

    with time_machine.travel(datetime.now(UTC) + LATER):
        since = timezone.now() - timedelta(hours=72)
        at_once(*[lambda: reconcile(since=since)] * 4)

    assert len(paid_signals) == 1


def test_what_one_sweep_is_telling_another_one_does_not_tell(paid, paid_signals):
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
    assert report.attempts == 1
    assert report.intents == 3
    assert paid_signals == []


def test_a_review_that_a_clock_ahead_has_opened_is_new_once(storefront, order, stripe):
    """Found: for ten minutes each sweep said so again, because it went by the time of opening."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"], "pm_card_createDispute")

    assert sweep(after=timedelta(minutes=10)).reviews_opened == 1
    assert sweep().reviews_opened == 0
