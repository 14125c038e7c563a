"""Rows to test with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from factory import declarations, helpers
from factory.django import DjangoModelFactory
from rest_framework.authtoken.models import Token

from shop_payments.models import Order, OrderLine


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    username = declarations.Sequence(lambda n: f"customer{n}")
    email = declarations.LazyAttribute(lambda user: f"{user.username}@example.com")


class TokenFactory(DjangoModelFactory[Token]):
    class Meta:
        model = Token

    user = declarations.SubFactory(UserFactory)


class OrderFactory(DjangoModelFactory[Order]):
    """The order of docs/api.md: 2 × "Main product 2" at 56.00 usd."""

    class Meta:
        model = Order
        skip_postgeneration_save = True

    number = declarations.Sequence(lambda n: f"ORD-20250331-{n:04d}")
    customer = declarations.SubFactory(UserFactory)
    email = declarations.LazyAttribute(lambda order: order.customer.email)
    currency = "usd"

    @helpers.post_generation
    def lines(self, create: bool, extracted: Any, **kwargs: Any) -> None:
        lines = [{}] if extracted is None else extracted
        for line in lines:
            OrderLineFactory(order=self, **line)


class OrderLineFactory(DjangoModelFactory[OrderLine]):
    class Meta:
        model = OrderLine

    order = declarations.SubFactory(OrderFactory, lines=[])
    name = "Main product 2"
    unit_amount = 5600
    quantity = 2
