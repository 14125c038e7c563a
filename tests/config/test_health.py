"""``/healthz`` and ``/readyz``: what each state of the project answers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from shop_payments.models import SweepState

pytestmark = pytest.mark.django_db

OK = {"status": "ok", "database": "ok", "migrations": "ok", "sweep": "ok"}
LATE = {**OK, "sweep": "late"}


@pytest.fixture(autouse=True)
def middleware(settings: Any) -> None:
    """As in production: no host but one is allowed, and everything else needs HTTPS."""
    settings.MIDDLEWARE = [
        "config.health.HealthMiddleware",
        "django.middleware.security.SecurityMiddleware",
        *settings.MIDDLEWARE,
    ]
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["shop.example"], True


def ask(path: str, method: str = "GET") -> tuple[int, Any]:
    """Ask as a load balancer does: in plain HTTP, by address."""
    response = Client().generic(method, path, headers={"host": "10.0.0.7"})
    if response["Content-Type"] == "application/json":
        assert response["Cache-Control"] == "no-store"
        return response.status_code, json.loads(response.content or "{}")
    return response.status_code, None


def swept(ago: timedelta, *, livemode: bool = False) -> None:
    SweepState.objects.update_or_create(
        livemode=livemode, defaults={"finished_at": timezone.now() - ago}
    )


def test_the_process_is_healthy_without_a_database(database):
    database.goes_away()
    with CaptureQueriesContext(connection) as queries:
        assert ask("/healthz") == (200, {"status": "ok"})
    assert not queries.captured_queries
    assert ask("/readyz") == (
        503,
        {
            "status": "failing",
            "database": "unavailable",
            "migrations": "unknown",
            "sweep": "unknown",
        },
    )


def test_a_late_sweep_is_reported_and_takes_no_process_away():
    assert ask("/readyz") == (200, LATE)  # it has never run
    swept(timedelta(minutes=5), livemode=True)
    assert ask("/readyz") == (200, LATE)  # not in this mode
    swept(timedelta(minutes=119))
    assert ask("/readyz") == (200, OK)
    assert ask("/readyz/sweep") == (200, OK)
    swept(timedelta(minutes=121))
    assert ask("/readyz") == (200, LATE)
    assert ask("/readyz/sweep") == (503, {**LATE, "status": "failing"})


def test_a_process_is_not_ready_before_the_migrations():
    swept(timedelta())
    failing = {"status": "failing", "database": "ok", "migrations": "not applied"}
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'shop_payments'")
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('shop_payments', '0000_of_an_older_version', CURRENT_TIMESTAMP)"
        )
    assert ask("/readyz") == (503, {**failing, "sweep": "unknown"})


def test_a_database_without_tables_is_not_ready():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_payments_sweepstate RENAME TO taken_away")
    status, answer = ask("/readyz")
    assert (status, answer["database"], answer["migrations"]) == (503, "ok", "not applied")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="timeouts of PostgreSQL")
def test_a_statement_does_not_wait_for_long(settings):
    """The table is locked by somebody else: a probe answers all the same."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE django_migrations")
            status, answer = ask("/readyz")
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert (status, answer["database"]) == (503, "unavailable")


def test_a_check_is_cheap():
    with CaptureQueriesContext(connection) as queries:
        assert ask("/readyz")[0] == 200
    texts = [each["sql"] for each in queries.captured_queries]
    assert len([sql for sql in texts if sql.startswith("SELECT") or "FROM" in sql]) <= 3


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_methods_and_paths_go_on(path):
    assert ask(path, method="POST")[0] == 400  # this host is refused
    assert ask(f"{path}/more")[0] == 400
    assert ask(path, method="HEAD")[0] == 200
