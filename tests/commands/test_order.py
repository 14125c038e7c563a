"""``manage.py shop_payments_order``, and the log lines beside it."""

from __future__ import annotations

import logging
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from shop_payments.models import StripeAttempt
from tests.support import pay

pytestmark = pytest.mark.django_db(transaction=True)


def run(order_id: object) -> list[str]:
    out = StringIO()
    call_command("shop_payments_order", str(order_id), stdout=out)
    return out.getvalue().splitlines()


@pytest.fixture
def paid(storefront, order, stripe, webhooks):
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    webhooks()
    return intent["id"]


def test_it_prints_what_happened_in_order(order, paid):
    summary, *lines = run(order.pk)

    assert summary == f"Order {order.pk}: paid, received 112.00 USD, outstanding 0.00 USD."
    moments = [line[:19] for line in lines]
    assert moments == sorted(moments)
    texts = "\n".join(line[21:] for line in lines)
    for text in (
        f"attempt  create_intent  key={StripeAttempt.objects.get().pk}",
        f"attempt  create_intent  succeeded  {paid}  request_id=req_",
        f"history  intent_created  {paid}",
        "event  payment_intent.succeeded  evt_",
        "history  order_paid",
        "notified  order_paid",
    ):
        assert text in texts
    assert texts.index("create_intent") < texts.index("intent_created") < texts.index("order_paid")


def test_it_prints_no_client_secret(order, paid):
    assert "_secret_" not in "\n".join(run(order.pk))


@pytest.mark.parametrize("order_id", ["4711", "no number"])
def test_an_order_without_a_payment_is_an_error(db, order_id):
    with pytest.raises(CommandError, match=f"Order {order_id} does not exist"):
        run(order_id)


def test_each_change_of_state_is_one_line_in_the_log(storefront, order, stripe, webhooks, caplog):
    caplog.set_level(logging.INFO, "shop_payments")

    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    webhooks()

    lines = [each for each in caplog.messages if each.startswith("Payment changed: ")]
    created, *_others, order_paid = lines
    assert created.startswith(f"Payment changed: order={order.pk} intent={intent['id']} ")
    assert " fact=intent_created status=unpaid source=api request_id=req_" in created
    assert " fact=order_paid status=paid source=webhook " in order_paid
