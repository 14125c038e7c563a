"""Every operation locks its rows in one order: Note [Lock order] in ``ledger/payments.py``."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import shop_payments
from shop_payments import services
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import Order, OrderPayment, ReviewItem, WebhookEvent
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment, cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.signals import order_paid
from tests.admin.support import change, save
from tests.books import STAFF
from tests.conftest import connected
from tests.support import call_stripe, refuse

pytestmark = pytest.mark.django_db(transaction=True)


class Lock(NamedTuple):
    """A statement that locks rows."""

    verb: str
    table: str
    waits: bool = True
    takes_one: bool = True
    where: str = ""
    """Which rows: locking the same one twice cannot deadlock."""


_ONE = re.compile(r'"(id|order_id|stripe_id)" = [^ ]+$')
"""Conditions that one row fulfils."""


def lock_of(sql: str) -> Lock | None:
    """Return what a statement locks; None if it locks nothing."""
    if written := re.match(r'(INSERT INTO|UPDATE|DELETE FROM) "(\w+)"', sql):
        return Lock(written[1], written[2])
    if not re.search(r" FOR (NO KEY )?(UPDATE|SHARE)\b", sql):
        return None
    table = re.search(r' OF "(\w+)"', sql) or re.search(r' FROM "(\w+)"', sql)
    assert table is not None, sql
    where = re.search(r".* WHERE (.*?)( ORDER BY | LIMIT | FOR )", sql)
    return Lock(
        "FOR UPDATE",
        table[1],
        waits="SKIP LOCKED" not in sql,
        takes_one=" LIMIT 1 " in sql or bool(where and _ONE.search(where[1])),
        where=where[1] if where else "",
    )


def transactions_in(statements: list[str]) -> list[list[Lock]]:
    """Return what each transaction locked, in its order."""
    transactions: list[list[Lock]] = []
    is_open = False
    for sql in statements:
        if sql in {"BEGIN", "COMMIT", "ROLLBACK"}:
            is_open = sql == "BEGIN"
            if is_open:
                transactions.append([])
        elif lock := lock_of(sql):
            if not is_open:
                transactions.append([])
            transactions[-1].append(lock)
    return transactions


PAYMENT = OrderPayment._meta.db_table
ORDERS = {"shop_payments_order", "shop_payments_orderline"}


def disorder_of(locks: list[Lock]) -> str:
    """Say what is wrong with the order in which a transaction locks; empty if nothing is."""
    waiting = [lock for lock in locks if lock.waits]
    ours = [lock for lock in waiting if lock.table.startswith("shop_payments_")]
    payments = [lock for lock in ours if lock.verb == "FOR UPDATE" and lock.table == PAYMENT]
    if len({lock.where for lock in payments}) > 1 or not all(lock.takes_one for lock in payments):
        return "several payments at once"
    if len(waiting) < 2:
        return ""  # it holds nothing while it waits
    tables = [lock.table for lock in ours]
    rest = [table for table in tables if table not in ORDERS]
    if rest and rest[0] != PAYMENT and len(locks) == len(waiting):
        return f"{rest[0]} before the payment"
    orders = [number for number, table in enumerate(tables) if table in ORDERS]
    if payments and orders and tables.index(PAYMENT) < orders[0]:
        return "the payment before the order"
    return ""


def test_the_places_where_rows_are_locked_are_known():
    """A new one needs a line in the note, and here."""
    root = Path(shop_payments.__file__).parent
    places = {
        str(path.relative_to(root)): count
        for path in root.rglob("*.py")
        if (count := path.read_text().count("select_for_update("))
    }

    assert places == {"models/payments.py": 1, "admin/orders.py": 1, "maintenance/retention.py": 1}


def command(*arguments: str) -> None:
    with suppress(CommandError):  # which asks staff to look
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())


def pay_and_change(open_shop: Any, admin_client: Any) -> None:
    """An order is paid, refunded, changed, waived, settled and disputed."""
    shop = open_shop(112)
    shop.begin(112)
    shop.costs(102)  # lowers the open intent
    shop.order.lines.update(unit_amount=112_00)
    first = shop.pay(112)
    assert shop.payment_system.payment(shop.order).status_code == 200
    assert shop.refund(1).status_code == 200
    shop.refund_in_dashboard(first, 1)
    assert save(admin_client, change(shop.order), lines_0_quantity="2").status_code == 302
    assert not services.may_release(shop.order.pk)
    shop.revoke(shop.waive(1))
    shop.settle(first, 1)
    shop.stripe.dispute(first)
    item = ReviewItem.objects.get(reason="disputed")
    assert close_review_item(item_pk=item.pk, reason="lost", user=None, origin=STAFF)


def cancel_and_capture(open_shop: Any) -> None:
    """Orders are cancelled with a payment and without one, replaced, captured and paid late."""
    for begins in (True, False):
        shop = open_shop(112)
        if begins:
            shop.begin(112)
        with transaction.atomic():
            Order.objects.filter(pk=shop.order.pk).update(status=Order.Status.CANCELLED)
            cancel_payment_on_commit(order_id=shop.order.pk, origin=STAFF)
    shop = open_shop(112)
    call_stripe(shop.stripe, "POST", f"payment_intents/{shop.begin(112)}/cancel")
    shop.begin(112)
    cancel_payment(order_id=shop.order.pk, origin=STAFF)
    shop = open_shop(112, CAPTURE_METHOD="manual")
    shop.pay(112)
    capture_payment(order_id=shop.order.pk, origin=STAFF)
    open_shop(112).pay(112)  # lapses
    open_shop(112, CAPTURE_METHOD="automatic", AUTO_REFUND_EXCESS=True).pay_late()


def leave_work_for_the_sweep(open_shop: Any) -> None:
    """Answers, webhooks and a notification are lost."""
    lost, cancelled, refunded = (open_shop(112) for _order in range(3))
    cancelled.begin(112)
    intent_id = refunded.pay(112)
    stripe = refunded.stripe
    stripe.disconnect_webhooks()
    stripe.inject(Fault("drop_after", method="POST"))
    assert lost.ask().status_code == 503
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))
    cancel_payment_on_commit(order_id=cancelled.order.pk, origin=STAFF)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="100")
    shop = open_shop(112)
    shop.pay(112, "pm_card_createDispute")
    with connected({order_paid: refuse}):
        assert shop.payment_system.payment(shop.order).status_code == 200
    WebhookEvent.objects.update(status="failed", processed_at=None)
    stripe.advance_clock(3600)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row locks")
def test_every_operation_locks_its_payment_first(open_shop, admin_client, figure):
    with CaptureQueriesContext(connection) as captured:
        pay_and_change(open_shop, admin_client)
        cancel_and_capture(open_shop)
        leave_work_for_the_sweep(open_shop)
        for days, since in ((0.1, "72"), (6.5, "720"), (32, "2000")):
            with time_machine.travel(timezone.now() + timedelta(days=days)):
                command("shop_payments_reconcile", "--since", since)
        command("shop_payments_events", "replay", WebhookEvent.objects.latest("pk").event_id)
        command("shop_payments_fees")
        with time_machine.travel(timezone.now() + timedelta(days=400)):
            command("shop_payments_purge")

    transactions = transactions_in([query["sql"] for query in captured.captured_queries])
    locking = [locks for locks in transactions if PAYMENT in (lock.table for lock in locks)]
    assert len(locking) > 35, "something was not done"
    assert [(disorder_of(locks), locks) for locks in transactions if disorder_of(locks)] == []
    figure(f"{len(locking)} transactions in order")
