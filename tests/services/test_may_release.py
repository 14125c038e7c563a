"""Whether goods may go out: services.may_release, which evaluates under the lock."""

from __future__ import annotations

import pytest
from django.db import transaction

from shop_payments import services
from shop_payments.exceptions import OrderNotFound, OrderUnreadable
from shop_payments.models import Order
from tests.factories import OrderFactory
from tests.shop import Shop

pytestmark = pytest.mark.django_db


def may_release(shop: Shop) -> bool:
    return services.may_release(shop.order.pk)


def test_a_paid_order_is_released(open_shop):
    """Also if the shop wants no money for it: `is_payable` is false of shipped orders, too."""
    shop = open_shop(112)
    assert not may_release(shop)
    assert services.reevaluate_order(shop.order.pk) is None, "there is nothing to evaluate"
    shop.begin(112)
    assert not may_release(shop)
    shop.pay(112)
    assert may_release(shop)
    shop.wants(False)
    assert may_release(shop)
    shop.refund(30)
    assert may_release(shop), "goods that were refunded do not hold back the others"
    shop.refund(82)
    assert not may_release(shop)


def test_it_looks_at_the_order_as_it_is_now(open_shop, sent):
    """A deposit, the cart lowered to it, `order_paid`, and the cart raised again."""
    shop = open_shop(300)
    shop.deposit(90)
    shop.costs(90)
    assert "order_paid" in [name for name, _data in sent]

    shop.order.lines.update(unit_amount=300_00)  # and nobody is notified

    assert not may_release(shop)
    assert shop.payment.status == "partially_paid"
    shop.waive(210)
    assert may_release(shop)
    Order.objects.update(currency="xx")
    with pytest.raises(OrderUnreadable):
        may_release(shop)


@pytest.mark.parametrize(("won", "may"), [(None, False), (False, False), (True, True)])
def test_a_dispute_holds_the_goods_unless_it_is_won(open_shop, won, may):
    shop = open_shop(112)
    first = shop.pay(112)
    shop.stripe.dispute(first)
    if won is not None:
        shop.stripe.decide_dispute(first, won=won)

    assert shop.payment.status == "paid"
    assert may_release(shop) is may
    shop.pay_again(112)
    assert may_release(shop), "a second payment makes good what a bank holds"


def test_an_order_that_costs_nothing_is_released(open_shop):
    shop = open_shop(112)
    shop.begin(112)
    shop.costs(0)

    assert may_release(shop)
    assert services.may_release(OrderFactory.create(lines=[]).pk)


def test_an_order_that_is_not_there_is_an_error(db):
    for service in (services.may_release, services.reevaluate_order):
        for order_id in (4711, "no id", None):
            with pytest.raises(OrderNotFound):
                service(order_id)


@pytest.mark.django_db(transaction=True)
def test_the_shop_may_ask_within_its_own_transaction(open_shop):
    shop = open_shop(112)
    shop.pay(112)

    with transaction.atomic():
        Order.objects.select_for_update().get(pk=shop.order.pk)
        assert may_release(shop)
