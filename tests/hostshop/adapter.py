from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet

from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import OrderPayment
from shop_payments.money import Money
from shop_payments.orders import LineItem, OrderAdapter

from .models import Order


class HostOrderAdapter(OrderAdapter):
    """How payments see this shop's orders."""

    serves_model = Order
    created_field = "placed_at"
    number_field = "reference"

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.select_related("customer").prefetch_related("items")

    def list_for_user(self, user: Any) -> QuerySet[Order]:
        return self.get_queryset().filter(customer__user=user.pk)

    def number(self, order: Order) -> str:
        return order.reference

    def total(self, order: Order) -> Money:
        return Money.from_decimal(order.total, order.currency)

    def line_items(self, order: Order) -> Sequence[LineItem]:
        return [
            LineItem.from_decimal(item.title, item.unit_price, order.currency, item.quantity)
            for item in order.items.all()
        ]

    def receipt_email(self, order: Order) -> str:
        return order.customer.email

    def search(self, text: str) -> QuerySet[Order]:
        by_name = Q(customer__user__last_name__istartswith=text)
        by_email = Q(customer__email__istartswith=text)
        return Order.objects.filter(Q(reference__iexact=text) | by_name | by_email)

    def is_payable(self, order: Order) -> bool:
        return not order.withdrawn

    def capture_method(self, order: Order) -> str:
        return "manual" if order.total >= 1000 else "automatic"

    def on_paid(self, order: Order, *, fact_id: Any, **kwargs: Any) -> None:
        order.shipments.get_or_create(fact_id=fact_id)

    def on_refunded(self, order: Order, *, order_payment: OrderPayment, **kwargs: Any) -> None:
        if order_payment.status == PaymentStatus.REFUNDED:
            order.shipments.all().delete()
