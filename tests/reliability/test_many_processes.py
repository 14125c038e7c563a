"""Several web processes and one order: what a lock inside one process cannot hold.

On PostgreSQL four processes with 16 threads each, on SQLite one process with 16 threads. The
sandbox is in this process, behind a socket. The default is a sample, ``FIGURES=full`` the whole;
``RELIABILITY_CROWD_ROUNDS`` and ``RELIABILITY_PAID_ROUNDS`` ask for other numbers.
``RELIABILITY_SEED`` draws other delays.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import unquote_plus

import pytest
from django.db import connection

from shop_payments.models import Order, OrderPayment, PaymentHistory
from shop_payments.sandbox import SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_mirrors_agree
from tests.factories import OrderFactory
from tests.reliability.__main__ import replay
from tests.reliability.crew import PATIENCE, Answer, Call
from tests.reliability.crowd import ask_at_once, withdraw_intent
from tests.reliability.parts import number_in_parts, parts_of
from tests.support import event_body, pay, sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

CROWD_ROUNDS = sized("RELIABILITY_CROWD_ROUNDS", sample=4, full=20)
PAID_ROUNDS = sized("RELIABILITY_PAID_ROUNDS", sample=24, full=200)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("processes", seed=SEED)
LATENCY = 5


class Stripe(StripeSandbox):
    """A Stripe that answers for one order only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_order: Any = None
        self.is_at_it = threading.Event()
        self.let_go = threading.Event()

    def handle(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        text = body.decode() if isinstance(body, bytes) else body or ""
        if f"metadata[order_id]={self.slow_order}&" in f"{unquote_plus(text)}&":
            self.is_at_it.set()
            self.let_go.wait(PATIENCE)
        return super().handle(method, url, headers, body)


@pytest.fixture(scope="module")
def stripe() -> Stripe:
    return Stripe()


@pytest.mark.parametrize("state", ["new", "withdrawn at Stripe"])
def test_an_order_that_everybody_asks_for_at_once_gets_one_intent(
    crew, stripe, storefront, payment_system, order, figure, state
):
    for number in range(CROWD_ROUNDS):
        wanted = OrderFactory.create(customer=order.customer)
        if state != "new":
            withdraw_intent(crew, stripe, wanted, storefront, payment_system)

        rush = ask_at_once(crew, stripe, wanted, storefront)

        assert rush.outcome == rush.due, crew.report(
            rush.answers, round=number, order=wanted.pk, outcome=rush.outcome
        )
    assert_mirrors_agree(stripe)
    figure(
        f"{crew.processes} processes × {crew.threads} threads asked for one order ({state}),"
        f" {CROWD_ROUNDS} rounds: 1 open intent, 1 distinct answer, 0 answers but 200"
        f" ({connection.vendor})"
    )


def open_transactions() -> list[Any]:
    """What other clients of this database have open.

    By PostgreSQL's own account; on SQLite, whether somebody holds the lock of writers. A session
    that is idle has none of its client's: PostgreSQL begins one of its own there, to catch up with
    what others have changed in the catalogue.
    """
    if connection.vendor != "postgresql":
        return [] if sqlite_can_be_written() else ["a writer"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, state, now() - xact_start, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND xact_start IS NOT NULL AND state <> 'idle'"
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def sqlite_can_be_written() -> bool:
    """Whether the lock is free at this moment: nothing is waited for."""
    database = sqlite3.connect(connection.settings_dict["NAME"], timeout=0, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


def test_a_slow_order_holds_up_nobody_else(crew, stripe, storefront, order, figure):
    """Neither in its own process nor in another, and with no transaction open meanwhile.

    Stripe keeps its answer about one order until the others have theirs, and for five seconds at
    least: whoever waited for the slow one would wait for ever.
    """
    others = [OrderFactory.create(customer=order.customer) for _ in range(crew.processes)]
    stripe.slow_order = order.pk
    seen, looks = [], 0

    (waiting,) = crew.send(Call.payment_intent(order, storefront))
    try:
        assert stripe.is_at_it.wait(PATIENCE)
        until = time.monotonic() + LATENCY
        calls = [Call.payment_intent(other, storefront) for other in others]
        quick = [answer.result(PATIENCE) for answer in crew.send(*calls)]
        while time.monotonic() < until or looks < 10:
            seen += open_transactions()
            looks += 1
            time.sleep(0.02)
        still_waiting = not waiting.done()
    finally:
        stripe.let_go.set()
    slow: Answer = waiting.result(PATIENCE)

    report = crew.report([slow, *quick], transactions=seen)
    assert [answer.status for answer in (slow, *quick)] == [200] * (1 + len(quick)), report
    assert still_waiting, report
    assert not seen, report
    if connection.vendor == "postgresql":
        assert len({slow.worker[0], *(answer.worker[0] for answer in quick)}) == 4
    assert slow.worker[0] == quick[0].worker[0]
    figure(
        f"{len(others)} other orders answered while one waited for Stripe, "
        f"{LATENCY} s and more: 0 open transactions in {looks} looks ({connection.vendor})"
    )


def test_an_open_transaction_would_be_seen(order):
    """The test of the test."""
    another = connection.copy()
    try:
        another.set_autocommit(False)
        with another.cursor() as cursor:
            cursor.execute("SELECT 1")
            if connection.vendor == "sqlite":
                cursor.execute("UPDATE shop_payments_order SET email = email")

        assert open_transactions()
    finally:
        another.close()


@pytest.fixture
def orders(order: Order) -> list[Order]:
    """Of eight, one has two payments, one three and one four."""
    made = [OrderFactory.create(customer=order.customer) for _ in range(PAID_ROUNDS)]
    for number, each in enumerate(made):
        each.number = number_in_parts(each.number, 1 + number % 8 if number % 8 < 4 else 1)
        each.save()
    return made


def test_an_order_is_paid_once_whoever_says_so_first(
    crew, stripe, storefront, payment_system, orders, figure
):
    """Webhook, payment system and a second tab, within a hundredth of a second of each payment."""
    draw = random.Random(SEED)
    payments = 0
    for number, order in enumerate(orders):
        parts = parts_of(order.number)
        for part in range(1, parts + 1):
            (asked,) = crew.send(Call.payment_intent(order, storefront))
            body = event_body(pay(stripe, asked.result(PATIENCE).json()["data"]["id"]))
            delays = [draw.choice([0, 0, draw.uniform(0, 0.01)]) for _ in range(3)]
            calls = [
                Call.webhook(body, later=delays[0]),
                Call.payment(order, payment_system, later=delays[1]),
                Call.payment_intent(order, storefront, later=delays[2]),
            ]

            answers = crew.at_once(*draw.sample(calls, 3))

            payments += 1
            is_paid, facts = part == parts, Counter(facts_of(order))
            outcome = {
                "answers": sorted((answer.status, answer.code or "") for answer in answers),
                "status": OrderPayment.objects.get(order=order).status,
                "payment_received": facts["payment_received"],
                "order_paid": facts["order_paid"],
                "receivers told": crew.paid().count(str(order.pk)),
            }
            refused = "order_already_paid" if is_paid else "payment_not_completed"
            assert outcome == {
                "answers": [(200, ""), (200, ""), (409, refused)],
                "status": "paid" if is_paid else "partially_paid",
                "payment_received": part,
                "order_paid": int(is_paid),
                "receivers told": int(is_paid),
            }, crew.report(
                answers, round=number, order=order.pk, seed=SEED, delays=delays, outcome=outcome
            )

    told = Counter(crew.paid())
    assert set(told.values()) == {1}
    assert len(told) == PAID_ROUNDS
    assert not PaymentHistory.objects.undispatched().exists()
    assert_mirrors_agree(stripe)
    figure(
        f"webhook, payment and a second tab at once, {PAID_ROUNDS} rounds with {payments} payments,"
        f" seed {SEED}: 1 order_paid each ({connection.vendor})"
    )


def facts_of(order: Order) -> list[str]:
    history = PaymentHistory.objects.filter(order_payment__order=order)
    return list(history.values_list("kind", flat=True))
