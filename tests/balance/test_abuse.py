"""What staff, banks and unlucky moments do to an order, as stories like those of situations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.balance.shop import Shop
from tests.balance.test_situations import partly_paid

pytestmark = pytest.mark.django_db(transaction=True)

Build = Callable[..., Shop]


# --- money that leaves twice --------------------------------------------------------------------


def test_a_settled_payment_that_is_refunded_too_is_asked_for_once(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.settle(first)
    shop.stripe.advance_clock(5)

    shop.refund_in_dashboard(first, 100)

    shop.assert_is("unpaid", outstanding=100, asks=100)


def test_late_money_that_goes_back_twice_is_asked_for_once(open_shop: Build) -> None:
    shop = open_shop(112)
    late = shop.begin(112)
    type(shop.order).objects.filter(pk=shop.order.pk).update(status="cancelled")
    shop.finish(late)
    shop.settle(late)
    shop.refund_in_dashboard(late, 112)

    shop.wants(True)

    shop.assert_is("unpaid", outstanding=112, asks=112)


def test_a_dispute_in_another_currency_takes_what_is_left(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    (first,) = shop.seen["payments"]
    shop.refund_in_dashboard(first["id"], 100)
    shop.stripe.advance_clock(5)
    shop.stripe.dispute(first["id"])
    dispute = shop.intent(first["id"]).disputes.get()
    dispute.currency, dispute.amount, dispute.status = "eur", 74_00, "lost"
    dispute.save()

    shop.evaluate()

    assert (shop.payment.amount_owed, shop.payment.amount_outstanding) == (230_00, 230_00)
