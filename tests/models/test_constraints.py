"""The constraints that guard the money, what may be deleted, and the history, which only grows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError

from shop_payments.models import (
    APIKey,
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    WebhookEvent,
)
from tests.factories import OrderFactory, OrderLineFactory, UserFactory
from tests.models import support as rows
from tests.models.support import MOMENT, make_attempt, make_entry, make_fact, make_intent

pytestmark = pytest.mark.django_db

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
        fields: list[Any] = [model._meta.get_field(field) for field in constraint.fields]
        expected = ", ".join(f"{model._meta.db_table}.{field.column}" for field in fields)
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    assert expected in str(refusal.value)


Violate = Callable[[OrderPayment], object]
PENDING: dict[str, Any] = {"outcome": "pending", "finished_at": None}
UNKNOWN = {"reason": "unknown_intent", "subject": "pi_1"}


def twice(make: Callable[[Any], object]) -> Violate:
    return lambda payment: (make(payment), make(payment))


def twice_of_one_intent(make: Callable[[PaymentIntent], object]) -> Violate:
    return lambda payment: twice(make)(make_intent(payment))  # type: ignore[arg-type]


def receive(intent: PaymentIntent) -> None:
    received = {"payment_intent": intent, "kind": FactKind.PAYMENT_RECEIVED}
    make_fact(intent.order_payment, **received)


VIOLATIONS: dict[str, Violate] = {
    "order_currency_lower": lambda payment: OrderFactory.create(currency="USD"),
    "order_status_known": lambda payment: OrderFactory.create(status="paid"),
    "orderline_quantity_positive": lambda payment: OrderLineFactory.create(quantity=0),
    "orderpayment_status_known": lambda payment: OrderPayment.objects.update(
        status="free", paid_at=MOMENT
    ),
    "orderpayment_paid_has_time": lambda payment: OrderPayment.objects.update(status="paid"),
    "intent_stripe_id_unique": lambda payment: [
        make_intent(payment, stripe_id="pi_1", status="canceled") for _time in range(2)
    ],
    "one_open_intent_per_order": twice(make_intent),
    "orderpayment_total_has_currency": lambda payment: OrderPayment.objects.update(total=0),
    "intent_wanted_only_when_succeeded": lambda payment: make_intent(payment, wanted=True),
    "one_pending_intent_attempt": lambda payment: [
        make_attempt(payment, **PENDING, operation=each)
        for each in ("create_intent", "update_intent")
    ],
    "attempt_finished_has_time": lambda payment: make_attempt(payment, finished_at=None),
    "order_paid_once": twice(make_fact),
    "payment_received_once": twice_of_one_intent(receive),
    "entry_amount_positive": lambda payment: make_entry(payment, amount=0),
    "note_once_per_request_key": twice(
        lambda payment: payment.staff_notes.create(text="a", request_key="k")
    ),
    "note_has_text": lambda payment: payment.staff_notes.create(text=""),
    "entry_has_reason": lambda payment: make_entry(payment, reason=""),
    "entry_settles_an_intent": lambda payment: make_entry(payment, kind="settlement"),
    "entry_revoked_has_time": lambda payment: make_entry(payment, revocation_reason="a mistake"),
    "entry_once_per_request_key": lambda payment: [
        make_entry(payment, request_key="k", kind=kind, payment_intent=intent)
        for kind, intent in (("waiver", None), ("settlement", make_intent(payment)))
    ],
    "refund_stripe_id_unique": twice_of_one_intent(
        lambda intent: rows.make_refund(intent, stripe_id="re_1", status="pending")
    ),
    "refund_once_per_request_key": twice_of_one_intent(
        lambda intent: rows.make_refund(intent, request_key="k")
    ),
    "refund_amount_positive": lambda payment: rows.make_refund(make_intent(payment), amount=0),
    "refund_mirrored_has_stripe_id": lambda payment: rows.make_refund(
        make_intent(payment), status="succeeded"
    ),
    "review_once_per_reason": twice_of_one_intent(rows.make_review),
    "review_once_without_intent": twice(
        lambda payment: ReviewItem.objects.create(order_payment=payment, **UNKNOWN)
    ),
    "review_closing_has_time": lambda payment: rows.make_review(
        make_intent(payment), closing_data={"note": "refunded"}
    ),
    "apikey_has_label": lambda payment: APIKey.objects.create(prefix="p", label=""),
    "event_id_unique": lambda payment: (rows.make_event("evt_1"), rows.make_event("evt_1")),
    "event_has_id": lambda payment: rows.make_event(""),
    "event_purged_when_done": lambda payment: [
        rows.make_event("evt_1"),
        WebhookEvent.objects.update(purged_at=MOMENT),
    ],
    "attempt_purged_when_finished": lambda payment: make_attempt(
        payment, **PENDING, purged_at=MOMENT
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_refuses_a_violation(payment, name):
    name = name.removeprefix("shop_payments_")
    with violated(name):
        VIOLATIONS[name](payment)


def test_an_open_intent_is_one_whatever_its_status(payment):
    make_intent(payment, status="of_next_year")
    make_intent(payment, status="canceled")
    with violated("one_open_intent_per_order"):
        make_intent(payment)


# --- what may be deleted ------------------------------------------------------------------------


def test_rows_about_money_are_not_deleted(payment):
    intent, other = make_intent(payment), OrderPayment.objects.create(order=OrderFactory.create())
    rows.make_review(intent)
    make_fact(other)
    for row in (payment.order, payment, intent, intent.attempt, other):
        with pytest.raises(ProtectedError):
            row.delete()


def test_rows_outlive_the_people_they_name(payment):
    staff, order = UserFactory.create(), payment.order
    item = rows.make_review(make_intent(payment), closed_by=staff, closed_at=MOMENT)
    staff.delete()
    order.customer.delete()
    item.refresh_from_db()
    order.refresh_from_db()
    assert (item.closed_by, item.closed_at, order.customer) == (None, MOMENT, None)


# --- the history is append-only -----------------------------------------------------------------

CHANGES: list[Callable[[PaymentHistory], object]] = [
    lambda fact: fact.save(),
    lambda fact: fact.save(force_update=True),
    lambda fact: fact.delete(),
    lambda fact: PaymentHistory.objects.filter(pk=fact.pk).update(kind="x"),
    lambda fact: PaymentHistory._base_manager.update(kind="x"),
    lambda fact: PaymentHistory.objects.all().delete(),
    lambda fact: PaymentHistory.objects.bulk_update([fact], ["kind"]),
    lambda fact: fact.order_payment.history.update(kind="x"),
    lambda fact: PaymentIntent.objects.get().history.clear(),
]


def test_only_the_time_of_dispatch_is_written_into_the_history_later(payment):
    fact = make_fact(payment, payment_intent=make_intent(payment), kind=FactKind.INTENT_CREATED)
    before = PaymentHistory.objects.values().get()
    fact.kind = FactKind.ORDER_PAID
    for change in CHANGES:
        with pytest.raises(TypeError, match="append-only"), transaction.atomic():
            change(fact)
    with pytest.raises(IntegrityError), transaction.atomic():
        PaymentHistory(pk=fact.pk, order_payment=fact.order_payment, kind="x").save()
    assert PaymentHistory.objects.values().get() == before
    PaymentHistory.objects.mark_dispatched([fact])
    after = PaymentHistory.objects.values().get()
    assert fact.dispatched_at == after["dispatched_at"] is not None
    assert {**after, "dispatched_at": None} == before
