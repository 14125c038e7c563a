"""Whether goods may go out: services.may_release, which evaluates under the lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from shop_payments import services
from shop_payments.exceptions import OrderNotFound
from shop_payments.models import Order
from tests.balance.shop import DepositAdapter, Shop
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db(transaction=True)

Build = Callable[..., Shop]


def may_release(shop: Shop) -> bool:
    return services.may_release(shop.order.pk)


def test_a_paid_order_is_released(open_shop: Build) -> None:
    shop = open_shop(112)
    assert not may_release(shop)
    shop.begin(112)
    assert not may_release(shop)
    shop.pay(112)
    assert may_release(shop)


def test_it_looks_at_the_order_as_it_is_now(open_shop: Build, sent) -> None:
    """A deposit, the cart lowered to it, `order_paid`, and the cart raised again."""
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    shop.pay(90)
    shop.costs(90)
    assert "order_paid" in [name for name, _data in sent]

    shop.order.lines.update(unit_amount=300_00)  # and nobody is notified

    assert not may_release(shop)
    assert shop.payment.status == "partially_paid"


def test_an_order_whose_rest_was_waived_is_released(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.costs(120)
    assert not may_release(shop)

    shop.waive(8)

    assert may_release(shop)


def test_an_order_that_is_not_wanted_any_more_is_released_if_it_is_paid(open_shop: Build) -> None:
    """`is_payable` is false of orders that are shipped, too."""
    shop = open_shop(112)
    shop.pay(112)
    shop.wants(False)

    assert may_release(shop)


def test_money_that_is_only_reserved_releases_nothing(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)

    assert not may_release(shop)


@pytest.mark.parametrize(("won", "may"), [(None, False), (False, False), (True, True)])
def test_a_dispute_holds_the_goods_unless_it_is_won(open_shop: Build, won, may) -> None:
    shop = open_shop(112)
    first = shop.pay(112)
    shop.stripe.dispute(first)
    if won is not None:
        shop.stripe.decide_dispute(first, won=won)

    assert shop.payment.status == "paid"
    assert may_release(shop) is may


def test_a_second_payment_makes_good_what_a_bank_holds(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.stripe.dispute(shop.pay(112))
    shop.pay_again(112)

    assert may_release(shop)


def test_goods_that_are_refunded_do_not_hold_back_the_others(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.refund(30)
    assert may_release(shop)

    shop.refund(82)
    assert not may_release(shop)


def test_an_order_that_costs_nothing_is_released(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.begin(112)
    shop.costs(0)

    assert may_release(shop)
    assert services.may_release(OrderFactory.create(lines=[]).pk)


def test_an_order_that_nobody_tried_to_pay_is_not_released(open_shop: Build) -> None:
    assert not may_release(open_shop(112))


@pytest.mark.parametrize("order_id", [4711, "no id", None])
def test_an_order_that_is_not_there_is_said_so(open_shop: Build, order_id) -> None:
    with pytest.raises(OrderNotFound):
        services.may_release(order_id)
    with pytest.raises(OrderNotFound):
        services.reevaluate_order(order_id)


def test_the_shop_may_ask_within_its_own_transaction(open_shop: Build) -> None:
    shop = open_shop(112)
    shop.pay(112)

    with transaction.atomic():
        Order.objects.select_for_update().get(pk=shop.order.pk)
        assert may_release(shop)


def test_an_order_that_nobody_tried_to_pay_has_nothing_to_evaluate(open_shop: Build) -> None:
    assert services.reevaluate_order(open_shop(112).order.pk) is None
