"""Every operation locks its rows in one order: Note [Lock order] in ``ledger/payments.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import shop_payments
from shop_payments import services
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import APIKeyScope, Order, OrderPayment, ReviewItem, Source, WebhookEvent
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment, cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from shop_payments.signals import order_paid
from shop_payments.testing import StripeSandbox
from tests.admin.support import change, save
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import Caller, call_stripe, pay, post_webhook, sign

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = Origin(source=Source.ADMIN)


class Lock(NamedTuple):
    """A statement that locks rows."""

    verb: str
    table: str
    waits: bool = True
    takes_one: bool = True
    where: str = ""
    """Which rows: locking the same one twice cannot deadlock."""


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
        takes_one=" LIMIT 1 " in sql,
        where=where[1] if where else "",
    )


class Log:
    """What each operation locked, a list for each of its transactions."""

    def __init__(self) -> None:
        self.transactions: list[tuple[str, list[Lock]]] = []

    @contextmanager
    def of(self, operation: str) -> Iterator[None]:
        with CaptureQueriesContext(connection) as captured:
            yield
        current: list[Lock] | None = None
        for sql in [query["sql"] for query in captured.captured_queries]:
            if sql == "BEGIN":
                current = []
                self.transactions.append((operation, current))
            elif sql in {"COMMIT", "ROLLBACK"}:
                current = None
            elif lock := lock_of(sql):
                if current is None:
                    self.transactions.append((operation, [lock]))
                else:
                    current.append(lock)

    @property
    def operations(self) -> set[str]:
        """Those that locked a payment."""
        return {
            operation
            for operation, locks in self.transactions
            if any(lock.verb == "FOR UPDATE" and lock.table == PAYMENT for lock in locks)
        }

    def disorder(self) -> list[str]:
        return [
            f"{operation}: {words} ({', '.join(f'{each.verb} {each.table}' for each in locks)})"
            for operation, locks in self.transactions
            for words in [disorder_of(locks)]
            if words
        ]


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


class Life:
    """Orders, and the people and programs that work on them."""

    def __init__(self, storefront: Caller, payments: Caller, stripe: StripeSandbox) -> None:
        self.storefront, self.payments, self.stripe = storefront, payments, stripe
        self.office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
        self.customer = Order.objects.get().customer

    def order(self) -> tuple[Order, str]:
        order = OrderFactory.create(customer=self.customer)
        return order, self.storefront.payment_intent(order).json()["data"]["id"]

    def paid(self, card: str = "pm_card_visa") -> tuple[Order, str]:
        order, intent_id = self.order()
        pay(self.stripe, intent_id, card)
        assert self.payments.payment(order).status_code == 200
        return order, intent_id

    def event(self, type_: str, intent_id: str) -> int:
        found = [
            each
            for each in self.stripe.events
            if each["type"] == type_
            and intent_id in (each["data"]["object"].get(key) for key in ("id", "payment_intent"))
        ]
        body = json.dumps(found[-1]).encode()
        return int(post_webhook(body, sign(body)).status_code)


@contextmanager
def failing_receiver() -> Iterator[None]:
    def fail(**kwargs: Any) -> None:
        raise ValueError

    order_paid.connect(fail)
    yield
    order_paid.disconnect(fail)


def command(*arguments: str) -> None:
    with suppress(CommandError):  # which asks staff to look
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())


@pytest.fixture
def superuser(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.com", "secret")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row locks")
def test_every_operation_locks_its_payment_first(
    storefront, payment_system, order, stripe, superuser, configure, figure
):
    log, life = Log(), Life(storefront, payment_system, stripe)
    staff = Client()
    staff.force_login(superuser)

    with log.of("create"):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
    with log.of("update"):
        order.lines.update(quantity=3)
        assert storefront.payment_intent(order).status_code == 200
    with log.of("replace"):
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
    with log.of("save in the admin"):
        assert save(staff, change(order), lines_0_quantity="2").status_code == 302
        order.refresh_from_db()
    with log.of("webhook of a passing state"):
        pay(stripe, intent_id, "pm_card_authenticationRequired")
        assert life.event("payment_intent.requires_action", intent_id) == 200
    pay(stripe, life.order()[1])
    paid_order, paid_id = life.order()
    pay(stripe, paid_id)
    with log.of("settle"):
        assert payment_system.payment(paid_order).status_code == 200
    _other, other_id = life.order()
    pay(stripe, other_id)
    with log.of("webhook of a payment"):
        assert life.event("payment_intent.succeeded", other_id) == 200
    with log.of("refund"):
        assert life.office.refund(paid_order, {"amount": "1.00"}, key="a").status_code == 200
    with log.of("webhook of a refund"):
        call_stripe(stripe, "POST", "refunds", payment_intent=paid_id, amount="100")
        assert life.event("refund.created", paid_id) == 200
    _disputed, disputed_id = life.paid("pm_card_createDispute")
    with log.of("webhook of a dispute"):
        assert life.event("charge.dispute.created", disputed_id) == 200
    with log.of("close a review item"):
        item = ReviewItem.objects.get(payment_intent__stripe_id=disputed_id)
        assert close_review_item(item_pk=item.pk, reason="lost", user=superuser, origin=ORIGIN)
    cancelled, _ = life.order()
    with log.of("cancel"):
        cancel_payment(order_id=cancelled.pk, origin=ORIGIN)
    with_order, _ = life.order()
    with log.of("cancel with the order"), transaction.atomic():
        Order.objects.filter(pk=with_order.pk).update(status=Order.Status.CANCELLED)
        cancel_payment_on_commit(order_id=with_order.pk, origin=ORIGIN)
    not_begun = OrderFactory.create()
    with log.of("cancel an order without a payment"), transaction.atomic():
        Order.objects.filter(pk=not_begun.pk).update(status=Order.Status.CANCELLED)
        cancel_payment_on_commit(order_id=not_begun.pk, origin=ORIGIN)
    configure(CAPTURE_METHOD="manual")
    reserved, reserved_id = life.order()
    _lapsing, lapsing_id = life.order()
    for each in (reserved_id, lapsing_id):
        pay(stripe, each)
        assert life.event("payment_intent.amount_capturable_updated", each) == 200
    with log.of("capture"):
        capture_payment(order_id=reserved.pk, origin=ORIGIN)
    configure(CAPTURE_METHOD="automatic", AUTO_REFUND_EXCESS=True)
    late, late_id = life.order()
    Order.objects.filter(pk=late.pk).update(status=Order.Status.CANCELLED)
    pay(stripe, late_id)
    with log.of("late money"):
        assert life.event("payment_intent.succeeded", late_id) == 200

    changed, changed_id = life.paid()
    changed.lines.update(quantity=3)
    with log.of("evaluate for the shop"):
        services.reevaluate_order(changed.pk)
    with log.of("ask whether goods may go out"):
        assert not services.may_release(changed.pk)
    request = EntryRequest(amount_decimal=Decimal(1), reason="agreed")
    with log.of("waive"):
        entry = waive_amount(order_id=changed.pk, request=request, origin=ORIGIN)
    with log.of("revoke"):
        assert revoke_staff_entry(entry_pk=entry.pk, reason="no", user=None, origin=ORIGIN)
    with log.of("settle outside Stripe"):
        settle_outside_stripe(
            order_id=changed.pk, intent_id=changed_id, request=request, origin=ORIGIN
        )
    lowered, _ = life.order()
    lowered.lines.update(quantity=1)
    with log.of("lower the open intent"):
        services.reevaluate_order(lowered.pk)

    # Work for each part of the sweep.
    lost, _ = life.order()
    lost.lines.update(quantity=4)
    stripe.inject(Fault("drop_after", method="POST"))
    assert storefront.payment_intent(lost).status_code == 503
    wanted, _ = life.order()
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))
    cancel_payment_on_commit(order_id=wanted.pk, origin=ORIGIN)
    call_stripe(stripe, "POST", "refunds", payment_intent=other_id, amount="100")
    with failing_receiver():
        life.paid("pm_card_createDispute")
    WebhookEvent.objects.update(status="failed", processed_at=None)
    stripe.advance_clock(3600)
    for days, since in ((0.1, "72"), (6.5, "720"), (32, "2000")):
        with time_machine.travel(timezone.now() + timedelta(days=days)):
            with log.of("sweep"):
                command("shop_payments_reconcile", "--since", since)
            with log.of("close abandoned"):
                command("shop_payments_cancel_abandoned")
    with log.of("replay"):
        command("shop_payments_events", "replay", WebhookEvent.objects.latest("pk").event_id)
    with log.of("fees"):
        command("shop_payments_fees")
    with time_machine.travel(timezone.now() + timedelta(days=400)), log.of("purge"):
        command("shop_payments_purge")

    assert log.disorder() == []
    assert {name for name, _locks in log.transactions} - log.operations == {"fees"}
    figure(f"{len(log.transactions)} transactions of {len(log.operations)} operations in order")
