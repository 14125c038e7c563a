"""The constraints that guard the money, what may be deleted, and the history, which only grows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError

from shop_payments.models import (
    APIKey,
    FactKind,
    OrderLine,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from tests.factories import OrderFactory, OrderLineFactory, UserFactory
from tests.models.support import (
    MOMENT,
    make_attempt,
    make_entry,
    make_event,
    make_fact,
    make_intent,
    make_refund,
    make_review,
)

pytestmark = pytest.mark.django_db

OPEN_STATUSES = [
    *("requires_payment_method", "requires_confirmation", "requires_action"),
    *("processing", "requires_capture", "a_status_of_next_year", ""),
]
CLOSED_STATUSES = ["succeeded", "canceled", "missing"]

CONSTRAINTS = {
    constraint.name: (model, constraint)
    for model in apps.get_app_config("shop_payments").get_models()
    for constraint in model._meta.constraints
}


@contextmanager
def violated(name: str):
    """The database refuses what happens here, by the constraint of this name.

    SQLite names the columns of a unique constraint instead.
    """
    model, constraint = CONSTRAINTS[f"shop_payments_{name}"]
    expected = constraint.name
    if connection.vendor == "sqlite" and isinstance(constraint, models.UniqueConstraint):
        table = model._meta.db_table
        fields: list[Any] = [model._meta.get_field(field) for field in constraint.fields]
        expected = ", ".join(f"{table}.{field.column}" for field in fields)
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    assert expected in str(refusal.value)


Make = Callable[[OrderPayment], object]


def twice(make: Make) -> Make:
    return lambda payment: (make(payment), make(payment))


def twice_of_one_intent(make: Callable[[PaymentIntent], object]) -> Make:
    def violate(payment: OrderPayment) -> None:
        intent = make_intent(payment)
        for _time in range(2):
            make(intent)

    return violate


VIOLATIONS: dict[str, Make] = {
    "order_currency_lower": lambda payment: OrderFactory.create(currency="USD"),
    "order_status_known": lambda payment: OrderFactory.create(status="paid"),
    "orderline_quantity_positive": lambda payment: OrderLineFactory.create(quantity=0),
    "orderpayment_status_known": lambda payment: OrderPayment.objects.update(
        status="free", paid_at=MOMENT
    ),
    "orderpayment_paid_has_time": lambda payment: OrderPayment.objects.update(status="paid"),
    "one_open_intent_per_order": twice(make_intent),
    "orderpayment_total_has_currency": lambda payment: OrderPayment.objects.update(total=0),
    "intent_wanted_only_when_succeeded": lambda payment: make_intent(payment, wanted=True),
    "one_pending_intent_attempt": lambda payment: [
        make_attempt(payment, outcome="pending", finished_at=None, operation=operation)
        for operation in ("create_intent", "update_intent")
    ],
    "attempt_finished_has_time": lambda payment: make_attempt(payment, finished_at=None),
    "order_paid_once": twice(make_fact),
    "payment_received_once": twice_of_one_intent(
        lambda intent: make_fact(
            intent.order_payment, payment_intent=intent, kind=FactKind.PAYMENT_RECEIVED
        )
    ),
    "entry_amount_positive": lambda payment: make_entry(payment, amount=0),
    "entry_has_reason": lambda payment: make_entry(payment, reason=""),
    "entry_settles_an_intent": lambda payment: make_entry(payment, kind="settlement"),
    "entry_revoked_has_time": lambda payment: make_entry(payment, revocation_reason="a mistake"),
    "entry_once_per_request_key": lambda payment: [
        make_entry(payment, request_key="k"),
        make_entry(
            payment, request_key="k", kind="settlement", payment_intent=make_intent(payment)
        ),
    ],
    "refund_stripe_id_unique": twice_of_one_intent(
        lambda intent: make_refund(intent, stripe_id="re_1", status="pending")
    ),
    "refund_once_per_request_key": twice_of_one_intent(
        lambda intent: make_refund(intent, request_key="k")
    ),
    "refund_amount_positive": lambda payment: make_refund(make_intent(payment), amount=0),
    "refund_mirrored_has_stripe_id": lambda payment: make_refund(
        make_intent(payment), status="succeeded"
    ),
    "review_once_per_reason": twice_of_one_intent(make_review),
    "review_once_without_intent": twice(
        lambda payment: ReviewItem.objects.create(
            order_payment=payment, reason="unknown_intent", subject="pi_1"
        )
    ),
    "review_closing_has_time": lambda payment: make_review(
        make_intent(payment), closing_note="refunded"
    ),
    "apikey_has_label": lambda payment: APIKey.objects.create(prefix="p", label=""),
    "event_has_id": lambda payment: make_event(""),
    "event_purged_when_done": lambda payment: [
        make_event("evt_1"),
        WebhookEvent.objects.update(purged_at=MOMENT),
    ],
    "attempt_purged_when_finished": lambda payment: make_attempt(
        payment, outcome="pending", finished_at=None, purged_at=MOMENT
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_constraint_refuses_a_violation(payment, name):
    with violated(name):
        VIOLATIONS[name](payment)


def test_every_constraint_is_tested():
    assert {f"shop_payments_{name}" for name in VIOLATIONS} == set(CONSTRAINTS)


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_a_second_open_intent_is_refused_whatever_its_status(payment, status):
    make_intent(payment, status=status)
    with violated("one_open_intent_per_order"):
        make_intent(payment)
    PaymentIntent.objects.update(status="requires_capture")
    with violated("one_open_intent_per_order"):
        make_intent(payment, status=status)


@pytest.mark.parametrize("status", CLOSED_STATUSES)
def test_closed_intents_leave_room_for_an_open_one(payment, status):
    closed = [make_intent(payment, status=status) for _intent in range(2)]
    opened = make_intent(payment)
    assert list(PaymentIntent.objects.open()) == [opened]
    assert [intent.is_open for intent in [*closed, opened]] == [False, False, True]
    with violated("one_open_intent_per_order"):
        PaymentIntent.objects.filter(pk=closed[0].pk).update(status="requires_action")


@pytest.mark.parametrize("status", [*OPEN_STATUSES, "canceled", "missing"])
def test_only_an_intent_that_succeeded_is_wanted(payment, status):
    with violated("intent_wanted_only_when_succeeded"):
        make_intent(payment, status=status, wanted=True)


def test_the_constraints_leave_room_for_what_is_normal(payment):
    """Each order has its own open intent; an order may be paid, refunded and reviewed often."""
    make_intent(payment)
    make_intent(OrderPayment.objects.create(order=OrderFactory.create()))
    for wanted in (True, True, False):
        intent = make_intent(payment, status="succeeded", wanted=wanted)
        make_refund(intent, request_key="k")
    for reason in ReviewItem.Reason.values:
        make_review(intent, reason=reason)
    for outcome in ("succeeded", "failed", "abandoned"):
        make_attempt(payment, outcome=outcome)
    make_attempt(payment, outcome="pending", finished_at=None)

    assert PaymentIntent.objects.open().count() == 2
    assert StripeAttempt.objects.pending().count() == 1


def test_a_pending_attempt_is_not_finished(payment):
    with violated("attempt_finished_has_time"):
        make_attempt(payment, outcome="pending", finished_at=MOMENT)


@pytest.mark.parametrize("status", ["paid", "partially_refunded", "refunded"])
def test_received_money_has_a_time(payment, status):
    with violated("orderpayment_paid_has_time"):
        OrderPayment.objects.update(status=status)
    assert OrderPayment.objects.update(status=status, paid_at=MOMENT) == 1


@pytest.mark.parametrize(
    "duplicate",
    [
        lambda payment: OrderPayment.objects.create(order=payment.order),
        lambda payment: OrderFactory.create(number=payment.order.number),
        twice(lambda payment: make_event("evt_1")),
        twice(lambda payment: make_intent(payment, stripe_id="pi_1", status="canceled")),
    ],
    ids=["a payment's order", "an order's number", "an event's id", "an intent's id"],
)
def test_there_is_only_one(payment, duplicate):
    with pytest.raises(IntegrityError), transaction.atomic():
        duplicate(payment)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (OrderLine, "unit_amount"),
        (PaymentIntent, "amount"),
        (PaymentIntent, "amount_received"),
        (PaymentIntent, "amount_capturable"),
        (OrderPayment, "total"),
        (OrderPayment, "amount_outstanding"),
        (OrderPayment, "amount_excess"),
    ],
)
def test_amounts_are_not_negative(payment, model, field):
    make_intent(payment)
    OrderPayment.objects.update(currency="usd")
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.update(**{field: -1})


# --- what may be deleted ------------------------------------------------------------------------


def test_rows_about_money_are_not_deleted(payment):
    intent = make_intent(payment)
    make_review(intent)
    for row in (payment.order, payment, intent, intent.attempt):
        with pytest.raises(ProtectedError):
            row.delete()
    other = OrderPayment.objects.create(order=OrderFactory.create())
    make_fact(other)
    with pytest.raises(ProtectedError):
        other.delete()


def test_rows_outlive_the_people_they_name(payment):
    staff, order = UserFactory.create(), payment.order
    item = make_review(make_intent(payment), closed_by=staff, closed_at=MOMENT)
    staff.delete()
    order.customer.delete()
    item.refresh_from_db()
    order.refresh_from_db()
    assert (item.closed_by, item.closed_at, order.customer) == (None, MOMENT, None)


def test_an_unpaid_order_goes_with_its_lines(order):
    order.delete()
    assert not OrderLine.objects.exists()


# --- the history is append-only -----------------------------------------------------------------


@pytest.fixture
def fact(payment: OrderPayment) -> PaymentHistory:
    return make_fact(payment, payment_intent=make_intent(payment), kind=FactKind.INTENT_CREATED)


CHANGES: dict[str, Callable[[PaymentHistory], object]] = {
    "save": lambda fact: fact.save(),
    "save fields": lambda fact: fact.save(update_fields=["kind"]),
    "force update": lambda fact: fact.save(force_update=True),
    "delete": lambda fact: fact.delete(),
    "update": lambda fact: PaymentHistory.objects.filter(pk=fact.pk).update(kind="x"),
    "base manager": lambda fact: PaymentHistory._base_manager.update(kind="x"),
    "queryset delete": lambda fact: PaymentHistory.objects.all().delete(),
    "bulk update": lambda fact: PaymentHistory.objects.bulk_update([fact], ["kind"]),
    "update or create": lambda fact: PaymentHistory.objects.update_or_create(
        pk=fact.pk, defaults={"kind": "x"}
    ),
    "upsert": lambda fact: PaymentHistory.objects.bulk_create(
        [fact], update_conflicts=True, update_fields=["kind"], unique_fields=["fact_id"]
    ),
    "related update": lambda fact: fact.order_payment.history.update(kind="x"),
    "related delete": lambda fact: fact.order_payment.history.all().delete(),
    "related clear": lambda fact: PaymentIntent.objects.get().history.clear(),
    "related remove": lambda fact: PaymentIntent.objects.get().history.remove(fact),
    "related add": lambda fact: OrderPayment.objects.create(
        order=OrderFactory.create()
    ).history.add(fact),
}


@pytest.mark.parametrize("how", CHANGES)
def test_the_history_is_append_only(fact, how):
    """Found: an upsert got through."""
    before = PaymentHistory.objects.values().get()
    fact.kind = FactKind.ORDER_PAID
    with pytest.raises(TypeError, match="append-only"), transaction.atomic():
        CHANGES[how](fact)
    assert PaymentHistory.objects.values().get() == before


def test_a_fact_under_a_known_key_is_not_written_over_it(fact):
    with pytest.raises(IntegrityError), transaction.atomic():
        PaymentHistory(pk=fact.pk, order_payment=fact.order_payment, kind="x").save()
    assert PaymentHistory.objects.get().kind == FactKind.INTENT_CREATED


def test_facts_may_be_added_in_bulk(payment):
    facts = [PaymentHistory(order_payment=payment, kind="x", source="api") for _fact in range(3)]
    PaymentHistory.objects.bulk_create(facts)
    assert PaymentHistory.objects.count() == 3


def test_only_the_time_of_dispatch_is_written_later(fact):
    before = PaymentHistory.objects.values().get()
    PaymentHistory.objects.mark_dispatched([fact])
    after = PaymentHistory.objects.values().get()
    assert fact.dispatched_at == after["dispatched_at"] is not None
    assert {**after, "dispatched_at": None} == before


def test_undispatched_facts_come_oldest_first(payment):
    facts = [
        make_fact(payment, kind="x", needs_dispatch=needed) for needed in (True, False, True, True)
    ]
    PaymentHistory.objects.mark_dispatched(facts[:1])
    assert list(PaymentHistory.objects.undispatched()) == facts[2:]


# --- migrations ---------------------------------------------------------------------------------


def test_the_migrations_say_what_the_models_say():
    call_command("makemigrations", "shop_payments", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_the_migrations_go_back_and_forth():
    call_command("migrate", "shop_payments", "zero", verbosity=0)
    tables = connection.introspection.table_names()
    assert not [name for name in tables if name.startswith("shop_payments")]

    call_command("migrate", "shop_payments", verbosity=0)
    assert OrderFactory.create().pk
