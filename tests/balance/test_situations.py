"""Situations of real shops, each played through HTTP, signed webhooks and the sandbox.

A situation is a small story: what happens, and what must be seen after each step. Amounts are whole
units of the order's currency.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.balance.shop import DepositAdapter, Review, Shop

pytestmark = pytest.mark.django_db(transaction=True)

PAID = ("order_already_paid", None)
REFUNDED = ("order_not_payable", "refunded")
FREE = ("order_not_payable", "free")
CANCELLED = ("order_not_payable", None)
IN_REVIEW = ("payment_in_review", None)
REFUND_PENDING = ("payment_in_review", "refund_pending")
DISPUTE_OPEN = ("payment_in_review", "dispute_open")

Build = Callable[..., Shop]


def paid_in_full(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def paid_then_lowered_then_the_excess_refunded(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(102)
    shop.assert_is("paid", outstanding=0, review={("excess", 10, first)}, asks=PAID)
    shop.refund_in_dashboard(first, 10)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def paid_in_part(open_shop: Build) -> None:
    shop = open_shop(180)
    shop.pay(180)
    shop.costs(230)
    shop.assert_is("partially_paid", outstanding=50, asks=50)


def paid_in_part_then_the_rest_waived(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    shop.waive(50)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def paid_in_part_then_all_of_it_refunded(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    shop.refund(180)
    shop.assert_is("unpaid", outstanding=230, asks=230)


def partly_paid(open_shop: Build, **settings: object) -> Shop:
    """180 were received of an order that costs 230."""
    shop = open_shop(230, **settings)
    DepositAdapter.now = 180_00
    shop.pay(180)
    DepositAdapter.now = None
    return shop


def goods_returned(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.refund_in_dashboard(first, 30)
    shop.assert_is("partially_refunded", outstanding=0, asks=PAID)
    shop.costs(70)
    shop.assert_is("partially_refunded", outstanding=0, asks=PAID)


def goods_returned_then_paid_again(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.refund_in_dashboard(first, 30)
    second = shop.pay_again(100)
    shop.assert_is("partially_refunded", outstanding=0, review={("excess", 100, second)}, asks=PAID)


def paid_then_raised(open_shop: Build) -> None:
    shop = open_shop(100)
    shop.pay(100)
    shop.costs(120)
    shop.assert_is("partially_paid", outstanding=20, asks=20)


def late_money(open_shop: Build) -> tuple[Shop, str]:
    """112 arrive for an order that was cancelled while the customer paid."""
    shop = open_shop(112)
    first = shop.begin(112)
    shop.order.status = "cancelled"
    type(shop.order).objects.filter(pk=shop.order.pk).update(status="cancelled")
    shop.finish(first)
    shop.assert_is(
        "unpaid",
        outstanding=0,
        owed=112,
        review={("uncounted", 112, first)},
        asks=CANCELLED,
    )
    return shop, first


def late_money_then_reopened(open_shop: Build) -> None:
    shop, _first = late_money(open_shop)
    shop.wants(True)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def late_money_then_refunded_then_reopened(open_shop: Build) -> None:
    shop, first = late_money(open_shop)
    shop.refund_in_dashboard(first, 112)
    shop.assert_is("unpaid", outstanding=0, owed=112, asks=CANCELLED)
    shop.wants(True)
    shop.assert_is("unpaid", outstanding=112, asks=112)


def paid_then_shipped(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.wants(False)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def another_currency(open_shop: Build) -> None:
    shop = open_shop(120, currency="eur")
    first = shop.begin(120)
    type(shop.order).objects.filter(pk=shop.order.pk).update(currency="gbp")
    shop.finish(first)
    shop.assert_is("unpaid", outstanding=120, review={("uncounted", 120, first)}, asks=IN_REVIEW)


def deposit_then_rest_then_a_large_refund(open_shop: Build) -> None:
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    first = shop.pay(90)
    DepositAdapter.now = None
    shop.assert_is("partially_paid", outstanding=210, asks=210)
    second = shop.pay(210)
    shop.assert_is("paid", outstanding=0, asks=PAID)
    assert shop.refund(250).status_code == 200
    assert shop.refunds() == [(second, 210), (first, 40)]
    shop.assert_is("partially_refunded", outstanding=0, asks=PAID)


def captured_in_part_and_the_rest_waived(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    shop.assert_is("authorized", outstanding=112, asks=("payment_authorized", None))
    shop.capture(80, waive_rest=True)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def captured_in_part_and_the_rest_owed(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    shop.capture(80, waive_rest=False)
    shop.assert_is("partially_paid", outstanding=32, asks=32)


# --- further situations -------------------------------------------------------------------------


def paid_in_part_then_lowered_to_that(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    recorded = [shop.payment.paid_recorded]
    shop.costs(180)
    recorded.append(shop.payment.paid_recorded)
    assert recorded == [False, True]
    shop.assert_is("paid", outstanding=0, asks=PAID)


def paid_in_part_then_cancelled_then_refunded_then_reopened(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    (first,) = shop.seen["payments"]
    shop.wants(False)
    shop.assert_is(
        "partially_paid",
        outstanding=0,
        owed=50,
        review={("rest_owed", 50, first["id"])},
        asks=CANCELLED,
    )
    shop.refund_in_dashboard(first["id"], 180)
    shop.wants(True)
    shop.assert_is("unpaid", outstanding=230, asks=230)


def paid_then_cancelled_then_refunded_then_reopened(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.wants(False)
    shop.refund_in_dashboard(first, 112)
    shop.assert_is("refunded", outstanding=0, asks=REFUNDED)
    shop.wants(True)
    shop.assert_is("refunded", outstanding=0, asks=REFUNDED)


def late_money_with_a_pending_refund_reopened_and_failing(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.begin(112)
    type(shop.order).objects.filter(pk=shop.order.pk).update(status="cancelled")
    shop.finish(first, "pm_card_pendingRefund")
    refund = shop.refund_in_dashboard(first, 112)
    shop.wants(True)
    shop.assert_is("unpaid", outstanding=0, owed=112, asks=REFUND_PENDING)
    shop.stripe.advance_refund(refund["id"], "failed")
    shop.stripe.deliver_webhooks()
    review: Review = {("refund_failed", 112, first)}
    shop.assert_is("paid", outstanding=0, review=review, asks=PAID)


def more_was_paid_then_goods_came_back(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(102)
    shop.refund_in_dashboard(first, 40)
    shop.assert_is("partially_refunded", outstanding=0, asks=PAID)
    shop.costs(112)
    shop.assert_is("partially_paid", outstanding=10, asks=10)


def lowered_then_refunded_then_raised(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.costs(70)
    shop.refund_in_dashboard(first, 30)
    shop.assert_is("paid", outstanding=0, asks=PAID)
    shop.costs(100)
    shop.assert_is("partially_paid", outstanding=30, asks=30)


def paid_twice_and_the_older_refunded(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    second = shop.pay_again(100)
    shop.assert_is("paid", outstanding=0, review={("excess", 100, second)}, asks=PAID)
    shop.refund_in_dashboard(first, 100)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def paid_twice_and_one_disputed_and_lost(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.pay_again(100)
    shop.stripe.dispute(first)
    shop.assert_is("paid", outstanding=0, review={("disputed", 100, first)}, asks=PAID)
    assert shop.seen["dispute"] == "open"
    shop.stripe.decide_dispute(first, won=False)
    shop.assert_is("paid", outstanding=0, asks=PAID)
    assert shop.seen["dispute"] == "lost"


def disputed_then_paid_again_then_won(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    shop.stripe.dispute(first)
    second = shop.pay_again(100)
    shop.assert_is("paid", outstanding=0, review={("disputed", 100, first)}, asks=PAID)
    shop.stripe.decide_dispute(first, won=True)
    shop.assert_is("paid", outstanding=0, review={("excess", 100, second)}, asks=PAID)


def disputed_deposit(open_shop: Build) -> tuple[Shop, str]:
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    first = shop.pay(90)
    DepositAdapter.now = None
    second = shop.begin(210)
    shop.stripe.dispute(first)
    shop.stripe.advance_clock(1)  # Stripe's times are whole seconds
    shop.finish(second)
    shop.assert_is(
        "partially_paid",
        outstanding=0,
        owed=90,
        review={("disputed", 90, first)},
        asks=DISPUTE_OPEN,
    )
    return shop, first


def disputed_deposit_that_is_lost(open_shop: Build) -> None:
    shop, first = disputed_deposit(open_shop)
    shop.stripe.decide_dispute(first, won=False)
    shop.assert_is("partially_paid", outstanding=90, asks=90)


def disputed_deposit_that_is_won(open_shop: Build) -> None:
    shop, first = disputed_deposit(open_shop)
    shop.stripe.decide_dispute(first, won=True)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def waived_then_raised(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    shop.waive(50)
    shop.costs(250)
    shop.assert_is("partially_paid", outstanding=20, asks=20)


def waived_then_lowered(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    shop.waive(50)
    shop.costs(180)
    shop.assert_is("paid", outstanding=0, asks=PAID)


def waived_and_paid_all_the_same(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    second = shop.begin(50)
    shop.stripe.disconnect_webhooks()
    shop.stripe.pay(second, deliver=False)
    shop.waive(50)
    shop.stripe.connect_webhooks()
    shop.payment_system.payment(shop.order)
    shop.assert_is("paid", outstanding=0, review={("waived_received", 50, second)}, asks=PAID)


def lowered_to_nothing_then_settled_outside_stripe(open_shop: Build) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(0)
    shop.assert_is("paid", outstanding=0, review={("excess", 112, first)}, asks=PAID)
    shop.settle(first)
    shop.assert_is("unpaid", outstanding=0, asks=FREE)


def a_part_paid_and_the_rest_on_its_way(open_shop: Build) -> None:
    shop = open_shop(300, ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    DepositAdapter.now = 90_00
    shop.pay(90)
    DepositAdapter.now = None
    shop.debit(210)
    shop.assert_is("pending", outstanding=210, asks=("payment_processing", None))


def refunded_then_paid_again(open_shop: Build) -> None:
    shop = open_shop(100)
    first = shop.pay(100)
    assert shop.refund(100).status_code == 200
    assert shop.refunds() == [(first, 100)]
    second = shop.pay_again(100)
    shop.assert_is("refunded", outstanding=0, review={("excess", 100, second)}, asks=REFUNDED)


SITUATIONS = [
    paid_in_full,
    paid_then_lowered_then_the_excess_refunded,
    paid_in_part,
    paid_in_part_then_the_rest_waived,
    paid_in_part_then_all_of_it_refunded,
    goods_returned,
    goods_returned_then_paid_again,
    paid_then_raised,
    late_money_then_reopened,
    late_money_then_refunded_then_reopened,
    paid_then_shipped,
    another_currency,
    deposit_then_rest_then_a_large_refund,
    captured_in_part_and_the_rest_waived,
    captured_in_part_and_the_rest_owed,
    paid_in_part_then_lowered_to_that,
    paid_in_part_then_cancelled_then_refunded_then_reopened,
    paid_then_cancelled_then_refunded_then_reopened,
    late_money_with_a_pending_refund_reopened_and_failing,
    more_was_paid_then_goods_came_back,
    lowered_then_refunded_then_raised,
    paid_twice_and_the_older_refunded,
    paid_twice_and_one_disputed_and_lost,
    disputed_then_paid_again_then_won,
    disputed_deposit_that_is_lost,
    disputed_deposit_that_is_won,
    waived_then_raised,
    waived_then_lowered,
    waived_and_paid_all_the_same,
    lowered_to_nothing_then_settled_outside_stripe,
    a_part_paid_and_the_rest_on_its_way,
    refunded_then_paid_again,
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.__name__)
def test_a_situation_comes_out_as_specified(situation, open_shop):
    situation(open_shop)
