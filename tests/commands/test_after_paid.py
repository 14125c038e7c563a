"""``manage.py shop_payments_cancel_abandoned`` and ``shop_payments_fees``."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.management import CommandError
from django.utils import timezone

from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderPayment, Source
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.settle_payment import settle_payment
from tests.commands.support import run
from tests.support import pay

pytestmark = pytest.mark.django_db(transaction=True)

API = Origin(source=Source.API)
CANCEL = "/v1/payment_intents/*/cancel"


# --- abandoned ----------------------------------------------------------------------------------


def test_abandoned_intents_are_closed_and_younger_ones_left_alone(intent):
    with time_machine.travel(timezone.now() + timedelta(days=29)):
        assert run("cancel_abandoned")[0].startswith("Closed 0 ")
        out, _ = run("cancel_abandoned", "--older-than", "28")

    assert out == "Closed 1 payment intent abandoned for 28 days.\n"
    intent.refresh_from_db()
    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")


def test_cancellations_that_stripe_did_not_answer_are_finished(intent, order, stripe):
    stripe.inject(Fault("drop_before", path=CANCEL, times=2))
    cancel_payment_on_commit(order_id=order.pk, origin=API)

    with pytest.raises(CommandError, match=r"Not finished: 1 cancellation\."):
        run("cancel_abandoned")
    run("cancel_abandoned")

    intent.refresh_from_db()
    assert intent.status == "canceled"
    assert OrderPayment.objects.get().cancel_requested_at is None


def test_a_stripe_that_is_away_is_an_error(intent, stripe):
    stripe.inject(Fault("drop_before", path=CANCEL))
    stripe.inject(Fault("drop_before", path="/v1/balance_transactions"))

    with (
        time_machine.travel(timezone.now() + timedelta(days=31)),
        pytest.raises(CommandError, match="Run the command again"),
    ):
        run("cancel_abandoned")
    with pytest.raises(CommandError, match="Run the command again"):
        run("fees")


# --- fees ---------------------------------------------------------------------------------------


def test_fees_are_fetched_and_added_up(intent, order, stripe):
    pay(stripe, intent.stripe_id)
    settle_payment(order_id=order.pk, origin=API)

    assert run("fees")[0].splitlines()[1:] == ["USD: amount 112.00, fee 3.55, net 108.45"]
