"""``manage.py shop_payments_pay``."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from shop_payments.models import OrderPayment
from shop_payments.sandbox import Fault
from shop_payments.services import reevaluate_order

pytestmark = pytest.mark.django_db


def pay(order, *arguments: str) -> str:
    out = StringIO()
    call_command("shop_payments_pay", str(order), *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def intent(storefront, order, stripe):
    """The order's intent, as the storefront got it."""
    return storefront.payment_intent(order).json()["data"]


def test_it_attaches_a_test_card(order, intent):
    answer = json.loads(pay(order.pk))

    assert (answer["id"], answer["status"]) == (intent["id"], "requires_confirmation")
    assert (answer["amount"], answer["amount_received"]) == (11200, 0)


def test_it_confirms_if_asked_to(order, intent):
    answer = json.loads(pay(order.pk, "--confirm"))
    assert (answer["status"], answer["amount_received"]) == ("succeeded", 11200)


def test_it_leaves_the_order_to_the_webhook(order, intent, webhooks):
    pay(order.pk, "--confirm")
    assert OrderPayment.objects.get().status == "unpaid"

    webhooks()

    assert OrderPayment.objects.get().status == "paid"


def test_it_finds_an_order_by_its_number(order, intent):
    assert json.loads(pay(order.number))["id"] == intent["id"]


def test_it_does_not_show_the_client_secret(order, intent):
    output = pay(order.pk, "--confirm")

    assert intent["client_secret"] not in output
    assert "client_secret" not in json.loads(output)
    assert order.email not in output


def test_a_decline_is_named_and_the_order_can_be_paid_again(order, intent):
    method = "pm_card_chargeDeclinedInsufficientFunds"

    with pytest.raises(CommandError) as raised:
        pay(order.pk, "--confirm", "--payment-method", method)

    assert str(raised.value).startswith("Declined: ")
    assert "(card_declined, insufficient_funds)" in str(raised.value)
    assert json.loads(pay(order.pk, "--confirm"))["status"] == "succeeded"


def test_an_intent_that_has_gone_too_far(order, intent, stripe):
    stripe.advance(intent["id"], "processing")

    with pytest.raises(CommandError, match="payment_intent_unexpected_state"):
        pay(order.pk, "--confirm")


def test_an_unknown_payment_method_is_named(order, intent):
    with pytest.raises(CommandError, match=r"No such PaymentMethod.*\(resource_missing, status"):
        pay(order.pk, "--payment-method", "pm_nothing")


@pytest.mark.parametrize("name", ["4711", "ORD-20250331-NONE", "", "\x00"])
def test_an_unknown_order(stripe, name):
    with pytest.raises(CommandError, match="There is no order"):
        pay(name)


def test_an_order_without_an_intent(order, stripe):
    with pytest.raises(CommandError, match=f"POST orders/{order.pk}/payment-intent"):
        pay(order.pk)


def test_a_paid_order(order, intent, webhooks):
    pay(order.pk, "--confirm")
    webhooks()

    with pytest.raises(CommandError, match=f"Order {order.pk} is paid"):
        pay(order.pk)


def test_a_rest_is_paid_with_an_intent_of_its_own(order, intent, storefront, webhooks):
    pay(order.pk, "--confirm")
    webhooks()
    order.lines.update(quantity=3)
    reevaluate_order(order.pk)

    with pytest.raises(CommandError, match=f"POST orders/{order.pk}/payment-intent"):
        pay(order.pk)
    storefront.payment_intent(order)
    rest = json.loads(pay(order.pk, "--confirm"))
    webhooks()

    assert (rest["id"] != intent["id"], rest["amount"]) == (True, 5600)
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x"])
def test_a_live_key_is_refused(order, configure, key):
    configure(STRIPE_SECRET_KEY=key, STRIPE_TRANSPORT=None)

    with pytest.raises(CommandError, match="is a live key") as raised:
        pay(order.pk)

    assert key not in str(raised.value)


def test_a_missing_key_is_named(order, configure):
    configure(STRIPE_SECRET_KEY="", STRIPE_TRANSPORT=None)

    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY"):
        pay(order.pk)


def test_a_stripe_that_does_not_answer(order, intent, stripe):
    stripe.inject(Fault("drop_before", times=None))

    with pytest.raises(CommandError, match="could not be reached"):
        pay(order.pk)
