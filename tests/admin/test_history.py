"""What happened to payments."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.models import FactKind, OrderPayment, PaymentHistory, Source
from tests.admin.support import change, changelist, listed, make_records, text_of

pytestmark = pytest.mark.django_db


def test_a_fact_says_what_happened_and_who_did_it(paid, staff):
    fact = PaymentHistory.objects.get(kind="order_paid")

    text = text_of(staff.get(change(fact)))

    assert all(words in text for words in (fact.sentence, fact.actor, fact.request_id))
    assert change(paid) in text


def test_the_list_counts_entries(paid, staff):
    assert "3 payment history entries" in text_of(staff.get(changelist(PaymentHistory)))


def test_facts_are_filtered_and_found(paid, staff):
    fact = PaymentHistory.objects.get(kind="order_paid")

    assert listed(staff.get(changelist(PaymentHistory), {"kind__exact": "order_paid"})) == {fact}
    assert fact in listed(staff.get(changelist(PaymentHistory), {"source__exact": "webhook"}))
    assert not listed(staff.get(changelist(PaymentHistory), {"source__exact": "admin"}))
    assert fact in listed(staff.get(changelist(PaymentHistory), {"q": fact.actor}))
    assert not listed(staff.get(changelist(PaymentHistory), {"q": "nobody"}))


def test_facts_that_the_shop_is_not_notified_of_yet_are_found(paid, staff):
    make_records()

    waiting = listed(staff.get(changelist(PaymentHistory), {"notified": "waiting"}))

    assert {fact.kind for fact in waiting} == {"payment_failed"}
    assert "waiting" in text_of(staff.get(change(waiting.pop())))


# --- names --------------------------------------------------------------------------------------


def close(payment: OrderPayment, actor: str) -> PaymentHistory:
    return PaymentHistory.objects.create(
        order_payment=payment, kind=FactKind.REVIEW_CLOSED, source=Source.ADMIN, actor=actor
    )


def test_the_staff_who_did_it_are_named(paid, staff):
    mary = User.objects.create_user("mary")
    fact = close(paid, f"staff {mary.pk}")

    pages = [changelist(PaymentHistory), change(fact), change(paid)]

    for page in pages:
        assert f"staff {mary.pk} (mary)" in text_of(staff.get(page))


def test_staff_who_are_gone_are_not_named_any_more(paid, staff):
    mary = User.objects.create_user("mary")
    fact = close(paid, f"staff {mary.pk}")
    mary.delete()

    text = text_of(staff.get(change(fact)))

    assert fact.actor in text
    assert "mary" not in text


@pytest.mark.parametrize("actor", ["staff", "staff mary", "the staff of 1", "user {pk}", "{pk}"])
def test_what_else_the_shop_calls_somebody_stays_as_it_is(paid, staff, actor):
    mary = User.objects.create_user("mary")
    fact = close(paid, actor.format(pk=mary.pk))

    text = text_of(staff.get(change(fact)))

    assert fact.actor in text
    assert "(mary)" not in text


@pytest.mark.parametrize("page", ["history", "payment"])
def test_many_staff_are_named_in_one_query(paid, staff, page):
    url = changelist(PaymentHistory) if page == "history" else change(paid)

    def queries() -> int:
        user = User.objects.create_user(f"clerk{User.objects.count()}")
        close(paid, f"staff {user.pk}")
        with CaptureQueriesContext(connection) as captured:
            assert f"({user.username})" in text_of(staff.get(url))
        return len(captured)

    queries()

    assert queries() == queries()
