"""The suites of many processes are checked themselves: with a guard taken away, they see damage.

Those of single deaths have the same test beside them, in ``test_kills.py``. All guards stand in
``switches.py``. No test here uses the fixture ``crew``: there is room for one crew at a time.
"""

from __future__ import annotations

import os
import random

import pytest
from django.db import IntegrityError, connection, transaction

from shop_payments.models import APIKeyScope, OrderPayment, StripeAttempt
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.reliability.faults import Day
from tests.reliability.refunds_at_once import paid_order, refund_at_once, wishes
from tests.reliability.switches import dropped_constraints, throw

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
TRIES = 10
"""Rounds in which a race has to show itself; most do in the first."""

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has no row locks that could be taken away"
)


@pytest.fixture
def stripe() -> StripeSandbox:
    return StripeSandbox()


@pytest.mark.parametrize(
    ("without", "rate"),
    [
        ("attempt", 0.1),
        # Either of the two keeps the crowd at one intent: the damage shows what the last one does.
        pytest.param("lock,constraint", 0.1, marks=on_postgresql),
    ],
)
def test_second_intents_would_be_found(
    start_crew, stripe, storefront, payment_system, order, figure, without, rate
):
    crew = start_crew(stripe, without)
    day = Day(
        crew=crew,
        stripe=stripe,
        storefront=storefront,
        payment_system=payment_system,
        customer=order.customer,
        seed=SEED,
        rate=rate,
    )
    doubled: list[str] = []
    rounds = 0
    while rounds < TRIES and not doubled:
        rounds += 1
        day.round()
        doubled = [each for each in day.damage() if "open" in each]
    day.end()

    assert doubled, f"{TRIES} rounds without the {without}, seed {SEED}: no damage was found"
    figure(f"without the {without}, after {rounds} rounds: {doubled[0]} ({connection.vendor})")


@pytest.mark.parametrize("without", [pytest.param("lock", marks=on_postgresql), "cap"])
def test_money_given_back_twice_would_be_found(
    start_crew, stripe, storefront, payment_system, order, figure, without
):
    """Stripe itself refuses what exceeds a charge; that it was asked to is the damage."""
    crew, draw = start_crew(stripe, without), random.Random(SEED)
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    refused: list[int] = []
    rounds = 0
    while rounds < TRIES and not refused:
        rounds += 1
        paid = paid_order(crew, stripe, storefront, payment_system, order.customer)
        done = refund_at_once(crew, stripe, paid, office, wishes(draw, crew.threads))
        refused = done.outcome["refused by Stripe"]

    assert refused, f"{TRIES} rounds without the {without}, seed {SEED}: no damage was found"
    assert done.outcome != done.due
    figure(
        f"without the {without}, after {rounds} rounds: Stripe refused {len(refused)} of"
        f" {done.keys} refunds that should not have been asked for ({connection.vendor})"
    )


def test_what_is_dropped_for_a_while_comes_back(db):
    """The test of the test: the other tests use the same database."""

    def begin_twice() -> None:
        payment = OrderPayment.objects.create(order=OrderFactory.create())
        values = {"order_payment": payment, "operation": "create_intent", "params": {}}
        for _number in range(2):
            StripeAttempt.objects.create(livemode=False, **values)

    with pytest.raises(RuntimeError, match="dropped_constraints"):
        throw("constraint")
    with dropped_constraints("lock,constraint"):
        throw("constraint")
        begin_twice()

    with pytest.raises(IntegrityError), transaction.atomic():
        begin_twice()


def test_a_switch_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no switch door, but attempt, key"):
        throw("lock,door")
