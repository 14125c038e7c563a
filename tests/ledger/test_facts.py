"""What the shop is notified of, by signal and through its adapter: each fact once."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from shop_payments.models import Order, PaymentHistory
from tests.books import hear_everything
from tests.shop import DepositAdapter

pytestmark = pytest.mark.django_db


class NotedAdapter(DepositAdapter):
    """Notes with what its hooks are called."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def on_payment_received(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_payment_received", about))

    def on_paid(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_paid", about))

    def on_refunded(self, order: Order, **about: Any) -> None:
        self.calls.append(("on_refunded", about))


def told(sent: Any, *figures: str) -> list[tuple[Any, ...]]:
    """The facts in order, each with those of the figures that it has, in whole units."""
    return [
        (name, *(data[figure] // 100 for figure in figures if figure in data))
        for name, data in sent
    ]


def test_each_payment_is_received_once_and_the_order_paid_once(open_shop, sent):
    shop = open_shop(300)
    deposit, rest = shop.deposit(90), shop.pay(210)
    hear_everything(shop.stripe)
    shop.costs(320)
    more = shop.pay(20)

    assert told(sent, "amount", "outstanding", "total") == [
        ("payment_received", 90, 210),
        ("payment_received", 210, 0),
        ("order_paid", 300, 300),
        ("payment_received", 20, 0),
    ]
    paid = PaymentHistory.objects.get(kind="order_paid")
    assert (str(paid.payment_intent), paid.data["amount_received"]) == (rest, 21000)
    received = PaymentHistory.objects.filter(kind="payment_received").order_by("pk")
    assert [str(fact.payment_intent) for fact in received] == [deposit, rest, more]


@pytest.mark.parametrize("counts", [True, False])
def test_money_that_does_not_count_is_no_fact_until_it_does(open_shop, sent, counts):
    shop = open_shop(112)
    late = shop.pay_late()
    assert sent == []
    if counts:
        shop.wants(True)
    else:
        shop.refund_in_dashboard(late, 112)

    facts = [("payment_received", 112), ("order_paid", 112)] if counts else []
    assert told(sent, "amount") == facts
    assert PaymentHistory.objects.filter(kind="refund_changed").exists() is not counts


@pytest.mark.parametrize("end", ["waived", "lowered", "cancelled, waived and wanted again"])
def test_an_order_is_paid_when_its_rest_is_not_owed_any_more(open_shop, sent, end):
    """`order_paid` lets goods go out: of an order that the shop wants."""
    shop = open_shop(230)
    first = shop.deposit(180)
    if end == "lowered":
        shop.costs(180)
    elif end == "waived":
        shop.waive(50)
    else:
        shop.wants(False)
        shop.waive(50)
        assert told(sent) == [("payment_received",)]
        shop.wants(True)

    total = 180 if end == "lowered" else 230
    assert told(sent, "amount", "total") == [("payment_received", 180), ("order_paid", 180, total)]
    paid = PaymentHistory.objects.get(kind="order_paid")
    assert str(paid.payment_intent) == first
    if end == "waived":
        assert (paid.source, paid.actor) == ("admin", "staff 1")


def test_the_adapter_is_called_with_minor_units(open_shop):
    NotedAdapter.calls.clear()
    shop = open_shop(112, ORDER_ADAPTER=f"{__name__}.NotedAdapter")
    first = shop.pay(112)
    shop.costs(102)
    shop.refund(40)

    facts = {fact.kind: fact.fact_id for fact in PaymentHistory.objects.all()}
    about = {"order_payment": shop.payment, "payment_intent": shop.intent(first)}
    received = {"amount": 11200, "outstanding": 0, "fact_id": facts["payment_received"]}
    paid = {"amount": 11200, "total": 11200, "fact_id": facts["order_paid"]}
    refunded = {"amount": 4000, "goods": 3000, "fact_id": facts["order_refunded"]}
    assert NotedAdapter.calls == [
        ("on_payment_received", {**about, **received}),
        ("on_paid", {**about, **paid}),
        ("on_refunded", {**about, **refunded}),
    ]
