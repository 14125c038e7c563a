"""Adapters of shops that take an order's money in several payments, and of shops at fault."""

from __future__ import annotations

from typing import Any

from shop_payments.models import Order
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter, LineItem

DEPOSIT = 9000


class Deposit(BundledOrderAdapter):
    """A deposit of 90.00 first, then the rest."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        is_first = outstanding == self.total(order)
        return Money(DEPOSIT, outstanding.currency) if is_first else outstanding


class WithoutLines(BundledOrderAdapter):
    """The order has a total, and shows none of its lines."""

    def line_items(self, order: Order) -> list[LineItem]:
        return []


# --- shops at fault -----------------------------------------------------------------------------


class AsksForMore(BundledOrderAdapter):
    """It asks for more than is outstanding."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(outstanding.amount + 1, outstanding.currency)


class AsksForNothing(BundledOrderAdapter):
    """It asks for 0."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(0, outstanding.currency)


class AsksForLessThanNothing(BundledOrderAdapter):
    """It asks for an amount that no Money can hold."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(outstanding.amount - 2 * outstanding.amount, outstanding.currency)


class AsksInAnotherCurrency(BundledOrderAdapter):
    """It asks for euros."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(DEPOSIT, "eur")


class AsksForANumber(BundledOrderAdapter):
    """It returns an integer, not Money."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return DEPOSIT  # type: ignore[return-value]


class AsksForNone(BundledOrderAdapter):
    """It forgets to return anything."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return None  # type: ignore[return-value]


class LeavesTooLittle(BundledOrderAdapter):
    """It leaves a rest that is below Stripe's minimum charge of 0.50 USD."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(outstanding.amount - 49, outstanding.currency)


class RaisesWhatToPayNow(BundledOrderAdapter):
    """It cannot say what is to be paid now."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        raise RuntimeError("the shop's own")


BROKEN = "BROKEN"
"""How the numbers of orders begin that the adapters below cannot read."""


class RaisesForTotal(BundledOrderAdapter):
    """It cannot say what some orders cost."""

    def total(self, order: Order) -> Money:
        if order.number.startswith(BROKEN):
            raise RuntimeError("the shop's own")
        return super().total(order)


class RaisesForIsPayable(BundledOrderAdapter):
    """It cannot say whether the shop wants money for some orders."""

    def is_payable(self, order: Order) -> bool:
        if order.number.startswith(BROKEN):
            raise RuntimeError("the shop's own")
        return super().is_payable(order)


class RaisesForLineItems(BundledOrderAdapter):
    """It cannot show the lines of some orders."""

    def line_items(self, order: Order) -> list[LineItem]:
        if order.number.startswith(BROKEN):
            raise RuntimeError("the shop's own")
        return super().line_items(order)


class RaisesForNumber(BundledOrderAdapter):
    """It cannot say which number some orders have."""

    def number(self, order: Order) -> str:
        if order.number.startswith(BROKEN):
            raise RuntimeError("the shop's own")
        return super().number(order)


class RaisesForFind(BundledOrderAdapter):
    """It finds no order at all."""

    def find(self, order_id: object) -> Order | None:
        raise RuntimeError("the shop's own")

    def find_for_user(self, order_id: object, user: object) -> Order | None:
        raise RuntimeError("the shop's own")


class CannotLookUp(BundledOrderAdapter):
    """It finds no order, by no method."""

    def parse_id(self, order_id: object) -> object:
        return order_id

    def get_queryset(self) -> Any:
        raise RuntimeError("the shop's own")

    def find(self, order_id: object) -> Order | None:
        raise RuntimeError("the shop's own")

    def list_for_user(self, user: object) -> Any:
        raise RuntimeError("the shop's own")

    def find_for_user(self, order_id: object, user: object) -> Order | None:
        raise RuntimeError("the shop's own")


def _fail(number: int) -> Order:
    raise RuntimeError("the shop's own")


class FailsWhenRead(BundledOrderAdapter):
    """Its orders are something that fails only when it is read."""

    def list_for_user(self, user: object) -> Any:
        return map(_fail, [1])

    def find_for_user(self, order_id: object, user: object) -> Order | None:
        order: Order | None = next(self.list_for_user(user))
        return order
