"""``manage.py shop_payments_pay``."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError

from shop_payments.models import OrderPayment
from shop_payments.sandbox import Fault
from shop_payments.services import reevaluate_order
from tests.commands.support import run

pytestmark = pytest.mark.django_db


def pay(order, *arguments: str) -> str:
    return run("pay", str(order), *arguments)[0]


def test_it_attaches_a_test_card_and_confirms_if_asked_to(order, intent, webhooks):
    attached = json.loads(pay(order.number))
    confirmed = json.loads(pay(order.pk, "--confirm"))

    assert (attached["id"], attached["status"]) == (intent.stripe_id, "requires_confirmation")
    assert (attached["amount"], attached["amount_received"]) == (11200, 0)
    assert (confirmed["status"], confirmed["amount_received"]) == ("succeeded", 11200)
    assert OrderPayment.objects.get().status == "unpaid"
    webhooks()
    assert OrderPayment.objects.get().status == "paid"


def test_it_does_not_show_the_client_secret(order, intent, stripe):
    output = pay(order.pk, "--confirm")

    assert stripe.payment_intent(intent.stripe_id)["client_secret"] not in output
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
    stripe.advance(intent.stripe_id, "processing")

    with pytest.raises(CommandError, match="payment_intent_unexpected_state"):
        pay(order.pk, "--confirm")


def test_an_unknown_payment_method_is_named(order, intent):
    with pytest.raises(CommandError, match=r"No such PaymentMethod.*\(resource_missing, status"):
        pay(order.pk, "--payment-method", "pm_nothing")


@pytest.mark.parametrize("name", ["4711", "ORD-20250331-NONE", "\x00"])
def test_an_unknown_order(stripe, name):
    with pytest.raises(CommandError, match="There is no order"):
        pay(name)


def test_an_order_needs_an_open_intent(order, stripe, storefront, webhooks):
    no_intent = f"POST orders/{order.pk}/payment-intent"
    with pytest.raises(CommandError, match=no_intent):
        pay(order.pk)
    storefront.payment_intent(order)
    first = json.loads(pay(order.pk, "--confirm"))
    webhooks()
    with pytest.raises(CommandError, match=f"Order {order.pk} is paid"):
        pay(order.pk)

    order.lines.update(quantity=3)
    reevaluate_order(order.pk)
    with pytest.raises(CommandError, match=no_intent):
        pay(order.pk)
    storefront.payment_intent(order)
    rest = json.loads(pay(order.pk, "--confirm"))
    webhooks()

    assert (rest["id"] != first["id"], rest["amount"]) == (True, 5600)
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize(
    ("key", "words"), [("rk_live_x", "is a live key"), ("", "STRIPE_SECRET_KEY")]
)
def test_a_wrong_key_is_refused(order, configure, key, words):
    configure(STRIPE_SECRET_KEY=key, STRIPE_TRANSPORT=None)

    with pytest.raises(CommandError, match=words) as raised:
        pay(order.pk)

    assert "rk_live_x" not in str(raised.value)


def test_a_stripe_that_does_not_answer(order, intent, stripe):
    stripe.inject(Fault("drop_before", times=None))

    with pytest.raises(CommandError, match="could not be reached"):
        pay(order.pk)
