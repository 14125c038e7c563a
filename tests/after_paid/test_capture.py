"""Money that is reserved first and taken later."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shop_payments.exceptions import (
    AmountNotRepresentable,
    OrderAlreadyPaid,
    OrderNotFound,
    PaymentNotCapturable,
)
from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, Source
from shop_payments.sandbox import Fault
from shop_payments.services.capture import capture_payment
from shop_payments.services.history import Origin
from tests.after_paid.support import assert_books_agree
from tests.support import answer, call_stripe, writes

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 1")


def capture(order, amount=None):
    amount_decimal = None if amount is None else Decimal(amount)
    return capture_payment(order_id=order.pk, amount_decimal=amount_decimal, origin=STAFF)


def test_authorized_is_not_paid(storefront, payment_system, order, authorized, paid_signals):
    assert (authorized.status, authorized.is_paid, paid_signals) == ("authorized", False, [])
    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")


def test_all_of_it_is_captured(order, authorized, stripe, paid_signals):
    intent = capture(order)

    payment = OrderPayment.objects.get()
    assert (intent.status, intent.amount_received) == ("succeeded", 11200)
    assert (payment.status, payment.amount_captured) == ("paid", 11200)
    assert len(paid_signals) == 1
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (fact.source, fact.actor) == ("admin", "staff 1")


def test_a_part_is_captured_by_choice_and_pays_the_order(
    office, order, authorized, stripe, webhooks, paid_signals
):
    capture(order, "100.00")
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_captured, payment.needs_review) == ("paid", 10000, False)
    assert len(paid_signals) == 1
    assert answer(office.refund(order, {"amount": "100.01"})) == (409, "refund_exceeds_balance")
    assert office.refund(order).json()["data"]["amount"] == "100.00"
    assert_books_agree(stripe)


def test_a_part_that_somebody_captured_in_the_dashboard_is_not_believed(
    authorized, stripe, webhooks
):
    path = f"payment_intents/{PaymentIntent.objects.get().stripe_id}/capture"
    call_stripe(stripe, "POST", path, amount_to_capture="10000")
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("unpaid", True)


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("112.01", PaymentNotCapturable),
        ("0", PaymentNotCapturable),
        ("-1", AmountNotRepresentable),
        ("1.005", AmountNotRepresentable),
    ],
)
def test_an_amount_that_cannot_be_is_refused_and_nothing_is_sent(
    order, authorized, stripe, amount, error
):
    before = len(stripe.requests)

    with pytest.raises(error):
        capture(order, amount)

    assert len(stripe.requests) == before


def test_an_order_that_has_changed_needs_an_amount(order, authorized, stripe):
    order.lines.update(unit_amount=5000)
    before = len(stripe.requests)

    with pytest.raises(PaymentNotCapturable, match="has changed"):
        capture(order)

    assert len(stripe.requests) == before
    assert capture(order, "100.00").verdict == "accepted"


def test_what_is_captured_stays_captured(order, authorized, stripe):
    capture(order)

    with pytest.raises(OrderAlreadyPaid):
        capture(order)


def test_nothing_is_captured_that_is_not_authorized(order, storefront, stripe):
    with pytest.raises(OrderNotFound):
        capture(order)
    storefront.payment_intent(order)

    with pytest.raises(PaymentNotCapturable):
        capture(order)


def test_an_expired_authorization_frees_the_order(order, storefront, authorized, stripe, webhooks):
    stripe.advance_clock(8 * 24 * 60 * 60)
    webhooks()

    assert OrderPayment.objects.get().status == "unpaid"
    with pytest.raises(PaymentNotCapturable):
        capture(order)
    assert storefront.payment_intent(order).status_code == 200


def test_an_expiry_that_we_have_not_heard_of_is_found_out(order, authorized, stripe):
    stripe.advance_clock(8 * 24 * 60 * 60)

    with pytest.raises(PaymentNotCapturable):
        capture(order)

    assert OrderPayment.objects.get().status == "unpaid"


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_lost_answer_is_finished_by_the_next_call(order, authorized, stripe, fault, paid_signals):
    stripe.inject(Fault(fault, path="/v1/payment_intents/*/capture"))

    with pytest.raises(Exception, match="could not be reached"):
        capture(order)
    intent = PaymentIntent.objects.get()
    capture_again(order)

    intent.refresh_from_db()
    assert (intent.status, intent.amount_received) == ("succeeded", 11200)
    assert len(paid_signals) == 1
    assert len([path for path in writes(stripe) if path.endswith("/capture")]) == 2


def capture_again(order):
    """What was begun is finished first; then there is nothing left to capture."""
    try:
        capture(order)
    except OrderAlreadyPaid:
        assert OrderPayment.objects.get().is_paid
