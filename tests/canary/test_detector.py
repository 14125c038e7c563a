"""The canary can find a secret in a log, a row, an answer, a session and a traceback."""

from __future__ import annotations

import json
import logging

from django.test import Client

from shop_payments import signals
from shop_payments.gateway import get_gateway
from shop_payments.models import OrderPayment, PaymentHistory
from tests.canary.detector import BITE, STRIPE_KEY
from tests.canary.reports import reports_of
from tests.support import BASE


def test_a_leak_into_a_log_is_found(scene, canary):
    def careless(*, payment_intent, **kwargs):
        fetched = get_gateway().retrieve_payment_intent(payment_intent.stripe_id)
        logging.getLogger("urllib3").debug("to ship: %s", {"s": fetched.client_secret.reveal()})

    signals.order_paid.connect(careless)
    try:
        scene.ask()
        scene.pay()
        scene.settle()
    finally:
        signals.order_paid.disconnect(careless)

    canary.look_at_the_rest()

    assert [leak for leak in canary.leaks if "the log: urllib3: to ship" in leak]


def test_half_of_a_secret_in_a_row_is_found(scene, canary):
    scene.ask()
    (secret,) = canary.client_secrets().values()
    for half in (secret[:BITE], secret[-BITE:]):
        PaymentHistory.objects.create(
            order_payment=OrderPayment.objects.get(), kind="intent_created", actor=half
        )

    canary.look_at_the_rest()

    assert len([leak for leak in canary.leaks if "paymenthistory.actor" in leak]) == 2


def test_an_answer_to_somebody_else_is_found(scene, canary):
    first = scene.order
    scene.new_order()
    response = scene.ask()

    canary.look_at_answer("POST", f"{BASE}/orders/{first.pk}/payment", response)
    canary.look_at_answer("GET", f"{BASE}/orders/{scene.order.pk}/payment", response)

    assert len(canary.leaks) == 2


def test_secrets_in_sessions_and_traceback_variables_are_found(scene, canary):
    session = Client().session
    session["key"] = STRIPE_KEY
    session.save()
    try:
        json.loads(STRIPE_KEY)
    except ValueError:
        logging.getLogger("django.request").exception("oops")

    canary.look_at_the_rest()
    reports_of(canary)

    assert "the Stripe key is in a session" in canary.leaks
    assert "the Stripe key is in the variable JSONDecoder.decode.s" in canary.leaks
    assert "the Stripe key is in the page with DEBUG=False" in canary.leaks
