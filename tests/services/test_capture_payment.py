"""Money that is reserved is captured, in full or in part, and never more than is owed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shop_payments.exceptions import (
    AmountNotRepresentable,
    GatewayUnavailable,
    OrderAlreadyPaid,
    OrderNotFound,
    OrderUnreadable,
    PaymentMismatch,
    PaymentNotCapturable,
)
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StaffEntry,
    StripeAttempt,
)
from shop_payments.models.sentences import CAPTURED_AGAIN
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from shop_payments.services import may_release
from shop_payments.services.capture_payment import capture_payment
from tests.books import STAFF
from tests.support import answer, call_stripe, writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]

WEEK = 8 * 24 * 60 * 60
"""Long enough for an authorization to lapse."""


def capture(order, amount=None, **options):
    asked = None if amount is None else Decimal(amount)
    return capture_payment(order_id=order.pk, amount_decimal=asked, origin=STAFF, **options)


def test_all_of_it_is_captured(storefront, payment_system, order, stripe, configure, paid_signals):
    configure(CAPTURE_METHOD="manual")
    with pytest.raises(OrderNotFound):
        capture(order)
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    with pytest.raises(PaymentNotCapturable):
        capture(order)
    stripe.pay(intent_id, deliver=False)
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
    assert (OrderPayment.objects.get().status, paid_signals) == ("authorized", [])
    assert not may_release(order.pk), "money that is only reserved"

    intent = capture(order, waive_rest=True)

    payment = OrderPayment.objects.get()
    assert (intent.status, intent.amount_received) == ("succeeded", 11200)
    assert (payment.status, payment.amount_received) == ("paid", 11200)
    assert len(paid_signals) == 1
    assert not StaffEntry.objects.exists(), "there is no rest to waive"
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (fact.source, fact.actor) == ("admin", "staff 1")
    with pytest.raises(OrderAlreadyPaid):
        capture(order)


@pytest.mark.parametrize("place", ["here", "dashboard"])
def test_a_part_that_is_captured_leaves_the_rest_owed(
    storefront, order, authorized, stripe, webhooks, paid_signals, place
):
    """In the dashboard, too: nobody has said that the rest is waived."""
    if place == "here":
        capture(order, "80.00")
    else:
        path = f"payment_intents/{PaymentIntent.objects.get().stripe_id}/capture"
        call_stripe(stripe, "POST", path, amount_to_capture="8000")
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received) == ("partially_paid", 8000)
    assert (payment.amount_outstanding, payment.needs_review) == (3200, False)
    assert paid_signals == []
    assert storefront.payment_intent(order).json()["data"]["amount"] == "32.00"


def test_a_part_that_is_captured_with_the_rest_waived_pays_the_order(
    office, storefront, order, authorized, webhooks, paid_signals
):
    capture(order, "100.00", waive_rest=True)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.needs_review) == ("paid", 10000, False)
    assert (payment.amount_waived, payment.amount_outstanding) == (1200, 0)
    assert len(paid_signals) == 1
    entry, fact = StaffEntry.objects.get(), PaymentHistory.objects.get(kind="amount_waived")
    assert (entry.kind, entry.amount, entry.actor) == ("waiver", 1200, "staff 1")
    assert entry.capture == StripeAttempt.objects.get(operation="capture_intent")
    assert (fact.actor, fact.data["amount"]) == ("staff 1", 1200)
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert answer(office.refund(order, {"amount": "100.01"})) == (409, "refund_exceeds_balance")


@pytest.mark.parametrize("lapses", [False, True])
def test_the_last_request_counts_on_what_becomes_of_the_rest(
    order, authorized, stripe, webhooks, lapses
):
    """The first capture waived the rest and was not answered."""
    stripe.inject(Fault("error", path="/v1/payment_intents/*/capture", status=500))
    with pytest.raises(GatewayUnavailable):
        capture(order, "80.00", waive_rest=True)

    if lapses:
        stripe.advance_clock(WEEK)
    else:
        capture(order, "80.00")
        assert StaffEntry.objects.get().revocation_reason == CAPTURED_AGAIN
    webhooks()

    payment = OrderPayment.objects.get()
    expected = ("unpaid", 0, 11200) if lapses else ("partially_paid", 0, 3200)
    assert (payment.status, payment.amount_waived, payment.amount_outstanding) == expected


def test_an_amount_that_cannot_be_is_refused_and_nothing_is_sent(order, authorized, stripe):
    sent = len(stripe.requests)

    for amount, error in (
        ("112.01", PaymentNotCapturable),
        ("0", PaymentNotCapturable),
        ("-1", AmountNotRepresentable),
        ("1.005", AmountNotRepresentable),
    ):
        with pytest.raises(error):
            capture(order, amount)

    assert len(stripe.requests) == sent


def test_without_an_amount_no_more_is_captured_than_is_owed(configure, order, pay_order, stripe):
    """A deposit was paid, the rest is reserved, and the order became cheaper meanwhile."""
    pay_order()
    order.lines.update(quantity=4)
    configure(CAPTURE_METHOD="manual")
    pay_order()
    order.lines.update(quantity=3)
    sent = len(stripe.requests)

    with pytest.raises(PaymentNotCapturable, match="has changed"):
        capture(order)
    assert len(stripe.requests) == sent

    capture(order, "56.00")
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.amount_excess) == ("paid", 16800, 0)


def test_the_money_of_a_cancelled_order_is_captured_only_with_an_amount(order, authorized, stripe):
    """Found: it was captured, and then put into review because the order was cancelled.

    A capture with an amount reads nothing of the order; what was captured does not count.
    """
    Order.objects.update(status="cancelled")
    sent = len(stripe.requests)

    with pytest.raises(PaymentNotCapturable, match="Cancel the payment"):
        capture(order)
    assert len(stripe.requests) == sent

    with pytest.raises(PaymentMismatch, match="in review"):
        capture(order, "100.00")
    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.amount_uncounted) == ("unpaid", 10000)
    assert (item.reason, item.data["amount"]) == ("uncounted", 10000)


def test_a_capture_with_an_amount_reads_nothing_of_the_order_before_it_is_sent(
    order, authorized, stripe, webhooks
):
    """An order that cannot be read must not keep the money from being captured in time."""
    Order.objects.update(currency="xx")
    with pytest.raises(OrderUnreadable):
        capture(order)
    assert not [path for path in writes(stripe) if path.endswith("/capture")]

    assert capture(order, "112.00").amount_received == 11200
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.failed_reads, payment.needs_review) == ("authorized", 1, False)

    Order.objects.update(currency="usd")
    webhooks()
    assert OrderPayment.objects.get().is_paid


def test_an_authorization_that_lapsed_frees_the_order(order, storefront, authorized, stripe):
    """No webhook has come."""
    stripe.advance_clock(WEEK)

    with pytest.raises(PaymentNotCapturable):
        capture(order)

    assert OrderPayment.objects.get().status == "unpaid"
    assert storefront.payment_intent(order).status_code == 200


def test_a_capture_method_that_does_not_exist_takes_no_money(
    monkeypatch, storefront, order, stripe
):
    """Found: it was taken for automatic, and the customer was charged at once."""
    monkeypatch.setattr(BundledOrderAdapter, "capture_method", lambda *args: "Manual")

    assert answer(storefront.payment_intent(order)) == (503, "not_configured")
    assert not writes(stripe)
