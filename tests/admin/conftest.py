"""Staff in front of the admin, and payments to look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from shop_payments.models import Order, OrderPayment
from shop_payments.sandbox import Sandbox
from tests.support import Caller, pay


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.com", "secret")


@pytest.fixture
def staff(superuser: User) -> Client:
    """A browser in which a superuser has logged in."""
    client = Client()
    client.force_login(superuser)
    return client


@pytest.fixture
def staff_with(db: None) -> Callable[..., Client]:
    """A browser of a staff person with these permissions and no others."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("clerk", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def open_payment(storefront: Caller, order: Order, stripe: Sandbox) -> OrderPayment:
    """The payment of an order whose customer has begun to pay."""
    assert storefront.payment_intent(order).status_code == 200
    return OrderPayment.objects.get()


@pytest.fixture
def paid(open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]) -> OrderPayment:
    """The payment of an order that has been paid."""
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.is_paid
    return open_payment


@pytest.fixture
def in_review(
    open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]
) -> OrderPayment:
    """The payment of an order that became dearer while its customer paid."""
    open_payment.order.lines.update(unit_amount=6000)
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.needs_review
    return open_payment
