"""What an order's payments amount to, worked out a second time.

The tests compare the app with this. It shares no code with it, and is fed from rows: what Stripe
has said of its objects, and what the app noted when it first saw them (whether the shop wanted the
money, what the order cost then, what staff have entered). Plain Python; amounts are minor units.

An order's movements are walked through in Stripe's time, twice: once with the money that is on its
way out taken out already (``CAREFUL``: is the order covered?), and once with it still in
(``LENIENT``: may the customer be asked?).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Row = Mapping[str, Any]
"""A row's columns by name."""

Moment = tuple[int, float]
"""Stripe's second, and when it was begun here: what others did within that second comes last."""

_BACK_WITH_THE_SHOP = {"failed", "canceled", "refused"}
_HARMLESS_DISPUTES = {"warning_needs_response", "warning_under_review", "warning_closed"}
_DISPUTES_OVER = {"won", "prevented"} | _HARMLESS_DISPUTES


@dataclass(frozen=True, kw_only=True)
class Came:
    """A payment intent."""

    id: str
    when: Moment
    status: str
    money: int
    currency: str
    livemode: bool
    wanted: bool
    first_total: int | None = None  # what the order cost when the money was first seen
    first_waived: int = 0  # what was waived then


@dataclass(frozen=True, kw_only=True)
class Went:
    """Money that has left an intent, or is about to."""

    id: str
    of: str
    when: Moment
    money: int
    kind: Literal["refund", "dispute", "settlement"]
    is_gone: bool  # otherwise it is on its way
    first_total: int | None  # when this was first seen; None where its intent did not count
    first_waived: int = 0
    said: str = ""  # ``goods`` or ``correction``, where somebody said so


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of an order's money."""

    total: int
    currency: str
    payable: bool
    came: tuple[Came, ...]
    went: tuple[Went, ...] = ()
    waived: int = 0
    livemode: bool = False


@dataclass
class _Till:
    """What is in the till while the movements are walked through."""

    money: int = 0
    goods: int = 0
    top: int = 0
    lost: int = 0
    undone: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)  # by intent: nothing leaves it twice

    def may_keep(self, total: int) -> int:
        """What the shop may keep; returned goods make up for a total that was lowered later."""
        return max(total, min(self.top, total + self.goods))

    def put_in(self, came: Came) -> None:
        self.before[came.id] = self.money
        self.money += came.money
        self.left[came.id] = came.money

    def take_out(self, went: Went) -> None:
        money = min(went.money, self.left[went.of])
        self.left[went.of] -= money
        undone = self._undone(went, money)
        kept = money - undone
        self.undone[went.id] = went.money - kept
        self.money -= undone
        if kept > 0 and went.kind == "dispute":
            self.lost += kept
        elif kept > 0:
            self.goods += kept
            self.top = max(self.top, went.first_total or 0)

    def _undone(self, went: Went, money: int) -> int:
        """How much of it takes a payment back; the rest is for goods."""
        if went.first_total is None or went.said == "correction" or went.kind == "settlement":
            return money
        if went.said == "goods":
            return 0
        if self.money < went.first_total - went.first_waived:
            return money
        too_much = self.money - self.lost - self.may_keep(went.first_total)
        return max(0, min(money, too_much))


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What it amounts to."""

    status: str
    received: int
    refunded: int
    lost: int
    waived: int
    owed: int
    outstanding: int
    excess: dict[str, int]  # by intent, as are the other dicts
    uncounted: dict[str, int]
    counted: frozenset[str]  # the intents whose money counts
    there: int  # counted money that is there, where money on its way out counts as there
    covered_by: int  # the same, where it does not
    may_release: bool  # nothing is missing, also after what banks hold or took
    waived_and_received: dict[str, int]  # money that came although it had been waived
    asks: int  # what call 1 asks for at most; 0 where it is refused
    refusal: tuple[str, str] | None  # the code and reason of its refusal; None where it asks

    def columns(self) -> dict[str, Any]:
        """What the row of the order's payment has to say."""
        return {
            "status": self.status,
            "amount_received": self.received,
            "amount_refunded": self.refunded,
            "amount_lost": self.lost,
            "amount_waived": self.waived,
            "amount_owed": self.owed,
            "amount_outstanding": self.outstanding,
            "amount_excess": sum(self.excess.values()),
            "amount_uncounted": sum(self.uncounted.values()),
        }


def work_out(known: Evidence) -> Sums:
    """Say what an order's payments amount to."""
    arrived = [
        each
        for each in known.came
        if each.status == "succeeded" or (each.status == "canceled" and each.money)
    ]
    counted = {
        each.id: each
        for each in arrived
        if each.status == "succeeded"
        and each.wanted
        and (each.currency, each.livemode) == (known.currency, known.livemode)
    }
    careful, lenient = _walk(known, counted, all_of_it=True), _walk(known, counted, all_of_it=False)
    price = known.total - known.waived
    owed, unasked = max(0, price - careful.money), max(0, price - lenient.money)
    left = {
        each.id: max(0, each.money - sum(out.money for out in known.went if out.of == each.id))
        for each in arrived
    }
    too_much = max(0, careful.money - careful.lost - careful.may_keep(known.total))
    under_way = {each.status for each in known.came} & {"requires_capture", "processing"}
    status = _status(careful, lenient, owed, too_much, under_way)
    uncounted = {pk: money for pk, money in left.items() if pk not in counted and money}
    refusal = _refusal(known, careful, lenient, owed, unasked, status, bool(uncounted), under_way)
    gone = [each for each in known.went if each.is_gone and each.of in counted]
    return Sums(
        status=status,
        received=sum(each.money for each in counted.values()),
        refunded=sum(each.money for each in gone if each.kind == "refund"),
        lost=sum(each.money for each in gone if each.kind == "dispute"),
        waived=known.waived,
        owed=owed,
        outstanding=unasked if known.payable else 0,
        excess=_share(too_much, counted, left),
        uncounted=uncounted,
        counted=frozenset(counted),
        there=lenient.money,
        covered_by=careful.money,
        may_release=not owed and careful.money - careful.lost >= price and status != "refunded",
        waived_and_received=_waived_and_received(known, counted, careful, left),
        asks=0 if refusal else unasked,
        refusal=refusal,
    )


def _walk(known: Evidence, counted: Mapping[str, Came], *, all_of_it: bool) -> _Till:
    """``all_of_it``: with what is only on its way out, too."""
    till = _Till()
    steps: list[tuple[Moment, int, str, Came | Went]] = [
        (each.when, 0, each.id, each) for each in counted.values()
    ]
    for out in known.went:
        if out.of in counted and (out.is_gone or all_of_it):
            steps.append((max(out.when, counted[out.of].when), 1, out.id, out))
    for _when, _direction, _id, each in sorted(steps, key=lambda step: step[:3]):
        if isinstance(each, Came):
            till.put_in(each)
        else:
            till.take_out(each)
    return till


def _status(
    careful: _Till, lenient: _Till, owed: int, too_much: int, under_way: Iterable[str]
) -> str:
    if careful.money and not owed:
        if not lenient.goods:
            return "paid"
        return "refunded" if lenient.goods + too_much >= lenient.money else "partially_refunded"
    if "requires_capture" in under_way:
        return "authorized"
    if "processing" in under_way:
        return "pending"
    return "partially_paid" if careful.money - careful.goods > 0 else "unpaid"


def _share(amount: int, counted: Mapping[str, Came], left: Mapping[str, int]) -> dict[str, int]:
    """Blame the newest payments first, each for no more than can still go back of it."""
    shares = {}
    for each in sorted(counted.values(), key=lambda came: (came.when, came.id))[::-1]:
        share = min(amount, left[each.id])
        amount -= share
        if share:
            shares[each.id] = share
    return shares


def _waived_and_received(
    known: Evidence, counted: Mapping[str, Came], careful: _Till, left: Mapping[str, int]
) -> dict[str, int]:
    found = {}
    for each in counted.values():
        before, total = careful.before[each.id], each.first_total
        waived = min(known.waived, each.first_waived)
        had_been_waived = total is not None and before < total <= before + waived
        if had_been_waived and left[each.id]:
            found[each.id] = each.money
    return found


def _refusal(
    known: Evidence,
    careful: _Till,
    lenient: _Till,
    owed: int,
    unasked: int,
    status: str,
    has_uncounted: bool,
    under_way: Iterable[str],
) -> tuple[str, str] | None:
    disputed = [each for each in known.went if each.kind == "dispute" and not each.is_gone]
    held = any(careful.undone.get(each.id) for each in disputed)
    leaving = ("payment_in_review", "dispute_open" if held else "refund_pending")
    if unasked == 0 and owed:
        return leaving
    if unasked == 0:
        if known.total == 0 and lenient.money == 0:
            return "order_not_payable", "free"
        return ("order_not_payable", status) if status == "refunded" else ("order_already_paid", "")
    if not known.payable:
        return "order_not_payable", ""
    if has_uncounted:
        return "payment_in_review", ""
    if "requires_capture" in under_way:
        return "payment_authorized", ""
    if "processing" in under_way:
        return "payment_processing", ""
    return None if careful.money == lenient.money else leaving


# --- evidence -------------------------------------------------------------------------------------


def moment(stripe: datetime, begun: datetime | None = None) -> Moment:
    """Say when something happened: by Stripe's clock, and when it was begun here."""
    return int(stripe.timestamp()), begun.timestamp() if begun else math.inf


def intent_by_row(row: Row) -> Came:
    """A payment intent as we know it."""
    return Came(
        id=row["stripe_id"],
        when=moment(row["charged_at"] or row["stripe_created_at"], row["created_at"]),
        status=row["status"],
        money=row["amount_received"],
        currency=row["currency"],
        livemode=row["livemode"],
        wanted=row["wanted"],
        first_total=row["total_seen"],
        first_waived=row["waived_seen"],
    )


def refund_by_row(row: Row, *, of: str) -> Went | None:
    """A refund as we know it; None where its money is with the shop."""
    if row["status"] in _BACK_WITH_THE_SHOP:
        return None
    begun = row["created_at"] if row["attempt_id"] else None
    return Went(
        id=row["stripe_id"] or str(row["pk"]),
        of=of,
        when=moment(row["stripe_created_at"] or row["created_at"], begun),
        money=row["amount"],
        kind="refund",
        is_gone=row["status"] == "succeeded",
        first_total=row["total_seen"],
        first_waived=row["waived_seen"],
        said=row["kind"],
    )


def dispute_by_row(row: Row, *, of: str) -> Went | None:
    """A dispute as we know it; None where the bank holds nothing."""
    if row["status"] in _DISPUTES_OVER:
        return None
    return Went(
        id=row["stripe_id"],
        of=of,
        when=moment(row["stripe_created_at"]),
        money=row["amount"],
        kind="dispute",
        is_gone=row["status"] == "lost",
        first_total=row["total_seen"],
        first_waived=row["waived_seen"],
    )


def settlement_by_row(row: Row, *, of: str) -> Went | None:
    """Money that staff have settled outside Stripe; None where that was revoked."""
    if row["revoked_at"] is not None:
        return None
    return Went(
        id=f"settlement {row['pk']}",
        of=of,
        when=moment(row["created_at"], row["created_at"]),
        money=row["amount"],
        kind="settlement",
        is_gone=True,
        first_total=row["total_seen"],
    )


def waived_by_row(row: Row, *, intent: Came | None, capture: Row | None) -> int:
    """What an entry waives; one that was made with a capture counts if that was done so."""
    if row["revoked_at"] is not None:
        return 0
    money: int = row["amount"]
    if capture is None:
        return money
    assert intent is not None
    was_done = (
        intent.status == "succeeded"
        and intent.money == capture["params"].get("amount_to_capture")
        and capture["outcome"] != "failed"
    )
    return money if was_done else 0
