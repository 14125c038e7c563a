"""The sandbox in the tests of a shop: what can be paid, and what is refused.

The examples of docs/testing-your-shop.md, which `test_stranger.py` runs, take a payment from its
first card to its dispute.
"""

from __future__ import annotations

import re

import pytest
from django.conf import settings as django_settings
from django.test import TestCase

from shop_payments.exceptions import (
    ConfigurationError,
    GatewayError,
    GatewayUnavailable,
    OrderAlreadyPaid,
    PaymentIntentMissing,
)
from shop_payments.gateway import get_gateway
from shop_payments.models import Order, OrderPayment, PaymentIntent
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox, StripeSandboxMixin
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db


def status_of(order: Order) -> str:
    return OrderPayment.objects.get(order=order).status


def test_an_order_without_an_intent_is_paid_once(order, stripe_sandbox, paid_signals):
    intent = stripe_sandbox.pay(order)

    assert (intent["status"], intent["amount"]) == ("succeeded", 11200)
    assert status_of(order) == "paid"
    assert len(paid_signals) == 1
    with pytest.raises(OrderAlreadyPaid):
        stripe_sandbox.pay(order)
    with pytest.raises(GatewayError, match="has already succeeded"):
        stripe_sandbox.pay(intent)


def test_the_open_intent_is_confirmed_for_each_kind_of_payable(order, storefront, stripe_sandbox):
    data = storefront.payment_intent(order).json()["data"]
    row = PaymentIntent.objects.get()

    for payable in (order, data, data["id"], row):
        assert stripe_sandbox.decline(payable)["id"] == data["id"]


def test_3d_secure_can_fail(order, stripe_sandbox):
    stripe_sandbox.pay(order, "pm_card_authenticationRequired")

    intent = stripe_sandbox.authenticate(order, succeed=False)

    assert PaymentIntent.objects.get().status == intent["status"] == "requires_payment_method"


def test_anything_else_is_refused(order, stripe_sandbox):
    sandbox = stripe_sandbox
    for payable in (None, "order", {"id": 9}):
        expected = f"shop_payments.Order.*not {type(payable).__name__}"
        for act in (sandbox.pay, sandbox.authenticate, sandbox.payment_intent):
            with pytest.raises(TypeError, match=expected):
                act(payable)
    for look in (sandbox.payment_intent, sandbox.authenticate):
        with pytest.raises(PaymentIntentMissing, match=rf"Order {order.pk} has no payment intent"):
            look(order)


def test_an_unpaid_order_is_neither_refunded_nor_disputed(order, stripe_sandbox):
    with pytest.raises(PaymentIntentMissing):
        stripe_sandbox.refund(order)
    stripe_sandbox.decline(order)

    with pytest.raises(GatewayError, match="successful charge"):
        stripe_sandbox.refund(order)
    with pytest.raises(ValueError, match="No money was taken"):
        stripe_sandbox.dispute(order)
    with pytest.raises(ValueError, match="No dispute"):
        stripe_sandbox.decide_dispute(order, won=True)


def test_each_payment_has_the_amount_of_call_1_and_the_newest_is_refunded(
    order, configure, stripe_sandbox, paid_signals
):
    """The shop asks for a deposit of 90.00, and then for the rest."""
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")

    deposit = stripe_sandbox.pay(order)
    assert (deposit["amount"], status_of(order)) == (9000, "partially_paid")
    stripe_sandbox.decline(order)  # the next intent is open, and has received no money
    named, newest = stripe_sandbox.refund(deposit, 100), stripe_sandbox.refund(order)
    assert named["payment_intent"] == newest["payment_intent"] == deposit["id"]
    assert (newest["amount"], status_of(order)) == (8900, "unpaid")

    another = OrderFactory.create()
    assert [stripe_sandbox.pay(another)["amount"] for _ in range(2)] == [9000, 2200]
    assert (status_of(another), len(paid_signals)) == ("paid", 1)


def test_a_refused_webhook_fails_the_test_with_the_shops_answer(order, stripe_sandbox, configure):
    configure(STRIPE_WEBHOOK_SECRETS="whsec_of_another")

    with pytest.raises(AssertionError, match=r"payment_intent\.succeeded: 400 .*invalid_signature"):
        stripe_sandbox.pay(order)
    assert {each.last_status for each in stripe_sandbox.pending_deliveries} == {400}


def test_missing_routes_a_live_key_and_a_sandbox_that_was_not_entered_are_named(
    order, stripe_sandbox, settings, configure
):
    settings.ROOT_URLCONF = "rest_framework.urls"
    with pytest.raises(ConfigurationError, match="ROOT_URLCONF"):
        stripe_sandbox.pay(order)
    configure(STRIPE_TRANSPORT=None)
    with pytest.raises(ConfigurationError, match=re.escape("with StripeSandbox() as")):
        StripeSandbox().pay(OrderFactory.create())
    configure(STRIPE_SECRET_KEY="sk_live_of_the_tests")
    with pytest.raises(ConfigurationError, match=r"set a test key \(sk_test_…\)"), StripeSandbox():
        pytest.fail("it was opened")

    assert get_gateway().livemode  # nothing was changed
    assert OrderPayment.objects.count() == 1


@pytest.mark.parametrize("theirs", [{}, {"STRIPE_SECRET_KEY": "no key", "PAGE_SIZE": 7}])
def test_it_works_with_any_settings_and_restores_them(order, settings, theirs):
    settings.SHOP_PAYMENTS = theirs
    if not theirs:
        del settings.SHOP_PAYMENTS

    with StripeSandbox() as stripe_sandbox:
        stripe_sandbox.pay(order)
        assert django_settings.SHOP_PAYMENTS.get("PAGE_SIZE") == theirs.get("PAGE_SIZE")

    assert status_of(order) == "paid"
    assert getattr(django_settings, "SHOP_PAYMENTS", {}) == theirs


def test_requests_are_neither_throttled_nor_repeated(order, storefront, configure):
    configure(THROTTLE_RATES={"payment_intent_user": "1/min"}, MAX_NETWORK_RETRIES=1)

    with StripeSandbox() as stripe_sandbox:
        answers = [storefront.payment_intent(order) for _ in range(3)]
        stripe_sandbox.inject(Fault("drop_before"))
        with pytest.raises(GatewayUnavailable):
            stripe_sandbox.pay(OrderFactory.create())

    assert [answer.status_code for answer in answers] == [200] * 3


def test_sandboxes_can_be_nested(order):
    another = OrderFactory.create()

    with StripeSandbox() as outer:
        with StripeSandbox() as inner:
            inner.pay(another)
        outer.pay(order)

    for sandbox, paid in ((inner, another), (outer, order)):
        intents = [event["data"]["object"] for event in sandbox.events[:1]]
        assert [intent["metadata"]["order_number"] for intent in intents] == [paid.number]


class TestMixinLast(TestCase, StripeSandboxMixin):
    def test_each_test_has_its_own(self) -> None:
        assert self.stripe_sandbox.events == []
        assert self.stripe_sandbox.handle == django_settings.SHOP_PAYMENTS["STRIPE_TRANSPORT"]
