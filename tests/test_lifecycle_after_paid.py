"""Refunds, disputes, and what they make of an order's payment."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.lifecycle import (
    REFUND_TRANSITIONS,
    RETURNED_REFUND_STATUSES,
    Balance,
    DisputeFacts,
    DisputeState,
    DisputeStatus,
    IntentFacts,
    PaymentStatus,
    RefundFacts,
    RefundStatus,
    balance_of,
    can_observe_refund,
    derive_payment_state,
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

refund_statuses = st.sampled_from([*STEPS, *UNKNOWN])
dispute_statuses = st.sampled_from([*DisputeStatus, "appeal_needs_response"])
amounts = st.integers(0, 20000)


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
    assert gravest_dispute(DisputeFacts(status=each, amount=1) for each in statuses) == state


# --- the state of a payment ---------------------------------------------------------------------


def paid(*rows: RefundFacts | DisputeFacts, received: int = 10000) -> IntentFacts:
    return IntentFacts(
        status="succeeded",
        verdict="accepted",
        amount_received=received,
        refunds=tuple(row for row in rows if isinstance(row, RefundFacts)),
        disputes=tuple(row for row in rows if isinstance(row, DisputeFacts)),
    )


def refund(status: str, amount: int) -> RefundFacts:
    return RefundFacts(status=status, amount=amount)


def dispute(status: str, amount: int = 10000) -> DisputeFacts:
    return DisputeFacts(status=status, amount=amount)


@pytest.mark.parametrize(
    ("rows", "status", "dispute_overlay", "refundable"),
    [
        ([], "paid", "", 10000),
        ([refund("requested", 4000)], "paid", "", 6000),
        ([refund("refused", 4000)], "paid", "", 10000),
        ([refund("pending", 4000)], "paid", "", 6000),
        ([refund("requires_action", 4000)], "paid", "", 6000),
        ([refund("on_hold", 4000)], "paid", "", 6000),
        ([refund("succeeded", 4000)], "partially_refunded", "", 6000),
        ([refund("succeeded", 10000)], "refunded", "", 0),
        ([refund("succeeded", 4000), refund("succeeded", 6000)], "refunded", "", 0),
        ([refund("succeeded", 4000), refund("pending", 6000)], "partially_refunded", "", 0),
        ([refund("failed", 10000)], "paid", "", 10000),
        ([refund("canceled", 10000)], "paid", "", 10000),
        ([refund("failed", 10000), refund("succeeded", 10000)], "refunded", "", 0),
        ([dispute("warning_needs_response")], "paid", "inquiry", 10000),
        ([dispute("needs_response")], "paid", "open", 10000),
        ([dispute("won")], "paid", "won", 10000),
        ([dispute("lost")], "paid", "lost", 0),
        ([dispute("lost", 4000)], "paid", "lost", 6000),
        ([refund("succeeded", 4000), dispute("lost")], "partially_refunded", "lost", 0),
        ([refund("succeeded", 10000), dispute("needs_response")], "refunded", "open", 0),
    ],
)
def test_the_state_of_a_paid_order(rows, status, dispute_overlay, refundable):
    state = derive_payment_state([paid(*rows)])

    assert (state.status, state.dispute) == (status, dispute_overlay)
    assert state.balance.refundable == refundable


def test_what_did_not_pay_the_order_is_not_in_its_balance():
    late = IntentFacts(
        status="succeeded",
        verdict="paid_twice",
        amount_received=10000,
        refunds=(refund("succeeded", 10000),),
        disputes=(dispute("lost"),),
    )

    assert derive_payment_state([late]).status == PaymentStatus.UNPAID
    assert derive_payment_state([late]).balance == Balance()
    assert derive_payment_state([paid(), late]) == derive_payment_state([paid()])
    assert balance_of(late).refunded == balance_of(late).lost == 10000


rows = st.builds(
    IntentFacts,
    status=st.just("succeeded"),
    verdict=st.sampled_from(["accepted", "paid_twice", "amount_mismatch"]),
    amount_received=amounts,
    refunds=st.lists(
        st.builds(RefundFacts, status=refund_statuses, amount=amounts), max_size=5
    ).map(tuple),
    disputes=st.lists(
        st.builds(DisputeFacts, status=dispute_statuses, amount=amounts), max_size=3
    ).map(tuple),
)


@given(st.lists(rows, max_size=4), st.randoms(use_true_random=False))
def test_the_state_does_not_depend_on_the_order_of_rows(intents, random):
    shuffled = [
        IntentFacts(
            status=intent.status,
            verdict=intent.verdict,
            amount_received=intent.amount_received,
            refunds=tuple(random.sample(intent.refunds, len(intent.refunds))),
            disputes=tuple(random.sample(intent.disputes, len(intent.disputes))),
        )
        for intent in random.sample(intents, len(intents))
    ]

    assert derive_payment_state(shuffled) == derive_payment_state(intents)


@given(rows)
def test_every_refund_is_in_one_place_of_the_balance(intent):
    balance = balance_of(intent)
    returned = sum(
        each.amount for each in intent.refunds if each.status in RETURNED_REFUND_STATUSES
    )

    assert balance.refunded + balance.refund_pending + returned == sum(
        each.amount for each in intent.refunds
    )
    assert 0 <= balance.refundable <= balance.captured == intent.amount_received


@given(rows)
def test_only_a_refund_that_succeeded_makes_an_order_refunded(intent):
    state = derive_payment_state([intent])

    if state.status in {PaymentStatus.REFUNDED, PaymentStatus.PARTIALLY_REFUNDED}:
        assert any(each.status == "succeeded" and each.amount for each in intent.refunds)
    assert state.dispute in DisputeState
