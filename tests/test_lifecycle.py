"""Stripe's statuses of intents, refunds and disputes, their moves, and what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    CAPTURABLE_STATUSES,
    CLOSED_STATUSES,
    DECIDED_DISPUTE_STATUSES,
    FINAL_STATUSES,
    REFUND_TRANSITIONS,
    RETURNED_REFUND_STATUSES,
    SETTLED_REFUND_STATUSES,
    TRANSITIONS,
    UPDATABLE_STATUSES,
    IntentStatus,
    PaymentStatus,
    RefundStatus,
    can_observe,
    can_observe_refund,
    dispute_state,
    gravest_dispute,
    holds_money,
    is_open,
)

# Written out again: docs.stripe.com/payments/paymentintents/lifecycle and docs.stripe.com/refunds.
INTENT_STEPS = {
    "requires_payment_method": """
        requires_confirmation requires_action processing requires_capture succeeded canceled
    """,
    "requires_confirmation": """
        requires_action processing requires_capture succeeded requires_payment_method canceled
    """,
    "requires_action": """
        processing requires_capture succeeded requires_payment_method requires_confirmation
        canceled
    """,
    "processing": "succeeded requires_payment_method requires_capture canceled",
    "requires_capture": "succeeded processing canceled",
    "succeeded": "",
    "canceled": "",
}
REFUND_STEPS = {
    "requested": "pending requires_action succeeded failed canceled refused",
    "pending": "requires_action succeeded failed canceled",
    "requires_action": "pending succeeded failed canceled",
    "succeeded": "failed",
    "failed": "",
    "canceled": "",
    "refused": "",
}
FINAL = {"succeeded", "canceled"}
UNKNOWN = ["", "requires_reauthorization", "SUCCEEDED"]

statuses = st.sampled_from([*INTENT_STEPS, "missing", *UNKNOWN])


def reachable(steps: dict[str, str], start: str) -> set[str]:
    found = {start}
    for _round in steps:
        found |= {step for status in found for step in steps[status].split()}
    return found - {start}


# --- payment intents ----------------------------------------------------------------------------


def test_the_table_is_stripes():
    assert {old: set(steps.split()) for old, steps in INTENT_STEPS.items()} == TRANSITIONS
    assert set(IntentStatus) - {"missing"} == set(INTENT_STEPS)


@pytest.mark.parametrize("old", [*INTENT_STEPS, *UNKNOWN])
def test_a_row_moves_wherever_single_steps_lead(old):
    if old in INTENT_STEPS:
        moves = {new for new in INTENT_STEPS if can_observe(old, new)}
        assert moves == reachable(INTENT_STEPS, old)


@given(statuses, statuses, statuses)
def test_what_two_looks_may_see_one_look_may_see(first, second, third):
    if can_observe(first, second) and can_observe(second, third):
        assert can_observe(first, third) or first == third


@pytest.mark.parametrize("unknown", [*UNKNOWN, "missing"])
def test_an_unknown_status_comes_from_anywhere_and_leads_anywhere(unknown):
    assert not can_observe(unknown, unknown)
    assert all(can_observe(unknown, status) for status in INTENT_STEPS)
    assert all(can_observe(status, unknown) for status in set(INTENT_STEPS) - FINAL)
    assert not any(can_observe(final, unknown) for final in FINAL)


def test_the_groups_of_statuses():
    known = [*INTENT_STEPS, "missing", *UNKNOWN]
    assert {status for status in known if not is_open(status)} == CLOSED_STATUSES
    assert {"succeeded", "canceled", "missing"} == CLOSED_STATUSES
    assert FINAL == FINAL_STATUSES
    updatable = {"requires_payment_method", "requires_confirmation", "requires_action"}
    assert updatable == UPDATABLE_STATUSES
    assert {"requires_capture"} == CAPTURABLE_STATUSES
    assert set(INTENT_STEPS) - FINAL == CANCELABLE_STATUSES


@pytest.mark.parametrize("status", [*IntentStatus, "of_tomorrow"])
def test_an_intent_holds_money_if_it_ended_with_some(status):
    for received in (0, 1, 7000):
        expected = status == "succeeded" or (status == "canceled" and received > 0)
        assert holds_money(status, received) is expected


def test_the_payment_statuses_are_those_of_the_database():
    """Rows hold them and hosts compare with them: changing one needs a migration."""
    assert " ".join(PaymentStatus) == (
        "unpaid pending authorized partially_paid paid partially_refunded refunded"
    )


# --- refunds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", REFUND_STEPS)
def test_a_refund_moves_wherever_single_steps_lead(old):
    moves = {new for new in REFUND_STEPS if can_observe_refund(old, new)}
    assert moves == reachable(REFUND_STEPS, old)


@pytest.mark.parametrize("unknown", ["", "on_hold", "SUCCEEDED"])
def test_an_unknown_status_of_a_refund_leads_anywhere(unknown):
    movable = [status for status in REFUND_STEPS if REFUND_STEPS[status]]
    assert all(can_observe_refund(status, unknown) for status in movable)
    assert all(can_observe_refund(unknown, status) for status in REFUND_STEPS)


def test_the_refund_statuses_are_stripes_and_two_of_ours():
    assert set(REFUND_TRANSITIONS) == set(RefundStatus) == set(REFUND_STEPS)
    assert {"failed", "canceled", "refused"} == RETURNED_REFUND_STATUSES
    assert {"failed", "canceled", "refused", "succeeded"} == SETTLED_REFUND_STATUSES


# --- disputes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("warning_needs_response", "inquiry"),
        ("warning_under_review", "inquiry"),
        ("warning_closed", ""),
        ("prevented", ""),
        ("needs_response", "open"),
        ("under_review", "open"),
        ("won", "won"),
        ("lost", "lost"),
        ("appeal_needs_response", "open"),
    ],
)
def test_what_a_dispute_means(status, state):
    assert dispute_state(status) == state


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([], ""),
        (["warning_closed"], ""),
        (["won", "lost"], "lost"),
        (["lost", "warning_needs_response"], "inquiry"),
        (["warning_needs_response", "needs_response", "won"], "open"),
        (["won", "prevented"], "won"),
    ],
)
def test_the_gravest_dispute_counts(statuses, state):
    assert gravest_dispute(iter(statuses)) == state


def test_a_dispute_is_decided_when_the_bank_is_done():
    assert {"won", "lost", "warning_closed", "prevented"} == DECIDED_DISPUTE_STATUSES
