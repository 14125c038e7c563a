"""The rows that the demo needs: a customer, staff, keys, and the order of docs/api.md.

Every run issues its own credentials, prints them, and takes back those of the run before.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.authtoken.models import Token

from shop_payments.models import APIKey, APIKeyScope, Order, OrderLine

CUSTOMER = "demo-customer"
STAFF = "demo-staff"
LABELS = {
    APIKeyScope.STOREFRONT: "demo storefront",
    APIKeyScope.PAYMENTS: "demo payment system",
}


@dataclass(frozen=True, kw_only=True)
class DemoData:
    """What was made, and every secret that opens it."""

    order: Order
    """To be paid by the demo."""

    second_order: Order
    """To be paid by whoever tries it."""

    token: str = field(repr=False)
    storefront_key: str = field(repr=False)
    payments_key: str = field(repr=False)
    staff_password: str = field(repr=False)


@transaction.atomic
def make_demo_data() -> DemoData:
    customer = _user(CUSTOMER)
    Token.objects.filter(user=customer).delete()
    return DemoData(
        order=_order(customer),
        second_order=_order(customer),
        token=Token.objects.create(user=customer).key,
        storefront_key=_new_key(APIKeyScope.STOREFRONT),
        payments_key=_new_key(APIKeyScope.PAYMENTS),
        staff_password=_new_staff_password(),
    )


def _user(username: str) -> User:
    user, _created = User.objects.get_or_create(
        username=username, defaults={"email": f"{username}@example.com"}
    )
    return user


def _new_staff_password() -> str:
    password = secrets.token_hex(10)
    staff = _user(STAFF)
    staff.is_staff = staff.is_superuser = staff.is_active = True
    staff.set_password(password)
    staff.save()
    return password


def _new_key(scope: APIKeyScope) -> str:
    label = LABELS[scope]
    for former in APIKey.objects.filter(label=label):
        former.revoke()
    _key, secret = APIKey.objects.issue(label=label, scopes=[scope.value])
    return secret.reveal()


def _order(customer: User) -> Order:
    order = Order.objects.create_numbered(customer=customer, email=customer.email, currency="usd")
    OrderLine.objects.create(order=order, name="Main product 2", unit_amount=5600, quantity=2)
    return order
