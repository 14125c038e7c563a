"""``manage.py shop_payments_purge``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import CommandError

from shop_payments.models import OrderPayment, StripeAttempt, WebhookEvent
from tests.commands.support import run
from tests.support import pay

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def old_payment(storefront, order, stripe, webhooks):
    """An order that was paid 200 days ago, with three events."""
    with time_machine.travel(START, tick=False) as clock:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        webhooks()
        clock.shift(timedelta(days=200))
        yield OrderPayment.objects.get()


def test_it_says_how_much_it_dropped_and_kept(old_payment):
    events = WebhookEvent.objects.count()
    WebhookEvent.objects.filter(type="payment_intent.created").update(status="failed")

    out, err = run("purge")

    assert out == (
        f"Deleted the payloads of {events - 1} events and the parameters of 1 attempt. "
        "Kept because they are still needed: 1 event, 0 attempts.\n"
    )
    assert err.startswith("… events: ")
    assert StripeAttempt.objects.get().purged_at is not None

    out, err = run("purge")

    assert out.startswith("Deleted the payloads of 0 events and the parameters of 0 attempts.")
    assert err == ""


def test_a_dry_run_prints_the_same_counts_and_writes_nothing(old_payment):
    dry, _ = run("purge", "--dry-run")
    assert not WebhookEvent.objects.exclude(purged_at=None).exists()

    out, err = run("purge", verbosity=0)

    assert dry.replace("Would delete", "Deleted") == out


def test_older_than_replaces_the_setting(old_payment):
    assert "of 0 events" in run("purge", "--older-than", "201")[0]
    assert "of 0 events" not in run("purge", "--older-than", "31", "--batch-size", "1")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "30"], "--older-than: expected a whole number from 31 to 36500"),
        (["--older-than", "36501"], "--older-than: expected a whole number from 31 to 36500"),
        (["--older-than", "ten"], "--older-than: expected a whole number from 31 to 36500"),
        (["--older-than", "9" * 5000], "--older-than: expected a whole number from 31 to 36500"),
        (["--older-than", "٣٣"], "--older-than: expected a whole number from 31 to 36500"),
        (["--batch-size", "0"], "--batch-size: expected a whole number from 1 to 5000"),
        (["--batch-size", "1.5"], "--batch-size: expected a whole number from 1 to 5000"),
        (["--batch-size", "5001"], "--batch-size: expected a whole number from 1 to 5000"),
        (["evt_1"], "unrecognized arguments: evt_1"),
    ],
)
def test_wrong_arguments_are_refused_with_the_right_ones(old_payment, arguments, message):
    with pytest.raises(CommandError, match=message):
        run("purge", *arguments)

    assert not WebhookEvent.objects.exclude(purged_at=None).exists()


@pytest.mark.parametrize("options", [{"older_than": 7}, {"batch_size": 0}])
def test_wrong_options_of_a_caller_in_python_are_refused(options):
    with pytest.raises(CommandError, match="must be from"):
        run("purge", **options)


def test_a_wrong_setting_is_named(configure):
    configure(RETENTION_DAYS=7)

    with pytest.raises(CommandError, match=r"SHOP_PAYMENTS\['RETENTION_DAYS'\] must be from 31"):
        purge()


@pytest.mark.parametrize("options", [{"older_than": 7}, {"batch_size": 0}])
def test_code_that_calls_it_is_refused_in_the_same_way(options):
    with pytest.raises(CommandError, match="must be from"):
        call_command("shop_payments_purge", **options)


def test_an_interruption_is_no_traceback(old_payment):
    class Terminal(StringIO):
        def write(self, text: str) -> NoReturn:
            raise KeyboardInterrupt  # Ctrl-C while the first batch is reported

    with pytest.raises(CommandError, match="Run the command again for the rest") as refusal:
        call_command("shop_payments_purge", "--batch-size", "1", stderr=Terminal())

    assert refusal.value.returncode == 130
    assert WebhookEvent.objects.exclude(purged_at=None).count() == 1
