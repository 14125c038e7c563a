"""``manage.py shop_payments_pay``."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError

from shop_payments.models import OrderPayment
from shop_payments.sandbox import Fault
from tests.commands.support import run

pytestmark = pytest.mark.django_db


def pay(order, *arguments: str) -> str:
    return run("pay", str(order), *arguments)[0]


def test_it_attaches_a_test_card_and_confirms_if_asked_to(order, intent, webhooks):
    attached = json.loads(pay(order.number))
    output = pay(order.pk, "--confirm")
    confirmed = json.loads(output)
    assert (attached["id"], attached["status"]) == (intent.stripe_id, "requires_confirmation")
    assert (attached["amount"], attached["amount_received"]) == (11200, 0)
    assert (confirmed["status"], confirmed["amount_received"]) == ("succeeded", 11200)
    assert "_secret" not in output
    assert order.email not in output
    assert OrderPayment.objects.get().status == "unpaid"
    webhooks()
    assert OrderPayment.objects.get().status == "paid"


def test_what_stripe_refuses_is_named_and_the_order_can_be_paid_again(order, intent, stripe):
    method = "pm_card_chargeDeclinedInsufficientFunds"
    with pytest.raises(CommandError, match=r"^Declined: .*\(card_declined, insufficient_funds\)"):
        pay(order.pk, "--confirm", "--payment-method", method)
    stripe.inject(Fault("drop_before", times=2))
    with pytest.raises(CommandError, match="could not be reached"):
        pay(order.pk)
    stripe.clear_faults()
    assert json.loads(pay(order.pk, "--confirm"))["status"] == "succeeded"


def test_an_order_needs_an_open_intent(order, stripe, storefront, webhooks):
    for name in ("4711", "ORD-20250331-NONE", "\x00"):
        with pytest.raises(CommandError, match=r"There is no order .* number \(such as ORD-"):
            pay(name)
    with pytest.raises(CommandError, match=f"POST orders/{order.pk}/payment-intent"):
        pay(order.pk)
    storefront.payment_intent(order)
    pay(order.pk, "--confirm")
    webhooks()
    with pytest.raises(CommandError, match=f"Order {order.pk} is paid"):
        pay(order.pk)


def test_a_live_key_is_refused(order, configure):
    configure(STRIPE_SECRET_KEY="rk_live_x", STRIPE_TRANSPORT=None)
    with pytest.raises(CommandError, match="is a live key") as raised:
        pay(order.pk)
    assert "rk_live_x" not in str(raised.value)
