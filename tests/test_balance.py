"""What an order's payments amount to, rule by rule, in small examples.

Amounts are bare numbers, times are seconds. An outflow is a refund unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_payments.balance import (
    Balance,
    Observations,
    Outflow,
    OutflowKind,
    OutflowProgress,
    Payment,
    Refusal,
    View,
    balance_of,
    fold,
    newest_first,
)

FINAL, UNDER_WAY = OutflowProgress.FINAL, OutflowProgress.UNDER_WAY
RETURNED = OutflowProgress.RETURNED
DISPUTE, SETTLEMENT = OutflowKind.DISPUTE, OutflowKind.SETTLEMENT


def at(second: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=second)


def paid(name: str, received: int, second: float = 1, **changes: Any) -> Payment:
    """A payment that succeeded and counts."""
    values: dict[str, Any] = {"status": "succeeded", "received": received, "counts": True}
    return Payment(id=name, at=at(second), **{**values, **changes})


def gone(of: str, amount: int, second: float = 50, **changes: Any) -> Outflow:
    """Money that has left the payment ``of``, for good."""
    values: dict[str, Any] = {
        "id": f"out of {of} at {second}",
        "kind": OutflowKind.REFUND,
        "progress": FINAL,
    }
    return Outflow(payment_id=of, amount=amount, at=at(second), **{**values, **changes})


def seen(total: int, *rows: Payment | Outflow, waived: int = 0, payable: bool = True) -> Any:
    return Observations(
        total=total,
        is_payable=payable,
        payments=[row for row in rows if isinstance(row, Payment)],
        outflows=[row for row in rows if isinstance(row, Outflow)],
        waived=waived,
    )


def balance(total: int, *rows: Payment | Outflow, **changes: Any) -> Balance:
    return balance_of(seen(total, *rows, **changes))


# --- which money counts -------------------------------------------------------------------------


def test_an_order_without_payments_owes_everything():
    empty = balance(112)

    assert (empty.status, empty.received, empty.paid, empty.paid_asking) == ("unpaid", 0, 0, 0)
    assert (empty.total, empty.owed, empty.outstanding, empty.unasked) == (112, 112, 112, 112)
    assert (empty.excess, empty.uncounted, empty.refundable) == ({}, {}, {})
    assert (empty.is_covered, empty.refusal, empty.open_status) == (False, None, None)


def test_money_that_counts_pays_the_order():
    full = balance(112, paid("one", 112))

    assert (full.status, full.received, full.paid, full.owed) == ("paid", 112, 112, 0)
    assert (full.outstanding, full.excess, full.is_covered) == (0, {}, True)
    assert full.refundable == {"one": 112}


def test_money_that_does_not_count_is_uncounted_as_long_as_it_is_there():
    late = paid("late", 112, counts=False)

    assert balance(112, late).uncounted == {"late": 112}
    assert (balance(112, late).status, balance(112, late).received) == ("unpaid", 0)
    assert balance(112, late, gone("late", 100)).uncounted == {"late": 12}
    assert balance(112, late, gone("late", 112)).uncounted == {}


def test_only_what_has_succeeded_is_money():
    begun = paid("begun", 0, status="requires_payment_method", counts=False)

    assert balance(112, begun).refundable == balance(112, begun).uncounted == {}


def test_money_of_an_intent_that_was_cancelled_after_a_capture_is_uncounted():
    cancelled = paid("one", 70, counts=False, status="canceled")

    found = balance(112, cancelled)

    assert (found.uncounted, found.refundable) == ({"one": 70}, {"one": 70})
    assert (found.outstanding, found.refusal) == (112, Refusal.UNCOUNTED)
    assert balance(112, cancelled, gone("one", 70)).refusal is None


def test_money_that_counts_is_never_uncounted():
    assert balance(112, paid("one", 112)).uncounted == {}


def test_several_payments_add_up():
    both = balance(300, paid("deposit", 90), paid("rest", 210, 2))

    assert (both.status, both.received, both.paid, both.outstanding) == ("paid", 300, 300, 0)
    assert both.paid_before == {"deposit": 0, "rest": 90}


def test_what_was_received_stays_received_whatever_became_of_it():
    back = balance(112, paid("one", 112), gone("one", 112, total_seen=112))

    assert (back.received, back.refundable) == (112, {"one": 0})


# --- owed, outstanding, excess ------------------------------------------------------------------


def test_a_part_leaves_the_rest_outstanding():
    part = balance(230, paid("one", 180))

    assert (part.status, part.owed, part.outstanding) == ("partially_paid", 50, 50)
    assert (part.is_covered, part.refusal) == (False, None)


def test_a_total_that_rises_is_owed():
    assert balance(120, paid("one", 100)).outstanding == 20


def test_a_total_that_falls_makes_an_excess():
    lower = balance(102, paid("one", 112))

    assert (lower.status, lower.excess, lower.outstanding) == ("paid", {"one": 10}, 0)


def test_excess_belongs_to_the_newest_payment_and_then_to_the_one_before():
    rows = (paid("old", 60, 1), paid("new", 60, 2))

    assert balance(100, *rows).excess == {"new": 20}
    assert list(balance(40, *rows).excess.items()) == [("new", 60), ("old", 20)]


def test_excess_that_cannot_go_back_from_the_newest_payment_is_the_one_befores():
    rows = (paid("old", 100, 1), paid("new", 100, 2))
    returned = gone("new", 95, total_seen=200, as_goods=True)

    assert balance(105, *rows, returned).excess == {}
    assert balance(0, paid("old", 100, 1), paid("new", 0, 2)).excess == {"old": 100}
    assert balance(50, *rows, gone("new", 95, total_seen=100)).excess == {"new": 5, "old": 50}


def test_nothing_is_outstanding_of_an_order_that_the_shop_no_longer_wants():
    cancelled = balance(230, paid("one", 180), payable=False)

    assert (cancelled.status, cancelled.owed) == ("partially_paid", 50)
    assert (cancelled.outstanding, cancelled.unasked) == (0, 50)
    assert not cancelled.is_payable


def test_a_paid_order_stays_paid_when_the_shop_wants_no_more():
    assert balance(112, paid("one", 112), payable=False).status == "paid"


# --- waivers (rule 4) ---------------------------------------------------------------------------


def test_a_waiver_fills_a_gap():
    waived = balance(230, paid("one", 180), waived=50)

    assert (waived.status, waived.owed, waived.outstanding) == ("paid", 0, 0)
    assert waived.waived == 50


def test_of_a_higher_total_a_waiver_covers_as_much_as_before():
    assert balance(250, paid("one", 180), waived=50).outstanding == 20


def test_a_waiver_never_makes_an_excess():
    assert balance(180, paid("one", 180), waived=50).excess == {}
    assert balance(230, paid("one", 180), paid("rest", 50, 2), waived=50).excess == {}


def test_a_waiver_alone_covers_nothing():
    assert not balance(50, waived=50).is_covered
    assert balance(50, waived=50).status == "unpaid"


# --- refunds: what they give back (rule 1) ------------------------------------------------------


def test_a_refund_of_a_covered_order_is_for_goods():
    back = balance(100, paid("one", 100), gone("one", 30, total_seen=100))

    assert (back.status, back.goods, back.paid, back.outstanding) == (
        ("partially_refunded", 30, 100, 0)
    )
    assert back.undone == {"out of one at 50": 0}


def test_a_refund_takes_the_excess_first():
    back = balance(102, paid("one", 112), gone("one", 10, total_seen=102))

    assert (back.status, back.goods, back.paid, back.excess) == ("paid", 0, 102, {})
    assert back.undone == {"out of one at 50": 10}


def test_what_a_refund_takes_beyond_the_excess_is_for_goods():
    rows = (paid("one", 112), gone("one", 40, total_seen=102))

    assert (balance(102, *rows).goods, balance(102, *rows).paid) == (30, 102)
    assert balance(102, *rows).status == "partially_refunded"
    assert balance(112, *rows).outstanding == 10


def test_the_excess_goes_back_first_whichever_payment_the_refund_is_of():
    rows = (paid("old", 100, 1), paid("new", 100, 2), gone("old", 100, total_seen=100))

    assert (balance(100, *rows).status, balance(100, *rows).excess) == ("paid", {})


def test_a_refund_of_an_order_that_was_not_covered_undoes_a_payment():
    back = balance(230, paid("one", 180), gone("one", 180, total_seen=230))

    assert (back.status, back.paid, back.outstanding) == ("unpaid", 0, 230)
    assert back.goods == 0


def test_an_order_that_was_covered_by_a_waiver_was_covered():
    rows = (paid("one", 180), gone("one", 30, total_seen=230, waived_seen=50))

    assert balance(230, *rows, waived=50).goods == 30
    assert (
        balance(230, paid("one", 180), gone("one", 30, total_seen=230, waived_seen=49)).goods == 0
    )


def test_a_refund_that_is_called_a_correction_undoes_a_payment():
    back = balance(100, paid("one", 100), gone("one", 30, total_seen=100, as_goods=False))

    assert (back.status, back.paid, back.goods, back.outstanding) == ("partially_paid", 70, 0, 30)


def test_a_refund_that_is_called_goods_takes_no_excess():
    back = balance(90, paid("one", 100), gone("one", 10, total_seen=90, as_goods=True))

    assert (back.goods, back.paid, back.excess) == (10, 100, {"one": 10})


def test_a_refund_that_is_called_goods_is_so_of_an_order_that_was_not_covered():
    back = balance(230, paid("one", 180), gone("one", 30, total_seen=230, as_goods=True))

    assert (back.status, back.goods, back.paid, back.owed) == ("partially_paid", 30, 180, 50)


def test_a_refund_of_money_that_did_not_count_then_undoes_a_payment():
    back = balance(112, paid("late", 112), gone("late", 112))

    assert (back.status, back.paid, back.outstanding) == ("unpaid", 0, 112)


def test_a_refund_of_money_that_does_not_count_is_not_the_orders():
    late = paid("late", 112, counts=False)

    assert balance(112, paid("one", 112), late, gone("late", 112, total_seen=112)).goods == 0


def test_an_outflow_of_a_payment_that_nobody_knows_is_left_out():
    assert balance(112, paid("one", 112), gone("other", 112, total_seen=112)).paid == 112


def test_a_returned_refund_drops_out():
    failed = gone("one", 100, total_seen=100, progress=RETURNED)

    assert balance(100, paid("one", 100), failed).status == "paid"
    assert balance(100, paid("one", 100), failed).refundable == {"one": 100}


def test_everything_refunded_is_refunded():
    back = balance(100, paid("one", 100), gone("one", 100, total_seen=100))

    assert (back.status, back.paid, back.outstanding) == ("refunded", 100, 0)
    assert back.refusal == Refusal.REFUNDED


def test_an_order_whose_excess_is_still_there_is_refunded_where_the_rest_went_back():
    rows = (paid("one", 100, 1), gone("one", 100, 2, total_seen=100), paid("again", 100, 3))

    assert balance(100, *rows).status == "refunded"
    assert balance(100, *rows).excess == {"again": 100}


def test_of_a_refunded_order_only_a_rise_is_owed():
    rows = (paid("one", 112), gone("one", 112, total_seen=112))

    assert balance(130, *rows).outstanding == 18
    assert (balance(130, *rows).status, balance(130, *rows).refusal) == ("unpaid", None)


# --- goods given back absorb a lower total ------------------------------------------------------


def test_returned_goods_explain_a_total_that_falls():
    rows = (paid("one", 100), gone("one", 30, total_seen=100))

    assert (balance(70, *rows).status, balance(70, *rows).excess) == ("partially_refunded", {})
    assert balance(60, *rows).excess == {"one": 10}


def test_returned_goods_explain_no_more_than_the_highest_total():
    rows = (paid("one", 100), gone("one", 30, total_seen=100))

    assert fold(seen(90, *rows), View.COVERAGE).base(90) == 100
    assert fold(seen(70, *rows), View.COVERAGE).base(70) == 100
    assert fold(seen(60, *rows), View.COVERAGE).base(60) == 90
    assert fold(seen(110, *rows), View.COVERAGE).base(110) == 110


def test_the_highest_total_at_a_return_of_goods_counts():
    rows = (
        paid("one", 100),
        gone("one", 10, 51, total_seen=100),
        gone("one", 10, 52, total_seen=90),
    )

    assert fold(seen(80, *rows), View.ASKING).highest_total == 100
    assert balance(80, *rows).excess == {}


def test_goods_of_an_order_that_cost_nothing_explain_no_total():
    rows = (paid("one", 100), gone("one", 10, total_seen=0, as_goods=True))

    assert fold(seen(0, *rows), View.ASKING).highest_total == 0
    assert balance(0, *rows).excess == {"one": 90}


def test_the_excess_of_a_refund_is_measured_with_the_goods_that_went_before():
    rows = (
        paid("one", 100),
        gone("one", 30, 51, total_seen=100),
        gone("one", 20, 52, total_seen=70),
    )

    assert (balance(70, *rows).goods, balance(70, *rows).paid) == (50, 100)


# --- disputes (rule 10) -------------------------------------------------------------------------


def disputed(of: str, amount: int, **changes: Any) -> Outflow:
    return gone(of, amount, **{"kind": DISPUTE, **changes})


def test_a_covered_order_never_owes_what_the_bank_took():
    lost = balance(100, paid("one", 100), disputed("one", 100, total_seen=100))

    assert (lost.status, lost.owed, lost.lost, lost.goods) == ("paid", 0, 100, 0)


def test_an_order_that_was_not_covered_owes_again_what_the_bank_took():
    lost = balance(300, paid("deposit", 90), disputed("deposit", 90, total_seen=300))

    assert (lost.status, lost.outstanding, lost.lost) == ("unpaid", 300, 0)


def test_a_lost_dispute_takes_the_excess_first():
    rows = (paid("one", 100, 1), paid("two", 100, 2))
    lost = disputed("one", 100, total_seen=100)

    assert balance(100, *rows).excess == {"two": 100}
    assert balance(100, *rows, lost).excess == {}
    assert (balance(100, *rows, lost).paid, balance(100, *rows, lost).lost) == (100, 0)


def test_a_payment_after_a_lost_dispute_makes_good_what_was_lost():
    rows = (paid("one", 100, 1), disputed("one", 100, second=2, total_seen=100))
    again = paid("again", 100, 3)

    assert balance(100, *rows, again).excess == {}
    assert balance(100, *rows, again).refundable == {"one": 0, "again": 100}


def test_what_was_lost_counts_against_the_excess_of_the_next_refund():
    rows = (
        paid("one", 100, 1),
        disputed("one", 100, second=2, total_seen=100),
        paid("again", 100, 3),
        gone("again", 40, 4, total_seen=100),
    )

    assert (balance(100, *rows).goods, balance(100, *rows).paid) == (40, 200)


def test_two_lost_disputes_add_up():
    rows = (paid("one", 100, 1), paid("two", 100, 2))
    lost = (
        disputed("one", 100, second=3, total_seen=200),
        disputed("two", 60, second=4, total_seen=200),
    )

    assert balance(200, *rows, *lost).lost == 160


def test_an_open_dispute_counts_as_gone_for_coverage_and_not_for_asking():
    rows = (paid("one", 100, 1), paid("two", 100, 2))
    open_one = disputed("one", 100, total_seen=100, progress=UNDER_WAY)

    assert balance(100, *rows, open_one).excess == {}
    assert (balance(100, *rows, open_one).paid, balance(100, *rows, open_one).paid_asking) == (
        (100, 200)
    )
    assert balance(100, *rows, replace(open_one, progress=RETURNED)).excess == {"two": 100}


def test_no_more_leaves_a_payment_than_came_with_it():
    cash = gone("one", 100, 50, kind=SETTLEMENT, as_goods=False, total_seen=100)
    again = gone("one", 100, 60, total_seen=100)

    twice = balance(100, paid("one", 100), cash, again)

    assert (twice.paid, twice.owed, twice.outstanding, twice.goods) == (0, 100, 100, 0)
    assert twice.undone == {cash.id: 100, again.id: 100}


def test_a_dispute_of_what_was_refunded_in_part_takes_what_is_left():
    back = gone("deposit", 60, 50, total_seen=300)
    lost = disputed("deposit", 90, second=60, total_seen=300)

    both = balance(300, paid("deposit", 90), back, lost)

    assert (both.paid, both.outstanding, both.lost) == (0, 300, 0)
    covered = balance(
        90,
        paid("one", 90),
        gone("one", 60, 50, total_seen=90),
        disputed("one", 90, second=60, total_seen=90),
    )
    assert (covered.goods, covered.lost, covered.owed) == (60, 30, 0)


# --- the two views ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "asking", "coverage"),
    [(FINAL, True, True), (UNDER_WAY, False, True), (RETURNED, False, False)],
)
def test_money_is_gone_in_a_view_as_far_as_it_is_on_its_way(progress, asking, coverage):
    outflow = gone("one", 1, progress=progress)

    assert outflow.is_in(View.ASKING) is asking
    assert outflow.is_in(View.COVERAGE) is coverage


def test_money_on_its_way_out_is_not_asked_for_and_does_not_cover():
    pending = gone("late", 112, progress=UNDER_WAY)
    opened_again = balance(112, paid("late", 112), pending)

    assert (opened_again.status, opened_again.owed, opened_again.outstanding) == ("unpaid", 112, 0)
    assert opened_again.refusal == Refusal.REFUND_PENDING


def test_goods_are_given_back_when_the_refund_is_final():
    pending = gone("one", 30, total_seen=100, progress=UNDER_WAY)

    assert balance(100, paid("one", 100), pending).status == "paid"
    assert balance(100, paid("one", 100), pending).goods == 0
    assert balance(100, paid("one", 100), pending).refundable == {"one": 70}


def test_what_a_refund_undoes_is_told_of_final_ones():
    pending = gone("one", 30, 51, total_seen=100, progress=UNDER_WAY)
    final = gone("one", 10, 52, total_seen=100)

    assert balance(100, paid("one", 100), pending, final).undone == {"out of one at 52": 0}


def test_what_had_been_paid_when_money_came_leaves_out_what_is_under_way():
    pending = gone("one", 100, 2, progress=UNDER_WAY)

    assert balance(100, paid("one", 100, 1), pending, paid("two", 100, 3)).paid_before == {
        "one": 0,
        "two": 0,
    }


# --- settled outside Stripe (rule 17) -----------------------------------------------------------


def test_a_settlement_outside_stripe_undoes_a_payment():
    settled = gone("one", 112, kind=SETTLEMENT, as_goods=False, total_seen=112)

    assert balance(112, paid("one", 112), settled).outstanding == 112
    assert balance(112, paid("one", 112), settled).refundable == {"one": 0}


def test_a_settlement_ends_what_is_uncounted():
    late = paid("late", 112, counts=False)

    assert balance(112, late, gone("late", 112, kind=SETTLEMENT, as_goods=False)).uncounted == {}


def test_a_total_of_nothing_leaves_all_money_in_excess_until_it_is_gone():
    free = balance(0, paid("one", 112))
    settled = gone("one", 112, kind=SETTLEMENT, as_goods=False, total_seen=0)

    assert (free.status, free.excess, free.refusal) == ("paid", {"one": 112}, Refusal.PAID)
    after = balance(0, paid("one", 112), settled)
    assert (after.status, after.excess, after.refusal) == ("unpaid", {}, Refusal.FREE)


# --- the order of events ------------------------------------------------------------------------


def test_events_count_in_stripes_time_whatever_order_they_are_in():
    rows = (paid("one", 100, 1), gone("one", 100, 2, total_seen=100), paid("two", 100, 3))

    assert balance(100, *rows) == balance(100, *reversed(rows))
    assert balance(100, *rows).paid_before == {"one": 0, "two": 100}


def test_an_outflow_is_never_before_its_own_payment():
    early = gone("one", 30, 1, total_seen=100)

    assert balance(100, paid("one", 100, 2), early).goods == 30


def test_within_one_second_an_outflow_comes_after_its_payment():
    assert balance(100, paid("one", 100, 1), gone("one", 30, 1, total_seen=100)).goods == 30


def test_within_one_second_money_goes_out_after_the_payments_that_were_begun_by_then():
    refund = gone("one", 100, 5.1, total_seen=200, seen_at=at(3))
    first = paid("one", 100, 1, begun_at=at(0))

    for begun_at, goods in ((2, 100), (3, 100), (4, 0)):
        second = paid("two", 100, 5.9, begun_at=at(begun_at))
        assert balance(200, first, second, refund).goods == goods


def test_within_one_second_money_goes_out_last_where_nobody_saw_it_begin():
    second = paid("two", 100, 5.9, begun_at=at(9))
    refund = gone("one", 100, 5.1, total_seen=200)

    assert balance(200, paid("one", 100, 1, begun_at=at(0)), second, refund).goods == 100


def test_money_that_was_seen_to_go_out_before_its_payment_was_begun_goes_out_after_it():
    """The clocks of two processes may differ by minutes."""
    refund = gone("one", 30, 5, total_seen=100, seen_at=at(3))

    assert balance(100, paid("one", 100, 5, begun_at=at(60)), refund).goods == 30


def test_rows_of_one_moment_are_not_compared_with_each_other():
    first, second = gone("one", 30, total_seen=100), gone("one", 20, total_seen=100)
    assert (first.id, first.at) == (second.id, second.at)

    assert balance(100, paid("one", 100), first, second).goods == 50


def test_money_that_goes_out_a_second_later_is_later_whenever_it_was_seen():
    second = paid("two", 100, 5, begun_at=at(4))
    refund = gone("one", 100, 6, total_seen=200, seen_at=at(3))

    assert balance(200, paid("one", 100, 1, begun_at=at(0)), second, refund).goods == 100


def test_what_others_paid_later_does_not_change_when_money_went_out():
    rows = (paid("one", 100, 1), gone("one", 100, 3, total_seen=100), paid("two", 100, 4))

    assert balance(100, *rows).goods == 100


def test_payments_are_sorted_by_the_time_of_their_charge_then_by_when_they_were_begun():
    rows = [
        paid("b", 1, 2, begun_at=at(0)),
        paid("a", 1, 2, begun_at=at(1)),
        paid("c", 1, 1, begun_at=at(2)),
    ]

    assert [each.id for each in newest_first(rows)] == ["a", "b", "c"]
    assert [each.id for each in newest_first([paid("a", 1), paid("b", 1)])] == ["b", "a"]


# --- the status ---------------------------------------------------------------------------------


def waiting(status: str, name: str = "open") -> Payment:
    return paid(name, 0, 60, status=status, counts=False)


@pytest.mark.parametrize(
    ("status", "of_the_order", "refusal"),
    [
        ("requires_payment_method", "unpaid", None),
        ("requires_confirmation", "unpaid", None),
        ("requires_action", "unpaid", None),
        ("canceled", "unpaid", None),
        ("missing", "unpaid", None),
        ("of_tomorrow", "unpaid", None),
        ("processing", "pending", Refusal.PROCESSING),
        ("requires_capture", "authorized", Refusal.AUTHORIZED),
    ],
)
def test_an_open_payment_shows_while_the_order_is_not_covered(status, of_the_order, refusal):
    found = balance(112, waiting(status))

    assert (found.status, found.refusal, found.outstanding) == (of_the_order, refusal, 112)


def test_authorized_goes_before_processing():
    both = balance(112, waiting("processing", "one"), waiting("requires_capture", "two"))

    assert both.open_status == "authorized"


def test_an_open_payment_does_not_show_on_a_covered_order():
    assert balance(90, paid("one", 90), waiting("processing")).status == "paid"


def test_an_open_payment_goes_before_a_part_that_was_paid():
    found = balance(300, paid("one", 90), waiting("processing"))

    assert (found.status, found.outstanding) == ("pending", 210)


def test_what_was_given_back_for_goods_is_no_part_that_is_paid():
    rows = (paid("one", 100), gone("one", 100, total_seen=100))

    assert balance(130, *rows).status == "unpaid"
    assert balance(130, paid("one", 100), gone("one", 99, total_seen=100)).status == (
        "partially_paid"
    )


def test_of_one_unit_that_is_paid_the_order_is_covered():
    assert balance(1, paid("one", 1)).is_covered
    assert balance(1, paid("one", 1)).status == "paid"
    assert balance(0, paid("one", 1)).is_covered
    assert not balance(0).is_covered


# --- what call 1 says: the first that applies ---------------------------------------------------


def test_a_covered_order_is_paid():
    assert balance(112, paid("one", 112)).refusal == Refusal.PAID
    assert balance(112, paid("one", 112), payable=False).refusal == Refusal.PAID


def test_an_order_that_costs_nothing_is_free():
    assert balance(0).refusal == Refusal.FREE
    assert balance(0, payable=False).refusal == Refusal.FREE


def test_a_cancelled_order_is_not_payable():
    assert balance(112, payable=False).refusal == Refusal.NOT_PAYABLE


def test_nobody_pays_while_uncounted_money_is_there():
    late = paid("late", 112, counts=False)

    assert balance(112, late).refusal == Refusal.UNCOUNTED
    assert balance(112, late, payable=False).refusal == Refusal.NOT_PAYABLE
    assert balance(112, late, waiting("processing")).refusal == Refusal.UNCOUNTED


def test_a_dispute_that_holds_a_deposit_is_the_reason():
    held = disputed("deposit", 90, total_seen=300, second=2, progress=UNDER_WAY)
    found = balance(300, paid("deposit", 90), held, paid("rest", 210, 3))

    assert (found.refusal, found.owed, found.outstanding) == (Refusal.DISPUTE_OPEN, 90, 0)
    assert (found.status, found.on_its_way_out) == ("partially_paid", Refusal.DISPUTE_OPEN)


def test_money_on_its_way_out_keeps_the_customer_from_paying_the_rest():
    pending = gone("one", 90, total_seen=300, progress=UNDER_WAY)

    assert balance(300, paid("one", 90), pending).refusal == Refusal.REFUND_PENDING
    assert balance(300, paid("one", 90), pending, waiting("processing")).refusal == (
        Refusal.PROCESSING
    )


def test_a_dispute_that_takes_nothing_from_the_customer_is_no_reason():
    lost = disputed("one", 100, second=2, total_seen=100, progress=UNDER_WAY)
    pending = gone("two", 10, 4, total_seen=200, progress=UNDER_WAY, as_goods=False)
    rows = (paid("one", 100, 1), lost, paid("two", 50, 3))

    assert balance(200, *rows, pending).on_its_way_out == Refusal.REFUND_PENDING


def test_a_dispute_that_is_decided_is_no_reason():
    won = disputed("one", 100, second=2, total_seen=200, progress=RETURNED)
    lost = disputed("one", 40, second=2, total_seen=200)
    pending = gone("one", 10, 4, total_seen=200, progress=UNDER_WAY)

    assert balance(200, paid("one", 100), won, lost, pending).on_its_way_out == (
        Refusal.REFUND_PENDING
    )


def test_a_refund_for_goods_under_way_keeps_nobody_from_paying_the_rest():
    pending = gone("one", 10, total_seen=100, progress=UNDER_WAY)
    raised = balance(120, paid("one", 100), pending)

    assert (raised.on_its_way_out, raised.refusal, raised.outstanding) == (None, None, 20)


# --- may the goods go out -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "rows", "waived", "may"),
    [
        (100, (paid("one", 100),), 0, True),
        (100, (paid("one", 99),), 0, False),
        (100, (paid("one", 80),), 20, True),
        (100, (), 0, False),
        (100, (paid("one", 100), disputed("one", 100, total_seen=100)), 0, False),
        (
            100,
            (paid("one", 100), disputed("one", 100, total_seen=100, progress=UNDER_WAY)),
            0,
            False,
        ),
        (
            100,
            (paid("one", 100), disputed("one", 100, total_seen=100, progress=RETURNED)),
            0,
            True,
        ),
        (100, (paid("one", 80), disputed("one", 1, total_seen=100, waived_seen=20)), 20, False),
        (100, (paid("one", 100), gone("one", 30, total_seen=100)), 0, True),
        (100, (paid("one", 100), gone("one", 100, total_seen=100)), 0, False),
        (0, (), 0, True),
    ],
)
def test_goods_go_out_where_nothing_is_missing(total, rows, waived, may):
    assert balance(total, *rows, waived=waived).may_release is may


# --- in general ---------------------------------------------------------------------------------


def test_nothing_of_it_can_be_changed():
    frozen: list[Any] = [paid("one", 1), gone("one", 1), seen(1), balance(1)]
    for each in frozen:
        with pytest.raises(FrozenInstanceError):
            each.total = 2


progresses = st.sampled_from([*OutflowProgress])
payments = st.builds(
    Payment,
    id=st.sampled_from(["one", "two", "three"]),
    status=st.just("succeeded"),
    at=st.integers(0, 5).map(at),
    received=st.integers(0, 200),
    counts=st.booleans(),
)
outflows = st.builds(
    Outflow,
    id=st.uuids().map(str),
    payment_id=st.sampled_from(["one", "two", "three", "nobody's"]),
    at=st.integers(0, 9).map(at),
    amount=st.integers(1, 200),
    kind=st.sampled_from([*OutflowKind]),
    progress=progresses,
    total_seen=st.none() | st.integers(0, 300),
    waived_seen=st.integers(0, 50),
    as_goods=st.none() | st.booleans(),
)
histories = st.builds(
    Observations,
    total=st.integers(0, 300),
    is_payable=st.booleans(),
    payments=st.lists(payments, max_size=3, unique_by=lambda each: each.id),
    outflows=st.lists(outflows, max_size=4, unique_by=lambda each: each.id),
    waived=st.integers(0, 50),
)


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(history, random):
    shuffled = replace(
        history,
        payments=random.sample(history.payments, len(history.payments)),
        outflows=random.sample(history.outflows, len(history.outflows)),
    )

    assert balance_of(shuffled) == balance_of(history)


@given(histories)
def test_nobody_is_asked_for_more_than_the_order_lacks(history):
    found = balance_of(history)

    lacks = max(0, history.total - history.waived - found.paid_asking)
    assert found.outstanding in {0, lacks}
    assert found.unasked == lacks


@given(histories)
def test_no_more_is_in_excess_than_may_still_go_back(history):
    found = balance_of(history)

    for payment_id, amount in found.excess.items():
        assert 0 < amount <= found.refundable[payment_id]
    assert not set(found.excess) & set(found.uncounted)
