"""The suites of many processes are checked themselves: with a guard taken away, they see damage.

Those of single deaths have the same test beside them, in ``test_kills.py``. All guards stand in
``switches.py``. No test here uses the fixture ``crew``: there is room for one crew at a time.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import IntegrityError, connection, transaction

from shop_payments.models import APIKeyScope, OrderPayment, StripeAttempt
from shop_payments.sandbox import SandboxResponse
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.reliability.__main__ import replay
from tests.reliability.crowd import ask_at_once, withdraw_intent
from tests.reliability.faults import WatchedStripe
from tests.reliability.refunds_at_once import paid_order, refund_at_once, wishes
from tests.reliability.switches import dropped_constraints, throw

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("switches", seed=SEED)
TRIES = 25
"""Rounds in which a race has to show itself; most do in the first."""

VOLLEY = 0.5
"""Seconds."""

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has no row locks that could be taken away"
)


class VolleyingStripe(WatchedStripe):
    """Intents that are created within a moment are answered at once, so who races meets."""

    def handle(self, method: str, url: str, *args: Any, **kwargs: Any) -> SandboxResponse:
        answer = super().handle(method, url, *args, **kwargs)
        if (method, urlsplit(url).path) == ("POST", "/v1/payment_intents"):
            time.sleep(VOLLEY - time.time() % VOLLEY)
        return answer


@pytest.fixture
def stripe() -> VolleyingStripe:
    return VolleyingStripe(seed=SEED)


def test_with_all_guards_the_same_crowds_do_no_damage(
    start_crew, begin_day, stripe, storefront, payment_system, order
):
    """The damage below comes of what is taken away, and of nothing else that is done there."""
    crew = start_crew(stripe, "")
    day = begin_day(crew=crew, seed=SEED, rate=0.1)
    for _round in range(2):
        day.round()
    day.end()
    wanted = OrderFactory.create(customer=order.customer)
    withdraw_intent(crew, stripe, wanted, storefront, payment_system)
    rush = ask_at_once(crew, stripe, wanted, storefront)
    paid = paid_order(crew, stripe, storefront, payment_system, order.customer)
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    drawn = wishes(random.Random(SEED), crew.threads)
    done = refund_at_once(crew, stripe, paid, office, drawn)

    assert not day.damage()
    assert rush.outcome == rush.due
    assert done.outcome == done.due


def test_a_second_intent_at_stripe_would_be_found(start_crew, begin_day, stripe, figure):
    day = begin_day(crew=start_crew(stripe, "attempt"), seed=SEED, rate=0.1)
    doubled: list[str] = []
    rounds = 0
    while rounds < TRIES and not doubled:
        rounds += 1
        day.round()
        signs = ("open or paid at Stripe", "was shown and cannot be paid")
        doubled = [each for each in day.damage() if any(sign in each for sign in signs)]
    day.end()

    assert doubled, f"{TRIES} rounds without the attempt, seed {SEED}: no damage was found"
    figure(f"without the attempt, after {rounds} rounds: {doubled[0]} ({connection.vendor})")


@on_postgresql
def test_a_second_open_intent_here_would_be_found(
    start_crew, stripe, storefront, payment_system, order, figure
):
    """Without the lock, too: while that is there, nobody gets as far as the constraints."""
    crew, open_here, rounds = start_crew(stripe, "lock,constraint"), 0, 0
    while rounds < TRIES and open_here < 2:
        rounds += 1
        wanted = OrderFactory.create(customer=order.customer)
        withdraw_intent(crew, stripe, wanted, storefront, payment_system)
        rush = ask_at_once(crew, stripe, wanted, storefront)
        open_here = rush.outcome["open here"]

    assert open_here > 1, f"{TRIES} rounds without lock and constraint: no damage was found"
    assert rush.outcome != rush.due
    figure(
        f"without lock and constraint, after {rounds} rounds: {open_here} open intents of an order"
        f" here, {len(rush.outcome['at Stripe'])} at Stripe ({connection.vendor})"
    )


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
