"""Stripe's statuses of intents, refunds and disputes, their moves, and what they mean."""

from __future__ import annotations

import pytest

from shop_payments.lifecycle import (
    REFUND_TRANSITIONS,
    TRANSITIONS,
    IntentStatus,
    RefundStatus,
    can_observe,
    can_observe_refund,
    dispute_state,
    holds_money,
    is_open,
    most_serious_dispute,
)

# Written out again: docs.stripe.com/payments/paymentintents/lifecycle and docs.stripe.com/refunds.
_ENDS = "processing requires_capture succeeded canceled"
INTENT_STEPS = {
    "requires_payment_method": f"requires_confirmation requires_action {_ENDS}",
    "requires_confirmation": f"requires_action requires_payment_method {_ENDS}",
    "requires_action": f"requires_payment_method requires_confirmation {_ENDS}",
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
    **dict.fromkeys(("failed", "canceled", "refused"), ""),
}
FINAL = {"succeeded", "canceled"}
UNKNOWN = ["", "requires_reauthorization", "SUCCEEDED"]


def reachable(steps: dict[str, str], start: str) -> set[str]:
    found = {start}
    for _round in steps:
        found |= {step for status in found for step in steps[status].split()}
    return found - {start}


# --- payment intents ----------------------------------------------------------------------------


def test_the_table_is_stripes_and_a_row_moves_wherever_single_steps_lead():
    assert {old: set(steps.split()) for old, steps in INTENT_STEPS.items()} == TRANSITIONS
    assert set(IntentStatus) - {"missing"} == set(INTENT_STEPS)
    for old in INTENT_STEPS:
        moves = {new for new in INTENT_STEPS if can_observe(old, new)}
        assert moves == reachable(INTENT_STEPS, old)


@pytest.mark.parametrize("unknown", [*UNKNOWN, "missing"])
def test_an_unknown_status_comes_from_anywhere_and_leads_anywhere(unknown):
    assert not can_observe(unknown, unknown)
    assert all(can_observe(unknown, status) for status in INTENT_STEPS)
    assert {status for status in INTENT_STEPS if not can_observe(status, unknown)} == FINAL


def test_an_intent_is_open_until_it_ends_and_then_may_hold_money():
    for status in [*INTENT_STEPS, "missing", *UNKNOWN]:
        assert is_open(status) is (status not in {*FINAL, "missing"})
        for received in (0, 1):
            expected = status == "succeeded" or (status == "canceled" and received > 0)
            assert holds_money(status, received) is expected


# --- refunds and disputes -----------------------------------------------------------------------


def test_a_refund_moves_wherever_single_steps_lead():
    assert set(REFUND_TRANSITIONS) == set(RefundStatus) == set(REFUND_STEPS)
    for old in REFUND_STEPS:
        moves = {new for new in REFUND_STEPS if can_observe_refund(old, new)}
        assert moves == reachable(REFUND_STEPS, old)
        for unknown in ("", "on_hold", "SUCCEEDED"):
            assert can_observe_refund(unknown, old)
            assert can_observe_refund(old, unknown) is bool(REFUND_STEPS[old])


def test_what_a_dispute_means_and_the_gravest_counts():
    meanings = {
        "inquiry": "warning_needs_response warning_under_review",
        "open": "needs_response under_review appeal_needs_response",
        "won": "won",
        "lost": "lost",
        "": "warning_closed prevented",
    }
    for state, words in meanings.items():
        assert {dispute_state(status) for status in words.split()} == {state}
    inquiry = "warning_needs_response"
    assert most_serious_dispute([]) == most_serious_dispute(["warning_closed"]) == ""
    assert most_serious_dispute(["won", "lost"]) == "lost"
    assert most_serious_dispute(["lost", inquiry]) == "inquiry"
    assert most_serious_dispute(iter([inquiry, "needs_response", "won"])) == "open"
    assert most_serious_dispute(["won", "prevented"]) == "won"
