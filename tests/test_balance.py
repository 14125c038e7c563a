"""What an order's payments amount to: rule by rule, and compared with ``oracle.py``.

Amounts are bare numbers, times are seconds. An outflow is a final refund unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
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
from tests.oracle import Came, Evidence, Went, work_out

FINAL, RETURNED = OutflowProgress.FINAL, OutflowProgress.RETURNED


def at(second: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=second)


def paid(name: str, received: int, second: float = 1, **changes: Any) -> Payment:
    """A payment that succeeded and counts."""
    values: dict[str, Any] = {"status": "succeeded", "received": received, "counts": True}
    return Payment(id=name, at=at(second), **{**values, **changes})


def waiting(status: str, name: str = "open") -> Payment:
    return paid(name, 0, 60, status=status, counts=False)


def gone(of: str, amount: int, second: float = 50, total: int | None = None, **changes: Any) -> Any:
    """Money that has left the payment ``of`` when the order cost ``total``."""
    values: dict[str, Any] = {"id": f"{of} {second}", "payment_id": of, "total_seen": total}
    values |= {"kind": OutflowKind.REFUND, "progress": FINAL, "at": at(second), "amount": amount}
    return Outflow(**{**values, **changes})


def disputed(of: str, amount: int, second: float = 50, total: int = 100, **changes: Any) -> Any:
    return gone(of, amount, second, total, **{"kind": OutflowKind.DISPUTE, **changes})


def settled(of: str, amount: int, second: float = 50, total: int | None = None) -> Any:
    return gone(of, amount, second, total, kind=OutflowKind.SETTLEMENT, as_goods=False)


def seen(total: int, *rows: Any, waived: int = 0, payable: bool = True) -> Observations:
    return Observations(
        total=total,
        is_payable=payable,
        payments=[row for row in rows if isinstance(row, Payment)],
        outflows=[row for row in rows if isinstance(row, Outflow)],
        waived=waived,
    )


def balance(total: int, *rows: Any, waived: int = 0, payable: bool = True) -> Balance:
    return balance_of(seen(total, *rows, waived=waived, payable=payable))


RULES: dict[str, tuple[Any, ...]] = {}


def rule(
    sentence: str, total: int, /, *rows: Any, waive: int = 0, wanted: bool = True, **says: Any
) -> None:
    """Note what the balance of an order with these rows says."""
    assert sentence not in RULES
    RULES[sentence] = (total, rows, waive, wanted, says)


ONE, LATE, PART = paid("one", 100), paid("late", 112, counts=False), paid("one", 180)
OLD, NEW, REST = paid("old", 100, 1), paid("new", 100, 2), paid("b", 50, 3)
AGAIN = paid("x", 100, 3)
CANCELED = paid("one", 70, counts=False, status="canceled")
PROCESSING, RESERVED = waiting("processing", "a"), waiting("requires_capture", "b")
BACK_30, ALL_BACK = gone("one", 30, 50, 100), gone("one", 100, 2, 100)
LOST, LOST_EARLY = disputed("one", 100), disputed("one", 100, 2)
HELD: dict[str, Any] = {"progress": OutflowProgress.UNDER_WAY}

rule("no payments", 112, status="unpaid", owed=112, outstanding=112, refusal=None, received=0)
rule("money that counts pays", 100, ONE, status="paid", is_covered=True, owed=0, uncounted={})
rule("it may go back", 100, ONE, refundable={"one": 100}, excess={})
rule("one unit covers", 1, paid("one", 1), status="paid", is_covered=True)
rule("one unit covers nothing", 0, paid("one", 1), is_covered=True)
rule("payments add up", 230, PART, REST, received=230, paid=230, paid_before={"one": 0, "b": 180})
rule("other money is uncounted", 112, LATE, uncounted={"late": 112}, received=0)
rule("uncounted is what is left", 112, LATE, gone("late", 100), uncounted={"late": 12})
rule("uncounted money was settled", 112, LATE, settled("late", 112), uncounted={})
rule("an open intent holds no money", 112, PROCESSING, refundable={}, uncounted={})
rule("a cancelled intent may hold some", 112, CANCELED, uncounted={"one": 70}, refusal="uncounted")

rule("a part leaves a rest", 230, PART, status="partially_paid", outstanding=50, refusal=None)
rule("a lower total makes an excess", 90, ONE, status="paid", excess={"one": 10}, outstanding=0)
rule("excess is of the newest payment", 150, OLD, NEW, excess={"new": 50})
rule("and of the older one", 50, OLD, NEW, excess={"new": 100, "old": 50})
back = gone("new", 95, 9, 100)
rule("excess may still go back", 50, OLD, NEW, back, excess={"new": 5, "old": 50})
rule("an unwanted order asks for nothing", 230, PART, wanted=False, owed=50, outstanding=0)

rule("a waiver fills a gap", 230, PART, waive=50, status="paid", waived=50)
rule("a waiver covers as much as before", 250, PART, waive=50, outstanding=20)
rule("a waiver makes no excess", 230, PART, REST, waive=50, excess={})
rule("a waiver alone covers nothing", 50, waive=50, status="unpaid", is_covered=False)

rule("a refund of a paid order is for goods", 100, ONE, BACK_30, goods=30, paid=100)
rule("it undoes no payment", 100, ONE, BACK_30, status="partially_refunded", undone={"one 50": 0})
back = gone("one", 30, 50, 230, waived_seen=50)
rule("a waiver covered the order", 230, PART, back, goods=30)
rule("a waiver left a gap", 230, PART, replace(back, waived_seen=49), goods=0)
back = gone("one", 40, 50, 90)
rule("the excess is refunded first", 90, ONE, back, goods=30, undone={"one 50": 10})
back = gone("old", 100, 50, 100)
rule("whichever payment is refunded", 100, OLD, NEW, back, status="paid", excess={})
back = gone("one", 180, 50, 230)
rule("a refund of a part undoes it", 230, PART, back, status="unpaid", outstanding=230)
rule("a correction undoes a payment", 100, ONE, replace(BACK_30, as_goods=False), paid=70, goods=0)
rule("the payment did not count then", 100, ONE, gone("one", 100), outstanding=100)
back = gone("one", 10, 50, 90, as_goods=True)
rule("goods take no excess", 90, ONE, back, goods=10, excess={"one": 10})
rule("goods of a part", 230, PART, replace(back, total_seen=230), goods=10, owed=50)
rule("other money is no refund", 100, ONE, LATE, gone("late", 112, 50, 100), goods=0)
rule("nor is that of unknown payments", 100, ONE, gone("other", 100, 50, 100), paid=100)
rule("a failed refund", 100, ONE, replace(ALL_BACK, progress=RETURNED), refundable={"one": 100})
rule("all is refunded", 100, ONE, ALL_BACK, status="refunded", refusal="refunded", received=100)
rule("all but an excess", 100, ONE, ALL_BACK, AGAIN, status="refunded", excess={"x": 100})
rule("then a rise is owed", 130, ONE, ALL_BACK, status="unpaid", outstanding=30)
both = (settled("one", 100, 50, 100), gone("one", 100, 60, 100))
rule("nothing leaves twice", 100, ONE, *both, owed=100, undone={"one 50": 100, "one 60": 100})
rule("goods explain a lower total", 70, ONE, BACK_30, status="partially_refunded", excess={})
rule("but none below them", 60, ONE, BACK_30, excess={"one": 10})
both = (gone("one", 30, 51, 100), gone("one", 20, 52, 70))
rule("goods that went before count", 70, ONE, *both, goods=50, paid=100)

rule("a paid order never owes what was lost", 100, ONE, LOST, status="paid", lost=100, goods=0)
rule("a part is owed again", 300, ONE, disputed("one", 100, total=300), outstanding=300, lost=0)
rule("the excess is lost first", 100, OLD, NEW, disputed("old", 100), paid=100, lost=0)
rule("a payment makes it good", 100, ONE, LOST_EARLY, AGAIN, excess={})
back = gone("x", 40, 4, 100)
rule("a refund after that", 100, ONE, LOST_EARLY, AGAIN, back, goods=40, paid=200)
both = (gone("one", 60, 50, 100), disputed("one", 100, 60))
rule("a dispute takes what is left", 100, ONE, *both, goods=60, lost=40)
both = (disputed("one", 60), disputed("one", 40, 60))
rule("what banks took adds up", 100, ONE, *both, lost=100, status="paid")

held = disputed("old", 100, **HELD)
rule("an open dispute covers nothing", 100, OLD, NEW, held, paid=100, paid_asking=200, excess={})
back = gone("one", 100, **HELD)
rule("a pending refund is not asked for", 100, ONE, back, owed=100, outstanding=0)
rule("it is the reason", 100, ONE, back, refusal="refund_pending", status="unpaid")
rule("pending goods", 100, ONE, replace(BACK_30, **HELD), status="paid", goods=0, undone={})
rule("settled", 100, ONE, settled("one", 100, 50, 100), outstanding=100, refundable={"one": 0})
rule("a free order, settled", 0, ONE, settled("one", 100, 50, 0), status="unpaid", refusal="free")

rule("processing", 112, PROCESSING, status="pending", refusal="processing", outstanding=112)
rule("reserved", 112, PROCESSING, RESERVED, status="authorized", refusal="authorized")
rule("an unknown status", 112, waiting("of_tomorrow"), status="unpaid", refusal=None)
rule("a paid order shows no open payment", 100, ONE, PROCESSING, status="paid")
rule("paid comes first", 100, ONE, wanted=False, status="paid", refusal="paid")
rule("free comes first", 0, wanted=False, refusal="free", is_covered=False)
rule("unwanted, then uncounted", 112, LATE, wanted=False, refusal="not_payable")
rule("uncounted, then processing", 112, LATE, PROCESSING, refusal="uncounted")
held = disputed("one", 100, 2, 200, **HELD)
rule("a dispute holds a deposit", 200, ONE, held, AGAIN, refusal="dispute_open", owed=100)
back = gone("one", 10, 50, 100, **HELD)
rule("goods hold up nobody", 120, ONE, back, on_its_way_out=None, outstanding=20, refusal=None)
held, back = replace(LOST_EARLY, **HELD), gone("b", 10, 4, 200, as_goods=False, **HELD)
rule("a dispute of goods", 200, ONE, held, REST, back, on_its_way_out="refund_pending")

rule("the rest is waived", 100, paid("one", 80), waive=20, may_release=True)
rule("a cent is missing", 100, paid("one", 99), may_release=False)
rule("the bank has it", 100, ONE, LOST, may_release=False)
rule("some goods came back", 100, ONE, BACK_30, may_release=True)
rule("all goods came back", 100, ONE, ALL_BACK, may_release=False)


@pytest.mark.parametrize(
    ("total", "rows", "waive", "wanted", "says"), RULES.values(), ids=RULES.keys()
)
def test_the_rule(total, rows, waive, wanted, says):
    found = balance(total, *rows, waived=waive, payable=wanted)
    assert {name: getattr(found, name) for name in says} == says


def test_an_order_with_an_unknown_payment_asks_for_nothing():
    unknown = balance_of(replace(seen(112, LATE), has_unknown=True))
    assert (unknown.refusal, unknown.askable) == (Refusal.UNKNOWN_INTENT, 0)
    assert (unknown.outstanding, balance(112).askable) == (112, 112)


def test_returned_goods_explain_a_lower_total_but_none_above_the_highest():
    rows: tuple[Any, ...] = (ONE, gone("one", 30, 50, 100))
    for total, base in ((90, 100), (70, 100), (60, 90), (110, 110)):
        assert fold(seen(total, *rows), View.COVERAGE).base(total) == base
    rows = (ONE, gone("one", 10, 51, 100), gone("one", 10, 52, 90))
    assert fold(seen(80, *rows), View.ASKING).highest_total == 100
    free = (ONE, gone("one", 10, 50, 0, as_goods=True))
    assert fold(seen(0, *free), View.ASKING).highest_total == 0


# --- the order of events ------------------------------------------------------------------------


def test_an_outflow_is_never_before_its_own_payment():
    """The clocks of two processes may differ by minutes."""
    for second in (0, 1):
        assert balance(100, ONE, gone("one", 30, second, 100)).goods == 30
    early = gone("one", 30, 5, 100, seen_at=at(3))
    assert balance(100, paid("one", 100, 5, begun_at=at(60)), early).goods == 30


def test_within_one_second_money_goes_out_after_the_payments_that_were_begun_by_then():
    refund = gone("one", 100, 5.1, 200, seen_at=at(3))
    first = paid("one", 100, 1, begun_at=at(0))
    for begun_at, goods in ((2, 100), (3, 100), (4, 0)):
        second = paid("two", 100, 5.9, begun_at=at(begun_at))
        assert balance(200, first, second, refund).goods == goods
    second = paid("two", 100, 5.9, begun_at=at(9))
    assert balance(200, first, second, replace(refund, seen_at=None)).goods == 100
    assert balance(200, first, second, replace(refund, at=at(6))).goods == 100


def test_payments_are_sorted_by_the_time_of_their_charge_then_by_when_they_were_begun():
    rows = [paid("b", 1, 2, begun_at=at(0)), paid("a", 1, 2, begun_at=at(1)), paid("c", 1, 1)]
    assert [each.id for each in newest_first(rows)] == ["a", "b", "c"]
    assert [each.id for each in newest_first([paid("a", 1), paid("b", 1)])] == ["b", "a"]
    assert list(balance(50, OLD, NEW).excess) == ["new", "old"]
    twins = (gone("one", 30, 50, 100), gone("one", 20, 50, 100))  # are not compared
    assert balance(100, ONE, *twins).goods == 50


# --- compared with the oracle -------------------------------------------------------------------

REFUSALS: dict[Refusal | None, tuple[str, str] | None] = {
    Refusal.PAID: ("order_already_paid", ""),
    **{each: ("order_not_payable", each.value) for each in (Refusal.FREE, Refusal.REFUNDED)},
    Refusal.NOT_PAYABLE: ("order_not_payable", ""),
    Refusal.UNCOUNTED: ("payment_in_review", ""),
    Refusal.REFUND_PENDING: ("payment_in_review", "refund_pending"),
    Refusal.DISPUTE_OPEN: ("payment_in_review", "dispute_open"),
    Refusal.PROCESSING: ("payment_processing", ""),
    Refusal.AUTHORIZED: ("payment_authorized", ""),
    None: None,
}
STATUSES = ["succeeded"] * 5 + ["canceled", "processing", "requires_capture", "requires_action"]


@st.composite
def histories(draw: st.DrawFn) -> Observations:
    def number(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    payments: list[Any] = []
    outflows: list[Any] = []
    counted_after = {}  # seconds; a payment that counts does not stop to count
    for name in "abc"[: number(0, 3)]:
        status, counts = draw(st.sampled_from(STATUSES)), draw(st.booleans())
        received = number(0, 200) if status in {"succeeded", "canceled"} else 0
        changes = {"counts": counts and status == "succeeded", "begun_at": at(number(0, 3))}
        payments.append(paid(name, received, number(5, 8), status=status, **changes))
        counted_after[name] = number(0, 3)
    # What happened within one second is compared by Note [Within one second]'s own tests.
    free = sorted({*range(5, 13)} - {payment.at.second for payment in payments})
    moments = draw(st.permutations(free))
    for index in range(number(0, 4) if payments else 0):
        payment = draw(st.sampled_from(payments))
        left = payment.received - sum(e.amount for e in outflows if e.payment_id == payment.id)
        if left <= 0:
            continue  # Stripe gives no more back than came
        begun = payment.begun_at or payment.at
        kind = draw(st.sampled_from([*OutflowKind]))
        said = draw(st.sampled_from([None, True, False]))
        seconds = number(0, 3)
        counted = payment.counts and seconds >= counted_after[payment.id]
        outflow = gone(
            *(payment.id, number(1, left), moments[index], number(0, 300) if counted else None),
            kind=kind,
            progress=draw(st.sampled_from([*OutflowProgress])),
            seen_at=begun + timedelta(seconds=seconds),
            waived_seen=number(0, 50),
            as_goods={OutflowKind.REFUND: said, OutflowKind.DISPUTE: None}.get(kind, False),
        )
        outflows.append(replace(outflow, id=str(index)))
    waived, payable = number(0, 50), draw(st.booleans())
    return seen(number(0, 300), *payments, *outflows, waived=waived, payable=payable)


def evidence_of(history: Observations) -> Evidence:
    def moment(stripe: datetime, begun: datetime | None) -> tuple[int, float]:
        assert begun is not None
        return int(stripe.timestamp()), begun.timestamp()

    came = [
        Came(
            id=each.id,
            when=moment(each.at, each.begun_at),
            status=each.status,
            money=each.received,
            currency="usd",
            livemode=False,
            wanted=each.counts,
        )
        for each in history.payments
    ]
    went = [
        Went(
            id=each.id,
            of=each.payment_id,
            when=moment(each.at, each.seen_at),
            money=each.amount,
            kind=cast("Any", each.kind.value),
            is_gone=each.progress == FINAL,
            first_total=each.total_seen,
            first_waived=each.waived_seen,
            said={True: "goods", False: "correction", None: ""}[each.as_goods],
        )
        for each in history.outflows
        if each.progress != RETURNED
    ]
    order: dict[str, Any] = {"total": history.total, "payable": history.is_payable}
    sums: dict[str, Any] = {"came": tuple(came), "went": tuple(went), "waived": history.waived}
    return Evidence(currency="usd", **order, **sums)


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_the_balance_is_what_the_oracle_works_out_whatever_the_order_of_rows(history, random):
    found, sums = balance_of(history), work_out(evidence_of(history))

    names = ("status", "received", "owed", "outstanding", "excess", "uncounted", "may_release")
    assert {name: getattr(found, name) for name in names} == {
        name: getattr(sums, name) for name in names
    }
    assert (found.paid, found.paid_asking) == (sums.covered_by, sums.there)
    assert REFUSALS[found.refusal] == sums.refusal
    rows = [*history.payments, *history.outflows]
    shuffled = seen(history.total, *random.sample(rows, len(rows)), waived=history.waived)
    assert balance_of(replace(shuffled, is_payable=history.is_payable)) == found
    assert all(0 < amount <= found.refundable[name] for name, amount in found.excess.items())
