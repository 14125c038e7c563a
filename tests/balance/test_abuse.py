"""What staff, banks and unlucky moments do to an order, as stories like those of situations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.db import DataError

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.models import Order, StaffEntry
from shop_payments.money import Money
from shop_payments.sandbox import Fault
from shop_payments.services.capture_payment import REST_OWED
from tests.balance.shop import DepositAdapter, Shop
from tests.balance.test_situations import partly_paid
from tests.factories import OrderFactory

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
    Order.objects.filter(pk=shop.order.pk).update(status="cancelled")
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


# --- AUTO_REFUND_EXCESS, while others do something about it -------------------------------------


def paid_twice(open_shop: Build) -> tuple[Shop, str, str]:
    """An order that was paid twice; of the second payment no event has come yet."""
    shop = open_shop(100, AUTO_REFUND_EXCESS=True)
    first = shop.pay(100)
    shop.order.lines.update(unit_amount=200_00)
    second = shop.begin(100)
    shop.order.lines.update(unit_amount=100_00)
    shop.stripe.pay(second, deliver=False)
    return shop, first, second


def test_excess_that_staff_refund_at_the_same_time_goes_back_once(open_shop: Build) -> None:
    shop, first, _second = paid_twice(open_shop)
    shop.stripe.refund(first, 100_00, deliver=False)  # they saw both in Stripe's dashboard

    shop.stripe.deliver_webhooks()

    assert shop.refunds() == [(first, 100)]
    shop.assert_is("paid", outstanding=0)


def test_excess_stays_while_a_dispute_has_not_been_heard_of(open_shop: Build) -> None:
    shop, first, _second = paid_twice(open_shop)
    shop.stripe.dispute(first, deliver=False)

    shop.stripe.deliver_webhooks()

    assert shop.refunds() == []
    shop.assert_is("paid", outstanding=0, review={("disputed", 100, first)})


def test_late_money_that_staff_refund_at_the_same_time_goes_back_once(open_shop: Build) -> None:
    shop = open_shop(112, AUTO_REFUND_EXCESS=True)
    late = shop.begin(112)
    Order.objects.filter(pk=shop.order.pk).update(status="cancelled")
    shop.stripe.pay(late, deliver=False)
    shop.stripe.refund(late, 50_00, deliver=False)

    shop.stripe.deliver_webhooks()

    assert shop.refunds() == [(late, 50)]
    shop.assert_is("unpaid", outstanding=0, owed=112, review={("uncounted", 62, late)})


# --- captures whose answer was lost -------------------------------------------------------------


def capture_in_vain(shop: Shop, *, waive_rest: bool) -> None:
    shop.stripe.inject(Fault("error", path="/v1/payment_intents/*/capture", status=500))
    with pytest.raises(GatewayUnavailable):
        shop.capture(80, waive_rest=waive_rest)


def test_a_rest_that_was_waived_in_two_tries_is_waived_once(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    capture_in_vain(shop, waive_rest=True)

    shop.capture(80, waive_rest=True)

    assert shop.payment.amount_waived == 32_00
    shop.assert_is("paid", outstanding=0)
    shop.costs(140)
    shop.assert_is("partially_paid", outstanding=28, asks=28)


def test_the_last_word_counts_on_what_becomes_of_the_rest(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    capture_in_vain(shop, waive_rest=True)

    shop.capture(80, waive_rest=False)

    shop.assert_is("partially_paid", outstanding=32, asks=32)
    (entry,) = StaffEntry.objects.all()
    assert entry.revocation_reason == REST_OWED


# --- waivers ------------------------------------------------------------------------------------


def test_money_that_came_before_the_waiver_is_not_called_waived(open_shop: Build) -> None:
    shop = partly_paid(open_shop)
    shop.pay(50)
    shop.costs(280)

    shop.waive(50)

    shop.assert_is("paid", outstanding=0, review=set())


# --- orders that change under an open payment ---------------------------------------------------


@pytest.mark.parametrize("total", [100, 150])
def test_an_open_payment_in_another_currency_is_cancelled(open_shop: Build, total: int) -> None:
    shop = open_shop(120, currency="eur")
    begun = shop.begin(120)
    Order.objects.filter(pk=shop.order.pk).update(currency="gbp")

    shop.costs(total)

    assert shop.at_stripe(begun)["status"] == "canceled"
    assert shop.begin(total) != begun


def test_goods_returned_while_the_order_cannot_be_read_are_not_owed(
    open_shop: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(100)
    begun = shop.begin(100)
    with monkeypatch.context() as broken:
        broken.setattr(DepositAdapter, "total", unreadable)
        for happen in (partial(shop.finish, begun), partial(shop.refund_in_dashboard, begun, 30)):
            with pytest.raises(AssertionError, match="refused a webhook"):
                happen()

    shop.evaluate()

    shop.assert_is("partially_refunded", outstanding=0)


def unreadable(self: DepositAdapter, order: Order) -> Money:
    raise RuntimeError("the shop's own fault")


def test_a_wrong_statement_of_the_adapter_leaves_the_list_of_orders_alone(
    open_shop: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(100)
    other = OrderFactory.create(customer=shop.order.customer)
    right = DepositAdapter.total

    def total(self: DepositAdapter, order: Order) -> Money:
        if order.pk == shop.order.pk:
            raise DataError("division by zero")
        return right(self, order)

    monkeypatch.setattr(DepositAdapter, "total", total)
    listed = shop.customer.get("orders").json()["data"]["results"]

    totals = {str(each["id"]): each["total"] for each in listed}
    assert totals == {str(shop.order.pk): None, str(other.pk): "112.00"}
