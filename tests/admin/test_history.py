"""What happened to payments."""

from __future__ import annotations

import pytest

from shop_payments.models import PaymentHistory
from tests.admin.support import change, changelist, listed, make_records, text_of

pytestmark = pytest.mark.django_db


def test_a_fact_says_what_happened_and_who_did_it(paid, staff):
    fact = PaymentHistory.objects.get(kind="order_paid")

    text = text_of(staff.get(change(fact)))

    assert all(words in text for words in (fact.sentence, fact.actor, fact.request_id))
    assert change(paid) in text


def test_facts_are_filtered_and_found(paid, staff):
    fact = PaymentHistory.objects.get(kind="order_paid")

    assert listed(staff.get(changelist(PaymentHistory), {"kind__exact": "order_paid"})) == {fact}
    assert listed(staff.get(changelist(PaymentHistory), {"source__exact": "webhook"})) == {fact}
    assert listed(staff.get(changelist(PaymentHistory), {"q": fact.actor})) == {fact}


def test_facts_that_the_shop_has_yet_to_be_told_are_found(paid, staff):
    make_records()

    waiting = listed(staff.get(changelist(PaymentHistory), {"told": "waiting"}))

    assert {fact.kind for fact in waiting} == {"payment_failed"}
    assert "waiting" in text_of(staff.get(change(waiting.pop())))
