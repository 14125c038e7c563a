"""Staff in the admin, and payments in various states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from shop_payments.models import Order, OrderPayment, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import Staff, make_records
from tests.books import refund_in_dashboard
from tests.support import pay


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)


def browser_of(user: User) -> Staff:
    browser = Staff()
    browser.force_login(user)
    return browser


@pytest.fixture
def staff(superuser: User) -> Staff:
    """A browser in which a superuser has logged in."""
    return browser_of(superuser)


@pytest.fixture
def staff_with(db: None) -> Callable[..., Staff]:
    """A browser of a member of staff with these permissions and no others."""

    def log_in(*codenames: str) -> Staff:
        user = User.objects.create(username=f"clerk{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return browser_of(user)

    return log_in


def pay_now(payment, stripe, webhooks, method="pm_card_visa"):
    """Let the customer pay, and the events arrive."""
    pay(stripe, payment.payment_intents.get().stripe_id, method)
    webhooks()
    payment.refresh_from_db()
    return payment


@pytest.fixture
def open_payment(storefront, order, stripe) -> OrderPayment:
    """The payment of an order whose customer has begun to pay."""
    assert storefront.payment_intent(order).status_code == 200
    return OrderPayment.objects.get()


@pytest.fixture
def unresolved(paid, office, stripe):
    """The payment of an order with a refund of 40.00, a correction, whose outcome is unknown."""
    stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
    response = office.refund(paid.order, {"amount": "40.00", "kind": "correction"}, key="a")
    assert response.status_code == 503
    StripeAttempt.objects.update(acquired_at=None)  # minutes later
    return paid


@pytest.fixture
def late(open_payment, stripe, webhooks):
    """The payment of an order that was cancelled while its customer paid."""
    Order.objects.update(status="cancelled")
    return pay_now(open_payment, stripe, webhooks)


@pytest.fixture
def disputed(open_payment, stripe, webhooks):
    """The payment of an order that the customer's bank disputes."""
    return pay_now(open_payment, stripe, webhooks, "pm_card_createDispute")


@pytest.fixture
def eventful(late, stripe, webhooks):
    """Late money that was refunded in part, and rows of every kind beside it."""
    refund_in_dashboard(stripe, amount="1200")
    webhooks()
    fetch_fees(since=timezone.now() - timedelta(days=1))
    make_records()
    return late


@pytest.fixture
def in_review(open_payment, stripe, webhooks):
    """The payment of an order whose total fell while its customer paid: 10.00 in excess."""
    open_payment.order.lines.update(unit_amount=5100)
    return pay_now(open_payment, stripe, webhooks)


@pytest.fixture
def partly_paid(open_payment, stripe, webhooks):
    """The payment of an order whose total rose while its customer paid: 8.00 is outstanding."""
    open_payment.order.lines.update(unit_amount=6000)
    return pay_now(open_payment, stripe, webhooks)


@pytest.fixture
def waived(partly_paid: OrderPayment, staff: Staff) -> OrderPayment:
    """The payment of an order whose rest was waived by staff."""
    assert staff.act("waive", reason="Agreed by telephone.").redirect_chain
    partly_paid.refresh_from_db()
    return partly_paid
