"""``manage.py shop_payments_order``, and the log lines beside it."""

from __future__ import annotations

import logging

import pytest

from shop_payments.models import StripeAttempt
from tests.commands.support import run

pytestmark = pytest.mark.django_db


def test_it_prints_what_happened_in_order(order, caplog, request):
    caplog.set_level(logging.INFO, "shop_payments")
    intent_id = request.getfixturevalue("paid").payment_intents.get().stripe_id
    # Each change of state is one line in the log.
    logged = [each for each in caplog.messages if each.startswith("Payment changed: ")]
    created, *_others, order_paid = logged
    assert created.startswith(f"Payment changed: order={order.pk} intent={intent_id} ")
    assert " fact=intent_created status=unpaid source=api stripe_request_id=req_" in created
    assert " fact=order_paid status=paid source=webhook " in order_paid
    summary, *lines = run("order", str(order.pk))[0].splitlines()
    assert summary == f"Order {order.pk}: paid, received 112.00 USD, outstanding 0.00 USD."
    moments = [line[:19] for line in lines]
    assert moments == sorted(moments)
    texts = "\n".join(line[21:] for line in lines)
    for text in (
        f"attempt  create_intent  key={StripeAttempt.objects.get().pk}",
        f"attempt  create_intent  succeeded  {intent_id}  stripe_request_id=req_",
        f"history  intent_created  112.00 USD  {intent_id}",
        "event  payment_intent.succeeded  evt_",
        "history  order_paid",
        "notified  order_paid",
    ):
        assert text in texts
    assert "_secret_" not in texts
    assert texts.index("create_intent") < texts.index("intent_created") < texts.index("order_paid")
