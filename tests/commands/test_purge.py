"""``manage.py shop_payments_purge``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import NoReturn

import pytest
import time_machine
from django.core.management import CommandError, call_command

from shop_payments.models import OrderPayment, StripeAttempt, WebhookEvent
from tests.support import pay

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def purge(*arguments: str, **options: int) -> tuple[str, str]:
    """Run the command; return what it wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command("shop_payments_purge", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def old_payment(storefront, order, stripe, webhooks):
    """An order that was paid 200 days ago, with three events."""
    with time_machine.travel(START, tick=False) as clock:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        webhooks()
        clock.shift(timedelta(days=200))
        yield OrderPayment.objects.get()


def test_it_says_what_it_dropped_and_what_it_kept(old_payment):
    events = WebhookEvent.objects.count()
    WebhookEvent.objects.filter(type="payment_intent.created").update(status="failed")

    out, err = purge()

    assert out == (
        f"Dropped the payloads of {events - 1} events and the parameters of 1 attempt. "
        "Kept because they are still needed: 1 event, 0 attempts.\n"
    )
    assert err.startswith("… events: ")
    assert StripeAttempt.objects.get().purged_at is not None


def test_the_second_time_there_is_nothing_left_to_do(old_payment):
    purge()

    out, err = purge()

    assert out.startswith("Dropped the payloads of 0 events and the parameters of 0 attempts.")
    assert err == ""


def test_a_dry_run_prints_the_same_counts_and_writes_nothing(old_payment):
    dry, _ = purge("--dry-run")
    assert not WebhookEvent.objects.exclude(purged_at=None).exists()

    out, _ = purge()

    assert dry.replace("Would drop", "Dropped") == out


def test_older_than_takes_the_place_of_the_setting(old_payment):
    assert "of 0 events" in purge("--older-than", "201")[0]
    assert "of 0 events" not in purge("--older-than", "31", "--batch-size", "1")[0]


def test_it_can_be_quiet_about_its_progress(old_payment):
    assert purge(verbosity=0)[1] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "30"], "--older-than: a whole number from 31 to 36500"),
        (["--older-than", "36501"], "--older-than: a whole number from 31 to 36500"),
        (["--older-than", "ten"], "--older-than: a whole number from 31 to 36500"),
        (["--older-than", "9" * 5000], "--older-than: a whole number from 31 to 36500"),
        (["--older-than", "٣٣"], "--older-than: a whole number from 31 to 36500"),
        (["--batch-size", "0"], "--batch-size: a whole number from 1 to 5000"),
        (["--batch-size", "1.5"], "--batch-size: a whole number from 1 to 5000"),
        (["--batch-size", "5001"], "--batch-size: a whole number from 1 to 5000"),
        (["evt_1"], "unrecognized arguments: evt_1"),
    ],
)
def test_bad_input_is_refused_with_what_is_wanted(old_payment, arguments, message):
    with pytest.raises(CommandError, match=message):
        purge(*arguments)

    assert not WebhookEvent.objects.exclude(purged_at=None).exists()


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

    with pytest.raises(CommandError, match="run it again for the rest") as refusal:
        call_command("shop_payments_purge", "--batch-size", "1", stderr=Terminal())

    assert refusal.value.returncode == 130
    assert WebhookEvent.objects.exclude(purged_at=None).count() == 1
