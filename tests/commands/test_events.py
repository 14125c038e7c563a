"""``manage.py shop_payments_events``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.models import OrderPayment, WebhookEvent
from shop_payments.sandbox import Fault
from tests.support import pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("shop_payments_events", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().splitlines()


@pytest.fixture
def paid(storefront, order, stripe, webhooks):
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    webhooks()
    return OrderPayment.objects.get()


@pytest.fixture
def event(paid):
    return WebhookEvent.objects.get(type="payment_intent.succeeded")


def ids(lines):
    return [line.split()[2] for line in lines]


# --- list ---------------------------------------------------------------------------------------


def test_the_newest_come_first_with_what_came_of_them(paid, event):
    lines = run("list")

    assert ids(lines) == list(WebhookEvent.objects.values_list("event_id", flat=True))
    line = lines[ids(lines).index(event.event_id)]
    assert line.endswith(f"payment_intent.succeeded  processed  {event.outcome}")


def test_they_are_chosen_by_status_type_and_time(paid, event):
    old = timezone.now() - timedelta(hours=30)
    WebhookEvent.objects.filter(pk=event.pk).update(status="failed", received_at=old)

    assert ids(run("list", "--status", "failed")) == [event.event_id]
    assert ids(run("list", "--type", "payment_intent.succeeded")) == [event.event_id]
    assert event.event_id not in ids(run("list", "--since", "24"))
    assert event.event_id in ids(run("list", "--since", "31"))
    assert len(run("list", "--limit", "1")) == 1


def notes(*arguments: str) -> str:
    """Return what the command says to people, beside its list."""
    err = StringIO()
    call_command("shop_payments_events", *arguments, stdout=StringIO(), stderr=err)
    return err.getvalue()


def test_it_says_that_there_are_more(paid):
    count = str(WebhookEvent.objects.count())

    assert notes("list", "--limit", "1") == "There are more; --limit says how many are shown.\n"
    assert notes("list", "--limit", count) == ""


@pytest.mark.parametrize(
    "arguments", [["list", "--status", "failed"], ["replay", "--set-aside"]], ids=" ".join
)
def test_it_says_that_there_are_none(paid, arguments):
    """It said nothing, as if it had not run."""
    assert run(*arguments) == []
    assert notes(*arguments) == "There are no such events.\n"


def test_times_are_those_of_the_project(paid, event, settings):
    """They were those of UTC, beside a --since and an admin in the project's time zone."""
    moment = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
    WebhookEvent.objects.update(received_at=moment, processed_at=moment)
    settings.TIME_ZONE = "Asia/Kolkata"

    assert run("list")[0].startswith("2026-11-25 04:00:00  evt_")
    assert "last at 2026-11-25 04:00:00." in "\n".join(run("show", event.event_id))


@pytest.mark.parametrize(
    "arguments",
    [["--status", "x"], ["--since", "x"], ["--limit", "0"], ["--limit", "9" * 20]],
    ids=" ".join,
)
def test_a_senseless_choice_is_refused(db, arguments):
    with pytest.raises(CommandError):
        run("list", *arguments)


# --- show ---------------------------------------------------------------------------------------


def test_one_event_with_all_it_said(paid, event, order):
    text = "\n".join(run("show", event.event_id))

    assert f"of order {order.number}, which is paid" in text
    assert '"type": "payment_intent.succeeded"' in text
    assert "Tried 1 time," in text
    assert "_secret_" not in text


def test_an_event_of_another_system(paid, event):
    WebhookEvent.objects.update(intent_id="")

    assert "It is about no payment of this shop." in run("show", event.event_id)


def test_a_purged_event_says_so(paid, event):
    WebhookEvent.objects.update(payload={}, purged_at=datetime(2026, 11, 24, 12, tzinfo=UTC))

    assert run("show", event.event_id)[-1] == "What it said was dropped at 2026-11-24 12:00:00."


def test_an_event_that_is_not_there(db):
    with pytest.raises(CommandError, match="no event evt_x"):
        run("show", "evt_x")


# --- replay -------------------------------------------------------------------------------------


def forget_payment(event):
    """Have the shop not know of it, as if the event had been set aside at once."""
    WebhookEvent.objects.exclude(pk=event.pk).delete()
    WebhookEvent.objects.update(status="set_aside", attempts=20, outcome="it went wrong")


@pytest.mark.parametrize("named", [True, False])
def test_an_event_is_processed_again(paid, event, named):
    forget_payment(event)

    lines = run("replay", event.event_id) if named else run("replay", "--set-aside")

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("processed", 1)
    assert lines[0].endswith(f"processed  {event.outcome}")


def test_a_replay_pays_an_order_whose_event_was_set_aside(
    storefront, order, stripe, webhooks, paid_signals
):
    """Set aside after a bug; the bug is gone now."""
    intent = storefront.payment_intent(order).json()["data"]
    webhooks()
    stripe.pay(intent["id"], "pm_card_authenticationRequired", deliver=False)
    WebhookEvent.objects.all().delete()
    stripe.inject(Fault("drop_before", method="GET"))
    webhooks()
    failed = WebhookEvent.objects.get(type="payment_intent.requires_action")
    WebhookEvent.objects.filter(pk=failed.pk).update(status="set_aside")
    stripe.authenticate(intent["id"], deliver=False)

    run("replay", "--set-aside")

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_what_has_been_processed_may_be_replayed_and_changes_nothing(paid, event, paid_signals):
    before = list(paid.history.values())

    run("replay", event.event_id)

    assert list(paid.history.values()) == before
    assert paid_signals == []


def test_an_event_that_fails_again_is_an_error(storefront, order, stripe, webhooks):
    intent = storefront.payment_intent(order).json()["data"]
    webhooks()
    stripe.pay(intent["id"], "pm_card_authenticationRequired", deliver=False)
    stripe.inject(Fault("drop_before", method="GET", times=2))
    webhooks()
    failed = WebhookEvent.objects.get(status="failed")

    with pytest.raises(CommandError, match="Not processed: 1 event;"):
        run("replay", "--failed")
    run("replay", failed.event_id)

    failed.refresh_from_db()
    assert failed.status == "processed"


def test_an_event_that_is_set_aside_again_is_an_error(storefront, order, stripe):
    intent = storefront.payment_intent(order).json()["data"]
    send_event({**stripe.payment_intent(intent["id"]), "id": None, "amount": None})

    with pytest.raises(CommandError, match="Not processed: 1 event;"):
        run("replay", "--set-aside")

    assert WebhookEvent.objects.get().status == "set_aside"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name events"),
        (["evt_x", "--failed"], "Name events"),
        (["evt_x"], "no event evt_x"),
    ],
)
def test_a_senseless_replay_is_refused(db, arguments, words):
    with pytest.raises(CommandError, match=words):
        run("replay", *arguments)
