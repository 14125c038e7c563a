"""From an order's rows to what its balance follows from: the waivers of captures.

What the statuses of refunds and disputes mean is in the table of ``tests/states.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shop_payments.ledger.observations import waived_by
from shop_payments.models import PaymentIntent, StaffEntry, StripeAttempt

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def intent(status: str = "succeeded", received: int = 10000) -> PaymentIntent:
    return PaymentIntent(pk=1, stripe_id="pi_1", status=status, amount_received=received)


def waiver(amount: int, **values: Any) -> StaffEntry:
    return StaffEntry(kind="waiver", amount=amount, payment_intent_id=1, **values)


def capture(outcome: str) -> StripeAttempt:
    return StripeAttempt(outcome=outcome, params={"amount_to_capture": 8000})


@pytest.mark.parametrize(
    ("outcome", "received", "status", "waived"),
    [
        ("succeeded", 8000, "succeeded", 2000),
        ("pending", 8000, "succeeded", 2000),
        ("abandoned", 8000, "succeeded", 2000),
        ("failed", 8000, "succeeded", 0),
        ("succeeded", 10000, "succeeded", 0),
        ("pending", 0, "requires_capture", 0),
        ("pending", 0, "canceled", 0),
    ],
)
def test_a_waiver_of_a_capture_counts_if_exactly_that_was_captured(
    outcome, received, status, waived
):
    entry = waiver(2000, capture=capture(outcome))
    assert waived_by([intent(status, received)], [entry]) == waived


@pytest.mark.parametrize(
    ("first", "second", "waived"),
    [
        ("abandoned", "succeeded", 1500),
        ("succeeded", "pending", 2000),
        ("abandoned", "pending", 1500),
        ("abandoned", "failed", 2000),
    ],
)
def test_of_the_waivers_of_several_captures_of_an_intent_one_counts(first, second, waived):
    """Others add up, unless they were revoked."""
    entries = [waiver(1500, pk=2, capture=capture(second))]
    entries += [waiver(2000, pk=1, capture=capture(first))]
    entries += [waiver(10), waiver(20), waiver(40, revoked_at=MOMENT)]
    assert waived_by([intent(received=8000)], entries) == waived + 30
