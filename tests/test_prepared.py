"""Statements that are compiled once find the same rows as Django's own query sets."""

from __future__ import annotations

import re
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models.signals import post_save, pre_save
from django.db.transaction import TransactionManagementError

from shop_payments.ledger import payments
from shop_payments.models import (
    APIKey,
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    StripeAttempt,
    WebhookEvent,
    api_keys,
)
from shop_payments.prepared import PreparedQuery, insert_rows, update_row
from shop_payments.services import receive_event
from shop_payments.sync import payment_intents
from shop_payments.sync.base import _versions_of
from tests.factories import OrderFactory
from tests.support import BASE, call_stripe, pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows(storefront, order, stripe, webhooks):
    """Three orders with a payment each: one is open, one disputed, and one refunded in part."""
    storefront.payment_intent(order)
    for method in ("pm_card_createDispute", "pm_card_visa"):
        another = OrderFactory.create(customer=order.customer, lines=[{}, {"name": "Another"}])
        intent = storefront.payment_intent(another).json()["data"]["id"]
        pay(stripe, intent, method)
    call_stripe(stripe, "POST", "refunds", payment_intent=intent, amount="100")
    webhooks()


def comparable(row):
    values = {name: value for name, value in vars(row).items() if name != "_state"}
    return {**values, "db": row._state.db}


CASES: dict[str, Any] = {
    # by name: the query, and where its values come from
    "payment by key": (payments._LOCK_BY_PK, OrderPayment, "pk"),
    "payment by order": (payments._LOCK_BY_ORDER, OrderPayment, "order_id"),
    "payment by intent": (payments._LOCK_BY_INTENT, PaymentIntent, "stripe_id"),
    "intents": (payments._INTENTS_OF, PaymentIntent, "order_payment_id"),
    "intent by Stripe's id": (payment_intents._BY_STRIPE_ID, PaymentIntent, "stripe_id"),
    "API key": (api_keys._BY_PREFIX, APIKey, "prefix"),
    # of some columns only
    "event": (receive_event._KEY_BY_EVENT_ID, WebhookEvent, "event_id"),
    "versions of refunds": (_versions_of(Refund), Refund, "payment_intent_id"),
    "versions of disputes": (_versions_of(Dispute), Dispute, "payment_intent_id"),
}


@pytest.mark.parametrize(("query", "model", "name"), CASES.values(), ids=CASES)
def test_it_finds_what_the_query_set_finds(rows, query, model, name):
    values = list(model.objects.values_list(name, flat=True))
    assert values
    for value in values:
        (found,), (expected,) = query(value, using="default"), query._build(value)
        assert comparable(found) == comparable(expected)
        assert found.get_deferred_fields() == expected.get_deferred_fields()
    assert payments._LOCK_BY_INTENT("'; --", using="default") == []


def test_it_compiles_once_and_adapts_uuids_to_the_database(rows, django_assert_num_queries):
    builds = []

    def build(value):
        builds.append(value)
        return StripeAttempt.objects.filter(pk=value)

    attempts = list(StripeAttempt.objects.all())
    query = PreparedQuery(build, field=lambda: StripeAttempt._meta.pk)
    with django_assert_num_queries(len(attempts) + 1):
        assert [query(each.pk, using="default") for each in attempts] == [[a] for a in attempts]
        assert query(uuid4(), using="default") == []
    assert len(builds) == 1


def test_a_value_of_a_type_without_an_example_is_compiled_each_time(rows):
    """An order model may have a primary key of the shop's own type."""
    query = PreparedQuery(
        lambda value: OrderPayment.objects.filter(updated_at=value),
        field=lambda: OrderPayment._meta.get_field("updated_at"),
    )
    for payment in OrderPayment.objects.all():
        assert query(payment.updated_at, using="default") == [payment]


@pytest.mark.django_db(transaction=True)
def test_rows_are_not_locked_outside_of_a_transaction():
    with pytest.raises(TransactionManagementError):
        payments._LOCK_BY_PK(1, using="default")


def test_rows_of_two_models_in_one_statement(rows):
    """An order with its lines."""
    for order in Order.objects.all():
        found: Any = Order.objects.find_with_lines(order.pk)
        assert comparable(found) == {**comparable(order), "loaded_lines": found.loaded_lines}
        assert [*found.loaded_lines] == list(order.lines.all())


def test_a_payment_with_its_intents(rows):
    for payment in OrderPayment.objects.all():
        found: Any = payments.find_payment(payment.order_id)
        seen: Any = payments.read_rows(found)
        (expected,) = payment.payment_intents.all()
        assert comparable(expected).items() <= comparable(seen.intents[0]).items()
        assert seen.payment == payment


# --- writing ------------------------------------------------------------------------------------


def save(row):
    row.save(force_insert=True)


@pytest.fixture
def signals_of():
    """Collect what the signals say while a row is written."""

    def collect(model, write):
        sent = []

        def receive(instance, signal, **kwargs):
            sent.append((instance.pk is None, instance._state.adding, kwargs))

        for signal in (pre_save, post_save):
            signal.connect(receive, sender=model)
        try:
            write()
        finally:
            for signal in (pre_save, post_save):
                signal.disconnect(receive, sender=model)
        return sent

    return collect


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (OrderPayment, {}),
        (PaymentIntent, {"stripe_id": "pi_2", "status": "canceled", "attempt_id": UUID(int=3)}),
        (StripeAttempt, {"outcome": "failed"}),
        (PaymentHistory, {"fact_id": UUID(int=2)}),
        (Refund, {"stripe_id": "re_2"}),
        (Dispute, {"stripe_id": "du_2"}),
        (WebhookEvent, {"event_id": "evt_2"}),
    ],
)
def test_rows_are_inserted_as_save_does(rows, signals_of, model, changes):
    original, spare = model.objects.earliest("pk"), OrderFactory.create()
    values = {each.attname: getattr(original, each.attname) for each in model._meta.concrete_fields}
    has_uuid = isinstance(model._meta.pk, models.UUIDField)
    values["id"] = UUID(int=2) if has_uuid else None
    values |= {"order_id": spare.pk} if model is OrderPayment else changes
    payment = OrderPayment.objects.earliest("pk")
    StripeAttempt.objects.create(id=UUID(int=3), order_payment=payment, params={}, livemode=False)
    stored, sent = [], []

    with time_machine.travel("2026-11-30T12:00:00+00:00", tick=False):
        for write in (save, insert_rows):
            row = model(**values)
            sent.append(signals_of(model, partial(write, row)))
            assert (row._state.adding, row._state.db) == (False, "default")
            stored.append(model.objects.filter(pk=row.pk).values().get() | {"id": None})
            if model is PaymentHistory:
                model.objects.delete_with(row.order_payment)
            else:
                row.delete()

    assert stored[0] == stored[1]
    assert sent[0] == sent[1]


def test_rows_are_updated_as_save_does(rows, signals_of):
    row, names = PaymentIntent.objects.earliest("pk"), {"amount", "attempt_id", "updated_at"}
    row.amount, row.currency = 7, "eur"
    stored, sent = [], []

    with time_machine.travel("2026-11-30T12:00:00+00:00", tick=False):
        for write in (lambda: row.save(update_fields=names), lambda: update_row(row, names)):
            PaymentIntent.objects.update(amount=1)
            sent.append(signals_of(PaymentIntent, write))
            stored.append(PaymentIntent.objects.filter(pk=row.pk).values().get())

    assert stored[0] == stored[1]
    assert (stored[1]["amount"], stored[1]["currency"]) == (7, "usd")
    assert sent[0] == sent[1]


def test_several_rows_are_inserted_with_one_statement(rows, django_assert_num_queries):
    intent = PaymentIntent.objects.earliest("pk")
    facts = [
        PaymentHistory(
            order_payment=intent.order_payment, payment_intent=intent, kind=kind, data={"a": kind}
        )
        for kind in ("status_changed", "order_paid")
    ]

    with django_assert_num_queries(1):
        insert_rows(*facts)

    found = PaymentHistory.objects.in_bulk([fact.pk for fact in facts])
    assert [found[fact.pk].data["a"] for fact in facts] == ["status_changed", "order_paid"]


def test_a_row_may_refer_to_one_that_was_saved_later(order):
    payment = OrderPayment(order=order)
    fact = PaymentHistory(order_payment=payment, kind="status_changed")
    insert_rows(payment)
    insert_rows(fact)
    assert PaymentHistory.objects.get().order_payment == payment


def test_a_row_that_is_gone_or_different_is_not_updated(rows):
    attempt = StripeAttempt.objects.earliest("pk")
    attempt.error_code = "new"

    assert not update_row(attempt, ["error_code"], outcome="pending")
    assert update_row(attempt, ["error_code"], outcome="succeeded")
    assert StripeAttempt.objects.get(pk=attempt.pk).error_code == "new"
    with pytest.raises(DatabaseError, match="does not exist"), transaction.atomic():
        update_row(PaymentIntent(pk=10**6, amount=1), ["amount"])


def test_a_constraint_ends_the_transaction_as_save_does(rows):
    order = Order.objects.earliest("pk")
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            insert_rows(OrderPayment(order=order))
        assert transaction.get_rollback()


@pytest.fixture
def preparing(db):
    """A connection that prepares each statement, as those of the demo project soon do."""
    from django.db.backends.postgresql.base import ServerBindingCursor  # imports psycopg

    connection.ensure_connection()
    raw = connection.connection
    before = raw.cursor_factory, raw.prepare_threshold
    raw.cursor_factory, raw.prepare_threshold = ServerBindingCursor, 0
    yield
    raw.cursor_factory, raw.prepare_threshold = before


@pytest.mark.skipif(connection.vendor != "postgresql", reason="prepared statements of PostgreSQL")
@pytest.mark.parametrize(
    "url",
    [
        "/admin/shop_payments/webhookevent/?type=refund.failed",
        "/admin/shop_payments/paymenthistory/?q=4242",
        "/admin/shop_payments/order/?payment=refunded",
        f"{BASE}/orders?payment_status=refunded",
    ],
)
def test_a_list_is_planned_for_the_values_of_its_filter(admin_client, rows, preparing, url):
    """If it were planned once for all values, it would read a large table for a rare one."""
    assert admin_client.get(url).status_code == 200

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor.fetchall()]
    assert any("django_session" in statement for statement in prepared)
    filtered = re.compile('FROM "shop_payments_.*WHERE.*[$]1.*LIMIT', re.DOTALL)
    assert [statement for statement in prepared if filtered.search(statement)] == []
