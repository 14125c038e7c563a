"""Adapters of shops that take an order's money in several payments, and of shops at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shop_payments.models import Order
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter


class Deposit(BundledOrderAdapter):
    """A deposit of 90.00 first, then the rest."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        is_first = outstanding == self.total(order)
        return Money(9000, outstanding.currency) if is_first else outstanding


def _asking(change: Callable[[int], int]) -> type[BundledOrderAdapter]:
    """Return an adapter that asks for a changed amount of what is outstanding."""

    def amount_to_pay_now(self: BundledOrderAdapter, order: Order, outstanding: Money) -> Money:
        return Money(change(outstanding.amount), outstanding.currency)

    return type("Asking", (BundledOrderAdapter,), {"amount_to_pay_now": amount_to_pay_now})


AsksForMore = _asking(lambda amount: amount + 1)


def _raising(method: str) -> type[BundledOrderAdapter]:
    """Return an adapter that raises in one method, for orders with a number like "BROKEN-1"."""

    def read(self: BundledOrderAdapter, order: Order) -> Any:
        if order.number.startswith("BROKEN"):
            raise RuntimeError("the shop's own")
        return getattr(BundledOrderAdapter, method)(self, order)

    return type("Raising", (BundledOrderAdapter,), {method: read})


RaisesForTotal = _raising("total")
RaisesForIsPayable = _raising("is_payable")
RaisesForLineItems = _raising("line_items")
RaisesForNumber = _raising("number")


class OnlyKeys(BundledOrderAdapter):
    """Its orders have neither a time nor a number in a column."""

    created_field = number_field = ""


class RaisesForSearch(BundledOrderAdapter):
    """It does not even search."""

    def search(self, text: str) -> Any:
        raise RuntimeError("the shop's own")


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
        return (1 / 0 for _order in "1")
