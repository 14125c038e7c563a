"""The sandbox as a shop's tests have it: what a customer does there reaches the shop."""

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
    OrderNotPayable,
    PaymentIntentMissing,
)
from shop_payments.gateway import get_gateway
from shop_payments.models import Order, OrderPayment, PaymentIntent, WebhookEvent
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox, StripeSandboxMixin
from tests.factories import OrderFactory, UserFactory

pytestmark = pytest.mark.django_db


def status_of(order: Order) -> str:
    return OrderPayment.objects.get(order=order).status


# Paying


def test_an_order_is_paid_from_nothing(order, stripe_sandbox, paid_signals):
    intent = stripe_sandbox.pay(order)

    assert (intent["status"], intent["amount"]) == ("succeeded", 11200)
    assert status_of(order) == "paid"
    assert len(paid_signals) == 1


@pytest.mark.django_db(transaction=True)
def test_an_order_is_paid_without_a_transaction_around_the_test(order, stripe_sandbox):
    stripe_sandbox.pay(order)

    assert status_of(order) == "paid"


@pytest.mark.parametrize("given", ["order", "data", "id", "row", "Stripe's JSON"])
def test_the_open_intent_is_paid_whatever_names_it(order, storefront, stripe_sandbox, given):
    data = storefront.payment_intent(order).json()["data"]
    payable = {
        "order": order,
        "data": data,
        "id": data["id"],
        "row": PaymentIntent.objects.get(),
        "Stripe's JSON": stripe_sandbox.payment_intent(order),
    }[given]

    assert stripe_sandbox.pay(payable)["id"] == data["id"]
    assert status_of(order) == "paid"


def test_a_decline_tells_why_and_the_next_card_pays_the_same_intent(order, stripe_sandbox):
    declined = stripe_sandbox.decline(order)

    assert declined["status"] == "requires_payment_method"
    assert declined["last_payment_error"]["decline_code"] == "generic_decline"
    assert PaymentIntent.objects.get().last_decline_code == "generic_decline"
    assert stripe_sandbox.pay(order)["id"] == declined["id"]
    assert status_of(order) == "paid"


@pytest.mark.parametrize(("succeed", "status"), [(True, "paid"), (False, "unpaid")])
def test_3d_secure_is_passed_or_failed(order, stripe_sandbox, succeed, status):
    waiting = stripe_sandbox.pay(order, "pm_card_authenticationRequired")
    assert (waiting["status"], status_of(order)) == ("requires_action", "unpaid")

    intent = stripe_sandbox.authenticate(order, succeed=succeed)

    assert (intent["status"] == "succeeded", status_of(order)) == (succeed, status)
    assert PaymentIntent.objects.get().status == intent["status"]


def test_who_does_not_wait_for_3d_secure_cannot_pass_it(order, stripe_sandbox):
    stripe_sandbox.pay(order)

    with pytest.raises(ValueError, match=r"requires_action|wait"):
        stripe_sandbox.authenticate(order)


def test_a_paid_order_is_not_paid_again(order, stripe_sandbox):
    intent = stripe_sandbox.pay(order)

    with pytest.raises(OrderAlreadyPaid):
        stripe_sandbox.pay(order)
    with pytest.raises(GatewayError) as refusal:
        stripe_sandbox.pay(intent)
    assert refusal.value.code == "payment_intent_unexpected_state"


def test_an_order_that_cannot_be_paid_says_so(stripe_sandbox):
    with pytest.raises(OrderNotPayable):
        stripe_sandbox.pay(OrderFactory.create(lines=[]))


@pytest.mark.parametrize(
    ("card", "status"),
    [("pm_card_visa", "succeeded"), ("pm_card_authenticationRequired", "requires_action")],
)
def test_an_order_is_paid_where_the_dashboard_says_how(
    order, stripe_sandbox, configure, card, status
):
    configure(AUTOMATIC_PAYMENT_METHODS=True)

    intent = stripe_sandbox.pay(order, card)

    assert (intent["status"], intent["automatic_payment_methods"]["enabled"]) == (status, True)


def test_a_card_that_is_none_is_refused(order, stripe_sandbox):
    with pytest.raises(GatewayError, match="pm_card_nobodys") as refusal:
        stripe_sandbox.pay(order, "pm_card_nobodys")
    assert refusal.value.code == "resource_missing"


@pytest.mark.parametrize("payable", [None, 9, "order", {"total": 1}, {"id": 9}])
def test_what_cannot_be_paid_is_named(stripe_sandbox, payable):
    expected = f"shop_payments.Order.*not {type(payable).__name__}"
    for act in (stripe_sandbox.pay, stripe_sandbox.authenticate, stripe_sandbox.payment_intent):
        with pytest.raises(TypeError, match=expected):
            act(payable)


def test_a_row_of_another_model_is_no_order(stripe_sandbox):
    with pytest.raises(TypeError, match="not User"):
        stripe_sandbox.pay(UserFactory.create())


def test_an_order_without_an_intent_has_none_to_look_at(order, stripe_sandbox):
    for look in (stripe_sandbox.payment_intent, stripe_sandbox.authenticate):
        with pytest.raises(PaymentIntentMissing, match=rf"Order {order.pk} has no payment intent"):
            look(order)


def test_the_newest_intent_is_the_orders(order, storefront, stripe_sandbox):
    first = storefront.payment_intent(order).json()["data"]["id"]
    stripe_sandbox.advance(first, "canceled")
    stripe_sandbox.deliver_webhooks()
    second = storefront.payment_intent(order).json()["data"]["id"]

    assert stripe_sandbox.payment_intent(order)["id"] == second != first
    assert stripe_sandbox.pay(order)["id"] == second


def test_an_injected_fault_is_met(order, storefront, stripe_sandbox):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    stripe_sandbox.inject(Fault("error", path="*/confirm", status=500))

    with pytest.raises(GatewayError) as failure:
        stripe_sandbox.pay(intent_id)
    assert failure.value.http_status == 500


# The money afterwards


def test_money_is_given_back_in_the_dashboard(order, stripe_sandbox):
    stripe_sandbox.pay(order)

    part = stripe_sandbox.refund(order, 1250)
    after_a_part = status_of(order)
    rest = stripe_sandbox.refund(order)

    assert (part["amount"], rest["amount"], rest["status"]) == (1250, 9950, "succeeded")
    assert (after_a_part, status_of(order)) == ("partially_refunded", "refunded")


def test_a_refund_that_fails_in_a_while(order, stripe_sandbox):
    stripe_sandbox.pay(order, "pm_card_refundFail")
    stripe_sandbox.refund(order)
    at_first = status_of(order)

    stripe_sandbox.advance_clock(24 * 60 * 60)
    stripe_sandbox.deliver_webhooks()

    assert (at_first, status_of(order)) == ("refunded", "paid")
    assert OrderPayment.objects.get().needs_review


@pytest.mark.parametrize(("won", "ends"), [(True, "won"), (False, "lost")])
def test_a_dispute_is_won_or_lost(order, stripe_sandbox, won, ends):
    stripe_sandbox.pay(order)
    opened = stripe_sandbox.dispute(order, "product_not_received")
    open_state = OrderPayment.objects.get().dispute_state

    decided = stripe_sandbox.decide_dispute(order, won=won)

    assert (opened["status"], opened["reason"]) == ("needs_response", "product_not_received")
    assert decided["status"] == ends
    assert (open_state, OrderPayment.objects.get().dispute_state) == ("open", ends)


def test_an_inquiry_comes_to_nothing(order, stripe_sandbox):
    stripe_sandbox.pay(order)
    stripe_sandbox.dispute(order, inquiry=True)
    state = OrderPayment.objects.get().dispute_state

    assert stripe_sandbox.decide_dispute(order, won=True)["status"] == "warning_closed"

    assert (state, OrderPayment.objects.get().dispute_state) == ("inquiry", "")


def test_what_was_not_paid_is_neither_given_back_nor_asked_back(order, stripe_sandbox):
    with pytest.raises(PaymentIntentMissing):
        stripe_sandbox.refund(order)
    stripe_sandbox.decline(order)

    with pytest.raises(GatewayError, match="successful charge"):
        stripe_sandbox.refund(order)
    with pytest.raises(ValueError, match="No money was taken"):
        stripe_sandbox.dispute(order)
    with pytest.raises(ValueError, match="No dispute"):
        stripe_sandbox.decide_dispute(order, won=True)


def test_more_than_was_paid_is_not_given_back(order, stripe_sandbox):
    stripe_sandbox.pay(order)

    with pytest.raises(GatewayError, match="greater than unrefunded"):
        stripe_sandbox.refund(order, 11201)


# Several payments


@pytest.fixture
def deposits(configure, stripe_sandbox):
    """The shop asks for a deposit of 90.00, and then for the rest."""
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")


def test_each_payment_is_what_call_1_asks_for(order, deposits, stripe_sandbox, paid_signals):
    deposit = stripe_sandbox.pay(order)
    status_after_the_deposit = status_of(order)
    rest = stripe_sandbox.pay(order)

    assert (deposit["amount"], rest["amount"]) == (9000, 2200)
    assert (status_after_the_deposit, status_of(order)) == ("partially_paid", "paid")
    assert len(paid_signals) == 1


def test_an_order_that_was_raised_is_paid_the_difference(order, stripe_sandbox):
    stripe_sandbox.pay(order)
    order.lines.update(quantity=3)

    assert stripe_sandbox.pay(order)["amount"] == 5600
    assert status_of(order) == "paid"


def test_money_of_the_newest_payment_is_given_back(order, deposits, stripe_sandbox):
    """Also while another intent is open: nothing has been paid with that one."""
    deposit = stripe_sandbox.pay(order)
    stripe_sandbox.decline(order)

    refund = stripe_sandbox.refund(order)

    assert (refund["payment_intent"], refund["amount"]) == (deposit["id"], 9000)
    assert status_of(order) == "unpaid"


def test_money_of_another_payment_is_given_back_where_it_is_named(order, deposits, stripe_sandbox):
    deposit = stripe_sandbox.pay(order)
    rest = stripe_sandbox.pay(order)

    assert stripe_sandbox.refund(order, 100)["payment_intent"] == rest["id"]
    assert stripe_sandbox.refund(deposit, 100)["payment_intent"] == deposit["id"]
    assert status_of(order) == "partially_refunded"


def test_a_dispute_is_decided_after_the_next_payment(order, deposits, stripe_sandbox):
    deposit = stripe_sandbox.pay(order)
    waiting = stripe_sandbox.decline(order)
    opened = stripe_sandbox.dispute(order)
    rest = stripe_sandbox.pay(waiting)

    decided = stripe_sandbox.decide_dispute(order, won=True)

    assert opened["payment_intent"] == decided["payment_intent"] == deposit["id"]
    assert rest["amount"] == 2200
    assert (decided["status"], status_of(order)) == ("won", "paid")


# Webhooks


def test_webhooks_may_be_late(order, stripe_sandbox):
    stripe_sandbox.pay(order, deliver=False)
    assert status_of(order) == "unpaid"

    assert stripe_sandbox.deliver_webhooks() == len(stripe_sandbox.events)
    assert stripe_sandbox.deliver_webhooks() == 0
    assert status_of(order) == "paid"


def test_webhooks_may_be_lost(order, stripe_sandbox, payment_system):
    stripe_sandbox.disconnect_webhooks()
    stripe_sandbox.pay(order)
    stripe_sandbox.connect_webhooks()

    assert stripe_sandbox.deliver_webhooks() == 0
    assert status_of(order) == "unpaid"
    assert payment_system.payment(order).status_code == 200
    assert not WebhookEvent.objects.exists()


def test_to_connect_twice_delivers_once(order, stripe_sandbox):
    stripe_sandbox.connect_webhooks()
    stripe_sandbox.pay(order)

    assert WebhookEvent.objects.count() == len(stripe_sandbox.events)


def test_a_refused_webhook_fails_the_test_with_the_shops_answer(order, stripe_sandbox, configure):
    configure(STRIPE_WEBHOOK_SECRETS="whsec_of_another")

    with pytest.raises(AssertionError, match=r"payment_intent\.succeeded: 400 .*invalid_signature"):
        stripe_sandbox.pay(order)
    assert {each.last_status for each in stripe_sandbox.pending_deliveries} == {400}


def test_a_refusal_is_told_once(order, stripe_sandbox, configure):
    configure(STRIPE_WEBHOOK_SECRETS="whsec_of_another")
    with pytest.raises(AssertionError):
        stripe_sandbox.pay(order)

    assert stripe_sandbox.deliver_webhooks() == 0  # the next attempts are due in a second


# Settings


def test_the_routes_have_to_be_there(order, stripe_sandbox, settings):
    settings.ROOT_URLCONF = "rest_framework.urls"

    with pytest.raises(ConfigurationError, match="ROOT_URLCONF"):
        stripe_sandbox.pay(order)


def test_a_live_key_is_refused(configure):
    configure(STRIPE_SECRET_KEY="sk_live_of_the_tests", STRIPE_TRANSPORT=None)

    with pytest.raises(ConfigurationError, match=r"set a test key \(sk_test_…\)"), StripeSandbox():
        pytest.fail("it was opened")
    assert get_gateway().livemode  # nothing was changed


def test_a_sandbox_that_was_not_entered_sends_nothing_to_stripe(order, configure):
    configure(STRIPE_TRANSPORT=None)

    with pytest.raises(ConfigurationError, match=re.escape("with StripeSandbox() as")):
        StripeSandbox().pay(order)
    assert not OrderPayment.objects.exists()


def test_webhooks_want_a_secret_to_be_signed_with(configure):
    configure(STRIPE_WEBHOOK_SECRETS=[])

    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRETS"):
        StripeSandbox().connect_webhooks()


@pytest.mark.parametrize(
    "theirs",
    [{}, {"STRIPE_SECRET_KEY": "no key", "PAGE_SIZE": 7}, {"STRIPE_SECRET_KEY": "sk_test_..."}],
)
def test_it_works_whatever_the_settings_are_and_leaves_them_behind(order, settings, theirs):
    settings.SHOP_PAYMENTS = theirs

    with StripeSandbox() as stripe_sandbox:
        stripe_sandbox.pay(order)
        assert django_settings.SHOP_PAYMENTS.get("PAGE_SIZE") == theirs.get("PAGE_SIZE")

    assert status_of(order) == "paid"
    assert theirs == django_settings.SHOP_PAYMENTS


def test_a_fault_is_met_however_often_the_project_retries(order, configure):
    configure(MAX_NETWORK_RETRIES=1)

    with StripeSandbox() as stripe_sandbox:
        stripe_sandbox.inject(Fault("drop_before"))
        with pytest.raises(GatewayUnavailable):
            stripe_sandbox.pay(order)


def test_nobody_is_throttled(order, storefront, configure):
    configure(THROTTLE_RATES={"payment_intent_user": "1/min"})

    with StripeSandbox():
        answers = [storefront.payment_intent(order) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3


def test_it_works_without_the_setting(order, settings):
    settings.SHOP_PAYMENTS = {}  # the end of a change is announced, that of a deletion is not
    del settings.SHOP_PAYMENTS

    with StripeSandbox() as stripe_sandbox:
        stripe_sandbox.pay(order)

    assert status_of(order) == "paid"
    assert not hasattr(django_settings, "SHOP_PAYMENTS")


def test_keys_of_the_test_settings_stay(stripe_sandbox):
    ours = django_settings.SHOP_PAYMENTS

    assert ours["STRIPE_SECRET_KEY"] == "sk_test_of_the_tests"
    assert ours["STRIPE_WEBHOOK_SECRETS"] == ["whsec_of_the_tests"]


def test_nothing_is_left_of_the_sandboxes_of_other_tests():
    assert django_settings.SHOP_PAYMENTS["STRIPE_TRANSPORT"] == "tests.support.no_stripe"


def test_one_sandbox_in_another_gives_way_again(order):
    another = OrderFactory.create()

    with StripeSandbox() as outer:
        with StripeSandbox() as inner:
            inner.pay(another)
        outer.pay(order)

    for sandbox, paid in ((inner, another), (outer, order)):
        numbers = {
            event["data"]["object"].get("metadata", {}).get("order_number")
            for event in sandbox.events
            if event["type"].startswith("payment_intent.")
        }
        assert numbers == {paid.number}


class TestMixinFirst(StripeSandboxMixin, TestCase):
    def test_an_order_is_paid(self) -> None:
        order = OrderFactory.create()

        self.stripe_sandbox.pay(order)

        assert status_of(order) == "paid"


class TestSharedData(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        with StripeSandbox() as stripe_sandbox:
            stripe_sandbox.pay(OrderFactory.create())

    def test_an_order_is_paid_for_all_tests_of_a_class(self) -> None:
        assert OrderPayment.objects.get().is_paid


class TestMixinLast(TestCase, StripeSandboxMixin):
    def test_each_test_has_its_own(self) -> None:
        assert self.stripe_sandbox.events == []
        assert self.stripe_sandbox.handle == django_settings.SHOP_PAYMENTS["STRIPE_TRANSPORT"]

    def test_the_order_of_the_base_classes_does_not_matter(self) -> None:
        self.test_each_test_has_its_own()
        self.stripe_sandbox.pay(OrderFactory.create())
