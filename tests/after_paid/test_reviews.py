"""A person decides, and the order may go on."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from shop_payments.exceptions import TransactionOpenError
from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem, Source
from shop_payments.services.history import Origin
from shop_payments.services.reviews import close_review_item
from tests.after_paid.support import answer_dispute
from tests.support import answer, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def item(storefront, order, stripe, webhooks) -> ReviewItem:
    """The order became dearer while its customer paid."""
    intent = storefront.payment_intent(order).json()["data"]
    order.lines.update(unit_amount=6000)
    pay(stripe, intent["id"])
    webhooks()
    return ReviewItem.objects.get()


@pytest.fixture
def clerk() -> User:
    return User.objects.create_user("clerk", is_staff=True)


def resolve(item, clerk, reason="The customer got it back in the shop.") -> bool:
    origin = Origin(source=Source.ADMIN, actor=f"staff {clerk.pk}")
    return close_review_item(item_pk=item.pk, reason=words, user=clerk, origin=origin)


def test_a_decision_names_who_and_why(item, clerk):
    assert resolve(item, clerk)

    item.refresh_from_db()
    assert item.closed_at is not None
    assert (item.closed_by, item.closing_note) == (clerk, "The customer got it back in the shop.")
    assert not OrderPayment.objects.get().needs_review


def test_the_history_says_who_decided_and_not_in_which_words(item, clerk):
    resolve(item, clerk)

    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", f"staff {clerk.pk}")
    assert fact.sentence == "review decided: the amount differs from what is due, via admin"
    assert "customer" not in str(fact.data)


def test_the_first_decision_stands(item, clerk):
    resolve(item, clerk)

    assert not resolve(item, clerk, "Something else.")

    item.refresh_from_db()
    assert item.closing_note == "The customer got it back in the shop."
    assert PaymentHistory.objects.filter(kind="review_closed").count() == 1


def test_a_payment_needs_review_until_everything_is_decided(item, clerk):
    other = ReviewItem.objects.create(
        order_payment=item.order_payment,
        payment_intent=item.payment_intent,
        reason="refund_failed",
        subject="re_1",
    )

    resolve(item, clerk)
    assert OrderPayment.objects.get().needs_review

    resolve(other, clerk)
    assert not OrderPayment.objects.get().needs_review


@pytest.mark.parametrize("words", ["", "  \n"])
def test_a_decision_needs_words(item, clerk, words):
    with pytest.raises(ValueError, match="words"):
        resolve(item, clerk, words)

    assert OrderPayment.objects.get().needs_review


def test_the_customer_can_pay_again_after_the_decision(
    storefront, order, item, clerk, stripe, webhooks
):
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")

    resolve(item, clerk)

    again = storefront.payment_intent(order)
    assert (again.status_code, again.json()["data"]["amount"]) == (200, "120.00")
    pay(stripe, again.json()["data"]["id"])
    webhooks()
    assert OrderPayment.objects.get().is_paid


def test_what_was_decided_is_asked_about_again_when_the_bank_takes_the_money(
    storefront, order, clerk, stripe, webhooks
):
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"], "pm_card_createDisputeInquiry")
    webhooks()
    resolve(ReviewItem.objects.get(), clerk, "Nothing to answer.")

    answer_dispute(stripe, "escalate_inquiry_evidence")
    stripe.advance_clock(3600)
    webhooks()

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert (item.closed_at, item.closed_by, item.closing_note) == (None, None, "")
    assert (payment.needs_review, payment.dispute_state) == (True, "open")


def test_a_decision_is_none_of_the_hosts_transaction(item, clerk):
    """Found: it took part in it, and was not run again where the database had undone it."""
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        resolve(item, clerk)

    assert OrderPayment.objects.get().needs_review
