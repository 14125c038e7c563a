"""How commands end when a database or a person interrupts them."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from shop_payments.models import WebhookEvent
from tests.commands.support import run
from tests.generated_docs import ROOT
from tests.support import pay

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has neither a standby nor a lock timeout"
)

COMMANDS = [
    *("reconcile", "events list", "events show evt_x", "events replay --failed", "purge", "pay 1"),
    *("fees", "report", "api_key list", "api_key create --label x --scope storefront"),
]


@pytest.fixture
def failed(webhooks, intent, stripe) -> WebhookEvent:
    """An event that failed, of a payment whose other events were lost."""
    webhooks()
    pay(stripe, intent.stripe_id)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=None)
    WebhookEvent.objects.update(received_at="2026-11-01T12:00:00Z")
    return WebhookEvent.objects.get()


def test_a_database_that_is_away_is_reported_with_what_to_do(stripe, database):
    """Found: eighty lines of a traceback."""
    database.goes_away()
    for line in COMMANDS:
        with pytest.raises(CommandError) as refusal:
            run(*line.split())
        first, *_, last = str(refusal.value).splitlines()
        assert first.startswith("The database is unavailable: "), line
        assert last == "Finished work is kept. Run the command again for the rest."
        assert refusal.value.returncode == 1


def test_missing_tables_are_reported_with_what_to_do(stripe, request):
    """Found: a traceback that ended in "no such table"."""

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    table = WebhookEvent._meta.db_table
    rename(table, "elsewhere")
    request.addfinalizer(lambda: rename("elsewhere", table))
    with pytest.raises(CommandError) as refusal:
        run("events", "list")
    first, last = str(refusal.value).splitlines()[0], str(refusal.value).splitlines()[-1]
    assert first.startswith("The database is not migrated: ")
    assert table in first
    assert last == "Run 'manage.py migrate'."


@on_postgresql
@pytest.mark.parametrize("line", ["reconcile", "events replay --failed", COMMANDS[-1]])
def test_a_standby_is_reported_once(failed, request, line, caplog):
    """Found: the sweep reported each object, with a traceback in the log."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    request.addfinalizer(connection.close)
    with pytest.raises(CommandError, match=r"^The database refused: .*read-only"):
        run(*line.split())
    assert "Traceback" not in caplog.text


class Terminal(StringIO):
    """Somebody presses Ctrl-C when the first line comes."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


def test_an_interruption_is_no_traceback(failed):
    with pytest.raises(CommandError, match="Run the command again for the rest") as refusal:
        call_command("shop_payments_events", "replay", "--failed", stdout=Terminal())
    assert refusal.value.returncode == 130
    failed.refresh_from_db()
    assert failed.status == "processed"


HANG_UP = """
import django
django.setup()
from shop_payments.management.base import PaymentsCommand

class Command(PaymentsCommand):
    requires_system_checks = []

    def handle(self, *args, **options):
        for _ in range(1000):
            self.stdout.write("x" * 1000)

Command().run_from_argv(["manage.py", "x"])
"""


def test_a_reader_that_hangs_up_gets_no_traceback():
    """Found: ``shop_payments_events list | head`` ended in one."""
    command = [sys.executable, "-c", HANG_UP]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    pipe = subprocess.PIPE
    popen: Any = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe)
    with popen as process:
        process.stdout.close()
        written = process.stderr.read()
        assert (process.wait(60), written) == (141, b"")
