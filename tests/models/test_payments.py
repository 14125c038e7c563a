"""Payments, intents and the attempts to write to Stripe: what rows do themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import OrderPayment, StripeAttempt
from tests.models.support import MOMENT, make_attempt, make_entry, make_intent

pytestmark = pytest.mark.django_db

WITHIN = timedelta(seconds=30)


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


def test_one_of_two_processes_acquires_an_attempt(attempt):
    for _round in range(2):  # the first time it is free, the second time it was seen acquired
        here, there = (StripeAttempt.objects.get(pk=attempt.pk) for _process in range(2))
        before = there.acquired_at
        assert (acquire(here), acquire(there)) == (True, False)
        assert there.acquired_at == before
    here.refresh_from_db()
    assert here.acquired_at == here.last_sent_at is not None


def test_a_released_attempt_is_free(attempt):
    now = timezone.now()
    acquire(attempt, now)
    assert attempt.is_acquired(within=WITHIN, now=now + timedelta(seconds=29))
    assert not attempt.is_acquired(within=WITHIN, now=now + timedelta(seconds=30))

    attempt.release(error_code="rate_limit", http_status=429)

    seen = StripeAttempt.objects.get(pk=attempt.pk)
    assert (seen.outcome, seen.error_code, seen.http_status) == ("pending", "rate_limit", 429)
    assert not seen.is_acquired(within=WITHIN, now=now)
    assert seen.last_sent_at == now
    assert acquire(seen)


def test_a_finished_attempt_is_not_acquired_released_or_finished_again(attempt):
    stale = StripeAttempt.objects.get(pk=attempt.pk)
    assert attempt.finish("succeeded", stripe_object_id="pi_1")

    assert not acquire(StripeAttempt.objects.get(pk=attempt.pk))
    assert not stale.finish("failed", error_code="late")
    stale.release(error_code="late")

    seen = StripeAttempt.objects.get(pk=attempt.pk)
    assert (seen.outcome, seen.stripe_object_id, seen.error_code) == ("succeeded", "pi_1", "")
    assert seen.finished_at is not None


def test_an_attempt_that_was_given_up_may_turn_out_to_have_succeeded(attempt):
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
