"""Review items: they close themselves, or staff close them, and no money moves by it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from shop_payments import services
from shop_payments.exceptions import TransactionOpenError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem, Source
from tests.after_paid.support import answer_dispute
from tests.support import answer, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def item(storefront, order, stripe, webhooks) -> ReviewItem:
    """The order became cheaper while its customer paid: 12.00 is too much."""
    intent = storefront.payment_intent(order).json()["data"]
    order.lines.update(unit_amount=5000)
    pay(stripe, intent["id"])
    webhooks()
    return ReviewItem.objects.get()


@pytest.fixture
def clerk() -> User:
    return User.objects.create_user("clerk", is_staff=True)


def close(item, clerk, reason="The customer got it back in the shop.") -> bool:
    origin = Origin(source=Source.ADMIN, actor=f"staff {clerk.pk}")
    return close_review_item(item_pk=item.pk, reason=reason, user=clerk, origin=origin)


def test_the_item_says_who_closed_it_and_why(item, clerk):
    assert close(item, clerk)

    item.refresh_from_db()
    assert item.closed_at is not None
    assert not item.closed_itself
    assert (item.closed_by, item.closing_note) == (clerk, "The customer got it back in the shop.")
    assert not OrderPayment.objects.get().needs_review


def test_the_history_says_who_closed_it_and_not_in_which_words(item, clerk):
    close(item, clerk)

    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", f"staff {clerk.pk}")
    assert fact.sentence == (
        "review item closed: more was received than the order costs, via admin"
    )
    assert "customer" not in str(fact.data)


def test_an_item_is_closed_once(item, clerk):
    close(item, clerk)

    assert not close(item, clerk, "Something else.")

    item.refresh_from_db()
    assert item.closing_note == "The customer got it back in the shop."
    assert PaymentHistory.objects.filter(kind="review_closed").count() == 1


def test_a_payment_needs_review_until_every_item_is_closed(item, clerk):
    other = ReviewItem.objects.create(
        order_payment=item.order_payment,
        payment_intent=item.payment_intent,
        reason="refund_failed",
        subject="re_1",
    )

    close(item, clerk)
    assert OrderPayment.objects.get().needs_review

    close(other, clerk)
    assert not OrderPayment.objects.get().needs_review


@pytest.mark.parametrize("words", ["", "  \n"])
def test_closing_an_item_needs_a_reason(item, clerk, words):
    with pytest.raises(ValueError, match="needs a reason"):
        close(item, clerk, words)

    assert OrderPayment.objects.get().needs_review


def test_closing_an_item_moves_no_money_and_changes_nothing_that_is_owed(
    storefront, order, item, clerk
):
    before = amounts()

    close(item, clerk)

    assert amounts() == before
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")


def amounts():
    (values,) = OrderPayment.objects.values()
    return {name: value for name, value in values.items() if name.startswith("amount_")}


def test_an_item_about_uncounted_money_lets_nobody_pay_again_when_it_is_closed(
    storefront, order, office, clerk, stripe, webhooks
):
    """Only rows decide: the money has to go back first."""
    intent = storefront.payment_intent(order).json()["data"]
    order.currency = "eur"
    order.save()
    pay(stripe, intent["id"])
    webhooks()

    close(ReviewItem.objects.get(), clerk)
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")

    stripe.refund(intent["id"])
    again = storefront.payment_intent(order)
    assert (again.status_code, again.json()["data"]["amount"]) == (200, "112.00")


def test_an_item_that_staff_closed_stays_closed_as_long_as_it_is_about_the_same_amount(
    order, item, clerk
):
    close(item, clerk)

    services.reevaluate_order(order.pk)
    item.refresh_from_db()
    assert item.closed_by == clerk
    assert not OrderPayment.objects.get().needs_review

    order.lines.update(unit_amount=4900)
    services.reevaluate_order(order.pk)
    item.refresh_from_db()
    assert (item.closed_at, item.closed_by, item.closing_note) == (None, None, "")
    assert item.suggested_action == "Refund 14.00 USD."
    assert OrderPayment.objects.get().needs_review


def test_an_item_closes_itself_when_its_cause_is_gone_and_opens_when_it_is_back(order, item):
    order.lines.update(unit_amount=5600)
    services.reevaluate_order(order.pk)

    item.refresh_from_db()
    assert (item.closed_itself, item.closed_by) == (True, None)
    assert item.closing_note == "Its cause is gone"
    assert not OrderPayment.objects.get().needs_review

    order.lines.update(unit_amount=5000)
    services.reevaluate_order(order.pk)

    item.refresh_from_db()
    assert (item.closed_at, item.closed_itself) == (None, False)
    assert PaymentHistory.objects.filter(kind="review_needed").count() == 2


def test_an_open_item_follows_the_amount_without_being_opened_again(order, item):
    order.lines.update(unit_amount=4900)
    services.reevaluate_order(order.pk)

    item.refresh_from_db()
    assert "so 14.00 USD is too much" in item.detail
    assert PaymentHistory.objects.filter(kind="review_needed").count() == 1


def test_an_inquirys_item_opens_again_when_the_bank_takes_the_money(
    storefront, order, clerk, stripe, webhooks
):
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"], "pm_card_createDisputeInquiry")
    webhooks()
    close(ReviewItem.objects.get(), clerk, "Nothing to answer.")

    answer_dispute(stripe, "escalate_inquiry_evidence")
    stripe.advance_clock(3600)
    webhooks()

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert (item.closed_at, item.closed_by, item.closing_note) == (None, None, "")
    assert (payment.needs_review, payment.dispute_state) == (True, "open")


def test_closing_an_item_is_no_part_of_the_hosts_transaction(item, clerk):
    """Found: it took part in it, and was not run again where the database had undone it."""
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        close(item, clerk)

    assert OrderPayment.objects.get().needs_review
