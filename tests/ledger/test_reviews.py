"""Review items: they close themselves, or staff close them, and no money moves by it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from shop_payments import services
from shop_payments.exceptions import TransactionOpenError
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem
from tests.books import STAFF
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
    return User.objects.create(username="clerk", is_staff=True)


def close(item, clerk, reason="The customer got it back in the shop.") -> bool:
    return close_review_item(item_pk=item.pk, reason=reason, user=clerk, origin=STAFF)


def costs(order, unit_amount: int) -> None:
    order.lines.update(unit_amount=unit_amount)
    services.reevaluate_order(order.pk)


def amounts():
    (values,) = OrderPayment.objects.values()
    return {name: value for name, value in values.items() if name.startswith("amount_")}


def test_the_item_says_who_closed_it_and_why(storefront, order, item, clerk):
    """The history says who, and not in which words. Nothing that is owed changes."""
    before = amounts()

    assert close(item, clerk)
    assert not close(item, clerk, "Something else.")

    item.refresh_from_db()
    assert (item.closed_at is not None, item.closed_automatically) == (True, False)
    assert (item.closed_by, item.closing_note) == (clerk, "The customer got it back in the shop.")
    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", STAFF.actor)
    assert fact.sentence == "review item closed: more was received than the order costs (admin)"
    assert "customer" not in str(fact.data)
    assert not OrderPayment.objects.get().needs_review
    assert amounts() == before
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")


@pytest.mark.django_db(transaction=True)
def test_closing_an_item_needs_a_reason_and_no_transaction_of_the_host(item, clerk):
    """Found: it took part in it, and was not run again where the database had undone it."""
    with pytest.raises(ValueError, match="needs a reason"):
        close(item, clerk, "  \n")
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        close(item, clerk)

    assert OrderPayment.objects.get().needs_review


def test_an_item_that_staff_closed_stays_closed_as_long_as_it_is_about_the_same_amount(
    order, item, clerk
):
    close(item, clerk)

    services.reevaluate_order(order.pk)
    item.refresh_from_db()
    assert item.closed_by == clerk
    assert not OrderPayment.objects.get().needs_review

    costs(order, 4900)
    item.refresh_from_db()
    assert (item.closed_at, item.closed_by, item.closing_note) == (None, None, "")
    assert item.suggested_action == "Refund 14.00 USD."
    assert OrderPayment.objects.get().needs_review


def test_an_item_closes_itself_when_its_cause_is_gone_and_opens_when_it_is_back(order, item):
    costs(order, 5600)

    item.refresh_from_db()
    assert (item.closed_automatically, item.closed_by) == (True, None)
    assert item.closing_note == "Its cause no longer exists"
    assert not OrderPayment.objects.get().needs_review

    costs(order, 5000)

    item.refresh_from_db()
    assert (item.closed_at, item.closed_automatically) == (None, False)
    assert PaymentHistory.objects.filter(kind="review_needed").count() == 2
