"""The balance of an order: pure functions over observations.

No conclusion is stored. The rows keep observations (what Stripe says, and what the order cost at
that time). Status, outstanding amount and excess are derived from them each time something changes.
See docs/adr/0014-the-balance.md for the reasons and three worked examples.

Note [Two views]
~~~~~~~~~~~~~~~~
Money on its way out (a pending refund, an open dispute) may still come back. So each sum exists
twice. The *asking* view includes such money: the customer is not asked for it again. The *coverage*
view leaves it out: an order is not covered by money that may be gone.

Note [Giving back]
~~~~~~~~~~~~~~~~~~
Money that goes out either undoes a payment or pays for returned goods. The order owes it again only
if it undoes a payment. The order's state when the money went out decides which it is:

* If the payment did not count, or staff said "correction", it undoes a payment.
* If staff said "goods", it pays for goods.
* If the order was not covered at that time, it undoes a payment.
* Otherwise the excess is returned first, and the rest pays for goods.

No more can leave a payment than came with it. If the same money is returned twice (settled in cash
and refunded in Stripe's dashboard, or refunded and then lost to the bank), the shop has lost it.
The customer never owes more than the order costs.

Note [Within one second]
~~~~~~~~~~~~~~~~~~~~~~~~
Stripe gives times in whole seconds. Within one second, payments are sorted by the times when their
intents were created here. An outflow comes after the payments whose intents existed when it was
first seen here, because an intent created later cannot have been paid before. The last criterion is
the id.

All amounts are integer minor units of one currency, the order's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shop_payments.lifecycle import IntentStatus, PaymentStatus, holds_money

Moment = tuple[datetime, datetime]
"""A second of Stripe's time, and a time of our clock to sort within it."""


class OutflowKind(StrEnum):
    """The ways in which money leaves a payment."""

    REFUND = "refund"
    DISPUTE = "dispute"
    SETTLEMENT = "settlement"
    """Settled outside Stripe by staff."""


class OutflowProgress(StrEnum):
    """The progress of money that leaves a payment."""

    UNDER_WAY = "under_way"
    FINAL = "final"
    RETURNED = "returned"
    """It came back, or never left, so it does not count."""


@dataclass(frozen=True, kw_only=True)
class Payment:
    """The data of a payment intent that the balance needs."""

    id: str
    status: str
    at: datetime
    """Stripe's time of the charge."""

    begun_at: datetime | None = None
    """When the payment intent was created here, by our clock."""

    received: int = 0
    counts: bool = False
    """It succeeded, its currency and mode are the order's, and the shop wanted it."""

    total_seen: int | None = None
    """The order's total when the success was first seen."""

    @property
    def holds_money(self) -> bool:
        """Whether the money was received, and stays until it is refunded."""
        return holds_money(self.status, self.received)

    @property
    def moment(self) -> Moment:
        """The key to sort by. See Note [Within one second]."""
        return self.at.replace(microsecond=0), self.begun_at or self.at


@dataclass(frozen=True, kw_only=True)
class Outflow:
    """A refund, a dispute or a settlement outside Stripe."""

    id: str
    payment_id: str
    at: datetime
    """Stripe's time, if Stripe has one."""

    seen_at: datetime | None = None
    """When it was first seen here, by our clock."""

    amount: int
    kind: OutflowKind
    progress: OutflowProgress
    total_seen: int | None = None
    """The order's total when this was first seen; None if the payment did not count then."""

    waived_seen: int = 0
    """The waived amount at that time."""

    as_goods: bool | None = None
    """True: for returned goods. False: undoes a payment. None: not specified."""

    def is_in(self, view: View) -> bool:
        """Whether this money is gone in ``view``. See Note [Two views]."""
        if self.progress == OutflowProgress.FINAL:
            return True
        return view == View.COVERAGE and self.progress == OutflowProgress.UNDER_WAY


class View(StrEnum):
    """Which money counts as gone. See Note [Two views]."""

    ASKING = "asking"
    COVERAGE = "coverage"


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Everything from which an order's balance is derived."""

    total: int
    """What the order costs in all."""

    is_payable: bool
    """Whether the shop still wants money for it."""

    payments: Sequence[Payment] = ()
    outflows: Sequence[Outflow] = ()
    waived: int = 0
    """The waivers in force."""

    has_unknown: bool = False
    """Whether staff are asked about a payment of the order that has no row here."""


@dataclass(kw_only=True)
class Fold:
    """The sums of one view, in Stripe's time."""

    paid: int = 0
    """Counted money, less the part that undoes payments."""

    goods: int = 0
    """Money returned for goods."""

    highest_total: int = 0
    """The highest total at a time when money was returned for goods."""

    lost: int = 0
    """Money lost in disputes of a covered order. The customer is not asked for it again."""

    undone: dict[str, int] = field(default_factory=dict)
    """By outflow: the part that undoes a payment."""

    left: dict[str, int] = field(default_factory=dict)
    """By payment: the money that has not left it."""

    paid_before: dict[str, int] = field(default_factory=dict)
    """By payment: the sum paid before it."""

    def base(self, total: int) -> int:
        """Return the money that is not excess at ``total``: returned goods absorb a lower total."""
        return max(total, min(self.highest_total, total + self.goods))


def fold(seen: Observations, view: View) -> Fold:
    """Add up payments and outflows in the order in which they happened.

    An outflow never comes before its payment, even if the clocks differ.
    """
    counted = {payment.id: payment for payment in seen.payments if payment.counts}
    happened: list[tuple[tuple[Moment, bool, str], Payment | Outflow]] = [
        ((payment.moment, False, payment.id), payment) for payment in counted.values()
    ]
    for outflow in seen.outflows:
        payment = counted.get(outflow.payment_id)
        if payment is not None and outflow.is_in(view):
            moment = _moment_of_outflow(outflow, counted.values())
            happened.append(((max(moment, payment.moment), True, outflow.id), outflow))
    sums = Fold()
    for _key, each in sorted(happened, key=lambda item: item[0]):
        if isinstance(each, Payment):
            sums.paid_before[each.id] = sums.paid
            sums.paid += each.received
            sums.left[each.id] = each.received
        else:
            _take_out(sums, each)
    return sums


def _moment_of_outflow(outflow: Outflow, payments: Iterable[Payment]) -> Moment:
    """Return the sort key of an outflow: in its second, after the payments begun by then."""
    second = outflow.at.replace(microsecond=0)
    begun = [payment.moment[1] for payment in payments]
    if outflow.seen_at is not None:
        begun = [moment for moment in begun if moment <= outflow.seen_at]
    return second, max(begun, default=second)


def _take_out(sums: Fold, outflow: Outflow) -> None:
    gone = min(outflow.amount, sums.left[outflow.payment_id])  # see Note [Giving back]
    sums.left[outflow.payment_id] -= gone
    undone = _undone_part(sums, outflow, gone)
    rest = gone - undone
    sums.undone[outflow.id] = outflow.amount - rest  # also what exceeds the payment
    sums.paid -= undone
    if not rest:
        return
    if outflow.kind == OutflowKind.DISPUTE:
        sums.lost += rest
    else:
        sums.goods += rest
        sums.highest_total = max(sums.highest_total, outflow.total_seen or 0)


def _undone_part(sums: Fold, outflow: Outflow, gone: int) -> int:
    """Return the part of an outflow that undoes a payment. See Note [Giving back]."""
    if outflow.total_seen is None or outflow.as_goods is False:
        return gone
    if outflow.as_goods:
        return 0
    was_covered = outflow.total_seen - outflow.waived_seen <= sums.paid
    if not was_covered:
        return gone
    excess = max(0, sums.paid - sums.lost - sums.base(outflow.total_seen))
    return min(gone, excess)


class Refusal(StrEnum):
    """The reasons why a customer is not asked for money now."""

    REFUND_PENDING = "refund_pending"
    DISPUTE_OPEN = "dispute_open"
    UNKNOWN_INTENT = "unknown_intent"
    FREE = "free"
    REFUNDED = "refunded"
    PAID = "paid"
    NOT_PAYABLE = "not_payable"
    UNCOUNTED = "uncounted"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The balance of an order, in minor units of its currency."""

    status: PaymentStatus
    total: int
    is_payable: bool
    received: int
    """All counted money, even if it was returned."""

    paid: int
    """Counted money that is still there, in the coverage view."""

    paid_asking: int
    """The same in the asking view."""

    goods: int
    """Money returned for goods (asking view: only if final)."""

    lost: int
    """Money of a covered order that disputes have taken or withhold."""

    waived: int
    owed: int
    """The missing amount, even if the shop wants no more money."""

    outstanding: int
    """The most that the customer may be asked for."""

    unasked: int
    """The outstanding amount if the shop still wanted money."""

    excess: Mapping[str, int]
    """By payment, newest first: counted money beyond what the order costs."""

    uncounted: Mapping[str, int]
    """By payment: received money that does not count and is still there."""

    refundable: Mapping[str, int]
    """By payment that holds money: the amount that may still be refunded."""

    undone: Mapping[str, int]
    """By outflow (asking view): the part that does not pay for goods."""

    paid_before: Mapping[str, int]
    """By counted payment: the sum paid before it."""

    on_its_way_out: Refusal | None
    """The reason why the two views differ, if they do."""

    has_unknown: bool
    """Whether the order may have a payment without a row here. Then it asks for no money."""

    open_status: PaymentStatus | None
    """``pending`` or ``authorized`` while money is on its way in."""

    @property
    def is_covered(self) -> bool:
        """Whether money was received and nothing is missing."""
        return self.paid > 0 and self.owed == 0

    @property
    def may_release(self) -> bool:
        """Whether goods may go out: nothing is missing, not even money that banks hold or took.

        An order that was refunded in full is not released again.
        """
        is_there = self.paid - self.lost >= self.total - self.waived
        return self.owed == 0 and is_there and self.status != PaymentStatus.REFUNDED

    @property
    def waivable(self) -> int:
        """The most that staff may waive: what is owed, apart from money on its way out.

        Such money may come back. Waived as well, it would cover a later higher total.
        """
        return min(self.owed, self.unasked)

    @property
    def askable(self) -> int:
        """The most that an open payment intent may ask for."""
        return 0 if self.has_unknown else self.outstanding

    @property
    def refusal(self) -> Refusal | None:
        """The first reason why the customer is not asked for ``outstanding``; None if they are."""
        if self.unasked == 0 and self.owed > 0:
            return self.on_its_way_out  # only money that may come back is missing
        if self.unasked == 0:
            return self._nothing_missing()
        if not self.is_payable:
            return Refusal.NOT_PAYABLE
        if self.has_unknown:
            return Refusal.UNKNOWN_INTENT
        if self.uncounted:
            return Refusal.UNCOUNTED
        if self.open_status == PaymentStatus.PENDING:
            return Refusal.PROCESSING
        if self.open_status == PaymentStatus.AUTHORIZED:
            return Refusal.AUTHORIZED
        return self.on_its_way_out

    def _nothing_missing(self) -> Refusal:
        if self.total == 0 and self.paid_asking == 0:
            return Refusal.FREE
        return Refusal.REFUNDED if self.status == PaymentStatus.REFUNDED else Refusal.PAID


def balance_of(seen: Observations) -> Balance:
    """Compute an order's balance from its observations."""
    # Coverage leaves out money on its way out, so its sums are the lower ones.
    low, high = fold(seen, View.COVERAGE), fold(seen, View.ASKING)
    wanted = seen.total - seen.waived
    owed, unasked = max(0, wanted - low.paid), max(0, wanted - high.paid)
    refundable = _refundable(seen)
    excess = max(0, low.paid - low.lost - low.base(seen.total))
    counted = [payment for payment in seen.payments if payment.counts]
    open_status = _open_status(seen.payments)
    return Balance(
        status=_status(low, high, owed=owed, excess=excess, open_status=open_status),
        total=seen.total,
        is_payable=seen.is_payable,
        received=sum(payment.received for payment in counted),
        paid=low.paid,
        paid_asking=high.paid,
        goods=high.goods,
        lost=low.lost,
        waived=seen.waived,
        owed=owed,
        outstanding=unasked if seen.is_payable else 0,
        unasked=unasked,
        excess=_attribute(excess, newest_first(counted), refundable),
        uncounted={
            payment.id: refundable[payment.id]
            for payment in seen.payments
            if payment.holds_money and not payment.counts and refundable[payment.id]
        },
        refundable=refundable,
        undone=high.undone,
        paid_before=low.paid_before,
        on_its_way_out=_on_its_way_out(seen.outflows, low, high),
        has_unknown=seen.has_unknown,
        open_status=open_status,
    )


def newest_first(payments: Iterable[Payment]) -> list[Payment]:
    """Sort payments by Stripe's time of the charge, newest first."""
    return sorted(payments, key=lambda payment: (payment.moment, payment.id), reverse=True)


def _refundable(seen: Observations) -> dict[str, int]:
    left = {payment.id: payment.received for payment in seen.payments if payment.holds_money}
    for outflow in seen.outflows:
        # In the coverage view, so that money on its way out is not refunded a second time.
        if outflow.payment_id in left and outflow.is_in(View.COVERAGE):
            left[outflow.payment_id] -= outflow.amount
    return {payment_id: max(0, amount) for payment_id, amount in left.items()}


def _attribute(
    excess: int, payments: Iterable[Payment], refundable: Mapping[str, int]
) -> dict[str, int]:
    """Divide the excess among the payments, up to the amount that each can still refund."""
    shares: dict[str, int] = {}
    for payment in payments:
        share = min(excess, refundable[payment.id])
        if share:
            shares[payment.id] = share
            excess -= share
    return shares


def _open_status(payments: Iterable[Payment]) -> PaymentStatus | None:
    statuses = {payment.status for payment in payments}
    if IntentStatus.REQUIRES_CAPTURE in statuses:
        return PaymentStatus.AUTHORIZED
    return PaymentStatus.PENDING if IntentStatus.PROCESSING in statuses else None


def _status(
    low: Fold, high: Fold, *, owed: int, excess: int, open_status: PaymentStatus | None
) -> PaymentStatus:
    if low.paid > 0 and owed == 0:
        if high.goods == 0:
            return PaymentStatus.PAID
        is_all_back = high.goods >= high.paid - excess
        return PaymentStatus.REFUNDED if is_all_back else PaymentStatus.PARTIALLY_REFUNDED
    if open_status is not None:
        return open_status
    # Goods for all that was paid have come back, so nothing is paid any more.
    return PaymentStatus.PARTIALLY_PAID if low.paid > low.goods else PaymentStatus.UNPAID


def _on_its_way_out(outflows: Iterable[Outflow], low: Fold, high: Fold) -> Refusal | None:
    if low.paid == high.paid:
        return None
    is_disputed = any(
        outflow.kind == OutflowKind.DISPUTE
        and outflow.progress == OutflowProgress.UNDER_WAY
        and low.undone.get(outflow.id)
        for outflow in outflows
    )
    return Refusal.DISPUTE_OPEN if is_disputed else Refusal.REFUND_PENDING
