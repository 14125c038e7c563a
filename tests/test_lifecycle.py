"""Statuses, their moves, and the judgement of a payment."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.lifecycle import (
    CLOSED_STATUSES,
    FINAL_STATUSES,
    TRANSITIONS,
    UPDATABLE_STATUSES,
    Claim,
    IntentFacts,
    IntentStatus,
    PaymentStatus,
    Proof,
    Verdict,
    can_observe,
    can_step,
    derive_payment_state,
    is_open,
    judge,
)
from shop_payments.money import Money

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


@pytest.mark.parametrize(("old", "new"), [*product([*STATUSES, *UNKNOWN], repeat=2)])
def test_a_single_step_is_one_of_stripes(old, new):
    assert can_step(old, new) == (new in STEPS.get(old, "").split())


def test_the_table_has_stripes_seven_statuses():
    assert sorted(TRANSITIONS) == STATUSES
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
    assert not can_step(final, status)
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


def test_the_words_are_those_of_the_database():
    """Rows hold them and hosts compare with them: changing one needs a migration."""
    verdicts = "accepted amount_mismatch currency_mismatch wrong_mode paid_twice order_not_payable"
    assert [*Verdict] == ["", *verdicts.split()]
    assert " ".join(PaymentStatus) == ("unpaid pending authorized paid partially_refunded refunded")


# --- judgement ----------------------------------------------------------------------------------

DUE = Money(11200, "usd")
DUES = {
    "fits": DUE,
    "more": Money(11201, "usd"),
    "less": Money(11199, "usd"),
    "other currency": Money(11200, "eur"),
    "another currency": Money(11200, "zar"),
    "other amount and currency": Money(1, "eur"),
    "nothing": Money(0, "usd"),
    "unpayable": None,
}
VERDICT_OF_DUE = {
    "fits": "accepted",
    "more": "amount_mismatch",
    "less": "amount_mismatch",
    "other currency": "currency_mismatch",
    "another currency": "currency_mismatch",
    "other amount and currency": "currency_mismatch",
    "nothing": "amount_mismatch",
    "unpayable": "amount_mismatch",
}


@pytest.mark.parametrize(
    ("paid_live", "key_live", "already_paid", "payable", "due"),
    [*product([True, False], [True, False], [True, False], [True, False], DUES)],
)
def test_the_judgement(paid_live, key_live, already_paid, payable, due):
    reasons = [
        (paid_live != key_live, "wrong_mode"),
        (already_paid, "paid_twice"),
        (not payable, "order_not_payable"),
        (True, VERDICT_OF_DUE[due]),
    ]
    proof = Proof(amount_received=11200, currency="usd", livemode=paid_live)
    claim = Claim(
        amount_due=DUES[due], livemode=key_live, payable=payable, already_paid=already_paid
    )

    assert judge(proof, claim) == next(verdict for applies, verdict in reasons if applies)


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_only_the_exact_amount_is_accepted(received, due):
    proof = Proof(amount_received=received, currency="usd", livemode=False)
    claim = Claim(amount_due=Money(due, "usd"), livemode=False, payable=True, already_paid=False)
    assert (judge(proof, claim) == "accepted") == (received == due)


# --- the payment status -------------------------------------------------------------------------


def test_what_is_judged_does_not_change():
    proof = Proof(amount_received=11200, currency="usd", livemode=False)
    claim = Claim(amount_due=DUE, livemode=False, payable=True, already_paid=False)
    for frozen in (proof, claim, fact("succeeded")):
        with pytest.raises(FrozenInstanceError):
            frozen.livemode = True  # type: ignore[misc]


def test_what_is_judged_is_named():
    """Four booleans and sums in a row would be mixed up one day."""
    in_a_row: dict[Any, tuple[Any, ...]] = {
        Proof: (11200, "usd", False),
        Claim: (DUE, False, True, False),
        IntentFacts: ("succeeded", "accepted"),
    }
    for build, values in in_a_row.items():
        with pytest.raises(TypeError, match="positional"):
            build(*values)


facts = st.builds(IntentFacts, status=statuses, verdict=st.sampled_from([*Verdict, "new_verdict"]))


def fact(status, verdict=""):
    return IntentFacts(status=status, verdict=verdict)


@pytest.mark.parametrize(
    ("intents", "status"),
    [
        ([], "unpaid"),
        ([fact("requires_payment_method")], "unpaid"),
        ([fact("requires_confirmation")], "unpaid"),
        ([fact("requires_action")], "unpaid"),
        ([fact("canceled")], "unpaid"),
        ([fact("missing")], "unpaid"),
        ([fact("requires_reauthorization")], "unpaid"),
        ([fact("processing")], "pending"),
        ([fact("requires_capture")], "authorized"),
        ([fact("succeeded", "accepted")], "paid"),
        *(
            ([fact("succeeded", str(verdict))], "unpaid")
            for verdict in Verdict
            if verdict != "accepted"
        ),
        ([fact("processing"), fact("requires_capture")], "authorized"),
        ([fact("requires_capture"), fact("succeeded", "accepted")], "paid"),
        ([fact("succeeded", "paid_twice"), fact("succeeded", "accepted")], "paid"),
        ([fact("succeeded", "amount_mismatch"), fact("processing")], "pending"),
        ([fact("canceled"), fact("requires_payment_method")], "unpaid"),
    ],
)
def test_the_payment_status(intents, status):
    assert derive_payment_state(intents).status == status


@given(
    st.lists(facts, max_size=5).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    )
)
def test_the_payment_status_does_not_depend_on_order(rows_twice):
    rows, permuted = rows_twice
    assert derive_payment_state(rows) == derive_payment_state(iter(permuted))


@given(st.lists(facts))
def test_only_an_accepted_intent_makes_an_order_paid(rows):
    accepted = any(row.verdict == "accepted" for row in rows)
    assert (derive_payment_state(rows).status == PaymentStatus.PAID) == accepted
