"""Old personal data is purged, the facts about the money stay, and the app works without it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core import serializers
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from shop_payments.ledger.reviews import close_review_item
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
from tests.books import STAFF
from tests.factories import OrderFactory
from tests.support import (
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


TABLES = (OrderPayment, PaymentIntent, StripeAttempt, WebhookEvent, PaymentHistory, ReviewItem)


def facts() -> list[dict[str, Any]]:
    """All rows, without what the purge may change."""
    rows = [row for table in TABLES for row in table.objects.order_by("pk")]
    found: list[dict[str, Any]] = serializers.serialize("python", rows)
    for row in found:
        for name in ("payload", "params", "fingerprint", "last4", "purged_at"):
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


def test_no_trace_of_the_customer_is_left_in_the_rows_of_the_payment(paid, order, stripe, later):
    """But all the facts about the money are."""
    intent = call_stripe(stripe, "GET", f"payment_intents/{paid}")
    person = {"name": "Ada L", "address": {"line1": "12 Long Lane"}, "phone": "555"}
    charge = {"id": "ch_1", "object": "charge", "payment_intent": paid, "billing_details": person}
    send_event({**intent, "shipping": {"name": "Ada L"}}, type="payment_intent.succeeded")
    send_event(charge, type="charge.succeeded")
    traces = [order.email, "Ada L", "12 Long Lane", "Main product 2", order.number]
    PaymentIntent.objects.update(method_type="card", card_brand="visa", last4="9995")
    # With its quotes: ids are random and may contain these four digits.
    traces += [PaymentIntent.objects.get().fingerprint, '"9995"']
    assert all(trace in everything_stored() for trace in traces)
    before = facts()
    later()

    report = purge_personal_data()

    stored = everything_stored()
    assert [trace for trace in traces if trace in stored] == []
    assert facts() == before
    assert report == PurgeReport(events=WebhookEvent.objects.count(), attempts=2)
    params = StripeAttempt.objects.get(operation="create_intent").params
    kept = {"amount": 11200, "currency": "usd", "allowed_payment_method_types": ["card"]}
    assert params == kept
    assert {*WebhookEvent.objects.values_list("purged_at", flat=True)} == {
        START + timedelta(days=181)
    }


def test_younger_data_stays(paid, later):
    later(days=179)
    assert purge_personal_data() == PurgeReport()
    assert untouched() == StripeAttempt.objects.count() + WebhookEvent.objects.count()

    later(days=2)
    assert purge_personal_data(older_than_days=182).attempts == 0
    assert purge_personal_data().attempts == 2


def test_the_history_names_people_by_their_key_only(clock, storefront, order, stripe, webhooks):
    """It is append-only and never purged. Stripe's words lose addresses and numbers."""
    customer = order.customer
    first = storefront.payment_intent(order).json()["data"]["id"]
    intent = call_stripe(stripe, "GET", f"payment_intents/{first}")
    account = "DE89370400440532013000: call +44 (0)20 7946-0018, or pay 12.50 by 2026."
    error = {"code": "declined", "message": f"{customer.email}, {account}"}
    send_event({**intent, "status": "canceled", "last_payment_error": error})
    second = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=1)
    pay(stripe, second)
    webhooks()

    history = PaymentHistory.objects.all()
    actors = " ".join(history.values_list("actor", flat=True))
    text = serializers.serialize("json", [*history, *ReviewItem.objects.all()])
    kinds = set(history.values_list("kind", flat=True))
    assert {"intent_created", "payment_failed", "payment_received", "review_needed"} <= kinds
    assert f"user {customer.pk}" in actors
    traces = (customer.email, customer.username, "Main product")
    assert [trace for trace in traces if trace in text] == []
    shown = history.get(kind="payment_failed").detail
    assert shown == '"… DE…: call …, or pay 12.50 by 2026." (declined)'


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
    assert (event.status, event.error_text) == ("failed", "IntegrityError")


# --- what is still needed -------------------------------------------------------------------------


def test_an_event_that_is_not_done_keeps_its_payload(clock, later):
    make_old(5, 0)
    undone = ["received", "failed", "set_aside"]
    for event, status in zip(WebhookEvent.objects.all(), undone, strict=False):
        WebhookEvent.objects.filter(pk=event.pk).update(status=status)
    later()

    report = purge_personal_data()

    kept = WebhookEvent.objects.filter(purged_at=None)
    assert sorted(event.status for event in kept) == sorted(undone)
    assert report == PurgeReport(events=2, kept_events=3)


def test_an_event_that_is_replayed_meanwhile_keeps_its_payload(clock, later):
    """Found: the purge met a constraint and stopped there."""
    make_old(3, 0)
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


def leave_an_attempt_unresolved() -> None:
    update = StripeAttempt.objects.filter(operation="update_intent")
    update.update(outcome="pending", finished_at=None)


def put_up_for_review() -> ReviewItem:
    payment, intent = OrderPayment.objects.get(), PaymentIntent.objects.get()
    return ReviewItem.objects.create(order_payment=payment, payment_intent=intent, reason="excess")


@pytest.mark.by_hand
@pytest.mark.parametrize(
    "happens",
    [
        leave_an_attempt_unresolved,
        lambda: OrderPayment.objects.update(needs_review=True),
        put_up_for_review,
        lambda: PaymentIntent.objects.get().save(),
        lambda: PaymentIntent.objects.update(status="processing", wanted=False),
        lambda: PaymentIntent.objects.update(status="of_tomorrow", wanted=False),
    ],
    ids=["unresolved", "in review", "with an open item", "changed", "processing", "of tomorrow"],
)
def test_a_payment_that_may_be_needed_keeps_everything(paid, later, happens):
    later()
    happens()

    report = purge_personal_data()

    assert (report.events, report.attempts, report.kept_attempts) == (0, 0, 2)
    assert untouched() == StripeAttempt.objects.count() + WebhookEvent.objects.count()


@pytest.mark.parametrize("card", ["pm_card_pendingRefund", "pm_card_createDispute"])
def test_a_refund_on_its_way_keeps_everything(clock, pay_order, office, order, webhooks, card):
    """So does a dispute until the bank has decided, also if staff have closed its item."""

    def is_kept() -> bool:
        report = purge_personal_data()
        purged, kept = (report.events, report.attempts), (report.kept_events, report.kept_attempts)
        assert (0, 0) in (purged, kept)
        assert min(*purged) > 0 or min(*kept) > 0
        return purged == (0, 0)

    pay_order(card)
    if card == "pm_card_pendingRefund":
        assert office.refund(order).json()["data"]["status"] == "pending"
    for item in ReviewItem.objects.all():
        close_review_item(item_pk=item.pk, reason="Evidence sent.", user=None, origin=STAFF)

    clock.shift(timedelta(days=200))
    assert is_kept()

    webhooks()  # the refund succeeds, and the bank decides
    assert is_kept(), "it has just changed"
    clock.shift(timedelta(days=200))
    assert not is_kept()


# --- the app after a purge ------------------------------------------------------------------------


def test_a_purged_payment_is_answered_as_before_and_a_late_event_changes_nothing(
    paid, order, stripe, payment_system, storefront, later
):
    before = payment_system.payment(order)
    intent = call_stripe(stripe, "GET", f"payment_intents/{paid}")
    duplicate = event_body(intent, type="payment_intent.succeeded")
    post_webhook(duplicate, sign(duplicate))
    later()
    purge_personal_data()

    for body in (duplicate, event_body({**intent, "status": "processing"})):
        assert post_webhook(body, sign(body)).status_code == 200
        event = WebhookEvent.objects.get(event_id=json.loads(body)["id"])
        assert (event.status, event.payload == {}) == ("processed", body == duplicate)
    after = payment_system.payment(order)
    assert (after.status_code, after.content) == (200, before.content)
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1


def test_a_customer_who_comes_back_after_a_purge_gets_the_same_intent(
    clock, storefront, order, stripe, payment_system, later
):
    first = storefront.payment_intent(order).json()["data"]
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


def test_an_intent_of_a_purged_attempt_is_still_ours(clock, storefront, order, stripe, later):
    """The answer to its creation was lost, and the attempt was given up."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    StripeAttempt.objects.get().finish("abandoned")
    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    later()
    assert purge_personal_data().attempts == 1

    assert send_event(pay(stripe, intent["id"])).status_code == 200

    assert StripeAttempt.objects.get().outcome == "succeeded"
    assert OrderPayment.objects.get().is_paid


# --- batches --------------------------------------------------------------------------------------


def make_old(events: int, attempts: int) -> None:
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
    make_old(5, 6)
    kept = StripeAttempt.objects.order_by("created_at", "pk")[:3]
    OrderPayment.objects.filter(attempts__in=list(kept)).update(needs_review=True)
    later()

    dry = purge_personal_data(batch_size=2, dry_run=True)

    assert untouched() == 11
    assert dry == PurgeReport(events=5, attempts=3, kept_attempts=3)
    assert purge_personal_data(batch_size=2) == dry


def test_a_purge_that_is_killed_is_finished_by_the_next(clock, later):
    make_old(5, 5)
    later()
    before = facts()
    reports: list[PurgeReport] = []

    def die(report: PurgeReport) -> None:
        reports.append(report)
        if len(reports) == 4:
            raise Died

    with pytest.raises(Died):
        purge_personal_data(batch_size=2, on_batch=die)
    done = reports[-1]
    assert untouched() == 10 - done.events - done.attempts

    rest = purge_personal_data(batch_size=2)

    assert (done.events + rest.events, done.attempts + rest.attempts) == (5, 5)
    assert (untouched(), facts()) == (0, before)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
def test_a_payment_that_is_locked_is_not_waited_for(clock, later):
    make_old(0, 2)
    later()
    busy = OrderPayment.objects.order_by("pk")[0]

    with transaction.atomic():
        OrderPayment.objects.locked().get(pk=busy.pk)
        (report,) = at_once(purge_personal_data)

    assert report == PurgeReport(attempts=1, kept_attempts=1)
    assert purge_personal_data() == PurgeReport(attempts=1)


def test_the_oldest_rows_are_found_by_an_index(clock, later):
    """A shop of some years: all rows but the last hundred have been purged."""
    payment = OrderPayment.objects.create(order=OrderFactory.create())
    purged = [START] * 1_900 + [None] * 100
    event = {"status": "processed", "stripe_created_at": START, "payload": {}, "livemode": False}
    attempt = {"outcome": "succeeded", "finished_at": START, "params": {}, "livemode": False}
    WebhookEvent.objects.bulk_create(
        WebhookEvent(event_id=f"evt_{number}", purged_at=purged_at, **event)
        for number, purged_at in enumerate(purged)
    )
    StripeAttempt.objects.bulk_create(
        StripeAttempt(order_payment=payment, purged_at=each, **attempt) for each in purged
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            # So small a table may be cheaper to read as a whole, if its rows are scattered.
            cursor.execute("SET LOCAL enable_seqscan = off")
    later()

    with CaptureQueriesContext(connection) as queries:
        assert purge_personal_data(batch_size=90) == PurgeReport(events=100, attempts=100)

    plans = [plan_of(query["sql"]) for query in queries if "LIMIT 90" in query["sql"]]
    assert len(plans) == 6
    for plan in plans:
        assert "_unpurged" in plan
        assert "Seq Scan" not in plan
        assert "SCAN shop" not in plan


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
