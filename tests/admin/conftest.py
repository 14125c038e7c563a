"""Staff in front of the admin, and payments to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from shop_payments.models import APIKeyScope, Order, OrderPayment, Refund, StripeAttempt
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from tests.admin.support import act, make_records
from tests.after_paid.support import AccountingOffice
from tests.balance.conftest import open_shop
from tests.conftest import issue_key
from tests.support import Caller, call_stripe, pay

__all__ = ["open_shop"]


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
def unresolved(paid: OrderPayment, stripe: Sandbox) -> OrderPayment:
    """The payment of an order of whose refund of 40.00, a correction, nobody knows the outcome."""
    stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    response = office.refund(paid.order, {"amount": "40.00", "kind": "correction"}, key="a")
    assert response.status_code == 503
    assert Refund.objects.get().status == "requested"
    StripeAttempt.objects.update(acquired_at=None)  # minutes later
    return paid


@pytest.fixture
def authorized(
    configure: Callable[..., None],
    storefront: Caller,
    order: Order,
    stripe: StripeSandbox,
    webhooks: Callable[[], int],
) -> OrderPayment:
    """The payment of an order whose money is reserved."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    storefront.payment_intent(order)
    payment = OrderPayment.objects.get()
    pay(stripe, payment.payment_intents.get().stripe_id)
    webhooks()
    payment.refresh_from_db()
    assert payment.status == "authorized"
    return payment


@pytest.fixture
def late(open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]) -> OrderPayment:
    """The payment of an order that was cancelled while its customer paid."""
    Order.objects.update(status="cancelled")
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.needs_review
    return open_payment


@pytest.fixture
def disputed(
    open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]
) -> OrderPayment:
    """The payment of an order whose customer has called their bank."""
    pay(stripe, open_payment.payment_intents.get().stripe_id, "pm_card_createDispute")
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.dispute_state == "open"
    return open_payment


@pytest.fixture
def eventful(late: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]) -> OrderPayment:
    """Late money that was given back in part, and beside it rows of every kind."""
    intent = late.payment_intents.get()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, amount="1200")
    webhooks()
    fetch_fees(since=timezone.now() - timedelta(days=1))
    make_records()
    return late


@pytest.fixture
def in_review(
    open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]
) -> OrderPayment:
    """The payment of an order that became cheaper while its customer paid: 10.00 too much."""
    open_payment.order.lines.update(unit_amount=5100)
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.needs_review
    return open_payment


@pytest.fixture
def partly_paid(
    open_payment: OrderPayment, stripe: Sandbox, webhooks: Callable[[], int]
) -> OrderPayment:
    """The payment of an order that became dearer while its customer paid: 8.00 is outstanding."""
    open_payment.order.lines.update(unit_amount=6000)
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.amount_outstanding == 800
    return open_payment


@pytest.fixture
def waived(partly_paid: OrderPayment, staff: Client) -> OrderPayment:
    """The payment of an order whose rest was waived by staff."""
    assert act(staff, "waive", reason="Agreed by telephone.").redirect_chain
    partly_paid.refresh_from_db()
    assert partly_paid.is_paid
    return partly_paid
