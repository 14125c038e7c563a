"""Payments, intents and the attempts to write to Stripe: what rows do themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from shop_payments.models import OrderPayment, StripeAttempt
from tests.models.support import make_attempt

pytestmark = pytest.mark.django_db


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


def test_a_finished_attempt_is_not_acquired_released_or_finished_again(attempt):
    stale = StripeAttempt.objects.get(pk=attempt.pk)
    assert attempt.finish("succeeded", stripe_object_id="pi_1")
    assert not acquire(StripeAttempt.objects.get(pk=attempt.pk))
    assert not stale.finish("failed", error_code="late")
    stale.release(error_code="late")
    seen = StripeAttempt.objects.get(pk=attempt.pk)
    assert (seen.outcome, seen.stripe_object_id, seen.error_code) == ("succeeded", "pi_1", "")
    assert seen.finished_at is not None
    # One that was given up may turn out to have succeeded.
    StripeAttempt.objects.update(outcome="abandoned")
    assert not attempt.finish("succeeded", stripe_object_id="pi_2")
    assert attempt.finish("succeeded", if_pending=False, stripe_object_id="pi_2")
    seen.refresh_from_db()
    assert (seen.outcome, seen.stripe_object_id) == ("succeeded", "pi_2")


@pytest.mark.parametrize(("hours", "expired"), [(22.9, False), (23.1, True)])
def test_a_key_expires_before_stripe_forgets_it(attempt, hours, expired):
    with time_machine.travel(attempt.created_at + timedelta(hours=hours)):
        assert attempt.key_expired == expired
