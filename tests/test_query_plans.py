"""No page, call or sweep reads a large table: the plans of their statements on PostgreSQL.

The tables are large enough that the planner prefers an index where there is one that fits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from textwrap import shorten
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from shop_payments import services
from shop_payments.models import (
    APIKeyScope,
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.services import OrderCursor
from tests.admin.support import Staff
from tests.admin_pages import FAR, list_pages
from tests.bulk import fill
from tests.conftest import issue_key
from tests.support import BASE, Caller, pay

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.by_hand,  # the rows of the bulk are not those of a real payment
    pytest.mark.skipif(connection.vendor != "postgresql", reason="plans of PostgreSQL"),
]

ORDERS = 10_000
MIDDLE = 5_451
"""An order that was paid and refunded in part."""

MANY_ROWS = 6_000
"""Reading more rows of a table than this is too much for one statement."""

MANY_TO_SORT = 1_000

KNOWN_SCANS: tuple[tuple[str, str], ...] = (
    (
        'FROM "shop_payments_order" WHERE NOT (EXISTS(',
        "Unpaid orders: they are counted up to 500, which are half of the table here. From 30,000"
        " orders on, PostgreSQL reads the newest 5,000 by index instead (measured with --scale).",
    ),
    (
        'FROM "shop_payments_order" WHERE "shop_payments_order"."number"::text LIKE %s LIMIT',
        "A search for the beginning of all numbers reads 5,000 orders, half of the table here.",
    ),
)
"""A part of each statement that reads a large table nevertheless, and the reason."""


@pytest.fixture(scope="module")
def large_shop(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Many orders and what belongs to them, for all tests of this module."""
    with django_db_blocker.unblock():
        fill(ORDERS)
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        tables = [
            name for name in connection.introspection.table_names() if "shop_payments" in name
        ]
        cursor.execute(f"TRUNCATE auth_user, {', '.join(tables)} RESTART IDENTITY CASCADE")


class Plans:
    """Explains each statement before it is run, and collects what reads or sorts too much."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.count = 0
        self._seen: set[str] = set()

    @contextmanager
    def of(self, page: str) -> Iterator[None]:
        def explain(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith(("SELECT", "UPDATE", "DELETE")) and '"shop_payments_' in sql:
                self._explain(page, sql, params)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(explain):
            yield

    def _explain(self, page: str, sql: str, params: Any) -> None:
        if (key := f"{sql} {params}") in self._seen:
            return
        self._seen.add(key)
        self.count += 1
        # Only a SELECT can be run a second time, which counts the rows that it reads.
        options = "ANALYZE, TIMING OFF, FORMAT JSON" if sql.startswith("SELECT") else "FORMAT JSON"
        assert connection.connection is not None
        with connection.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN ({options}) {sql}", params)
            [[plan]] = cursor.fetchall()
        if any(part in sql for part, _reason in KNOWN_SCANS):
            return
        for fault in _faults(
            json.loads(plan)[0]["Plan"] if isinstance(plan, str) else plan[0]["Plan"]
        ):
            self.faults.setdefault(f"{page}: {fault}", _shown(sql, params))

    def check(self) -> None:
        """Fail with the pages and statements that read or sort too much."""
        assert self.count
        if self.faults:
            texts = "\n\n".join(f"{fault}\n{sql}" for fault, sql in self.faults.items())
            pytest.fail(f"{len(self.faults)} faults:\n{texts}", pytrace=False)


def _shown(sql: str, params: Any) -> str:
    return shorten(f"{re.sub('SELECT .*? FROM', 'SELECT … FROM', sql)} {params}", 1000)


def _faults(node: dict[str, Any]) -> Iterator[str]:
    kind, below = node["Node Type"], node.get("Plans", [])
    if table := node.get("Relation Name"):
        rows = _rows_read(node)
        if kind == "Seq Scan" and _size(table) > MANY_ROWS:
            yield f"reads all of {table}"
        elif rows > MANY_ROWS:
            yield f"reads {rows} rows of {table} ({kind})"
    if kind == "Sort" and (rows := _rows(below[0])) > MANY_TO_SORT:
        yield f"sorts {rows} rows by {', '.join(node['Sort Key'])}"
    for each in below:
        yield from _faults(each)


def _rows(node: dict[str, Any]) -> int:
    if "Actual Rows" in node:
        return int(node["Actual Rows"] * node["Actual Loops"])
    return int(node["Plan Rows"])


def _rows_read(node: dict[str, Any]) -> int:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return _rows(node) + int(removed * node.get("Actual Loops", 1))


def _size(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
        [size] = cursor.fetchone()
    return int(size)


@pytest.fixture
def plans(large_shop: None, db: None) -> Iterator[Plans]:
    """Fail after the test if one of the statements reads or sorts too much."""
    with connection.cursor() as cursor:
        # As for disks without moving parts. With the default, the planner reads all of a table of
        # this size rather than some of its rows by an index.
        cursor.execute("SET LOCAL random_page_cost = 1.1")
    plans = Plans()
    yield plans
    plans.check()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(root: User) -> Staff:
    browser = Staff()
    browser.force_login(root)
    return browser


def test_the_lists_of_the_admin(plans, root, staff):
    for page in list_pages(root, order=MIDDLE):
        if page.what == f"page {FAR}":
            continue  # half of the table here
        with plans.of(page.name):
            assert staff.get(page.url).status_code == 200, page.name


def test_the_pages_of_the_admin(plans, staff):
    for model in admin.site._registry:
        if model._meta.app_label == "shop_payments" and (row := model._default_manager.first()):
            url = reverse(f"admin:shop_payments_{model._meta.model_name}_change", args=[row.pk])
            with plans.of(f"{model._meta.model_name} {row.pk}"):
                assert staff.get(url).status_code == 200


def test_a_payment_with_much_history(plans, staff):
    facts = (
        PaymentHistory(order_payment_id=MIDDLE, kind="payment_failed", source="webhook")
        for _number in range(900)
    )
    PaymentHistory.objects.bulk_create(facts)
    with plans.of("a payment with much history"):
        text = staff.read(OrderPayment.objects.get(pk=MIDDLE))
    failed = "payment failed (message from Stripe)"
    assert text.count(failed) == 2 * 50, "in the timeline and the history"
    more = f"{reverse('admin:shop_payments_paymenthistory_changelist')}?order_payment={MIDDLE}"
    assert f'<a href="{more}">' in text
    with plans.of("the list of its history"):
        assert "payment failed (message from Stripe)" in staff.read(more)


def customer_of(order: int) -> Caller:
    customer = Order.objects.values_list("customer", flat=True).get(pk=order)
    return Caller(token=f"{customer:040d}", key=issue_key(APIKeyScope.STOREFRONT))


def test_the_calls_of_a_customer(plans, stripe):
    for order in (MIDDLE, 103, 13):  # paid, with an open intent, with a cancelled one
        storefront = customer_of(order)
        PaymentIntent.objects.open().update(status="canceled")  # the sandbox does not know them
        for path in ("orders", f"orders/{order}"):
            with plans.of(f"GET {path}"):
                assert storefront.get(path).status_code == 200
        for _time in ("first", "repeated"):
            with plans.of(f"call 1 of order {order}"):
                assert storefront.payment_intent(order).status_code in {200, 409}


def test_the_metrics_and_the_readiness(plans):
    with plans.of("metrics"):
        services.metrics()
    with plans.of("readiness"):
        services.check_readiness()
    plans.check()


LISTS = [
    "",
    "payment_status=paid",
    "payment_status=partially_refunded",
    "payment_status=authorized",
    "number=ORD-20261129-{order}",
    "created_from={day}&created_before={next_day}",
    "created_from={day}&created_before={next_day}&payment_status=paid",
]
"""What staff and customers ask for, all but unpaid orders (see ``KNOWN_SCANS``)."""


@pytest.mark.parametrize("query", LISTS)
def test_the_pages_of_orders(plans, staff, query):
    day = timezone.localdate() - timedelta(days=45)
    words = {"order": MIDDLE, "day": day, "next_day": day + timedelta(days=2)}
    customer = customer_of(MIDDLE)
    for who, get in (("staff", staff.get), ("customer", customer.client.get)):
        url = f"{BASE}/orders?{query.format(**words)}"
        for link in ("next", "next", "previous"):
            with plans.of(f"{who}: {url} {link}"):
                response = get(url, headers=customer.headers if who == "customer" else {})
            assert response.status_code == 200, response.content
            url = response.json()["data"][link] or url


def test_a_page_of_orders_that_were_imported_at_one_moment(plans, staff):
    """They differ in their keys only, and the index contains both."""
    moment = timezone.now() - timedelta(days=100)
    Order.objects.filter(pk__lte=9_000).update(created_at=moment)
    cursor = OrderCursor(pk=2_000, created_at=moment)
    for each in (cursor, replace(cursor, is_backward=True)):
        with plans.of(f"orders beyond {each}"):
            data = staff.get(f"{BASE}/orders?cursor={each}").json()["data"]
        assert data["results"][0]["id"] == ("2050" if each.is_backward else "1999")


def test_the_sweep(plans, stripe, webhooks, capsys):
    # The sandbox does not know the open objects of the bulk.
    PaymentIntent.objects.open().update(status="canceled")
    Dispute.objects.update(status="won")
    for order in (13, 113, 213):
        storefront = customer_of(order)
        intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    leave_unfinished()

    with plans.of("the sweep"), pytest.raises(CommandError, match="1 event set aside"):
        call_command("shop_payments_reconcile", "--since=720")

    assert PaymentIntent.objects.get(stripe_id=intent["id"]).has_succeeded


def leave_unfinished() -> None:
    """Leave something to do for each part of the sweep."""
    now = timezone.now()
    OrderPayment.objects.filter(pk=1).update(failed_reads=1)
    OrderPayment.objects.filter(pk=2).update(cancel_requested_at=now)
    WebhookEvent.objects.filter(event_id="evt_3").update(status="failed", attempts=1)
    StripeAttempt.objects.filter(order_payment=4).update(outcome="pending", finished_at=None)
    fact = {"order_payment_id": 5, "kind": "payment_failed", "source": "webhook"}
    PaymentHistory.objects.create(**fact, needs_dispatch=True)
