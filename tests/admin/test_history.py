"""The pages of the payment history."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from shop_payments.models import FactKind, PaymentHistory, Source
from tests.admin.support import change, make_records

pytestmark = pytest.mark.django_db


def test_a_fact_shows_what_happened_and_is_found(paid, staff):
    fact = PaymentHistory.objects.get(kind="order_paid")
    text = staff.read(fact)
    assert all(words in text for words in (fact.sentence, fact.actor, fact.request_id))
    assert fact.actor not in staff.read(paid), "the id of Stripe's event is on the fact's own page"
    assert change(paid) in text
    assert fact in staff.rows(PaymentHistory, q=fact.actor)
    make_records()
    waiting = staff.rows(PaymentHistory, notified="waiting")
    assert {fact.kind for fact in waiting} == {"payment_failed"}


def test_staff_are_named_as_long_as_the_user_exists(paid, staff):
    def close(actor: str) -> PaymentHistory:
        return PaymentHistory.objects.create(
            order_payment=paid, kind=FactKind.REVIEW_CLOSED, source=Source.ADMIN, actor=actor
        )

    mary = User.objects.create(username="mary")
    fact = close(f"staff {mary.pk}")
    for page in (PaymentHistory, fact, paid):
        assert f"mary ({fact.actor})" in staff.read(page)
    assert fact in staff.rows(PaymentHistory, q="mary")
    for actor in ("staff mary", f"user {mary.pk}"):
        assert "mary (" not in staff.read(close(actor))
    mary.delete()
    assert "mary" not in staff.read(fact)
