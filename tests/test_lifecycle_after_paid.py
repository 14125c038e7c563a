"""The statuses of refunds and disputes, their moves, and what they mean."""

from __future__ import annotations

from itertools import product

import pytest

from shop_payments.lifecycle import (
    DECIDED_DISPUTE_STATUSES,
    REFUND_TRANSITIONS,
    RETURNED_REFUND_STATUSES,
    SETTLED_REFUND_STATUSES,
    RefundStatus,
    can_observe_refund,
    dispute_state,
    gravest_dispute,
)

# Stripe's moves of a refund, written out again: docs.stripe.com/refunds.
STEPS = {
    "requested": "pending requires_action succeeded failed canceled refused",
    "pending": "requires_action succeeded failed canceled",
    "requires_action": "pending succeeded failed canceled",
    "succeeded": "failed",
    "failed": "",
    "canceled": "",
    "refused": "",
}
UNKNOWN = ["", "on_hold", "SUCCEEDED"]


# --- refunds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [*product(STEPS, repeat=2)])
def test_a_refund_moves_wherever_single_steps_lead(old, new):
    reachable = {old}
    for _round in STEPS:
        reachable |= {step for status in reachable for step in STEPS[status].split()}
    assert can_observe_refund(old, new) == (new in reachable - {old})


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_an_unknown_status_of_a_refund_leads_anywhere(unknown):
    movable = [status for status in STEPS if STEPS[status]]
    assert all(can_observe_refund(status, unknown) for status in movable)
    assert all(can_observe_refund(unknown, status) for status in STEPS)


def test_the_refund_statuses_are_stripes_and_two_of_ours():
    assert set(REFUND_TRANSITIONS) == set(RefundStatus) == set(STEPS)
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
        ("", "open"),
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


def test_a_dispute_is_decided_where_nobody_waits_for_the_bank():
    assert {"won", "lost", "warning_closed", "prevented"} == DECIDED_DISPUTE_STATUSES
