"""The host is notified of the facts of one payment in order, and staff see what is not accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.dispatch import Signal
from django.urls import reverse
from django.utils import timezone

from shop_payments import signals
from shop_payments.ledger.facts import SIGNALS, Origin
from shop_payments.ledger.notifications import skip_notification
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import Order, OrderPayment, PaymentHistory, ReviewItem, Source
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter
from tests.balance.conftest import open_shop  # noqa: F401 - a fixture
from tests.test_unknown_intents import accept, lose

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 7")


@contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def refuse(**kwargs: Any) -> None:
    raise ConnectionError("the warehouse does not answer")


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The kinds of the facts that the host was notified of, in order."""
    kinds: list[str] = []
    receivers = []
    for kind, signal in SIGNALS.items():

        def receiver(kind: str = kind, **kwargs: Any) -> None:
            kinds.append(str(kind))

        signal.connect(receiver)
        receivers.append((signal, receiver))
    yield kinds
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def sweep(minutes: float = 2) -> Report:
    """One sweep, some time later."""
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes), tick=True):
        return reconcile(since=timezone.now() - timedelta(days=1))


def waiting() -> list[str]:
    return [fact.kind for fact in PaymentHistory.objects.undispatched()]


def test_a_refund_is_not_told_before_the_payment(open_shop, heard):  # noqa: F811
    shop = open_shop(112)
    with connected(signals.order_paid, refuse):
        first = shop.pay(112)
        shop.refund_in_dashboard(first, 112)

    assert "order_refunded" not in heard
    assert waiting() == ["order_paid", "order_refunded"]
    assert OrderPayment.objects.get().status == "refunded"

    report = sweep()

    assert heard[-2:] == ["order_paid", "order_refunded"]
    assert (report.facts, waiting()) == (2, [])


def test_another_process_that_is_handling_an_earlier_fact_is_waited_for(open_shop, heard):  # noqa: F811
    """A process that has just inserted a fact may still be notifying the host of it."""
    shop = open_shop(112)
    first = shop.pay(112)
    paid = PaymentHistory.objects.get(kind="order_paid")
    PaymentHistory.objects.filter(pk=paid.pk).update_dispatched_at(None)
    heard.clear()

    shop.refund_in_dashboard(first, 112)

    assert (heard, waiting()) == ([], ["order_paid", "order_refunded"])
    sweep()
    assert (heard, waiting()) == (["order_paid", "order_refunded"], [])


def test_a_slow_receiver_keeps_later_facts_waiting_and_then_lets_them_go(open_shop, heard):  # noqa: F811
    shop = open_shop(112)
    at_that_time: list[list[str]] = []

    def refund_meanwhile(payment_intent: Any, **kwargs: Any) -> None:
        shop.stripe.refund(payment_intent.stripe_id)  # its webhook comes while this is handled
        at_that_time.append([kind for kind in heard if kind == "order_refunded"])

    with connected(signals.order_paid, refund_meanwhile):
        shop.pay(112)

    assert at_that_time == [[]]
    assert heard[-2:] == ["order_paid", "order_refunded"]
    assert waiting() == []


def test_orders_do_not_wait_for_each_other(open_shop, heard):  # noqa: F811
    stuck = open_shop(112)
    with connected(signals.order_paid, refuse):
        stuck.pay(112)
    heard.clear()

    open_shop(50).pay(50)

    assert heard == ["payment_received", "order_paid"]


@pytest.fixture
def stuck(open_shop) -> Any:  # noqa: F811
    """A shop whose code has refused ``order_paid`` three times; then the order was refunded."""
    shop = open_shop(112)
    with connected(signals.order_paid, refuse):
        first = shop.pay(112)
        assert sweep().problems
        assert not ReviewItem.objects.exists()
        assert sweep().needs_person
        shop.refund_in_dashboard(first, 112)
    return shop


def test_staff_see_a_notification_that_keeps_failing(stuck):
    item = ReviewItem.objects.open().get()

    assert (item.reason, item.subject) == (
        "notification_failed",
        str(PaymentHistory.objects.get(kind="order_paid").fact_id),
    )
    assert item.detail == "The shop's code did not accept order_paid, 3 times"
    assert waiting()[0] == "order_paid"
    assert OrderPayment.objects.get().needs_review


def test_it_is_closed_when_the_notification_is_accepted(stuck, heard):
    sweep()

    item = ReviewItem.objects.get()
    assert (item.closed_at is not None, item.closed_itself) == (True, True)
    assert not OrderPayment.objects.get().needs_review
    assert [kind for kind in heard if kind.startswith("order_")] == ["order_paid", "order_refunded"]


def test_staff_skip_it_and_later_ones_go_out(stuck, heard):
    fact = PaymentHistory.objects.get(kind="order_paid")
    with connected(signals.order_paid, refuse):
        assert skip_notification(fact_id=fact.fact_id, reason="Not to be shipped.", origin=STAFF)

    assert "order_paid" not in heard
    assert "order_refunded" in heard
    fact.refresh_from_db()
    assert (fact.dispatched_at, fact.skipped_by) == (None, "staff 7")
    assert ReviewItem.objects.get().closing_note == "Skipped: Not to be shipped."
    assert not OrderPayment.objects.get().needs_review
    assert PaymentHistory.objects.get(kind="notification_skipped").actor == "staff 7"
    assert not skip_notification(fact_id=fact.fact_id, reason="Again.", origin=STAFF)


def test_skipping_needs_a_reason(stuck):
    fact = PaymentHistory.objects.get(kind="order_paid")

    with pytest.raises(ValueError, match="reason"):
        skip_notification(fact_id=fact.fact_id, reason=" ", origin=STAFF)

    assert waiting()[0] == "order_paid"


# --- facts without a payment intent -------------------------------------------------------------


def wants_an_intent(payment_intent: Any, **kwargs: Any) -> None:
    """As a receiver may be written that was only notified of known payment intents."""
    str(payment_intent.stripe_id)


def test_staff_see_a_notification_without_an_intent_that_keeps_failing(
    storefront, order, stripe, admin_client
):
    """It was tried for ever, and staff were not asked: an item needed a payment intent."""
    with connected(signals.review_needed, wants_an_intent):
        lose(storefront, order, stripe, paid=True)
        for minutes in (0, 5, 10, 15):
            sweep(minutes)

        fact = PaymentHistory.objects.filter(kind="review_needed").earliest("pk")
        assert fact.payment_intent is None
        item = ReviewItem.objects.open().get(reason="notification_failed")
        assert (item.payment_intent, item.subject) == (None, str(fact.fact_id))

        page = reverse("admin:shop_payments_reviewitem_skip", args=[item.pk])
        assert admin_client.get(page).status_code == 200
        admin_client.post(page, {"reason": "Staff were called.", "sure": "on"})

    fact.refresh_from_db()
    assert fact.skipped_at is not None


def test_it_is_asked_about_once_although_the_intent_is_known_later(
    storefront, order, stripe, admin_client
):
    with connected(signals.review_needed, wants_an_intent):
        lose(storefront, order, stripe, paid=True)
        for minutes in (0, 5, 10, 15):
            sweep(minutes)
        accept(admin_client, ReviewItem.objects.get(reason="unknown_intent"))
        sweep(20)

    assert ReviewItem.objects.filter(reason="notification_failed").count() == 1


def test_a_fact_waits_for_an_earlier_one_that_has_no_intent(
    storefront, order, stripe, admin_client, heard
):
    """`order_paid` overtook the notice about the intent that was not known."""
    with connected(signals.review_needed, refuse):
        lose(storefront, order, stripe, paid=True)
        sweep(0)
        heard.clear()
        accept(admin_client, ReviewItem.objects.get(reason="unknown_intent"))
        assert "order_paid" not in heard

    heard.clear()
    sweep(5)

    assert heard == ["review_needed", "payment_received", "order_paid"]


class UnreadableOrders(BundledOrderAdapter):
    def total(self, order: Order) -> Money:
        raise ConnectionError("the price list does not answer")


def test_staff_see_an_unreadable_order_whose_only_payment_is_unknown(
    storefront, order, stripe, configure
):
    lose(storefront, order, stripe, paid=True)
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.UnreadableOrders"})

    for minutes in (0, 5, 10, 15):
        sweep(minutes)

    item = ReviewItem.objects.open().get(reason="order_unreadable")
    assert item.payment_intent is None
