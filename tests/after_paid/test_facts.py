"""What the host is notified of, by signal and through its adapter: each fact once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from shop_payments.models import Order, PaymentHistory
from tests.after_paid.support import hear_everything
from tests.balance.shop import DepositAdapter, Shop
from tests.support import call_stripe

pytestmark = pytest.mark.django_db(transaction=True)

Build = Callable[..., Shop]


def told(sent: Any, *figures: str) -> list[tuple[Any, ...]]:
    """The facts in order, each with those of the figures that it has, in whole units."""
    return [
        (name, *(data[figure] // 100 for figure in figures if figure in data))
        for name, data in sent
    ]


def test_a_payment_is_received_and_then_the_order_is_paid(open_shop: Build, sent) -> None:
    shop = open_shop(112)
    intent_id = shop.pay(112)

    assert told(sent, "amount", "outstanding", "total") == [
        ("payment_received", 112, 0),
        ("order_paid", 112, 112),
    ]
    kinds = [fact.kind for fact in PaymentHistory.objects.filter(needs_dispatch=True)]
    assert kinds == ["order_paid", "payment_received"]
    assert {str(fact.payment_intent) for fact in PaymentHistory.objects.all()} == {intent_id}


def test_each_payment_is_received_once_and_the_order_paid_once(open_shop: Build, sent) -> None:
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    deposit = shop.pay(90)
    DepositAdapter.now = None
    rest = shop.pay(210)
    hear_everything(shop.stripe)
    shop.evaluate()

    assert told(sent, "amount", "outstanding", "total") == [
        ("payment_received", 90, 210),
        ("payment_received", 210, 0),
        ("order_paid", 300, 300),
    ]
    paid = PaymentHistory.objects.get(kind="order_paid")
    assert (str(paid.payment_intent), paid.data["amount_received"]) == (rest, 21000)
    received = PaymentHistory.objects.filter(kind="payment_received").order_by("pk")
    assert [str(fact.payment_intent) for fact in received] == [deposit, rest]


def test_an_order_that_is_raised_and_paid_again_is_not_paid_a_second_time(
    open_shop: Build, sent
) -> None:
    shop = open_shop(100)
    shop.pay(100)
    shop.costs(120)
    shop.pay(20)

    assert told(sent, "amount") == [
        ("payment_received", 100),
        ("order_paid", 100),
        ("payment_received", 20),
    ]


def test_an_order_is_paid_when_the_rest_is_waived(open_shop: Build, sent) -> None:
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    first = shop.pay(180)
    shop.waive(50)

    assert told(sent, "amount", "total") == [("payment_received", 180), ("order_paid", 180, 230)]
    paid = PaymentHistory.objects.get(kind="order_paid")
    assert (str(paid.payment_intent), paid.source, paid.actor) == (first, "admin", "staff 1")


def test_an_order_is_paid_when_its_total_falls(open_shop: Build, sent) -> None:
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    shop.pay(180)
    shop.costs(180)

    assert told(sent, "amount", "total") == [("payment_received", 180), ("order_paid", 180, 180)]


def test_money_that_does_not_count_is_no_payment_until_it_does(open_shop: Build, sent) -> None:
    shop = open_shop(112)
    late = shop.begin(112)
    Order.objects.update(status="cancelled")
    shop.finish(late)
    assert sent == []

    shop.wants(True)

    assert told(sent, "amount") == [("payment_received", 112), ("order_paid", 112)]


def test_an_order_that_is_cancelled_when_its_rest_is_waived_is_paid_when_it_is_wanted(
    open_shop: Build, sent
) -> None:
    """`order_paid` lets goods go out: of an order that the shop wants."""
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    shop.pay(180)
    shop.wants(False)
    shop.waive(50)
    assert [name for name, _data in sent] == ["payment_received"]

    shop.wants(True)

    assert [name for name, _data in sent] == ["payment_received", "order_paid"]


def test_excess_is_received_too(open_shop: Build, sent) -> None:
    shop = open_shop(100)
    shop.pay(100)
    shop.pay_again(100)

    assert told(sent, "amount", "outstanding")[2:] == [("payment_received", 100, 0)]


# --- refunds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "amount", "goods"), [(112, 40, 40), (102, 10, 0), (102, 40, 30), (72, 40, 0)]
)
def test_a_refund_says_how_much_of_it_is_for_goods(
    open_shop: Build, sent, total, amount, goods
) -> None:
    shop = open_shop(112)
    shop.pay(112)
    shop.costs(total)
    sent.clear()

    shop.refund(amount)

    assert told(sent, "amount", "goods") == [("order_refunded", amount, goods)]


@pytest.mark.parametrize(("kind", "goods"), [("goods", 40), ("correction", 0)])
def test_a_refund_is_for_what_staff_say(open_shop: Build, sent, kind, goods) -> None:
    shop = open_shop(112)
    shop.pay(112)
    sent.clear()

    shop.refund(40, kind=kind)

    assert told(sent, "amount", "goods") == [("order_refunded", 40, goods)]


def test_each_part_of_a_refund_is_a_refund(open_shop: Build, sent) -> None:
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    shop.pay(90)
    DepositAdapter.now = None
    shop.pay(210)
    sent.clear()

    shop.refund(250)

    assert told(sent, "amount", "goods") == [
        ("order_refunded", 210, 210),
        ("order_refunded", 40, 40),
    ]


def test_a_refund_that_waits_is_one_when_it_has_succeeded(open_shop: Build, sent) -> None:
    shop = open_shop(112)
    shop.pay(112, "pm_card_pendingRefund")
    sent.clear()

    shop.refund(40)
    assert sent == []
    shop.stripe.advance_clock(3600 * 24 * 10)
    shop.stripe.deliver_webhooks()
    shop.evaluate()

    assert told(sent, "amount", "goods") == [("order_refunded", 40, 40)]


def test_a_refund_that_fails_afterwards_is_not_taken_back_silently(open_shop: Build, sent) -> None:
    shop = open_shop(112)
    shop.pay(112, "pm_card_refundFail")
    shop.refund(40)
    shop.stripe.advance_clock(3600)
    shop.stripe.deliver_webhooks()

    assert told(sent, "amount", "goods")[2:] == [("order_refunded", 40, 40)]
    assert PaymentHistory.objects.filter(kind="refund_failed").count() == 1
    shop.assert_is("paid", outstanding=0, review=shop.in_review)


def test_money_that_did_not_count_is_no_refund_of_the_order(open_shop: Build, sent) -> None:
    shop = open_shop(112)
    late = shop.begin(112)
    Order.objects.update(status="cancelled")
    shop.finish(late)

    shop.refund_in_dashboard(late, 112)

    assert sent == []
    assert PaymentHistory.objects.filter(kind="refund_changed").exists()


# --- the adapter --------------------------------------------------------------------------------


class NotedAdapter(DepositAdapter):
    """Notes with what its hooks are called."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def on_payment_received(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_payment_received", about))

    def on_paid(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_paid", about))

    def on_refunded(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_refunded", about))


def test_the_adapter_is_called_with_minor_units(open_shop: Build) -> None:
    NotedAdapter.calls.clear()
    shop = open_shop(112, ORDER_ADAPTER=f"{__name__}.{NotedAdapter.__name__}")
    first = shop.pay(112)
    shop.costs(102)
    shop.refund(40)

    facts = {fact.kind: fact.fact_id for fact in PaymentHistory.objects.all()}
    about = {"order_payment": shop.payment, "payment_intent": shop.intent(first)}
    assert NotedAdapter.calls == [
        (
            "on_payment_received",
            {
                **about,
                "amount": 11200,
                "outstanding": 0,
                "fact_id": facts["payment_received"],
            },
        ),
        ("on_paid", {**about, "amount": 11200, "total": 11200, "fact_id": facts["order_paid"]}),
        (
            "on_refunded",
            {**about, "amount": 4000, "goods": 3000, "fact_id": facts["order_refunded"]},
        ),
    ]


def test_a_lost_webhook_of_a_refund_is_told_by_the_next_one(open_shop: Build, sent) -> None:
    """Two refunds in the dashboard; the app hears of the second one alone."""
    shop = open_shop(112)
    first = shop.pay(112)
    sent.clear()
    shop.stripe.disconnect_webhooks()
    call_stripe(shop.stripe, "POST", "refunds", payment_intent=first, amount="1000")
    shop.stripe.connect_webhooks()

    shop.refund_in_dashboard(first, 20)

    assert told(sent, "amount", "goods") == [("order_refunded", 10, 10), ("order_refunded", 20, 20)]
