"""From an order's rows to what its balance follows from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.balance import OutflowProgress
from shop_payments.ledger.observations import Rows, counts, money_of, observe, waived_by
from shop_payments.lifecycle import RETURNED_REFUND_STATUSES, RefundStatus
from shop_payments.models import (
    Dispute,
    OrderPayment,
    PaymentIntent,
    Refund,
    StaffEntry,
    StripeAttempt,
)

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
PAYMENT = OrderPayment(pk=1, total=10000, currency="usd", is_payable=True)


def intent(**values: Any) -> PaymentIntent:
    """An intent that has succeeded, and whose money was wanted."""
    defaults = {
        "pk": 1,
        "stripe_id": "pi_1",
        "status": "succeeded",
        "amount_received": 10000,
        "wanted": True,
        "currency": "usd",
        "livemode": False,
        "stripe_created_at": MOMENT,
    }
    return PaymentIntent(**{**defaults, **values})


def refund(status: str, amount: int, **values: Any) -> Refund:
    return Refund(payment_intent_id=1, status=status, amount=amount, created_at=MOMENT, **values)


def dispute(status: str, amount: int = 10000, currency: str = "usd") -> Dispute:
    return Dispute(
        payment_intent_id=1,
        status=status,
        amount=amount,
        currency=currency,
        stripe_created_at=MOMENT,
    )


def entry(kind: str, amount: int, **values: Any) -> StaffEntry:
    defaults = {"payment_intent_id": 1, "created_at": MOMENT}
    return StaffEntry(kind=kind, amount=amount, **{**defaults, **values})


# --- what counts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "does"),
    [
        ({}, True),
        ({"wanted": False}, False),
        ({"currency": "eur"}, False),
        ({"livemode": True}, False),
        ({"status": "processing"}, False),
        ({"status": "requires_capture"}, False),
    ],
)
def test_money_counts_if_it_came_fits_and_was_wanted(values, does):
    assert counts(PAYMENT, intent(**values)) is does
    assert observe(Rows(PAYMENT, [intent(**values)])).payments[0].counts is does


def test_a_payment_happened_when_the_charge_did_or_else_when_the_intent_was_made():
    later = datetime(2026, 11, 2, tzinfo=UTC)
    seen = observe(Rows(PAYMENT, [intent(), intent(charged_at=later)]))

    assert [payment.at for payment in seen.payments] == [MOMENT, later]


# --- money that goes out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        *((status, "returned") for status in ("failed", "canceled", "refused")),
        *((status, "under_way") for status in ("requested", "pending", "requires_action", "odd")),
        ("succeeded", "final"),
    ],
)
def test_how_far_a_refund_is(status, progress):
    (outflow,) = observe(Rows(PAYMENT, [intent()], [refund(status, 1)])).outflows

    assert outflow.progress == progress


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        *((status, "returned") for status in ("warning_needs_response", "warning_closed", "won")),
        *((status, "under_way") for status in ("needs_response", "under_review", "appeal_odd")),
        ("lost", "final"),
    ],
)
def test_how_far_a_dispute_is(status, progress):
    (outflow,) = observe(Rows(PAYMENT, [intent()], (), [dispute(status)])).outflows

    assert outflow.progress == progress


@pytest.mark.parametrize(("kind", "as_goods"), [("", None), ("goods", True), ("correction", False)])
def test_what_a_refund_is_for_is_what_its_caller_said(kind, as_goods):
    rows = Rows(PAYMENT, [intent()], [refund("succeeded", 1, kind=kind)])

    assert observe(rows).outflows[0].as_goods is as_goods


def test_a_dispute_in_another_currency_is_about_everything():
    (outflow,) = observe(Rows(PAYMENT, [intent()], (), [dispute("lost", 5, "eur")])).outflows

    assert outflow.amount == 10000


def test_a_settlement_that_was_revoked_is_none():
    settled, revoked = entry("settlement", 10), entry("settlement", 20, revoked_at=MOMENT)
    rows = Rows(PAYMENT, [intent()], (), (), [settled, revoked])

    (outflow,) = observe(rows).outflows
    assert (outflow.amount, outflow.progress) == (10, OutflowProgress.FINAL)
    assert outflow.as_goods is False


# --- waivers ------------------------------------------------------------------------------------


def test_waivers_add_up_unless_they_were_revoked():
    entries = [entry("waiver", 10), entry("waiver", 20), entry("waiver", 40, revoked_at=MOMENT)]

    assert waived_by([intent()], entries) == 30


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
    capture = StripeAttempt(outcome=outcome, params={"amount_to_capture": 8000})
    row = intent(status=status, amount_received=received)

    assert waived_by([row], [entry("waiver", 2000, capture=capture)]) == waived


@pytest.mark.parametrize(
    ("outcomes", "waived"),
    [
        (["abandoned", "succeeded"], 1500),
        (["succeeded", "pending"], 2000),
        (["abandoned", "pending"], 1500),
        (["abandoned", "failed"], 2000),
    ],
)
def test_of_the_waivers_of_several_captures_of_an_intent_one_counts(outcomes, waived):
    row = intent(status="succeeded", amount_received=8000)
    entries = [
        entry(
            "waiver",
            amount,
            pk=pk,
            capture=StripeAttempt(outcome=outcome, params={"amount_to_capture": 8000}),
        )
        for pk, amount, outcome in zip([1, 2], [2000, 1500], outcomes, strict=True)
    ]

    assert waived_by([row], entries[::-1]) == waived


# --- where the money of one intent is -----------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "refundable"),
    [
        ([], 10000),
        ([refund("requested", 4000)], 6000),
        ([refund("refused", 4000)], 10000),
        ([refund("pending", 4000)], 6000),
        ([refund("on_hold", 4000)], 6000),
        ([refund("succeeded", 4000)], 6000),
        ([refund("succeeded", 4000), refund("pending", 6000)], 0),
        ([refund("failed", 10000), refund("succeeded", 10000)], 0),
        ([dispute("warning_needs_response")], 10000),
        ([dispute("needs_response")], 0),
        ([dispute("won")], 10000),
        ([dispute("lost", 4000)], 6000),
        ([refund("succeeded", 4000), dispute("lost")], 0),
        ([entry("settlement", 4000)], 6000),
        ([entry("settlement", 4000, revoked_at=MOMENT)], 10000),
        ([entry("waiver", 4000)], 10000),
    ],
)
def test_what_may_still_go_back(rows, refundable):
    money = money_of(
        intent(),
        [row for row in rows if isinstance(row, Refund)],
        [row for row in rows if isinstance(row, Dispute)],
        [row for row in rows if isinstance(row, StaffEntry)],
    )

    assert money.refundable == refundable


def test_the_rows_of_other_intents_are_left_out():
    other = Refund(payment_intent_id=2, status="succeeded", amount=10000, created_at=MOMENT)

    assert money_of(intent(), [other]).refundable == 10000


refunds = st.builds(
    refund, st.sampled_from([*RefundStatus, "on_hold"]), amount=st.integers(1, 20000)
)


@given(st.lists(refunds, max_size=5))
def test_every_refund_is_in_one_place(rows):
    money = money_of(intent(), rows)
    returned = sum(row.amount for row in rows if row.status in RETURNED_REFUND_STATUSES)

    assert money.refunded + money.refund_pending + returned == sum(row.amount for row in rows)
    assert 0 <= money.refundable <= money.received == 10000
