"""The constraints that guard the money, and what rows do by themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import (
    APIKey,
    FactKind,
    Order,
    OrderLine,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.models.orders import NUMBER_ALPHABET, draw_order_number
from tests.factories import OrderFactory, OrderLineFactory, UserFactory

pytestmark = pytest.mark.django_db

MOMENT = datetime(2025, 3, 31, 12, tzinfo=UTC)
OPEN_STATUSES = [
    *("requires_payment_method", "requires_confirmation", "requires_action"),
    *("processing", "requires_capture", "a_status_of_next_year", ""),
]
CLOSED_STATUSES = ["succeeded", "canceled", "missing"]


@pytest.fixture
def payment(order: Order) -> OrderPayment:
    return OrderPayment.objects.create(order=order)


def make_attempt(payment: OrderPayment, **values: Any) -> StripeAttempt:
    finished = {"outcome": "succeeded", "finished_at": MOMENT}
    defaults = {"operation": "create_intent", "params": {}, "livemode": False, **finished}
    return StripeAttempt.objects.create(order_payment=payment, **{**defaults, **values})


def make_intent(payment: OrderPayment, **values: Any) -> PaymentIntent:
    attempt = make_attempt(payment)
    defaults = {
        "stripe_id": f"pi_{attempt.pk.hex}",
        "status": "requires_payment_method",
        "amount": 11200,
        "currency": "usd",
        "livemode": False,
        "stripe_created_at": MOMENT,
    }
    return PaymentIntent.objects.create(
        order_payment=payment, attempt=attempt, **{**defaults, **values}
    )


def make_refund(intent: PaymentIntent, **values: Any) -> Refund:
    defaults = {"amount": 1000, "currency": "usd", "livemode": False}
    return Refund.objects.create(
        payment_intent=intent, order_payment=intent.order_payment, **{**defaults, **values}
    )


def make_fact(payment: OrderPayment, kind: str = FactKind.ORDER_PAID) -> PaymentHistory:
    return PaymentHistory.objects.create(order_payment=payment, kind=kind, source=Source.API)


def make_review(intent: PaymentIntent, **values: Any) -> ReviewItem:
    return ReviewItem.objects.create(
        payment_intent=intent, order_payment=intent.order_payment, **values
    )


def make_entry(payment: OrderPayment, **values: Any) -> StaffEntry:
    defaults = {"kind": "waiver", "amount": 1000, "currency": "usd", "reason": "agreed"}
    return StaffEntry.objects.create(order_payment=payment, **{**defaults, **values})


def make_event(event_id: str) -> WebhookEvent:
    return WebhookEvent.objects.create(
        event_id=event_id, livemode=False, stripe_created_at=MOMENT, payload={}
    )


# --- constraints --------------------------------------------------------------------------------

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
    model, constraint = CONSTRAINTS[name]
    expected = name
    if connection.vendor == "sqlite" and isinstance(constraint, models.UniqueConstraint):
        table = model._meta.db_table
        fields: list[Any] = [model._meta.get_field(field) for field in constraint.fields]
        expected = ", ".join(f"{table}.{field.column}" for field in fields)
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    assert expected in str(refusal.value)


def two_open_intents(payment: OrderPayment) -> None:
    make_intent(payment)
    make_intent(payment)


def two_pending_attempts(payment: OrderPayment) -> None:
    make_attempt(payment, outcome="pending", finished_at=None)
    make_attempt(payment, outcome="pending", finished_at=None, operation="update_intent")


def paid_twice(payment: OrderPayment) -> None:
    make_fact(payment)
    make_fact(payment)


def received_twice(payment: OrderPayment) -> None:
    intent = make_intent(payment)
    for _fact in range(2):
        PaymentHistory.objects.create(
            order_payment=payment,
            payment_intent=intent,
            kind=FactKind.PAYMENT_RECEIVED,
            source=Source.API,
        )


def two_entries_for_one_request(payment: OrderPayment) -> None:
    make_entry(payment, request_key="k")
    make_entry(payment, request_key="k", kind="settlement", payment_intent=make_intent(payment))


def two_reviews_for_one_reason(payment: OrderPayment) -> None:
    intent = make_intent(payment)
    make_review(intent, reason="excess")
    make_review(intent, reason="excess")


def two_reviews_of_one_unknown_intent(payment: OrderPayment) -> None:
    for _item in range(2):
        ReviewItem.objects.create(order_payment=payment, reason="unknown_intent", subject="pi_1")


def two_refunds_of_one_id(payment: OrderPayment) -> None:
    intent = make_intent(payment)
    make_refund(intent, stripe_id="re_1", status="pending")
    make_refund(intent, stripe_id="re_1", status="pending")


def two_refunds_for_one_request(payment: OrderPayment) -> None:
    intent = make_intent(payment)
    make_refund(intent, request_key="k")
    make_refund(intent, request_key="k")


VIOLATIONS: dict[str, Callable[[OrderPayment], object]] = {
    "order_currency_lower": lambda payment: OrderFactory.create(currency="USD"),
    "order_status_known": lambda payment: OrderFactory.create(status="paid"),
    "orderline_quantity_positive": lambda payment: OrderLineFactory.create(quantity=0),
    "orderpayment_status_known": lambda payment: OrderPayment.objects.update(
        status="free", paid_at=MOMENT
    ),
    "orderpayment_paid_has_time": lambda payment: OrderPayment.objects.update(status="paid"),
    "one_open_intent_per_order": two_open_intents,
    "orderpayment_total_has_currency": lambda payment: OrderPayment.objects.update(total=0),
    "intent_wanted_only_when_succeeded": lambda payment: make_intent(payment, wanted=True),
    "one_pending_intent_attempt": two_pending_attempts,
    "attempt_finished_has_time": lambda payment: make_attempt(payment, finished_at=None),
    "order_paid_once": paid_twice,
    "payment_received_once": received_twice,
    "entry_amount_positive": lambda payment: make_entry(payment, amount=0),
    "entry_has_reason": lambda payment: make_entry(payment, reason=""),
    "entry_settles_an_intent": lambda payment: make_entry(payment, kind="settlement"),
    "entry_revoked_has_time": lambda payment: make_entry(payment, revocation_reason="a mistake"),
    "entry_once_per_request_key": two_entries_for_one_request,
    "refund_stripe_id_unique": two_refunds_of_one_id,
    "refund_once_per_request_key": two_refunds_for_one_request,
    "refund_amount_positive": lambda payment: make_refund(make_intent(payment), amount=0),
    "refund_mirrored_has_stripe_id": lambda payment: make_refund(
        make_intent(payment), status="succeeded"
    ),
    "review_once_per_reason": two_reviews_for_one_reason,
    "review_once_without_intent": two_reviews_of_one_unknown_intent,
    "review_closing_has_time": lambda payment: make_review(
        make_intent(payment), reason="excess", closing_note="refunded"
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
def test_a_constraint_bites(payment, name):
    with violated(f"shop_payments_{name}"):
        VIOLATIONS[name](payment)


def test_every_constraint_is_tested():
    assert {f"shop_payments_{name}" for name in VIOLATIONS} == set(CONSTRAINTS)


@pytest.mark.parametrize(("first", "second"), [*product(OPEN_STATUSES, OPEN_STATUSES)])
def test_a_second_open_intent_is_refused_whatever_their_statuses(payment, first, second):
    make_intent(payment, status=first)
    with violated("shop_payments_one_open_intent_per_order"):
        make_intent(payment, status=second)


@pytest.mark.parametrize("status", CLOSED_STATUSES)
def test_closed_intents_leave_room_for_an_open_one(payment, status):
    closed = [make_intent(payment, status=status) for _intent in range(2)]
    opened = make_intent(payment)
    assert list(PaymentIntent.objects.open()) == [opened]
    assert [intent.is_open for intent in [*closed, opened]] == [False, False, True]


def test_a_closed_intent_does_not_open_beside_an_open_one(payment):
    closed = make_intent(payment, status="missing")
    make_intent(payment)
    closed.status = "requires_action"
    with violated("shop_payments_one_open_intent_per_order"):
        closed.save()


def test_each_order_has_its_own_open_intent(payment):
    other = OrderPayment.objects.create(order=OrderFactory.create())
    for each in (payment, other):
        make_intent(each)
    assert PaymentIntent.objects.open().count() == 2


@pytest.mark.parametrize("status", [*OPEN_STATUSES, "canceled", "missing"])
def test_only_money_that_has_come_is_wanted(payment, status):
    with violated("shop_payments_intent_wanted_only_when_succeeded"):
        make_intent(payment, status=status, wanted=True)


def test_an_order_may_be_paid_by_many_intents(payment):
    for wanted in [True, True, False]:
        make_intent(payment, status="succeeded", wanted=wanted)
    assert payment.payment_intents.count() == 3


def test_one_request_may_be_refunded_over_several_intents(payment):
    for status in ["succeeded", "succeeded"]:
        make_refund(make_intent(payment, status=status), request_key="k")
    assert payment.refunds.count() == 2


def test_a_finished_attempt_leaves_room_for_the_next(payment):
    for outcome in ["succeeded", "failed", "abandoned"]:
        make_attempt(payment, outcome=outcome)
    make_attempt(payment, outcome="pending", finished_at=None)
    assert StripeAttempt.objects.pending().count() == 1


def test_a_pending_attempt_is_not_finished(payment):
    with violated("shop_payments_attempt_finished_has_time"):
        make_attempt(payment, outcome="pending", finished_at=MOMENT)


@pytest.mark.parametrize("status", ["paid", "partially_refunded", "refunded"])
def test_money_that_came_has_a_time(payment, status):
    with violated("shop_payments_orderpayment_paid_has_time"):
        OrderPayment.objects.update(status=status)
    assert OrderPayment.objects.update(status=status, paid_at=MOMENT) == 1


def test_an_intent_may_need_review_for_several_reasons(payment):
    intent = make_intent(payment)
    items = [make_review(intent, reason=reason) for reason in ReviewItem.Reason.values]
    assert ReviewItem.objects.open().count() == len(items)


@pytest.mark.parametrize(
    "duplicate",
    [
        lambda payment: OrderPayment.objects.create(order=payment.order),
        lambda payment: OrderFactory.create(number=payment.order.number),
        lambda payment: [make_event("evt_1"), make_event("evt_1")],
        lambda payment: [
            make_intent(payment, stripe_id="pi_1", status="canceled") for _intent in range(2)
        ],
    ],
    ids=["a payment's order", "an order's number", "an event's id", "an intent's id"],
)
def test_there_is_only_one(payment, duplicate):
    with pytest.raises(IntegrityError), transaction.atomic():
        duplicate(payment)


@pytest.mark.parametrize(
    "model_and_field",
    [
        (OrderLine, "unit_amount"),
        (OrderLine, "quantity"),
        (PaymentIntent, "amount"),
        (PaymentIntent, "amount_received"),
        (PaymentIntent, "amount_capturable"),
        (OrderPayment, "total"),
        (OrderPayment, "amount_outstanding"),
        (OrderPayment, "amount_excess"),
    ],
)
def test_amounts_are_not_negative(payment, model_and_field):
    model, field = model_and_field
    make_intent(payment)
    OrderPayment.objects.update(currency="usd")
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.update(**{field: -1})


# --- what may be deleted ------------------------------------------------------------------------


def test_what_money_hangs_on_is_not_deleted(payment):
    intent = make_intent(payment)
    make_review(intent, reason="excess")
    for row in (payment.order, payment, intent, intent.attempt):
        with pytest.raises(ProtectedError):
            row.delete()


def test_a_payment_with_history_is_not_deleted(payment):
    make_fact(payment)
    with pytest.raises(ProtectedError):
        payment.delete()


def test_an_order_outlives_its_customer(order):
    order.customer.delete()
    order.refresh_from_db()
    assert order.customer is None


def test_a_review_outlives_the_member_of_staff_who_closed_it(payment):
    staff = UserFactory.create()
    item = make_review(make_intent(payment), reason="excess", closed_by=staff, closed_at=MOMENT)
    staff.delete()
    item.refresh_from_db()
    assert (item.closed_by, item.closed_at) == (None, MOMENT)


def test_an_unpaid_order_goes_with_its_lines(order):
    order.delete()
    assert not OrderLine.objects.exists()


# --- orders -------------------------------------------------------------------------------------


def drawing(*numbers: str) -> tuple[Callable[[int], str], list[int]]:
    """A draw that gives these numbers, and the lengths that it was asked for."""
    lengths: list[int] = []

    def draw(length: int) -> str:
        lengths.append(length)
        return numbers[len(lengths) - 1]

    return draw, lengths


@time_machine.travel("2025-03-31 23:30:00Z")
def test_an_order_number_has_the_date_and_four_characters():
    number = Order.objects.create_numbered().number
    date, suffix = number[:13], number[13:]
    assert date == "ORD-20250331-"
    assert len(suffix) == 4
    assert set(suffix) <= set(NUMBER_ALPHABET)


@time_machine.travel("2025-03-31 23:30:00Z")
def test_the_date_of_an_order_number_is_the_shops(settings):
    settings.TIME_ZONE = "Pacific/Auckland"
    assert draw_order_number().startswith("ORD-20250401-")


def test_an_order_number_can_be_read_over_the_telephone():
    assert not set("01OI") & set(NUMBER_ALPHABET)
    assert NUMBER_ALPHABET.isupper()
    drawn = {character for _draw in range(200) for character in draw_order_number(12)[13:]}
    assert drawn == set(NUMBER_ALPHABET)


def test_a_number_that_is_taken_is_drawn_again(order):
    draw, lengths = drawing(order.number, order.number, "ORD-20250331-FREE")
    another = Order()
    another.save_numbered(draw=draw)
    assert Order.objects.get(pk=another.pk).number == "ORD-20250331-FREE"
    assert lengths == [4, 4, 4]


def test_numbers_get_longer_on_a_busy_day(order):
    draw, lengths = drawing(*[order.number] * 5, "ORD-20250331-FREE")
    Order().save_numbered(draw=draw)
    assert lengths == [4, 4, 4, 6, 8, 12]


def test_it_gives_up_where_no_number_is_free(order):
    draw, _lengths = drawing(*[order.number] * 6)
    with pytest.raises(IntegrityError, match="no free order number"):
        Order().save_numbered(draw=draw)
    assert Order.objects.count() == 1


def test_what_is_wrong_with_the_order_itself_is_not_drawn_again():
    draw, lengths = drawing("ORD-20250331-FREE")
    with violated("shop_payments_order_currency_lower"):
        Order(currency="USD").save_numbered(draw=draw)
    assert lengths == [4]


def test_the_longest_number_fits_the_column():
    Order(number=draw_order_number(12)).full_clean(exclude=["customer"])


def test_an_order_costs_what_its_lines_cost():
    order = OrderFactory.create(lines=[{}, {"unit_amount": 99, "quantity": 3}])
    assert order.amount == 11200 + 297
    assert OrderFactory.create(lines=[]).amount == 0


@pytest.mark.parametrize("currency", ["USD", "us", "usd\n", "u$d", "", "\u0131sk"])
def test_a_form_refuses_what_is_no_currency(order, currency):
    order.currency = currency
    with pytest.raises(ValidationError) as refusal:
        order.full_clean()
    assert "currency" in refusal.value.message_dict


# --- payments and intents -----------------------------------------------------------------------


def test_only_an_order_that_is_covered_and_kept_its_money_is_paid():
    paid = {status for status in PaymentStatus if OrderPayment(status=status).is_paid}
    assert paid == {"paid"}


def test_a_staff_entry_is_in_force_until_it_is_revoked(payment):
    entry, revoked = make_entry(payment), make_entry(payment, request_key="2", revoked_at=MOMENT)
    assert (entry.is_revoked, revoked.is_revoked) == (False, True)
    assert str(entry) == "10.00 USD waived"


def test_an_intent_shows_its_amount(payment):
    assert make_intent(payment, amount=50000, currency="isk").amount_display == "500 ISK"


# --- attempts -----------------------------------------------------------------------------------


@pytest.fixture
def attempt(payment: OrderPayment) -> StripeAttempt:
    return make_attempt(payment, outcome="pending", finished_at=None)


def acquire(attempt: StripeAttempt, now: datetime | None = None) -> bool:
    return StripeAttempt.objects.acquire(attempt, now=now or timezone.now())


def test_one_of_two_processes_claims_an_attempt(attempt):
    here, there = (StripeAttempt.objects.get(pk=attempt.pk) for _process in range(2))
    assert (acquire(here), acquire(there)) == (True, False)
    assert there.acquired_at is None
    here.refresh_from_db()
    assert here.acquired_at == here.last_sent_at is not None


def test_a_claim_that_was_seen_may_be_taken_over_once(attempt):
    acquire(attempt)
    here, there = (StripeAttempt.objects.get(pk=attempt.pk) for _process in range(2))
    assert (acquire(here), acquire(there)) == (True, False)


def test_a_released_attempt_is_free_to_be_claimed(attempt):
    now = timezone.now()
    acquire(attempt, now)
    assert attempt.is_acquired(within=timedelta(seconds=30), now=now)

    attempt.release(error_code="rate_limit", http_status=429)

    seen = StripeAttempt.objects.get(pk=attempt.pk)
    assert (seen.outcome, seen.error_code, seen.http_status) == ("pending", "rate_limit", 429)
    assert not seen.is_acquired(within=timedelta(seconds=30), now=now)
    assert seen.last_sent_at == now
    assert acquire(seen)


def test_a_claim_ends_after_a_while(attempt):
    now = timezone.now()
    acquire(attempt, now)
    assert attempt.is_acquired(within=timedelta(seconds=30), now=now + timedelta(seconds=29))
    assert not attempt.is_acquired(within=timedelta(seconds=30), now=now + timedelta(seconds=30))


def test_a_finished_attempt_is_not_claimed_released_or_finished_again(attempt):
    stale = StripeAttempt.objects.get(pk=attempt.pk)
    assert attempt.finish("succeeded", stripe_object_id="pi_1")

    assert not acquire(StripeAttempt.objects.get(pk=attempt.pk))
    assert not stale.finish("failed", error_code="late")
    stale.release(error_code="late")

    seen = StripeAttempt.objects.get(pk=attempt.pk)
    assert (seen.outcome, seen.stripe_object_id, seen.error_code) == ("succeeded", "pi_1", "")
    assert seen.finished_at is not None


def test_an_attempt_that_seemed_to_have_failed_may_turn_out_to_have_succeeded(attempt):
    attempt.finish("abandoned")
    assert attempt.finish("succeeded", if_pending=False, stripe_object_id="pi_1")
    assert StripeAttempt.objects.get(pk=attempt.pk).outcome == "succeeded"


def test_a_key_expires_before_stripe_forgets_it(attempt):
    for hours, expired in [(22.9, False), (23.1, True)]:
        with time_machine.travel(attempt.created_at + timedelta(hours=hours)):
            assert attempt.key_expired == expired


def test_an_attempt_that_is_only_looked_up_keeps_the_time_of_its_last_sending(attempt):
    acquire(attempt)
    sent_at = attempt.last_sent_at
    with time_machine.travel(attempt.created_at + timedelta(days=2)):
        assert acquire(attempt)
    attempt.refresh_from_db()
    assert attempt.last_sent_at == sent_at
    assert attempt.acquired_at > sent_at


# --- the history is append-only -----------------------------------------------------------------


@pytest.fixture
def fact(payment: OrderPayment) -> PaymentHistory:
    intent = make_intent(payment)
    return PaymentHistory.objects.create(
        order_payment=payment, payment_intent=intent, kind=FactKind.INTENT_CREATED, source="api"
    )


def upsert(fact: PaymentHistory) -> None:
    PaymentHistory.objects.bulk_create(
        [fact], update_conflicts=True, update_fields=["kind"], unique_fields=["fact_id"]
    )


CHANGES: dict[str, Callable[[PaymentHistory], object]] = {
    "save": lambda fact: fact.save(),
    "save fields": lambda fact: fact.save(update_fields=["kind"]),
    "force update": lambda fact: fact.save(force_update=True),
    "delete": lambda fact: fact.delete(),
    "update": lambda fact: PaymentHistory.objects.update(kind="x"),
    "filtered update": lambda fact: PaymentHistory.objects.filter(pk=fact.pk).update(kind="x"),
    "queryset delete": lambda fact: PaymentHistory.objects.all().delete(),
    "bulk update": lambda fact: PaymentHistory.objects.bulk_update([fact], ["kind"]),
    "update or create": lambda fact: PaymentHistory.objects.update_or_create(
        pk=fact.pk, defaults={"kind": "x"}
    ),
    "upsert": upsert,
    "related update": lambda fact: fact.order_payment.history.update(kind="x"),
    "related delete": lambda fact: fact.order_payment.history.all().delete(),
    "related clear": lambda fact: PaymentIntent.objects.get().history.clear(),
    "related remove": lambda fact: PaymentIntent.objects.get().history.remove(fact),
}


@pytest.mark.parametrize("how", CHANGES)
def test_the_history_is_append_only(fact, how):
    """An upsert got through."""
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
        PaymentHistory.objects.create(order_payment=payment, kind="x", needs_dispatch=needed)
        for needed in (True, False, True, True)
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


def test_the_history_is_append_only_through_related_managers(order):
    payment = OrderPayment.objects.create(order=order)
    fact = PaymentHistory.objects.create(
        order_payment=payment, kind="intent_created", source="api", data={}
    )
    other = OrderPayment.objects.create(order=OrderFactory.create())
    with pytest.raises(TypeError, match="append-only"):
        other.history.add(fact)
    with pytest.raises(TypeError, match="append-only"):
        PaymentHistory._base_manager.update(kind="order_paid")
