"""Stripe's statuses of a payment intent and their moves, and our payment statuses."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    CAPTURABLE_STATUSES,
    CLOSED_STATUSES,
    FINAL_STATUSES,
    TRANSITIONS,
    UPDATABLE_STATUSES,
    IntentStatus,
    PaymentStatus,
    can_observe,
    holds_money,
    is_open,
)

# Stripe's table, written out again: docs.stripe.com/payments/paymentintents/lifecycle.
STEPS = {
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
STATUSES = sorted(STEPS)
FINAL = {"succeeded", "canceled"}
UNKNOWN = ["", "requires_reauthorization", "SUCCEEDED", "x" * 64]

statuses = st.sampled_from([*STATUSES, "missing", *UNKNOWN])


# --- moves --------------------------------------------------------------------------------------


def test_the_table_has_stripes_seven_statuses_and_steps():
    assert {old: set(STEPS[old].split()) for old in STATUSES} == TRANSITIONS
    assert sorted(set(IntentStatus) - {"missing"}) == STATUSES


@pytest.mark.parametrize(("old", "new"), [*product(STATUSES, repeat=2)])
def test_a_row_moves_wherever_single_steps_lead(old, new):
    reachable = {old}
    for _round in STATUSES:
        reachable |= {step for status in reachable for step in STEPS[status].split()}
    assert can_observe(old, new) == (new in reachable - {old})


@given(statuses, statuses, statuses)
def test_what_two_looks_may_see_one_look_may_see(first, second, third):
    if can_observe(first, second) and can_observe(second, third):
        assert can_observe(first, third) or first == third


@given(statuses)
def test_a_status_does_not_move_to_itself(status):
    assert not can_observe(status, status)


@given(st.sampled_from(sorted(FINAL)), st.one_of(statuses, st.text()))
def test_a_final_status_never_moves(final, status):
    assert not can_observe(final, status)


@pytest.mark.parametrize(("known", "unknown"), [*product(sorted(set(STATUSES) - FINAL), UNKNOWN)])
def test_an_unknown_status_may_come_from_anywhere_and_lead_anywhere(known, unknown):
    assert can_observe(known, unknown)
    assert can_observe(unknown, known)
    assert all(can_observe(unknown, final) for final in FINAL)


def test_whatever_stripe_says_of_a_missing_intent_is_believed():
    assert all(can_observe("missing", status) for status in STATUSES)
    assert all(can_observe(status, "missing") for status in set(STATUSES) - FINAL)


def test_open_means_not_known_to_be_closed():
    closed = {status for status in [*STATUSES, "missing", *UNKNOWN] if not is_open(status)}
    assert closed == CLOSED_STATUSES == {"succeeded", "canceled", "missing"}


def test_final_statuses_are_those_without_a_step():
    assert {status for status in STATUSES if not STEPS[status].split()} == FINAL_STATUSES


def test_an_amount_may_change_until_the_payment_is_on_its_way():
    expected = {"requires_payment_method", "requires_confirmation", "requires_action"}
    assert expected == UPDATABLE_STATUSES


def test_what_is_authorized_can_be_captured_and_what_is_open_can_be_cancelled():
    assert {"requires_capture"} == CAPTURABLE_STATUSES
    assert set(STATUSES) - FINAL == CANCELABLE_STATUSES


def test_the_words_are_those_of_the_database():
    """Rows hold them and hosts compare with them: changing one needs a migration."""
    assert " ".join(PaymentStatus) == (
        "unpaid pending authorized partially_paid paid partially_refunded refunded"
    )


@pytest.mark.parametrize("status", [*IntentStatus, "of_tomorrow"])
@pytest.mark.parametrize("received", [0, 1, 7000])
def test_an_intent_holds_money_if_it_ended_with_some(status, received):
    expected = status == "succeeded" or (status == "canceled" and received > 0)
    assert holds_money(status, received) is expected
