"""The host is notified of facts after the commit, in order, and staff see what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from shop_payments import signals
from shop_payments.ledger.facts import SIGNALS
from shop_payments.ledger.notifications import skip_notification
from shop_payments.models import Order, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.orders import BundledOrderAdapter
from tests.books import STAFF, sweep
from tests.conftest import connected
from tests.services.restore import accept, lose
from tests.support import pay, refuse, send_event

pytestmark = pytest.mark.django_db


class FailingAdapter(BundledOrderAdapter):
    """Raises, like a host with a bug."""

    def on_paid(self, order: Any, **about: Any) -> None:
        raise RuntimeError("the adapter is broken")


def waiting() -> list[str]:
    return [fact.kind for fact in PaymentHistory.objects.undispatched()]


def fact_of(kind: str) -> PaymentHistory:
    return PaymentHistory.objects.filter(kind=kind).earliest("pk")


def test_a_receiver_that_raises_leaves_the_fact_for_later(stripe, intent_id, paid_signals, caplog):
    with connected({signals.order_paid: refuse}):
        send_event(pay(stripe, intent_id))

    fact = fact_of("order_paid")
    assert (len(paid_signals), waiting()) == (1, ["order_paid"])
    assert f"raised for fact {fact.fact_id}" in caplog.text
    assert "the warehouse does not answer" in caplog.text

    assert sweep().facts == 1
    assert [received["fact_id"] for received in paid_signals] == [fact.fact_id] * 2
    assert waiting() == []


def test_an_adapter_that_fails_leaves_the_fact_for_later_and_stops_no_receiver(
    stripe, intent_id, configure, paid_signals
):
    configure(ORDER_ADAPTER=f"{__name__}.FailingAdapter")

    send_event(pay(stripe, intent_id))

    assert (len(paid_signals), waiting()) == (1, ["order_paid"])


# --- facts of one payment, one after another ----------------------------------------------------


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The kinds of the facts that the host was notified of, in order."""
    kinds: list[str] = []

    def hear(kind: str, **kwargs: Any) -> None:
        kinds.append(kind)

    with connected({signal: partial(hear, str(kind)) for kind, signal in SIGNALS.items()}):
        yield kinds


@pytest.fixture
def shop(open_shop: Any) -> Any:
    return open_shop(112)


@pytest.fixture
def stuck(shop: Any) -> PaymentHistory:
    """The shop's code has refused a fact three times; then the order was refunded."""
    with connected({signals.payment_received: refuse}):
        first = shop.pay(112)
        assert sweep().problems
        assert not ReviewItem.objects.exists()
        assert sweep().needs_staff
        shop.refund_in_dashboard(first, 112)
    return fact_of("payment_received")


def test_a_refund_is_not_told_before_the_payment(stuck, heard):
    """Staff see the notification that keeps failing until it is accepted."""
    facts = ["payment_received", "order_paid", "review_needed", "order_refunded"]
    assert waiting() == facts
    assert OrderPayment.objects.get().status == "refunded"
    item = ReviewItem.objects.open().get()
    assert (item.reason, item.subject) == ("notification_failed", str(stuck.fact_id))
    words = "The shop's code did not accept the notification “payment received” (failed tries: 3)"
    assert item.detail == words
    assert OrderPayment.objects.get().needs_review

    report = sweep()

    assert (report.facts, waiting(), heard) == (4, [], facts)
    item.refresh_from_db()
    assert (item.closed_at is not None, item.closed_automatically) == (True, True)
    assert not OrderPayment.objects.get().needs_review


def test_a_slow_receiver_keeps_later_facts_waiting_and_then_lets_them_go(shop, heard):
    """It may use the database."""
    at_that_time: list[bool] = []

    def refund_meanwhile(payment_intent: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            Order.objects.update(email="paid@example.com")
        shop.stripe.refund(payment_intent.stripe_id)  # its webhook comes while this is handled
        at_that_time.append("order_refunded" in heard)

    with connected({signals.order_paid: refund_meanwhile}):
        shop.pay(112)

    assert at_that_time == [False]
    assert heard[-2:] == ["order_paid", "order_refunded"]
    assert (waiting(), Order.objects.get().email) == ([], "paid@example.com")


def test_staff_skip_it_with_a_reason_and_later_ones_go_out(stuck, heard, open_shop):
    other = open_shop(50)
    other.pay(50)
    assert heard == ["payment_received", "order_paid"], "orders do not wait for each other"
    with pytest.raises(ValueError, match="reason"):
        skip_notification(fact_id=stuck.fact_id, reason=" ", origin=STAFF)
    assert waiting()[0] == "payment_received"

    heard.clear()
    assert skip_notification(fact_id=stuck.fact_id, reason="Not to be shipped.", origin=STAFF)

    assert heard == ["order_paid", "review_needed", "order_refunded"]
    stuck.refresh_from_db()
    assert (stuck.dispatched_at, stuck.skipped_by) == (None, "staff 1")
    assert ReviewItem.objects.get().closing_note == "Skipped: Not to be shipped."
    assert not OrderPayment.objects.filter(needs_review=True).exists()
    assert fact_of("notification_skipped").actor == "staff 1"
    assert not skip_notification(fact_id=stuck.fact_id, reason="Again.", origin=STAFF)


# --- facts without a payment intent -------------------------------------------------------------


def test_staff_see_a_notification_without_an_intent_that_keeps_failing(
    storefront, order, stripe, admin_client, heard
):
    """Found: it was tried for ever, and staff were not asked: an item needed a payment intent.

    Found: `order_paid` overtook it.
    """
    with connected({signals.review_needed: refuse}):
        lose(storefront, order, stripe, paid=True)
        for minutes in (0, 5, 10):
            sweep(hours=minutes / 60)
        fact, item = fact_of("review_needed"), ReviewItem.objects.get(reason="notification_failed")
        assert (fact.payment_intent, item.payment_intent) == (None, None)
        assert (item.subject, item.closed_at) == (str(fact.fact_id), None)

        heard.clear()
        accept(admin_client, ReviewItem.objects.get(reason="unknown_intent"))
        sweep(hours=20 / 60)
        assert set(heard) == {"review_needed"}
        assert ReviewItem.objects.filter(reason="notification_failed").count() == 1

        page = reverse("admin:shop_payments_reviewitem_skip", args=[item.pk])
        assert admin_client.get(page).status_code == 200
        admin_client.post(page, {"reason": "Staff were called.", "sure": "on"})

    assert heard[-2:] == ["payment_received", "order_paid"]
    fact.refresh_from_db()
    assert fact.skipped_at is not None
