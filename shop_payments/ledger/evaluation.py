"""Derive what an order's payments amount to, and what follows from it.

Note [Evaluation]
~~~~~~~~~~~~~~~~~
An evaluation reads the order (total, currency, payability: nothing else), notes what can be noted
only now (the shop wants this money), folds the rows (``balance.py``), and stores what comes out. It
runs under the payment's lock, at the end of each transaction in which money has moved.

An order that cannot be read is evaluated later: what Stripe said is stored, nothing is derived,
``failed_reads`` counts, and the operation is tried again (Stripe's redelivery, the next call, the
sweep). After three failed tries staff are asked to look.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from shop_payments.balance import Balance, View, newest_first
from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError, OrderUnreadable
from shop_payments.ledger.descriptions import (
    LOST_TO_THE_BANK,
    WAIT_FOR_THE_BANK,
    describe_excess,
    describe_received,
    describe_rest,
    describe_uncounted,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.observations import (
    counted_money,
    fits,
    is_live_under_test_key,
    observe,
    refund_key,
    waived_by,
)
from shop_payments.ledger.payments import LockedPayment, leading_intent, reopened
from shop_payments.lifecycle import (
    UPDATABLE_STATUSES,
    DisputeState,
    PaymentStatus,
    RefundStatus,
    gravest_dispute,
)
from shop_payments.models import Dispute, FactKind, OrderPayment, PaymentIntent, Refund, ReviewItem
from shop_payments.models.review import SUGGESTIONS
from shop_payments.money import Money, display_amount, minimum_charge
from shop_payments.orders import OrderTerms, find_order, read_terms

logger = logging.getLogger("shop_payments")

TRIES_BEFORE_REVIEW = 3
"""Failed tries to read an order after which staff are asked to look."""

_Reason = ReviewItem.Reason

_BALANCE_REASONS = frozenset(
    {
        _Reason.EXCESS,
        _Reason.UNCOUNTED,
        _Reason.REST_OWED,
        _Reason.REST_TOO_SMALL,
        _Reason.WAIVED_RECEIVED,
        _Reason.ORDER_UNREADABLE,
    }
)
"""The review items that follow from the balance, and close with their cause."""


def evaluate(
    locked: LockedPayment, *, origin: Origin, terms: OrderTerms | None = None
) -> Balance | None:
    """Evaluate an order under its payment's lock; None where it could not be read.

    ``terms`` is what the caller has read of the order under the lock; without it the order is read
    here. Why it could not be read is ``locked.order_error``.

    Raises:
        ConfigurationError: it was paid in live mode, and the key in use is a test key. Nothing
            is written.
        DatabaseError: the database failed.
    """
    _refuse_other_mode(locked)
    try:
        _record_terms(locked, terms or _read(locked))
    except OrderUnreadable as error:
        _record_failed_read(locked, error, origin)
        return None
    locked.payment.failed_reads = 0
    balance = derive(locked)
    received = _record_received(locked, balance, origin)
    _record_paid(locked, balance, received, origin)
    _record_refunds(locked, balance, origin)
    sync_review(locked, _wanted_items(locked, balance), origin)
    locked.needs_follow_up = is_follow_up_needed(locked, balance)
    return balance


def is_as_seen(payment: OrderPayment, terms: OrderTerms) -> bool:
    """Tell whether the order is as it was when it was last evaluated."""
    seen = (payment.total, payment.currency, payment.is_payable)
    now = (terms.total.amount, terms.total.currency, terms.is_payable)
    return seen == now and not payment.failed_reads


def terms_last_seen(payment: OrderPayment) -> OrderTerms:
    """Return what the order was like when it was last read."""
    total = Money(payment.total or 0, payment.currency)
    return OrderTerms(total=total, is_payable=payment.is_payable)


def record_outflow(locked: LockedPayment, row: Refund | Dispute, intent: PaymentIntent) -> None:
    """Note on a new refund or dispute of ``intent`` what the order costs at this time.

    What an outflow means follows from the order as it was then. A refund is never held up by an
    order that cannot be read: the total and the payability that were last seen count.
    """
    try:
        _record_terms(locked, _read(locked))
    except OrderUnreadable as error:
        logger.warning("%s is written without reading its order: %s", row, error)
    is_wanted = intent.wanted or locked.payment.is_payable
    if is_wanted and fits(locked.payment, intent):
        row.total_seen = locked.payment.total
        row.waived_seen = locked.balance().waived


def derive(locked: LockedPayment) -> Balance:
    """Compute the balance from the rows, and store what lists and filters show of it.

    Raises:
        ConfigurationError: the order was paid in live mode, and the key in use is a test key.
    """
    _refuse_other_mode(locked)
    payment, balance = locked.payment, locked.balance()
    for name, value in derived_values(locked, balance).items():
        setattr(payment, name, value)
    return balance


def derived_values(locked: LockedPayment, balance: Balance) -> dict[str, Any]:
    """Return the payment's fields that follow from its rows."""
    money = counted_money(locked.rows)
    return {
        "status": balance.status,
        "dispute_state": gravest_dispute(row.status for row in locked.disputes),
        "amount_received": balance.received,
        "amount_refunded": sum(each.refunded for each in money),
        "amount_lost": sum(each.lost for each in money),
        "amount_waived": balance.waived,
        "amount_owed": balance.owed,
        "amount_outstanding": balance.outstanding,
        "amount_excess": sum(balance.excess.values()),
        "amount_uncounted": sum(balance.uncounted.values()),
    }


# --- reading the order --------------------------------------------------------------------------


def _refuse_other_mode(locked: LockedPayment) -> None:
    # Test money under a live key is stored, and does not count.
    if is_live_under_test_key(locked.intents):
        raise ConfigurationError(
            "This order has a payment in live mode, "
            "but SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a test key"
        )


def _read(locked: LockedPayment) -> OrderTerms:
    """Read the order, once in a transaction."""
    if locked.order_error is not None:
        raise locked.order_error
    if locked.terms is None:
        try:
            order = find_order(locked.payment.order_id)
            locked.payment.order = order  # the receivers get it too
            locked.terms = read_terms(order)
        except OrderUnreadable as error:
            locked.order_error = error
            raise
    return locked.terms


def _record_terms(locked: LockedPayment, terms: OrderTerms) -> None:
    """Note what the order costs and which money it wants.

    Raises:
        OrderUnreadable: in another currency than that of the money which counts.
    """
    payment, currency = locked.payment, terms.total.currency
    if currency != payment.currency and any(locked.counts(row) for row in locked.intents):
        raise OrderUnreadable(
            payment.order_id,
            "total",
            f"returned {currency.upper()}, and the order was paid in {payment.currency.upper()}",
            reason="currency_changed",
        )
    payment.total, payment.currency = terms.total.amount, currency
    payment.is_payable = terms.is_payable
    payment.order_seen_at = timezone.now()
    _record_wanted(locked)


def _record_failed_read(locked: LockedPayment, error: OrderUnreadable, origin: Origin) -> None:
    if locked.has_counted_failure:
        return  # once in a unit of work
    locked.order_error, locked.has_counted_failure = error, True
    payment = locked.payment
    payment.failed_reads += 1
    leading = leading_intent(locked.intents)
    if payment.failed_reads >= TRIES_BEFORE_REVIEW:
        wish = WantedItem(leading, _Reason.ORDER_UNREADABLE, str(error))
        sync_review(locked, [wish], origin, only={_Reason.ORDER_UNREADABLE})


def _record_wanted(locked: LockedPayment) -> None:
    payment = locked.payment
    for row in locked.intents:
        if not row.has_succeeded:
            continue
        if row.total_seen is None:
            row.total_seen = payment.total
            row.waived_seen = waived_by(locked.intents, locked.entries)
            locked.save_later(row)
        if payment.is_payable and not row.wanted:
            row.wanted = True
            locked.save_later(row)


# --- facts --------------------------------------------------------------------------------------


def _record_received(
    locked: LockedPayment, balance: Balance, origin: Origin
) -> list[PaymentIntent]:
    """Record the money that counts from now on; return its intents, oldest charge first."""
    new = [row for row in locked.intents if locked.counts(row) and not row.received_recorded]
    order = {each.id: at for at, each in enumerate(newest_first(observe(locked.rows).payments))}
    new.sort(key=lambda row: order[row.stripe_id], reverse=True)
    for row in new:
        row.received_recorded = True
        locked.save_later(row)
        figures = {
            "detail": describe_received(row),
            "amount": row.amount_received,
            "outstanding": balance.outstanding,
            "currency": row.currency,
        }
        locked.add_facts(row, [(FactKind.PAYMENT_RECEIVED, figures)], origin=origin)
    return new


_SETTLED = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED)


def _record_paid(
    locked: LockedPayment, balance: Balance, received: list[PaymentIntent], origin: Origin
) -> None:
    payment = locked.payment
    if balance.is_covered and payment.paid_at is None:
        newest = received[-1] if received else None
        payment.paid_at = (newest.charged_at if newest else None) or timezone.now()
    if payment.paid_recorded or not payment.is_payable or balance.status not in _SETTLED:
        return
    payment.paid_recorded = True
    row = _covering_intent(locked, balance, received)
    figures = {
        "detail": describe_received(row),
        "amount": balance.paid,
        "amount_received": row.amount_received,
        "total": balance.total,
        "currency": row.currency,
    }
    locked.add_facts(row, [(FactKind.ORDER_PAID, figures)], origin=origin)


def _covering_intent(
    locked: LockedPayment, balance: Balance, received: list[PaymentIntent]
) -> PaymentIntent:
    """Return the intent that covered the order: of new money the first that suffices.

    After a waiver or a lower total it is the newest one that counts.
    """
    wanted = balance.total - balance.waived
    for row in received:
        if balance.paid_before[row.stripe_id] + row.amount_received >= wanted:
            return row
    return newest_counted_first(locked)[0]


def newest_counted_first(locked: LockedPayment) -> list[PaymentIntent]:
    """Return the intents whose money counts, the newest charge first."""
    by_id = {row.stripe_id: row for row in locked.intents}
    payments = newest_first(observe(locked.rows).payments)
    return [by_id[each.id] for each in payments if each.counts]


def _record_refunds(locked: LockedPayment, balance: Balance, origin: Origin) -> None:
    intents = {row.pk: row for row in locked.intents}
    for refund in locked.refunds:
        row = intents[refund.payment_intent_id]
        is_new = refund.status == RefundStatus.SUCCEEDED and not refund.refund_recorded
        if not is_new or not locked.counts(row):
            continue
        refund.refund_recorded = True
        locked.save_later(refund)
        goods = refund.amount - balance.undone[refund_key(refund)]
        figures = {
            "detail": f"{refund.amount_display} returned by {refund.stripe_id}",
            "refund_id": str(refund.pk),
            "stripe_refund_id": refund.stripe_id,
            "amount": refund.amount,
            "goods": goods,
            "currency": refund.currency,
            "status": refund.status,
            "refund_reason": refund.reason,
        }
        locked.add_facts(row, [(FactKind.ORDER_REFUNDED, figures)], origin=origin)


# --- review -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WantedItem:
    """A review item that should be open; ``row`` is None where the intent is not known here."""

    row: PaymentIntent | None
    reason: ReviewItem.Reason
    detail: str
    suggestion: str = ""
    subject: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int | None, str, str]:
        """What there is one item for."""
        return (None if self.row is None else self.row.pk, str(self.reason), self.subject)


def _wanted_items(locked: LockedPayment, balance: Balance) -> list[WantedItem]:
    """Return what staff have to look at, as the balance stands."""
    by_id = {row.stripe_id: row for row in locked.intents}
    payment = locked.payment
    currency = payment.currency
    wishes: list[WantedItem] = []
    for stripe_id, amount in balance.excess.items():
        row = by_id[stripe_id]
        words = describe_excess(row, amount, balance, payment)
        wishes.append(_wish_for_money(locked, row, _Reason.EXCESS, words, amount))
    for stripe_id, amount in balance.uncounted.items():
        row = by_id[stripe_id]
        words = describe_uncounted(row, amount, payment)
        wishes.append(_wish_for_money(locked, row, _Reason.UNCOUNTED, words, amount))
    counted = newest_counted_first(locked)
    if counted and balance.paid > 0 and balance.owed > 0:
        row = counted[0]
        figures = {"amount": balance.owed, "currency": currency}
        if not balance.is_payable and balance.status == PaymentStatus.PARTIALLY_PAID:
            detail = describe_rest(balance, currency)
            wishes.append(WantedItem(row, _Reason.REST_OWED, detail, figures=figures))
        elif balance.refusal is None and balance.outstanding < minimum_charge(currency):
            rest = display_amount(balance.outstanding, currency)
            detail = f"{rest} is owed, which is below Stripe's minimum"
            wishes.append(WantedItem(row, _Reason.REST_TOO_SMALL, detail, figures=figures))
    return [*wishes, *_waived_money(locked, balance)]


def _wish_for_money(
    locked: LockedPayment,
    row: PaymentIntent,
    reason: ReviewItem.Reason,
    words: tuple[str, str],
    amount: int,
) -> WantedItem:
    detail, suggestion = words
    dispute = locked.dispute_state_of(row)
    if dispute == DisputeState.OPEN:
        suggestion = f"{WAIT_FOR_THE_BANK} {suggestion}"
    elif dispute == DisputeState.LOST:
        suggestion = LOST_TO_THE_BANK
    figures = {"amount": amount, "currency": row.currency}
    return WantedItem(row, reason, detail, suggestion, figures=figures)


def _waived_money(locked: LockedPayment, balance: Balance) -> list[WantedItem]:
    """Note money that arrived although it had been waived: it is kept."""
    wishes = []
    for row in locked.intents:
        before, total = balance.paid_before.get(row.stripe_id), row.total_seen
        waived = min(balance.waived, row.waived_seen)
        is_kept = waived and balance.refundable.get(row.stripe_id)
        if before is None or total is None or not is_kept:
            continue
        if before < total <= before + waived:
            detail = f"{describe_received(row)}, although it had been waived"
            figures = {"amount": row.amount_received, "currency": row.currency}
            wishes.append(WantedItem(row, _Reason.WAIVED_RECEIVED, detail, figures=figures))
    return wishes


def sync_review(
    locked: LockedPayment,
    wishes: list[WantedItem],
    origin: Origin,
    *,
    only: frozenset[ReviewItem.Reason] | set[ReviewItem.Reason] = _BALANCE_REASONS,
) -> None:
    """Open, update and close the review items whose reasons are among ``only``."""
    payment = locked.payment
    if not wishes and not payment.needs_review:
        return
    items = list(payment.review_items.all())
    known = {_key_of(item): item for item in items}
    wanted = {wish.key for wish in wishes}
    for wish in wishes:
        _open_or_update(locked, known.get(wish.key), wish, items, origin)
    for item in items:
        is_open = item.closed_at is None
        if not is_open:
            continue
        is_gone = item.reason in only and _key_of(item) not in wanted
        if is_gone or _is_made_good(locked, item):
            item.closed_at, item.closed_itself = timezone.now(), True
            item.closing_note = _closing_note(item)
            item.save()
    still_open = [item.reason for item in items if item.closed_at is None]
    payment.needs_review = bool(still_open)
    payment.has_unknown_intent = _Reason.UNKNOWN_INTENT in still_open


def _key_of(item: ReviewItem) -> tuple[int | None, str, str]:
    return (item.payment_intent_id, item.reason, item.subject)


def _closing_note(item: ReviewItem) -> str:
    if item.reason == _Reason.ORDER_UNREADABLE:
        return "The order can be read again"
    if item.reason == _Reason.REFUND_FAILED:
        return "The money has gone another way"
    return "Its cause is gone"


_REOPENING = ("amount", "is_on_its_way")
"""The figures whose change opens an item again that staff have closed."""


def _open_or_update(
    locked: LockedPayment,
    item: ReviewItem | None,
    wish: WantedItem,
    items: list[ReviewItem],
    origin: Origin,
) -> None:
    data = {
        "detail": wish.detail[:500],
        "reason": str(wish.reason),
        "subject": wish.subject,
        **wish.figures,
    }
    values = {
        "detail": wish.detail[:500],
        "suggested_action": (wish.suggestion or SUGGESTIONS[wish.reason])[:500],
        "data": data,
    }
    if item is None:
        item = ReviewItem(
            order_payment=locked.payment,
            payment_intent=wish.row,
            reason=wish.reason,
            subject=wish.subject,
            **values,
        )
        items.append(item)
    elif item.closed_at is not None:
        same = all(item.data.get(name) == wish.figures.get(name) for name in _REOPENING)
        if same and not item.closed_itself:
            return  # staff have closed exactly this
        for name, value in {**values, **reopened()}.items():
            setattr(item, name, value)
    else:
        if all(getattr(item, name) == value for name, value in values.items()):
            return
        for name, value in values.items():
            setattr(item, name, value)
        item.save()
        return
    item.save()
    locked.add_facts(wish.row, [(FactKind.REVIEW_NEEDED, data)], origin=origin)


def _is_made_good(locked: LockedPayment, item: ReviewItem) -> bool:
    """Tell whether the money of a failed refund has left the payment in another way since."""
    if item.reason != _Reason.REFUND_FAILED:
        return False
    failed = locked.refund(item.subject)
    if failed is None:
        return False
    row = next(each for each in locked.intents if each.pk == item.payment_intent_id)
    since = failed.stripe_created_at or failed.created_at
    gone = sum(
        each.amount
        for each in observe(locked.rows).outflows
        if each.payment_id == row.stripe_id and each.at >= since and each.is_in(View.COVERAGE)
    )
    return gone >= failed.amount


# --- what follows -------------------------------------------------------------------------------


def is_follow_up_needed(locked: LockedPayment, balance: Balance) -> bool:
    """Tell whether something has to be done at Stripe: see ``follow_up.py``."""
    return asks_for_too_much(locked, balance) is not None or bool(excess_to_return(locked, balance))


def asks_for_too_much(locked: LockedPayment, balance: Balance) -> PaymentIntent | None:
    """Return the open intent if it can be changed and asks for more than is outstanding.

    Or for money that would not count: in another currency than the order's.
    """
    row = locked.open_intent
    if row is None or row.status not in UPDATABLE_STATUSES:
        return None
    is_too_much = row.amount > balance.askable or row.currency != locked.payment.currency
    return row if is_too_much else None


_HARMLESS = (DisputeState.NONE, DisputeState.WON)
MAX_AUTOMATIC_REFUNDS = 3
AUTOMATIC_KEY = "excess of"
"""How the request keys of automatic refunds begin."""


def excess_to_return(locked: LockedPayment, balance: Balance) -> list[PaymentIntent]:
    """Return the intents that ``AUTO_REFUND_EXCESS`` gives back.

    Only whole ones that came when nothing was owed or wanted, never the difference to a lower
    total; nothing while a payment of the order is disputed or was lost; at most three an order.
    """
    if not get_config().AUTO_REFUND_EXCESS:
        return []
    if gravest_dispute(row.status for row in locked.disputes) not in _HARMLESS:
        return []
    done = [row for row in locked.refunds if row.request_key.startswith(AUTOMATIC_KEY)]
    tried = {row.payment_intent_id for row in done}
    found = [
        row
        for row in locked.intents
        if row.pk not in tried and _is_whole(row, balance) and _came_unasked(locked, row, balance)
    ]
    return found[: max(0, MAX_AUTOMATIC_REFUNDS - len(done))]


def _is_whole(row: PaymentIntent, balance: Balance) -> bool:
    return bool(row.amount_received) and (
        balance.refundable.get(row.stripe_id) == row.amount_received
    )


def _came_unasked(locked: LockedPayment, row: PaymentIntent, balance: Balance) -> bool:
    """Tell whether nothing was owed, or nothing wanted, when this money came."""
    if row.livemode != get_config().livemode:
        return False
    if row.stripe_id in balance.uncounted:
        # Of a cancelled intent nobody knows what its captures were for: staff decide.
        return row.has_succeeded and not row.wanted and not locked.payment.is_payable
    is_excess = balance.excess.get(row.stripe_id) == row.amount_received
    was_covered = balance.paid_before.get(row.stripe_id, 0) >= (row.total_seen or 0)
    return is_excess and was_covered
