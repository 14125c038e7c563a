"""What the pages, calls and the sweep cost beside a million orders: ``--scale 1000000``.

The rows are those of ``tests/bulk.py``. The same questions are asked in a small database and in a
large one; what should not depend on the size has a ratio near 1.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import django
import psycopg

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - after the set-up
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from shop_payments.maintenance.reconcile import reconcile  # noqa: E402
from shop_payments.maintenance.retention import PurgeReport, purge_personal_data  # noqa: E402
from tests.admin_pages import list_pages  # noqa: E402
from tests.benchmarks import payments, servers  # noqa: E402
from tests.bulk import fill  # noqa: E402

API = "/api/v1/shop"
SMALL = 1_000
REPEATS = 7
PAGE_REPEATS = 3
"""Of the admin, which has hundreds of pages."""

# --- what is asked ------------------------------------------------------------------------------


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

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield each question with its name."""
        yield "GET orders", self._list_orders
        yield "call 1, repeated", lambda: self._call_1(103)  # which has an open intent
        yield "call 1, new intent", lambda: self._call_1(next(self._fresh))
        # Near the middle, and refunded in part.
        middle = self.orders // 100 * 50 + 1
        for name, url in list_pages(self._staff, order=middle):
            yield name, self._page(url)
        payments_url = reverse("admin:shop_payments_orderpayment_changelist")
        yield "orderpayment: page 100", self._page(f"{payments_url}?p=100")
        yield "orderpayment: one", self._page(f"{payments_url}{middle}/change/")
        yield "sweep (dry run)", self._sweep

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

    def _sweep(self) -> None:
        reconcile(since=timezone.now() - timedelta(days=30), dry_run=True)


def measure(orders: int) -> dict[str, Any]:
    """Ask everything several times; return figures by question."""
    figures = {}
    for name, ask in Questions(orders).all():
        with CaptureQueriesContext(connection) as statements:
            ask()
        times = []
        for _time in range(_repeats(name)):
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)
        figures[name] = {
            "ms": 1000 * statistics.median(times),
            "statements": len(statements),
        }
    return figures


def _repeats(name: str) -> int:
    if name.startswith("sweep"):
        return 1
    return REPEATS if name.startswith(("GET", "call")) else PAGE_REPEATS


def compare(server: str, orders: int) -> None:
    """Fill a small and a large database, ask both, and print the table."""
    with ExitStack() as stack:
        port = stack.enter_context(servers.stub())
        results = []
        for size in (SMALL, orders):
            name = f"shop_payments_bench_{size}"
            url = stack.enter_context(servers.database(server, name))
            environ = servers.environment("config.settings", url, port)
            command = [sys.executable, "-m", "tests.benchmarks.scale", str(size)]
            done = subprocess.run(
                command, env=environ, cwd=servers.ROOT, check=True, stdout=subprocess.PIPE
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    small, large = results
    for line in large.pop("sizes"):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"\n{'ms':52} {SMALL:>9,} {orders:>9,}  ratio  statements\n")
    for name, row in large.items():
        before = small[name]["ms"]
        sys.stdout.write(
            f"{name:52} {before:9.1f} {row['ms']:9.1f} {row['ms'] / before:6.1f}"
            f" {row['statements']:11}\n"
        )


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
    fill(orders)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as direct:
        payments.insert_api_key(direct)
    sizes = _sizes(orders)
    figures = {**measure(orders), "sizes": [*sizes, _purge_for_a_minute()]}
    sys.stdout.write(f"{json.dumps(figures)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
