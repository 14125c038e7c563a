"""The test of the tests: books that do not agree are found."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.models import (
    BalanceTransaction,
    Dispute,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
)
from tests.after_paid.support import answer_dispute, assert_books_agree
from tests.support import assert_state_follows_from_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def busy(office, order, pay_order, stripe, webhooks) -> None:
    """A payment with everything: a dispute that was won, a refund, fees."""
    pay_order("pm_card_createDispute")
    answer_dispute(stripe, "winning_evidence")
    stripe.advance_clock(3600)
    webhooks()
    office.refund(order, {"amount": "12.50"})
    assert_books_agree(stripe)


@pytest.mark.parametrize(
    ("model", "lie"),
    [
        (PaymentIntent, {"amount_received": 11199}),
        (Refund, {"amount": 1249}),
        (Refund, {"status": "failed"}),
        (Refund, {"stripe_id": "re_another"}),
        (Dispute, {"status": "lost"}),
        (BalanceTransaction, {"fee": 1}),
        (OrderPayment, {"amount_refunded": 0}),
        (OrderPayment, {"status": "paid"}),
        (OrderPayment, {"needs_review": True}),
    ],
)
def test_a_row_that_says_something_else_is_found(busy, stripe, model, lie):
    rows = model._default_manager.all()
    truth: dict[Any, Any] = {row.pk: row for row in rows}
    rows.filter(pk=min(truth)).update(**lie)

    with pytest.raises(AssertionError):
        assert_books_agree(stripe)

    truth[min(truth)].save()


def test_a_review_that_nobody_is_told_of_is_found(busy, stripe):
    resolved = ReviewItem.objects.get()
    ReviewItem.objects.update(closed_at=None, closing_note="")

    with pytest.raises(AssertionError, match="review items"):
        assert_state_follows_from_rows()

    resolved.save()
