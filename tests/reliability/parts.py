"""A shop some of whose orders are paid in parts: two, three or four."""

from __future__ import annotations

from shop_payments.models import Order
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter

ADAPTER = "tests.reliability.parts.PartsAdapter"
"""The setting ``ORDER_ADAPTER``."""

PARTS = {"TWO": 2, "THREE": 3, "FOUR": 4}
"""How the numbers of such orders begin, and how many payments they have."""

SMALLEST = 100
"""Minor units. It is above Stripe's minimum of all currencies that the tests use."""


def number_in_parts(number: str, parts: int) -> str:
    """Mark an order's number as that of an order which is paid in so many parts."""
    prefix = next((name for name, count in PARTS.items() if count == parts), None)
    return f"{prefix}-{number}" if prefix else number


def parts_of(number: str) -> int:
    """In how many parts an order with this number is paid."""
    return next((count for name, count in PARTS.items() if f"{name}-" in number), 1)


def part_of(number: str, *, total: int, outstanding: int) -> int:
    """Return what the customer is asked for now; the last digit of a part is a 0."""
    part = total // parts_of(number) // 10 * 10
    is_last = part < SMALLEST or outstanding < 2 * part
    return outstanding if is_last else part


class PartsAdapter(BundledOrderAdapter):
    """Asks for one part after the other."""

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        part = part_of(order.number, total=order.amount, outstanding=outstanding.amount)
        return Money(part, outstanding.currency)
