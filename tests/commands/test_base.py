"""How commands end when a database or a person interrupts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.management.words import sentence
from shop_payments.models import WebhookEvent
from tests.commands.support import run
from tests.support import pay

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has neither a standby nor a lock timeout"
)

COMMANDS = [
    "reconcile",
    "events list",
    "events show evt_x",
    "events replay --failed",
    "cancel_abandoned",
    "purge",
    "pay 1",
    "fees",
    "api_key list",
    "api_key create --label x --scope storefront",
]


@pytest.fixture
def failed(webhooks, intent, stripe) -> WebhookEvent:
    """An event that failed, of a payment whose other events were lost."""
    webhooks()
    pay(stripe, intent.stripe_id)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=None)
    WebhookEvent.objects.update(received_at="2026-11-01T12:00:00Z")
    return WebhookEvent.objects.get()


# --- the database -------------------------------------------------------------------------------


@pytest.mark.parametrize("line", COMMANDS)
def test_a_database_that_is_away_is_reported_with_what_to_do(stripe, database, line):
    """Found: eighty lines of a traceback."""
    database.goes_away()
    with pytest.raises(CommandError) as refusal:
        run(*line.split())
    database.comes_back()

    first, *_, last = str(refusal.value).splitlines()
    assert first.startswith("The database is unavailable: ")
    assert last == "Finished work is kept. Run the command again for the rest."
    assert refusal.value.returncode == 1


@pytest.fixture
def standby() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    connection.close()


@on_postgresql
@pytest.mark.parametrize("line", ["reconcile", "events replay --failed", COMMANDS[-1]])
def test_a_standby_is_reported_once(failed, request, line, caplog):
    """Found: the sweep reported each object, with a traceback in the log."""
    request.getfixturevalue("standby")

    with pytest.raises(CommandError, match=r"^The database refused: .*read-only"):
        run(*line.split())

    assert "Traceback" not in caplog.text


@on_postgresql
def test_a_refusal_of_the_database_is_reported(db):
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 50")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            other.set_autocommit(False)
            cursor.execute("LOCK TABLE shop_payments_webhookevent IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CommandError, match=r"^The database refused: .*lock timeout"):
            run("events", "list")
    finally:
        other.close()
        connection.close()


# --- the person ---------------------------------------------------------------------------------


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
import os
import sys
sys.path.insert(0, {root!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from shop_payments.management.base import PaymentsCommand

class Command(PaymentsCommand):
    requires_system_checks = []

    def handle(self, *args, **options):
        for _ in range({lines}):
            self.stdout.write("x" * 1000)

Command().run_from_argv(["manage.py", "x"])
"""


@pytest.mark.parametrize("lines", [1, 1000])
def test_a_reader_that_hangs_up_gets_no_traceback(lines):
    """Found: ``shop_payments_events list | head`` ended in one."""
    script = HANG_UP.format(root=str(Path(__file__).resolve().parents[2]), lines=lines)
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    written = process.stderr.read()
    process.stderr.close()

    assert (process.wait(60), written) == (141, b"")


@pytest.mark.parametrize("words", ["Stripe is away", "Stripe is away."])
def test_an_error_in_front_of_a_sentence_is_one(words):
    assert sentence(GatewayUnavailable(words)) == "Stripe is away."
