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


class AsksForLessThanNothing(BundledOrderAdapter):
    """It asks for an amount that no Money can hold."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(-outstanding.amount, outstanding.currency)


class LeavesTooLittle(BundledOrderAdapter):
    """It leaves a rest that is below Stripe's minimum charge of 0.50 USD."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        return Money(outstanding.amount - 49, outstanding.currency)


BROKEN = "BROKEN"
"""The numbers of orders that the adapters below cannot read begin with this."""


def _raising(method: str) -> type[BundledOrderAdapter]:
    """Return an adapter that raises in one method, for broken orders."""

    def read(self: BundledOrderAdapter, order: Order) -> Any:
        if order.number.startswith(BROKEN):
            raise RuntimeError("the shop's own")
        return getattr(BundledOrderAdapter, method)(self, order)

    return type("Raising", (BundledOrderAdapter,), {method: read})


RaisesForTotal = _raising("total")
RaisesForIsPayable = _raising("is_payable")
RaisesForLineItems = _raising("line_items")
RaisesForNumber = _raising("number")


class CannotLookUp(BundledOrderAdapter):
    """It finds no order, by no method."""

    def parse_id(self, order_id: object) -> object:
        return order_id

    def _fail(self, *args: object) -> Any:
        raise RuntimeError("the shop's own")

    get_queryset = list_for_user = find = find_for_user = _fail  # type: ignore[assignment]


class FailsWhenRead(BundledOrderAdapter):
    """Its orders are an iterator that fails only when it is read."""

    def list_for_user(self, user: object) -> Any:
        def orders() -> Any:
            yield 1 / 0

        return orders()
