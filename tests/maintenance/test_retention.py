"""Old personal data is purged, the facts about the money stay, and the app works without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core import serializers
from django.db import IntegrityError, OperationalError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from shop_payments.maintenance.retention import PurgeReport, purge_personal_data
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from tests.factories import OrderFactory, TokenFactory
from tests.support import (
    Caller,
    Died,
    answer,
    call_stripe,
    event_body,
    pay,
    plan_of,
    post_webhook,
    send_event,
    sign,
    writes,
)
from tests.threads import at_once

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def later(clock):
    """Let the data get older than it is kept."""

    def go(days: float = 181) -> None:
        clock.shift(timedelta(days=days))

    return go


@pytest.fixture
def paid(clock, storefront, order, stripe, webhooks) -> str:
    """The id of an intent that has paid its order."""
    intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=3)
    storefront.payment_intent(order)
    pay(stripe, intent_id)
    webhooks()
    assert OrderPayment.objects.get().is_paid
    return intent_id


def another(**fields: Any) -> tuple[Any, Caller]:
    """Another customer's order, and their client."""
    order = OrderFactory.create(**fields)
    return order, Caller(token=TokenFactory.create(user=order.customer).key)


TABLES = (OrderPayment, PaymentIntent, StripeAttempt, WebhookEvent, PaymentHistory, ReviewItem)


def facts() -> list[dict[str, Any]]:
    """All rows, without what the purge may change."""
    rows = [row for table in TABLES for row in table.objects.order_by("pk")]
    found: list[dict[str, Any]] = serializers.serialize("python", rows)
    for row in found:
        for name in ("payload", "params", "fingerprint", "purged_at"):
            row["fields"].pop(name, None)
    return found


def everything_stored() -> str:
    """All rows of the app, without the shop's own order, as text."""
    rows = [row for table in TABLES for row in table.objects.all()]
    return str(serializers.serialize("json", rows))


def untouched() -> int:
    return (
        WebhookEvent.objects.filter(purged_at=None).count()
        + StripeAttempt.objects.filter(purged_at=None).count()
    )


# --- what is purged and what stays ----------------------------------------------------------------


def test_no_trace_of_the_customer_is_left_in_the_rows_of_the_payment(
    paid, order, stripe, payment_system, later
):
    intent = call_stripe(stripe, "GET", f"payment_intents/{paid}")
    charge = {
        "id": "ch_1",
        "object": "charge",
        "payment_intent": paid,
        "billing_details": {"name": "Ada L", "address": {"line1": "12 Long Lane"}, "phone": "555"},
    }
    send_event({**intent, "shipping": {"name": "Ada L"}}, type="payment_intent.succeeded")
    send_event(charge, type="charge.succeeded")
    traces = [order.email, "Ada L", "12 Long Lane", "Main product 2", order.number]
    assert all(trace in everything_stored() for trace in traces)
    fingerprint = PaymentIntent.objects.get().fingerprint
    later()

    purge_personal_data()

    stored = everything_stored()
    assert [trace for trace in [*traces, fingerprint] if trace in stored] == []


def test_the_facts_about_the_money_stay(paid, later):
    before = facts()
    later()

    report = purge_personal_data()

    assert facts() == before
    assert report == PurgeReport(events=WebhookEvent.objects.count(), attempts=2)
    create = StripeAttempt.objects.get(operation="create_intent")
    assert create.params == {
        "amount": 11200,
        "currency": "usd",
        "allowed_payment_method_types": ["card"],
    }
    assert {event.purged_at for event in WebhookEvent.objects.all()} == {
        START + timedelta(days=181)
    }


def test_younger_data_stays(paid, later, configure, stripe):
    later(days=179)
    assert purge_personal_data() == PurgeReport()
    assert untouched() == StripeAttempt.objects.count() + WebhookEvent.objects.count()

    configure(RETENTION_DAYS=180, STRIPE_TRANSPORT=stripe.handle)
    later(days=2)
    assert purge_personal_data(older_than_days=182).attempts == 0
    assert purge_personal_data().attempts == 2


def test_the_history_names_people_by_their_key_only(
    clock, storefront, order, stripe, webhooks, payment_system
):
    """It is append-only and never purged, so nothing may get into it."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id, "pm_card_chargeDeclinedInsufficientFunds")
    webhooks()
    order.lines.update(quantity=1)
    pay(stripe, intent_id)
    payment_system.payment(order)

    kinds = set(PaymentHistory.objects.values_list("kind", flat=True))
    actors = " ".join(PaymentHistory.objects.values_list("actor", flat=True))
    text = serializers.serialize("json", [*PaymentHistory.objects.all(), *ReviewItem.objects.all()])
    customer = order.customer

    assert {"intent_created", "payment_failed", "payment_received", "review_needed"} <= kinds
    assert f"user {customer.pk}" in actors
    assert [
        trace for trace in (customer.email, customer.username, "Main product") if trace in text
    ] == []


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("The account of ada@example.com is closed.", "The account of … is closed."),
        ("Call +44 (0)20 7946-0018, or pay 12.50 by 2026.", "Call …, or pay 12.50 by 2026."),
        ("DE89370400440532013000 is no account", "DE… is no account"),
    ],
)
def test_stripes_message_about_a_failure_is_kept_without_addresses_and_numbers(
    clock, storefront, order, stripe, message, kept
):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")
    error = {"code": "declined", "message": message}

    send_event({**intent, "status": "canceled", "last_payment_error": error})

    fact = PaymentHistory.objects.get(kind="payment_failed")
    assert fact.data["detail"] == f'"{kept}" (declined)'


def test_the_text_of_a_database_error_is_not_kept_with_the_event(clock, storefront, order, stripe):
    """It quotes the row, and an event's outcome is kept for ever."""
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "shop_payments_paymenthistory" in sql:
            raise IntegrityError(f"Key (email)=({order.email}) already exists.")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        response = send_event(intent)

    event = WebhookEvent.objects.get()
    assert answer(response) == (503, "event_failed")
    assert (event.status, event.outcome) == ("failed", "IntegrityError")


# --- what is still needed -------------------------------------------------------------------------


def test_an_event_that_is_not_done_keeps_its_payload(paid, later):
    for status in ("received", "failed", "set_aside"):
        WebhookEvent.objects.create(
            event_id=f"evt_{status}",
            type="payment_intent.succeeded",
            livemode=False,
            stripe_created_at=START,
            payload={"id": "evt"},
            status=status,
        )
    later()

    report = purge_personal_data()

    kept = WebhookEvent.objects.filter(purged_at=None)
    assert {event.event_id for event in kept} == {"evt_received", "evt_failed", "evt_set_aside"}
    assert report.kept_events == 3


def test_an_event_that_is_replayed_meanwhile_keeps_its_payload(clock, later):
    """Found: the purge met a constraint and stopped there."""
    many(3, 0)
    later()
    replayed = WebhookEvent.objects.earliest("pk")

    def replay(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if 'FROM "shop_payments_paymentintent"' in sql:
            WebhookEvent.objects.filter(pk=replayed.pk).update(status="received")
        return result

    with connection.execute_wrapper(replay):
        report = purge_personal_data()

    assert report == PurgeReport(events=2, kept_events=1)
    replayed.refresh_from_db()
    assert (replayed.payload != {}, replayed.purged_at) == (True, None)


def test_an_unresolved_attempt_keeps_everything_of_its_payment(
    clock, storefront, order, stripe, webhooks, later
):
    storefront.payment_intent(order)
    webhooks()
    order.lines.update(quantity=3)
    stripe.inject(Fault("drop_before", method="POST"))
    assert storefront.payment_intent(order).status_code == 503
    later()

    report = purge_personal_data()

    assert (report.events, report.attempts, report.kept_attempts) == (0, 0, 2)
    assert storefront.payment_intent(order).status_code == 200


NEEDED: dict[str, Callable[[], object]] = {
    "in review": lambda: OrderPayment.objects.update(needs_review=True),
    "with an open item": lambda: ReviewItem.objects.create(
        order_payment=OrderPayment.objects.get(),
        payment_intent=PaymentIntent.objects.get(),
        reason="excess",
    ),
    "changed": lambda: PaymentIntent.objects.get().save(),
    **{
        status: partial(PaymentIntent.objects.update, status=status, wanted=False)
        for status in ("processing", "requires_capture", "of_tomorrow")
    },
}


@pytest.mark.by_hand
@pytest.mark.parametrize("why", NEEDED)
def test_a_payment_that_may_be_needed_keeps_everything(paid, later, why):
    later()
    NEEDED[why]()

    report = purge_personal_data()

    assert (report.events, report.attempts, report.kept_attempts) == (0, 0, 2)
    assert untouched() == StripeAttempt.objects.count() + WebhookEvent.objects.count()
    if why == "with an open item":
        ReviewItem.objects.update(closed_at=datetime.now(UTC))
        assert purge_personal_data().attempts == 2


def test_events_of_other_systems_are_purged_too(clock, stripe, later):
    theirs = {"id": "pi_theirs", "object": "payment_intent", "receipt_email": "ada@example.com"}
    send_event({**theirs, "amount": 1}, type="invoice.paid")
    assert "ada@example.com" in everything_stored()
    later()

    purge_personal_data()

    assert "ada@example.com" not in everything_stored()


# --- the app after a purge ------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["duplicate", "succeeded", "processing"])
def test_a_late_event_of_a_purged_payment_changes_nothing(paid, stripe, later, status):
    intent = call_stripe(stripe, "GET", f"payment_intents/{paid}")
    body = event_body(intent, type="payment_intent.succeeded")
    if status == "duplicate":
        post_webhook(body, sign(body))
    else:
        body = event_body({**intent, "status": status})
    later()
    purge_personal_data()

    assert post_webhook(body, sign(body)).status_code == 200

    event = WebhookEvent.objects.get(event_id=json.loads(body)["id"])
    assert (event.status, event.payload == {}) == ("processed", status == "duplicate")
    assert OrderPayment.objects.get().is_paid
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1


def test_a_purged_payment_is_answered_as_before(paid, order, payment_system, storefront, later):
    before = payment_system.payment(order)
    later()
    purge_personal_data()

    after = payment_system.payment(order)

    assert (after.status_code, after.content) == (200, before.content)
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payment_status"] == "paid"


def test_a_customer_who_comes_back_after_a_purge_gets_the_same_intent(
    clock, storefront, order, stripe, payment_system, webhooks, later
):
    first = storefront.payment_intent(order).json()["data"]
    webhooks()
    later()
    purge_personal_data()
    assert PaymentIntent.objects.get().fingerprint == ""

    again = storefront.payment_intent(order).json()["data"]
    pay(stripe, again["id"])

    assert again == first
    assert payment_system.payment(order).status_code == 200
    # Sent again, once: the fingerprint is back.
    assert len(writes(stripe)) == 3
    assert PaymentIntent.objects.get().fingerprint != ""


@pytest.mark.parametrize("is_paid", [True, False])
def test_an_intent_of_a_purged_attempt_is_still_ours(
    clock, storefront, order, stripe, later, is_paid
):
    """The answer to its creation was lost, and the attempt was given up."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    StripeAttempt.objects.get().finish("abandoned")
    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    later()
    assert purge_personal_data().attempts == 1
    if is_paid:
        intent = pay(stripe, intent["id"])

    assert send_event(intent).status_code == 200

    assert StripeAttempt.objects.get().outcome == "succeeded"
    if is_paid:
        assert OrderPayment.objects.get().is_paid
    else:
        assert PaymentIntent.objects.get().fingerprint == ""
        assert storefront.payment_intent(order).json()["data"]["id"] == intent["id"]
        assert StripeAttempt.objects.get(operation="update_intent").outcome == "succeeded"


# --- batches --------------------------------------------------------------------------------------


def many(events: int, attempts: int) -> None:
    """Old rows of payments that are over."""
    for number in range(events):
        WebhookEvent.objects.create(
            event_id=f"evt_{number}",
            type="charge.succeeded",
            livemode=False,
            stripe_created_at=START,
            payload={"data": {"object": {"billing_details": {"name": "Ada L"}}}},
            status="ignored",
        )
    for _ in range(attempts):
        StripeAttempt.objects.create(
            order_payment=OrderPayment.objects.create(order=OrderFactory.create()),
            operation="create_intent",
            params={"amount": 1, "currency": "usd", "receipt_email": "ada@example.com"},
            livemode=False,
            outcome="failed",
            finished_at=START,
        )


def test_rows_that_are_kept_do_not_stop_the_others(clock, later):
    """The oldest rows are of a payment in review; every batch has to get past them."""
    many(0, 6)
    kept = StripeAttempt.objects.order_by("created_at", "pk")[:3]
    OrderPayment.objects.filter(attempts__in=list(kept)).update(needs_review=True)
    later()

    report = purge_personal_data(batch_size=2)

    assert report == PurgeReport(attempts=3, kept_attempts=3)


@pytest.mark.parametrize("batches", [1, 4, 6])
def test_a_purge_that_is_killed_is_finished_by_the_next(clock, later, batches):
    many(5, 5)
    later()
    before = facts()
    reports: list[PurgeReport] = []

    def die(report: PurgeReport) -> None:
        reports.append(report)
        if len(reports) == batches:
            raise Died

    with pytest.raises(Died):
        purge_personal_data(batch_size=2, on_batch=die)
    done = reports[-1]
    assert untouched() == 10 - done.events - done.attempts

    rest = purge_personal_data(batch_size=2)

    assert (done.events + rest.events, done.attempts + rest.attempts) == (5, 5)
    assert untouched() == 0
    assert facts() == before


def test_a_dry_run_counts_the_same_and_writes_nothing(clock, later):
    many(5, 3)
    OrderPayment.objects.filter(attempts=StripeAttempt.objects.first()).update(needs_review=True)
    later()
    before = everything_stored()

    dry = purge_personal_data(batch_size=2, dry_run=True)

    assert everything_stored() == before
    assert dry == PurgeReport(events=5, attempts=2, kept_attempts=1)
    assert purge_personal_data(batch_size=2) == dry


@pytest.mark.parametrize("rows", [1, 20])
def test_the_number_of_queries_of_a_batch_does_not_depend_on_its_size(
    clock, later, rows, django_assert_num_queries
):
    many(rows, rows)
    later()

    with django_assert_num_queries(23):
        purge_personal_data(batch_size=50)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
def test_a_payment_that_is_locked_is_not_waited_for(clock, later):
    many(0, 2)
    later()
    busy = OrderPayment.objects.order_by("pk")[0]

    with transaction.atomic():
        OrderPayment.objects.locked().get(pk=busy.pk)
        (report,) = at_once(purge_personal_data)

    assert report == PurgeReport(attempts=1, kept_attempts=1)
    assert purge_personal_data() == PurgeReport(attempts=1)


def test_the_oldest_rows_are_found_by_an_index(clock, later):
    """A shop of some years: of ten thousand rows, all but the last hundred have been purged."""
    payment = OrderPayment.objects.create(order=OrderFactory.create())
    purged = [START] * 9_900 + [None] * 100
    common = {"livemode": False}
    event = {"status": "processed", "stripe_created_at": START, "payload": {}, **common}
    attempt = {"outcome": "succeeded", "finished_at": START, "params": {}, **common}
    WebhookEvent.objects.bulk_create(
        [
            WebhookEvent(event_id=f"evt_{number}", purged_at=purged_at, **event)
            for number, purged_at in enumerate(purged)
        ],
        batch_size=500,
    )
    StripeAttempt.objects.bulk_create(
        [StripeAttempt(order_payment=payment, purged_at=each, **attempt) for each in purged],
        batch_size=500,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    later()

    with CaptureQueriesContext(connection) as queries:
        report = purge_personal_data(batch_size=90)

    assert report == PurgeReport(events=100, attempts=100)
    pages = [query["sql"] for query in queries if "LIMIT 90" in query["sql"]]
    assert len(pages) == 6
    for page in pages:
        plan = plan_of(page)
        assert "_unpurged" in plan, page
        assert "Seq Scan" not in plan
        assert "SCAN shop" not in plan


def test_a_batch_that_the_database_undoes_is_run_again(paid, later):
    undone: list[str] = []

    def undo_the_first(execute, sql, *rest):
        if not undone and sql.startswith("UPDATE"):
            undone.append(sql)
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    later()
    with connection.execute_wrapper(undo_the_first):
        report = purge_personal_data()

    assert len(undone) == 1
    assert (report.attempts, report.kept_attempts) == (2, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"older_than_days": 30}, "older_than_days must be from 31 to 36500"),
        ({"older_than_days": 36_501}, "older_than_days must be from 31 to 36500"),
        ({"batch_size": 0}, "batch_size must be from 1 to 5000"),
        ({"batch_size": 5_001}, "batch_size must be from 1 to 5000"),
    ],
)
def test_options_out_of_bounds_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        purge_personal_data(**options)


def test_an_order_without_customer_and_address_is_still_paid_and_purged(
    paid, order, payment_system, later
):
    order.customer.delete()
    later()
    assert purge_personal_data().attempts == 2
    order.refresh_from_db()
    assert (order.customer, order.email != "") == (None, True)
    order.email = ""
    order.save()

    assert payment_system.payment(order).status_code == 200


def test_every_field_that_may_hold_personal_data_is_documented():
    documented = (Path(__file__).parents[2] / "docs" / "retention.md").read_text()
    rows = [line.split("|") for line in documented.splitlines() if line.startswith("| `")]
    named = {(row[1].strip(" `"), name) for row in rows for name in row[2].replace("`", "").split()}
    kinds = (models.JSONField, models.TextField, models.EmailField)
    fields = {
        (model.__name__, field.name)
        for model in apps.get_app_config("shop_payments").get_models()
        for field in model._meta.get_fields()
        if isinstance(field, kinds)
    }

    # A key's scopes are two words.
    missing = fields - {(model, name.rstrip(",")) for model, name in named} - {("APIKey", "scopes")}
    assert missing == set()
    assert len(fields) > 5
