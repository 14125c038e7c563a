"""Orders with what became of their payment, for reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shop_payments.conf import get_config
from shop_payments.exceptions import MoneyError, OrderNotFound
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.money import Money, format_amount
from shop_payments.orders import LineItem, OrderAdapter, get_order_adapter, take_snapshot
from shop_payments.services.ledger import leading_intent


@dataclass(frozen=True, kw_only=True)
class OrderView:
    """An order as its customer sees it."""

    id: str
    number: str
    amount_decimal: str | None
    """In the currency's own digits; None where the order cannot be paid as it stands."""

    currency: str | None
    line_items: tuple[LineItem, ...]
    payable: bool
    """Whether the shop wants money for it and none has come or is on its way."""

    payment_status: str
    amount_refunded_decimal: str
    dispute_state: str
    needs_review: bool
    paid_at: datetime | None
    payment_intent: PaymentIntent | None


@dataclass(frozen=True, kw_only=True)
class OrderPage:
    """Some of a customer's orders, newest first."""

    orders: Sequence[OrderView]
    has_next: bool


def list_orders(*, user: Any, any_order: bool = False, page: int = 1) -> OrderPage:
    """Return one page (from 1) of the orders that ``user`` may pay, or of all for staff.

    The number of queries does not depend on the number of orders.
    """
    adapter, size = get_order_adapter(), get_config().PAGE_SIZE
    orders = adapter.get_queryset() if any_order else adapter.list_for_user(user)
    start = (page - 1) * size
    found = list(orders[start : start + size + 1])
    return OrderPage(orders=_views(adapter, found[:size]), has_next=len(found) > size)


def get_order(*, order_id: object, user: Any, any_order: bool = False) -> OrderView:
    """Return one order.

    Raises:
        OrderNotFound: no such order, or not this user's.
    """
    adapter = get_order_adapter()
    pk = adapter.parse_id(order_id)
    order = None
    if pk is not None:
        order = adapter.find(pk) if any_order else adapter.find_for_user(pk, user)
    if order is None:
        raise OrderNotFound("Order not found.")
    return _views(adapter, [order])[0]


def _views(adapter: OrderAdapter, orders: list[Any]) -> list[OrderView]:
    payments = OrderPayment.objects.filter(order__in=[order.pk for order in orders])
    by_order = {payment.order_id: payment for payment in payments}
    intents: dict[int, list[PaymentIntent]] = {}
    for intent in PaymentIntent.objects.of_payments(by_order.values()):
        intents.setdefault(intent.order_payment_id, []).append(intent)
    return [
        _view(adapter, order, payment, intents.get(payment.pk, []) if payment else [])
        for order in orders
        for payment in [by_order.get(order.pk)]
    ]


def _view(
    adapter: OrderAdapter,
    order: Any,
    payment: OrderPayment | None,
    intents: Iterable[PaymentIntent],
) -> OrderView:
    status = payment.status if payment else PaymentStatus.UNPAID
    try:
        snapshot = take_snapshot(adapter, order)
    except MoneyError:
        snapshot = None
    due = snapshot.amount_due if snapshot else None
    needs_review = payment.needs_review if payment else False
    return OrderView(
        id=str(order.pk),
        number=adapter.number(order),
        amount_decimal=format_amount(due.amount, due.currency) if due else None,
        currency=due.currency if due else None,
        line_items=snapshot.line_items if snapshot else (),
        payable=bool(snapshot and snapshot.payable)
        and status == PaymentStatus.UNPAID
        and not needs_review,
        payment_status=str(status),
        amount_refunded_decimal=_amount_refunded(payment, due),
        dispute_state=payment.dispute_state if payment else "",
        needs_review=needs_review,
        paid_at=payment.paid_at if payment else None,
        payment_intent=leading_intent(list(intents)),
    )


def _amount_refunded(payment: OrderPayment | None, due: Money | None) -> str:
    if payment is not None and payment.currency:
        return format_amount(payment.amount_refunded, payment.currency)
    return format_amount(0, due.currency) if due else "0"
