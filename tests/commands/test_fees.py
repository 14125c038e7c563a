"""``manage.py shop_payments_fees``."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from shop_payments.sandbox import Fault
from tests.commands.support import run
from tests.support import pay

pytestmark = pytest.mark.django_db


def test_fees_are_fetched_and_added_up(intent, order, stripe, webhooks):
    pay(stripe, intent.stripe_id)
    webhooks()
    stripe.inject(Fault("drop_before", path="/v1/balance_transactions"))
    with pytest.raises(CommandError, match=r"[^.]\. .*Run the command again"):
        run("fees")
    assert run("fees")[0].splitlines()[1:] == ["USD: amount 112.00, fee 3.55, net 108.45"]
