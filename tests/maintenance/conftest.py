"""Fixtures of the tests of what runs now and then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shop_payments.models import Order, PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.maintenance.support import Refusing, statuses
from tests.support import Caller, call_stripe, pay


@pytest.fixture
def paid(
    intent: PaymentIntent, payment_system: Caller, order: Order, stripe: StripeSandbox
) -> PaymentIntent:
    """The intent that has paid the order."""
    pay(stripe, intent.stripe_id)
    payment_system.payment(order)
    intent.refresh_from_db()
    return intent


@pytest.fixture
def orphan(storefront: Caller, order: Order, stripe: StripeSandbox) -> str:
    """An intent whose creation was not answered, and whose order has another one since."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    lost = call_stripe(stripe, "GET", "payment_intents")["data"][0]["id"]
    # As a look-up leaves it that could not see the intent yet.
    StripeAttempt.objects.get().finish("abandoned")
    storefront.payment_intent(order)
    assert len(statuses(stripe)) == 2
    return str(lost)


@pytest.fixture
def debits_not_cancelled(configure: Callable[..., None], stripe: StripeSandbox) -> Refusing:
    """A Stripe that cancels no intent whose money is on its way, as with most payment methods."""

    def is_refused(path: str) -> bool:
        intent, _, action = path.removeprefix("payment_intents/").partition("/")
        return action == "cancel" and stripe.payment_intent(intent)["status"] == "processing"

    line = Refusing(stripe, is_refused, status=400, code="payment_intent_unexpected_state")
    configure(STRIPE_TRANSPORT=line, ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    return line
