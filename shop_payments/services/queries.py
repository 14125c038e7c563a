"""Read orders with their balances, and the refunds of an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shop_payments.balance import Balance, balance_of
from shop_payments.conf import get_config
from shop_payments.exceptions import MoneyError, OrderUnreadable
from shop_payments.ledger.observations import (
    Rows,
    counted_money,
    counts,
    is_live_under_test_key,
    observe,
)
from shop_payments.ledger.payments import leading_intent
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import Dispute, OrderPayment, PaymentIntent, Refund, StaffEntry
from shop_payments.money import Money, format_amount, minimum_charge
from shop_payments.orders import (
    LineItem,
    OrderTerms,
    find_visible_order,
    get_order_adapter,
    parse_order_id,
    read_amount_to_pay_now,
    read_created_at,
    read_line_items,
    read_number,
    read_terms,
    reading,
)
from shop_payments.prepared import planned_by_value
from shop_payments.services.order_pages import OrderCursor, OrderFilters, select_page
from shop_payments.users import is_known_user


@dataclass(frozen=True, kw_only=True)
class PaymentView:
    """A payment that was received for an order."""

    id: str
    amount_received_decimal: str
    currency: str
    counts: bool
    """Whether its money counts for the order."""

    charged_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class OrderView:
    """An order as its customer sees it. Amounts are decimals in the currency's own digits."""

    id: str
    number: str
    created_at: datetime | None
    """None if the adapter has no ``created_field``."""

    total_decimal: str | None
    """None if the order cannot be read, or its currency has no such amount."""

    outstanding_decimal: str | None
    waived_decimal: str
    currency: str | None
    line_items: tuple[LineItem, ...]
    payable: bool
    """Whether the customer would be asked for money now."""

    asked_decimal: str | None
    """What the customer would be asked for now: a deposit, or all that is outstanding."""

    refusal: str
    """Why the customer is not asked, if the balance says so: a value of ``balance.Refusal``."""

    payment_status: str
    amount_refunded_decimal: str
    dispute_state: str
    needs_review: bool
    paid_at: datetime | None
    payment_intent: PaymentIntent | None
    payments: tuple[PaymentView, ...]
    """The received payments, oldest first."""


@dataclass(frozen=True, kw_only=True)
class OrderPage:
    """One page of orders, newest first."""

    orders: Sequence[OrderView]
    next: OrderCursor | None
    """The place at which the page with the next older orders begins; None if there are none."""

    previous: OrderCursor | None
    """The same for the next newer orders."""


def list_orders(
    *,
    user: Any,
    any_order: bool = False,
    filters: OrderFilters | None = None,
    cursor: OrderCursor | None = None,
) -> OrderPage:
    """Return one page of the orders that ``user`` may pay, or of all orders, newest first.

    ``any_order`` is for staff. Without a ``cursor``, it is the first page. The number of queries
    does not depend on the number of orders. An anonymous user has no orders.

    Raises:
        OrderUnreadable: the adapter raised, or does not name the field of a filter.
    """
    if not any_order and not is_known_user(user):
        return OrderPage(orders=(), next=None, previous=None)
    adapter, size = get_order_adapter(), get_config().PAGE_SIZE
    with reading("get_queryset" if any_order else "list_for_user", "any"):
        orders = adapter.get_queryset() if any_order else adapter.list_for_user(user)
        with planned_by_value(orders.db):
            found = select_page(orders, filters=filters or OrderFilters(), cursor=cursor, size=size)
    return OrderPage(orders=_views([*found.orders]), next=found.next, previous=found.previous)


def get_order(*, order_id: object, user: Any, any_order: bool = False) -> OrderView:
    """Return one order.

    Raises:
        OrderNotFound: there is no such order, or it is not this user's.
        OrderUnreadable: the adapter raised.
    """
    pk = parse_order_id(order_id)
    return _views([find_visible_order(pk, user=user, any_order=any_order)])[0]


# --- views --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """An order's data for its view; ``terms`` is None if it could not be read."""

    number: str
    created_at: datetime | None
    terms: OrderTerms | None
    line_items: tuple[LineItem, ...]


def _read(order: Any) -> _Found:
    """Read an order for its view. A fault in the shop's code affects only this order."""
    number, created_at = "", None
    try:
        number = read_number(order)
        created_at = read_created_at(order)
        terms = read_terms(order)
        lines = read_line_items(order)
    except (MoneyError, OrderUnreadable):
        return _Found(number, created_at, None, ())
    return _Found(number, created_at, terms, lines)


def _views(orders: list[Any]) -> list[OrderView]:
    payments = OrderPayment.objects.filter(order__in=[order.pk for order in orders])
    by_order = {payment.order_id: payment for payment in payments}
    rows = _rows_of(list(by_order.values()))
    return [_view(order, rows.get(order.pk)) for order in orders]


def _rows_of(payments: list[OrderPayment]) -> dict[Any, Rows]:
    """Read the rows of all payments, in a constant number of queries."""
    intents = _grouped(PaymentIntent.objects.of_payments(payments))
    moved = [payment for payment in payments if payment.has_refunds_or_disputes]
    refunds = _grouped(Refund.objects.filter(order_payment__in=moved) if moved else ())
    disputes = _grouped(Dispute.objects.filter(order_payment__in=moved) if moved else ())
    with_entries = [payment for payment in payments if payment.has_staff_entries]
    found = StaffEntry.objects.filter(order_payment__in=with_entries).select_related("capture")
    entries = _grouped(found if with_entries else ())
    return {
        payment.order_id: Rows(
            payment,
            intents.get(payment.pk, []),
            refunds.get(payment.pk, []),
            disputes.get(payment.pk, []),
            entries.get(payment.pk, []),
        )
        for payment in payments
    }


def _grouped(rows: Any) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.order_payment_id, []).append(row)
    return groups


def _view(order: Any, rows: Rows | None) -> OrderView:
    found = _read(order)
    payment = rows.payment if rows else OrderPayment()
    balance = _balance(rows or Rows(payment, []), found.terms)
    currency = found.terms.total.currency if found.terms else None
    known = currency or payment.currency
    intents = list(rows.intents) if rows else []
    paid_at, waived, refunded = payment.paid_at, payment.amount_waived, payment.amount_refunded
    if rows and balance:
        # From the rows, as the status is: they may have changed since the payment was read.
        waived = balance.waived
        refunded = sum(money.refunded for money in counted_money(rows))
        if paid_at is None and balance.is_covered:
            counted = (row for row in intents if counts(payment, row))
            paid_at = max(row.charged_at or row.stripe_created_at for row in counted)
    asked = _amount_asked(order, balance, known, intents) if balance else None
    return OrderView(
        id=str(order.pk),
        number=found.number,
        created_at=found.created_at,
        total_decimal=_decimal(balance.total, currency) if balance else None,
        outstanding_decimal=_decimal(balance.outstanding, currency) if balance else None,
        waived_decimal=_decimal(waived, known) or "0",
        currency=currency,
        line_items=found.line_items,
        payable=asked is not None,
        asked_decimal=None if asked is None else _decimal(asked, known),
        refusal=str((balance and balance.refusal) or ""),
        payment_status=str(balance.status if balance else payment.status or PaymentStatus.UNPAID),
        amount_refunded_decimal=_decimal(refunded, known) or "0",
        dispute_state=payment.dispute_state,
        needs_review=payment.needs_review,
        paid_at=paid_at,
        payment_intent=leading_intent(intents),
        payments=tuple(_payment_view(payment, row) for row in intents if row.amount_received),
    )


def _payment_view(payment: OrderPayment, row: PaymentIntent) -> PaymentView:
    return PaymentView(
        id=row.stripe_id,
        amount_received_decimal=format_amount(row.amount_received, row.currency),
        currency=row.currency,
        counts=counts(payment, row),
        charged_at=row.charged_at,
    )


def _balance(rows: Rows, terms: OrderTerms | None) -> Balance | None:
    """Compute the balance that an evaluation would store now; None if it would fail."""
    payment = rows.payment
    if terms is None or is_live_under_test_key(rows.intents):
        return None
    is_paid = any(counts(payment, row) for row in rows.intents)
    if is_paid and payment.currency != terms.total.currency:
        return None
    # The rows are changed in memory only. Nothing here saves them.
    payment.total, payment.currency = terms.total.amount, terms.total.currency
    payment.is_payable = terms.is_payable
    for row in rows.intents:
        row.wanted |= row.has_succeeded and terms.is_payable
    return balance_of(observe(rows))


def _amount_asked(
    order: Any, balance: Balance, currency: str, intents: list[PaymentIntent]
) -> int | None:
    """Return the amount for which call 1 would return a payment intent, if it would."""
    is_open_live = any(row.is_open and row.livemode for row in intents)
    if balance.refusal is not None or (is_open_live and not get_config().livemode):
        return None
    try:
        now = read_amount_to_pay_now(order, Money(balance.outstanding, currency))
    except (MoneyError, OrderUnreadable):
        return None
    return now.amount if now.amount >= minimum_charge(currency) else None


def _decimal(amount: int, currency: str | None) -> str | None:
    return format_amount(amount, currency) if currency else None


def list_refunds(*, order_id: object) -> list[Refund]:
    """Return the refunds of an order as they are stored here, oldest first.

    Raises:
        OrderNotFound: there is no such order.
    """
    pk = parse_order_id(order_id)
    rows = Refund.objects.select_related("payment_intent").order_by("created_at", "pk")
    found = [] if pk is None else list(rows.filter(order_payment__order_id=pk))
    if not found:
        find_visible_order(pk, any_order=True)  # raises OrderNotFound
    return found
