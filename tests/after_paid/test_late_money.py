"""Money that comes for an order that the shop no longer wants: kept, in review, or given back."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from shop_payments import services
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.after_paid.support import assert_books_agree, refunds_at_stripe
from tests.support import answer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def late(storefront, order, stripe, webhooks):
    """Pay an order that the shop has cancelled meanwhile."""

    def pay() -> OrderPayment:
        intent = storefront.payment_intent(order).json()["data"]
        order.status = "cancelled"
        order.save()
        stripe.pay(intent["id"], deliver=False)
        webhooks()
        return OrderPayment.objects.get()

    return pay


def test_late_money_waits_for_staff(late, office, order, stripe):
    payment = late()

    assert (payment.status, payment.needs_review) == ("unpaid", True)
    assert (payment.amount_uncounted, payment.amount_received) == (11200, 0)
    assert not refunds_at_stripe(stripe)
    assert answer(office.refund(order)) == (409, "order_not_refundable")


def test_late_money_counts_when_the_shop_opens_the_order_again(
    late, storefront, order, stripe, paid_signals
):
    late()
    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")
    order.status = "open"
    order.save()

    services.reevaluate_order(order.pk)

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_uncounted, payment.needs_review) == ("paid", 0, False)
    assert ReviewItem.objects.get().closed_itself
    assert len(paid_signals) == 1
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")


def test_staff_give_late_money_back_and_the_review_is_closed(late, order, stripe):
    late()
    intent = PaymentIntent.objects.get()
    request = RefundRequest(key="k", intent_id=intent.stripe_id)

    (refund,) = refund_payment(
        order_id=order.pk, request=request, origin=Origin(source=Source.ADMIN)
    )

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (refund.status, refund.amount) == ("succeeded", 11200)
    assert (payment.status, payment.needs_review, payment.amount_refunded) == ("unpaid", False, 0)
    assert (item.closed_itself, item.closing_note) == (True, "Its cause is gone")
    assert_books_agree(stripe)


def test_late_money_goes_back_by_itself_where_the_shop_wants_that(
    configure, late, stripe, webhooks, told
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})

    late()
    webhooks()

    payment = OrderPayment.objects.get()
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]
    assert (payment.status, payment.needs_review) == ("unpaid", False)
    assert [name for name, _data in told] == ["review_needed"]
    assert_books_agree(stripe)


@pytest.mark.django_db
def test_in_a_testcase_late_money_goes_back_at_once(configure, late, stripe):
    """The transaction around the test is none of the shop's, and never commits."""
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})

    late()

    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]


def test_a_refund_of_late_money_that_is_not_answered_is_sent_by_the_sweep(
    configure, late, order, stripe, webhooks
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})
    stripe.inject(Fault("drop_before", method="POST", path="/v1/refunds", times=None))

    payment = late()

    assert not payment.needs_review, "the refund is on its way"
    assert Refund.objects.get().status == "requested"
    assert not refunds_at_stripe(stripe)

    stripe.clear_faults()
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        reconcile(since=timezone.now() - timedelta(hours=1))

    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]
    assert Refund.objects.get().status == "succeeded"


def test_a_refund_of_late_money_that_breaks_in_an_unknown_way_keeps_nothing_from_being_told(
    configure, storefront, order, stripe, webhooks, told, caplog
):
    """Found: it broke the webhook's request as well, whose facts were then told by the sweep."""

    def transport(method, url, headers, body):
        if url.endswith("/v1/refunds"):
            raise RuntimeError("nobody has thought of this")
        return stripe.handle(method, url, headers, body)

    wired = {**stripe.shop_payments(), "STRIPE_TRANSPORT": transport}
    configure(**wired, AUTO_REFUND_EXCESS=True)
    intent = storefront.payment_intent(order).json()["data"]
    order.status = "cancelled"
    order.save()
    stripe.pay(intent["id"], deliver=False)

    webhooks()

    assert [name for name, _data in told] == ["review_needed"]
    assert WebhookEvent.objects.get(type="payment_intent.succeeded").status == "processed"
    assert "the sweep tries it again" in caplog.text
    assert Refund.objects.get().status == "requested"
    configure(**stripe.shop_payments())


def test_money_that_is_too_little_is_never_given_back_by_itself(
    configure, storefront, order, stripe, webhooks
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})
    intent = storefront.payment_intent(order).json()["data"]
    order.lines.update(quantity=5)
    stripe.pay(intent["id"], deliver=False)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 16800)
    assert not refunds_at_stripe(stripe)


def test_money_in_another_currency_is_never_given_back_by_itself(
    configure, storefront, order, stripe, webhooks
):
    """The shop wanted money, only not this: staff look first."""
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})
    intent = storefront.payment_intent(order).json()["data"]
    order.currency = "eur"
    order.save()
    stripe.pay(intent["id"], deliver=False)
    webhooks()

    assert ReviewItem.objects.get().reason == "uncounted"
    assert not refunds_at_stripe(stripe)
