"""What the pages, calls and the sweep cost beside a million orders: ``--scale 1000000``.

The rows are those of ``tests/bulk.py``. The same questions are asked in a small database and in a
large one. In the large one, each page of the admin is opened beside the same list of a stock
``ModelAdmin`` (``stock.py``).
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import django
import psycopg

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - after the set-up
from django.core.management import call_command  # noqa: E402
from django.db import OperationalError, connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, override_settings  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from shop_payments.maintenance.reconcile import reconcile  # noqa: E402
from shop_payments.maintenance.retention import PurgeReport, purge_personal_data  # noqa: E402
from shop_payments.models import Order, SweepState  # noqa: E402
from tests.admin_pages import list_pages  # noqa: E402
from tests.benchmarks import payments, scale_report, servers, stock  # noqa: E402
from tests.bulk import fill  # noqa: E402

API = "/api/v1/shop"
SMALL = 1_000

USER_INDEXES = """
CREATE INDEX name_begins ON auth_user (UPPER(username::text) text_pattern_ops);
CREATE INDEX email_begins ON auth_user (UPPER(email::text) text_pattern_ops);
CREATE INDEX first_name_begins ON auth_user (UPPER(first_name::text) text_pattern_ops);
CREATE INDEX last_name_begins ON auth_user (UPPER(last_name::text) text_pattern_ops);
ANALYZE auth_user;
"""
"""Those of ``docs/performance.md``, for searches by name."""

# --- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """Something that is asked several times."""

    name: str
    ask: Callable[[], object]
    of_stock: Callable[[], object] | None = None
    """The same of a stock ``ModelAdmin``."""

    most: int = 20
    """Repetitions, at most."""


class Questions:
    """What staff, customers and the sweep ask; each is called several times."""

    def __init__(self, orders: int) -> None:
        self.orders = orders
        # Unpaid orders with a cancelled intent.
        self._fresh = (number for number in range(3, orders + 1, 10) if number % 100 != 3)
        self._browser = Client(SERVER_NAME="127.0.0.1")
        self._staff = User.objects.create_superuser(f"staff{time.time_ns()}")
        self._browser.force_login(self._staff)
        self._client = Client(SERVER_NAME="127.0.0.1")

    def all(self) -> Iterator[Question]:
        """Yield each question."""
        yield Question("GET orders", self._list_orders)
        order = next(self._fresh)  # which gets its intent before the times are taken
        Order.objects.filter(pk=order).update(email="")  # the stand-in for Stripe stores none
        yield Question("call 1, repeated", lambda: self._call_1(order))
        yield Question("call 1, new intent", lambda: self._call_1(next(self._fresh)))
        yield from self._lists()
        payments_url = reverse("admin:shop_payments_orderpayment_changelist")
        yield Question("a payment", self._page(f"{payments_url}{self._middle}/change/"))
        # One that does not compare Stripe's lists, as most do. To compare them takes the time of
        # the calls, which are paced.
        SweepState.objects.create(livemode=False, compared_at=timezone.now(), newest_event="evt_1")
        yield Question("sweep (dry run)", lambda: reconcile(dry_run=True), most=1)

    def searches_by_name(self) -> Iterator[Question]:
        """Yield the searches in which the app reads the table of users."""
        for each in self._lists():
            if each.name.startswith("orderpayment: search"):
                yield Question(f"{each.name}, users indexed", each.ask)

    @property
    def _middle(self) -> int:
        """An order near the middle, refunded in part."""
        return self.orders // 100 * 50 + 1

    def _lists(self) -> Iterator[Question]:
        for page in list_pages(self._staff, order=self._middle):
            url = stock.stock_url(page.model, page.query)
            of_stock = self._page(url) if url and self.orders > SMALL else None
            yield Question(page.name, self._page(page.url), of_stock)

    def _list_orders(self) -> None:
        self._expect(self._client.get(f"{API}/orders", headers=self._headers(5), secure=True))

    def _call_1(self, order: int) -> None:
        user = 1 + order % (self.orders // 10 + 1)
        url = f"{API}/orders/{order}/payment-intent"
        self._expect(self._client.post(url, headers=self._headers(user), secure=True))

    def _headers(self, user: int) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {user:040d}",
            "X-API-Key": payments.API_KEY,
            "X-Forwarded-For": f"10.0.{time.time_ns() % 250}.{time.time_ns() // 1000 % 250}",
        }

    def _page(self, url: str) -> Callable[[], object]:
        return lambda: self._expect(self._browser.get(url, secure=True, follow=True))

    def _expect(self, response: Any) -> None:
        if response.status_code != 200:
            raise AssertionError(f"{response.status_code}: {response.content!r}")
        b"".join(response) if response.streaming else response.content


def measure(orders: int) -> dict[str, Any]:
    """Ask everything several times; return figures by question."""
    questions = Questions(orders)
    most = 20 if orders > SMALL else 3
    figures = {each.name: _figures(each, most) for each in questions.all()}
    with connection.cursor() as cursor:
        cursor.execute(USER_INDEXES)
    return figures | {each.name: _figures(each, most) for each in questions.searches_by_name()}


def _figures(question: Question, most: int) -> dict[str, Any]:
    question.ask()  # the first time, caches are empty
    most = min(most, question.most)
    found = _timed(question.ask, most=most, least=min(5, most))
    if question.of_stock:
        with _time_limit():
            found["stock"] = _timed(question.of_stock, most=5, least=1)
    _say(f"{question.name}: {found}")
    return found


def _say(line: str) -> None:
    """Show how far a long run is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


_ENOUGH_SECONDS = 1
"""A question that took so long altogether is not asked again."""


def _timed(ask: Callable[[], object], *, most: int, least: int) -> dict[str, Any]:
    times: list[float] = []
    try:
        while len(times) < least or (len(times) < most and sum(times) < _ENOUGH_SECONDS):
            with CaptureQueriesContext(connection) as statements:
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
    except OperationalError:  # beyond the time limit
        return {"timeout": stock.TIMEOUT_SECONDS, "statements": len(statements)}
    times.sort()
    return {
        "p50": 1000 * statistics.median(times),
        "p95": 1000 * times[math.ceil(0.95 * len(times)) - 1],
        "statements": len(statements),
    }


@contextmanager
def _time_limit() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{stock.TIMEOUT_SECONDS}s'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")


def compare(server: str, orders: int) -> None:
    """Fill a small and a large database, ask both, and print the table."""
    with ExitStack() as stack:
        port = stack.enter_context(servers.stub())
        results = []
        for size in (SMALL, orders):
            name = f"shop_payments_bench_{size}"
            url = stack.enter_context(servers.database(server, name))
            environ = servers.environment("tests.benchmarks.settings", url, port)
            command = [sys.executable, "-m", "tests.benchmarks.scale", str(size)]
            done = subprocess.run(
                command, env=environ, cwd=servers.ROOT, check=True, stdout=subprocess.PIPE
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    small, large = results
    small.pop("sizes")
    sys.stdout.write("\n".join([*large.pop("sizes"), "", ""]))
    scale_report.write(small, large, orders=orders)


def _sizes(orders: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND "
            "relname LIKE 'shop_payments%' ORDER BY 2 DESC"
        )
        return [f"{name:36} {size / orders:8.0f} bytes an order" for name, size in cursor]


class _IsOver(Exception):
    """The minute is over."""


def _purge_for_a_minute() -> str:
    began, done = time.monotonic(), PurgeReport()

    def count(report: PurgeReport) -> None:
        nonlocal done
        done = report
        if time.monotonic() - began > 60:
            raise _IsOver

    with suppress(_IsOver):
        purge_personal_data(older_than_days=31, on_batch=count)
    took = time.monotonic() - began
    return (
        f"the purge: {done.events} events and {done.attempts} attempts in {took:.0f} s,"
        f" {(done.events + done.attempts) / took:.0f} rows a second"
    )


def main(orders: int) -> None:
    """Fill the database of ``DATABASE_URL``, and print the figures as JSON."""
    call_command("migrate", verbosity=0)
    _say(f"writing {orders} orders")
    fill(orders)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as direct:
        payments.insert_api_key(direct)
    sizes = _sizes(orders)
    with override_settings(ROOT_URLCONF="tests.benchmarks.stock"):
        figures = measure(orders)
    _say("the purge, for a minute")
    figures["sizes"] = [*sizes, _purge_for_a_minute()]
    sys.stdout.write(f"{json.dumps(figures)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
