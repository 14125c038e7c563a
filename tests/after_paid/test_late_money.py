"""Money that comes late or twice: kept, flagged, and given back where the shop wants that."""

from __future__ import annotations

import pytest

from shop_payments.models import (
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.services.history import Origin
from shop_payments.services.refunds import RefundRequest, refund_payment
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


def test_late_money_waits_for_a_person(late, office, order, stripe):
    payment = late()

    assert (payment.status, payment.needs_review) == ("unpaid", True)
    assert not refunds_at_stripe(stripe)
    assert answer(office.refund(order)) == (409, "order_not_refundable")


def test_staff_give_late_money_back_and_the_review_is_closed(late, order, stripe):
    late()
    intent = PaymentIntent.objects.get()
    request = RefundRequest(key="k", intent_id=intent.stripe_id)

    refund = refund_payment(order_id=order.pk, request=request, origin=Origin(source=Source.ADMIN))

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (refund.status, refund.amount) == ("succeeded", 11200)
    assert (payment.status, payment.needs_review, payment.amount_refunded) == ("unpaid", False, 0)
    assert item.closing_note == f"112.00 USD returned by {refund.stripe_id}"
    assert_books_agree(stripe)


def test_late_money_goes_back_by_itself_where_the_shop_wants_that(
    configure, late, stripe, webhooks, told
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_LATE_MONEY": True})

    late()
    webhooks()

    payment = OrderPayment.objects.get()
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]
    assert (payment.status, payment.needs_review) == ("unpaid", False)
    assert [name for name, _data in told] == ["review_needed"]
    assert_books_agree(stripe)


@pytest.mark.django_db
def test_in_a_testcase_late_money_waits_for_the_hooks(
    configure, late, stripe, django_capture_on_commit_callbacks
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_LATE_MONEY": True})

    with django_capture_on_commit_callbacks(execute=True):
        late()
        assert not refunds_at_stripe(stripe)

    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]


def test_a_refund_of_late_money_that_fails_leaves_it_to_a_person(
    configure, late, order, stripe, webhooks
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_LATE_MONEY": True})
    stripe.inject(Fault("drop_before", path="/v1/refunds"))

    payment = late()

    assert payment.needs_review
    assert Refund.objects.get().status == "requested"
    assert not refunds_at_stripe(stripe)


def test_a_refund_of_late_money_that_breaks_in_an_unknown_way_keeps_nothing_from_being_told(
    configure, storefront, order, stripe, webhooks, told, caplog
):
    """Found: it broke the webhook's request as well, whose facts were then told by the sweep."""

    def transport(method, url, headers, body):
        if url.endswith("/v1/refunds"):
            raise RuntimeError("nobody has thought of this")
        return stripe.handle(method, url, headers, body)

    wired = {**stripe.shop_payments(), "STRIPE_TRANSPORT": transport}
    configure(**wired, AUTO_REFUND_LATE_MONEY=True)
    intent = storefront.payment_intent(order).json()["data"]
    order.status = "cancelled"
    order.save()
    stripe.pay(intent["id"], deliver=False)

    webhooks()

    assert [name for name, _data in told] == ["review_needed"]
    assert WebhookEvent.objects.get(type="payment_intent.succeeded").status == "processed"
    assert "left to the next sweep" in caplog.text
    assert Refund.objects.get().status == "requested"
    configure(**stripe.shop_payments())


def test_money_that_does_not_fit_is_never_given_back_by_itself(
    configure, storefront, order, stripe, webhooks
):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_LATE_MONEY": True})
    intent = storefront.payment_intent(order).json()["data"]
    order.lines.update(quantity=5)
    stripe.pay(intent["id"], deliver=False)
    webhooks()

    assert ReviewItem.objects.get().reason == "amount_mismatch"
    assert not refunds_at_stripe(stripe)
