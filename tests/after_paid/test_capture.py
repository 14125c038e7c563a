"""Money that is reserved first and taken later."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from shop_payments.exceptions import (
    AmountNotRepresentable,
    AmountTooSmall,
    OrderAlreadyPaid,
    OrderNotFound,
    OrderUnreadable,
    PaymentNotCapturable,
)
from shop_payments.ledger.facts import Origin
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Source,
    StaffEntry,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, SandboxResponse
from shop_payments.services.capture_payment import capture_payment
from tests.after_paid.support import assert_books_agree
from tests.support import answer, call_stripe, writes

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 1")


def capture(order, amount=None, **options):
    amount_decimal = None if amount is None else Decimal(amount)
    return capture_payment(
        order_id=order.pk, amount_decimal=amount_decimal, origin=STAFF, **options
    )


def test_authorized_is_not_paid(storefront, payment_system, order, authorized, paid_signals):
    assert (authorized.status, authorized.is_paid, paid_signals) == ("authorized", False, [])
    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")


def test_all_of_it_is_captured(order, authorized, stripe, paid_signals):
    intent = capture(order)

    payment = OrderPayment.objects.get()
    assert (intent.status, intent.amount_received) == ("succeeded", 11200)
    assert (payment.status, payment.amount_received) == ("paid", 11200)
    assert len(paid_signals) == 1
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (fact.source, fact.actor) == ("admin", "staff 1")


def test_a_part_that_is_captured_leaves_the_rest_owed(
    storefront, order, authorized, stripe, webhooks, paid_signals
):
    capture(order, "80.00")
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received) == ("partially_paid", 8000)
    assert (payment.amount_outstanding, payment.needs_review) == (3200, False)
    assert paid_signals == []
    assert storefront.payment_intent(order).json()["data"]["amount"] == "32.00"


def test_a_part_that_is_captured_with_the_rest_waived_pays_the_order(
    office, storefront, order, authorized, stripe, webhooks, paid_signals
):
    capture(order, "100.00", waive_rest=True)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.needs_review) == ("paid", 10000, False)
    assert (payment.amount_waived, payment.amount_outstanding) == (1200, 0)
    assert len(paid_signals) == 1
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert answer(office.refund(order, {"amount": "100.01"})) == (409, "refund_exceeds_balance")
    assert office.refund(order).json()["data"]["amount"] == "100.00"
    assert_books_agree(stripe)


def test_a_waiver_says_with_which_capture_it_was_recorded_and_by_whom(order, authorized):
    capture(order, "100.00", waive_rest=True)

    entry, fact = StaffEntry.objects.get(), PaymentHistory.objects.get(kind="amount_waived")
    assert (entry.kind, entry.amount, entry.actor) == ("waiver", 1200, "staff 1")
    assert entry.capture == StripeAttempt.objects.get(operation="capture_intent")
    assert (fact.actor, fact.data["amount"]) == ("staff 1", 1200)


def test_all_of_it_leaves_no_rest_to_waive(order, authorized):
    capture(order, "112.00", waive_rest=True)

    assert not StaffEntry.objects.exists()
    assert OrderPayment.objects.get().status == "paid"


def test_a_waiver_whose_capture_was_refused_does_not_count(configure, order, authorized, stripe):
    refusal = {"type": "invalid_request_error", "code": "amount_too_small", "message": "No."}

    def refuses(method, url, headers, body):
        if url.endswith("/capture"):
            return SandboxResponse(400, {}, json.dumps({"error": refusal}).encode())
        return stripe.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=refuses)
    with pytest.raises(AmountTooSmall):
        capture(order, "0.30", waive_rest=True)

    payment, entry = OrderPayment.objects.get(), StaffEntry.objects.get()
    assert entry.amount == 11170
    assert StripeAttempt.objects.get(operation="capture_intent").outcome == "failed"
    assert (payment.status, payment.amount_waived) == ("authorized", 0)

    configure(STRIPE_TRANSPORT=stripe.handle)
    capture(order, "100.00")
    payment.refresh_from_db()
    assert (payment.status, payment.amount_waived) == ("partially_paid", 0)
    assert payment.amount_outstanding == 1200


def test_a_waiver_whose_authorization_lapsed_does_not_count(
    storefront, order, authorized, stripe, webhooks
):
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/capture"))
    with pytest.raises(Exception, match="could not be reached"):
        capture(order, "100.00", waive_rest=True)
    stripe.advance_clock(8 * 24 * 60 * 60)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_waived) == ("unpaid", 0)
    assert storefront.payment_intent(order).json()["data"]["amount"] == "112.00"


def test_a_part_that_somebody_captured_in_the_dashboard_leaves_the_rest_owed(
    storefront, authorized, order, stripe, webhooks
):
    """Nobody has said that the rest is waived."""
    path = f"payment_intents/{PaymentIntent.objects.get().stripe_id}/capture"
    call_stripe(stripe, "POST", path, amount_to_capture="10000")
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("partially_paid", False)
    assert storefront.payment_intent(order).json()["data"]["amount"] == "12.00"


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


def test_without_an_amount_no_more_is_captured_than_is_owed(order, authorized, stripe):
    order.lines.update(unit_amount=5000)
    before = len(stripe.requests)

    with pytest.raises(PaymentNotCapturable, match="has changed"):
        capture(order)

    assert len(stripe.requests) == before
    assert capture(order, "100.00").amount_received == 10000
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_excess) == ("paid", 0)


def test_without_an_amount_an_order_that_became_dearer_is_captured(order, authorized, stripe):
    order.lines.update(unit_amount=6000)

    capture(order)

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 800)


def test_without_an_amount_what_was_paid_before_is_not_captured_again(
    configure, storefront, order, pay_order, stripe
):
    """A deposit was paid, the rest is reserved, and the order became cheaper meanwhile."""
    pay_order()
    order.lines.update(quantity=4)
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    pay_order()
    order.lines.update(quantity=3)

    with pytest.raises(PaymentNotCapturable, match="has changed"):
        capture(order)

    capture(order, "56.00")
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.amount_excess) == ("paid", 16800, 0)


def test_a_capture_with_an_amount_reads_nothing_of_the_order_before_it_is_sent(
    configure, order, authorized, stripe, webhooks
):
    """The parcel leaves: an order that cannot be read must not keep the money from being taken."""
    path = f"{__name__}.{UnreadableShop.__name__}"
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": path})
    with pytest.raises(OrderUnreadable):
        capture(order)
    assert not [path for path in writes(stripe) if path.endswith("/capture")]

    assert capture(order, "112.00").amount_received == 11200
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.failed_reads, payment.needs_review) == ("authorized", 1, False)

    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": BUNDLED})
    webhooks()
    assert OrderPayment.objects.get().is_paid


class UnreadableShop(BundledOrderAdapter):
    def total(self, order):
        raise KeyError("price list")


BUNDLED = "shop_payments.orders.BundledOrderAdapter"


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
