"""Everybody gives back the same money at once: never more than came, and each refund once.

32 calls over four processes on PostgreSQL, 16 threads on SQLite, with amounts that cannot all be
given back, and keys that several processes use. Afterwards every lost call is repeated with its
key, and Stripe's books are compared with ours. ``RELIABILITY_REFUND_ROUNDS`` and
``RELIABILITY_SEED`` ask for other rounds. That the damage would be found, ``test_switches.py``
shows.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from django.db import connection

from shop_payments.models import APIKeyScope
from tests.after_paid.support import AccountingOffice, assert_books_agree
from tests.conftest import issue_key
from tests.reliability.__main__ import replay
from tests.reliability.refunds_at_once import paid_order, refund_at_once, wishes
from tests.support import sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ROUNDS = sized("RELIABILITY_REFUND_ROUNDS", sample=4, full=25)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("refunds", seed=SEED, runs=ROUNDS)
CALLS = {"postgresql": 32}
LOST = "one answer in ten is lost"


@pytest.fixture
def office(db: None) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


@pytest.mark.parametrize("trouble", ["no trouble", LOST])
def test_refunds_at_once_never_give_back_more_than_came(
    crew, stripe, storefront, payment_system, office, order, configure, figure, trouble
):
    draw = random.Random(SEED)
    count, totals = CALLS.get(connection.vendor, 16), Counter[str]()
    for number in range(ROUNDS):
        paid = paid_order(
            crew, stripe, storefront, payment_system, order.customer, parts=1 + number % 4
        )
        drawn = wishes(draw, count)

        done = refund_at_once(
            crew, stripe, paid, office, drawn, lose=0.1 if trouble == LOST else 0.0
        )

        assert done.outcome == done.due, crew.report(
            done.answers, round=number, order=paid.pk, seed=SEED, drawn=drawn, out=done.outcome
        )
        totals.update(calls=count, lost=done.lost, keys=done.keys, refunds=done.refunds)

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert_books_agree(stripe)
    if trouble == LOST:
        assert totals["lost"] or totals["refunds"] < 100  # a sample may be too small
    figure(
        f"{count} refunds at once over {crew.processes} processes, {trouble}, {ROUNDS} rounds, seed"
        f" {SEED}: {totals['refunds']} of {totals['keys']} keys accepted, each once at Stripe,"
        f" {totals['lost']} answers lost and repeated, 0 given back too much ({connection.vendor})"
    )
