"""A shop in which some orders are paid in two, three or four payments, and its people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from shop_payments.models import APIKeyScope, Order
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter
from tests.books import AccountingOffice
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, issue_key

ADAPTER = "tests.reliability.parts.PartsAdapter"
"""The setting ``ORDER_ADAPTER``."""

PARTS = {"TWO": 2, "THREE": 3, "FOUR": 4}
"""How the numbers of such orders begin, and how many payments they have."""

SMALLEST = 100
"""Minor units, above Stripe's minimum of each currency that the tests use."""


def number_in_parts(number: str, parts: int) -> str:
    """Mark an order's number as that of an order with so many payments."""
    prefix = next((name for name, count in PARTS.items() if count == parts), None)
    return f"{prefix}-{number}" if prefix else number


def place_order(customer: Any, *, parts: int = 1) -> Order:
    """Create an order of 112.00 usd with so many payments."""
    order: Order = OrderFactory.create(customer=customer)
    order.number = number_in_parts(order.number, parts)
    order.save()
    return order


def parts_of(number: str) -> int:
    """Return how many payments the order with this number has."""
    return next((count for name, count in PARTS.items() if f"{name}-" in number), 1)


def part_of(number: str, *, total: int, outstanding: int) -> int:
    """Return what the customer is asked for now; the last digit of a part is a 0."""
    part = total // parts_of(number) // 10 * 10
    is_last = part < SMALLEST or outstanding < 2 * part
    return outstanding if is_last else part


class PartsAdapter(BundledOrderAdapter):
    """Ask for one part after the other."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        part = part_of(order.number, total=order.amount, outstanding=outstanding.amount)
        return Money(part, outstanding.currency)


@dataclass(frozen=True, kw_only=True)
class People:
    """Who there is, whatever happens to the orders."""

    customer: User
    storefront: Caller
    payment_system: Caller
    office: AccountingOffice
    superuser: User

    @classmethod
    def arrive(cls) -> People:
        token = TokenFactory.create()
        return cls(
            customer=token.user,
            storefront=Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT)),
            payment_system=Caller(key=issue_key(APIKeyScope.PAYMENTS)),
            office=AccountingOffice(key=issue_key(APIKeyScope.REFUNDS)),
            superuser=User.objects.create_superuser("root", "root@example.com", "secret"),
        )
