"""Orders of the host shop, and the clients of their customers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from factory import declarations, helpers
from factory.django import DjangoModelFactory

from shop_payments.models import APIKeyScope
from tests.conftest import issue_key
from tests.factories import TokenFactory, UserFactory
from tests.hostshop.models import Customer, Order
from tests.support import Caller


class CustomerFactory(DjangoModelFactory[Customer]):
    class Meta:
        model = Customer

    user = declarations.SubFactory(UserFactory)
    email = declarations.LazyAttribute(lambda customer: customer.user.email)


class HostOrderFactory(DjangoModelFactory[Order]):
    """2 × "Main product 2" at 56.000 USD."""

    class Meta:
        model = Order
        skip_postgeneration_save = True

    reference = declarations.Sequence(lambda n: f"2025/{n}")
    customer = declarations.SubFactory(CustomerFactory)
    total = Decimal("112.000")

    @helpers.post_generation
    def items(self: Any, create: bool, extracted: Any, **kwargs: Any) -> None:
        self.items.create(title="Main product 2", unit_price=self.total / 2, quantity=2)


def customer_of(order: Order) -> Caller:
    token = TokenFactory.create(user=order.customer.user)
    return Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))
