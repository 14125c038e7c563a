"""Derive the balance of an order, and record what follows from it: facts and review items.

Note [Evaluation]
~~~~~~~~~~~~~~~~~
An evaluation reads the order (only its total, currency and payability), records what can be
observed only now (the shop wants this money), folds the rows (``balance.py``), and stores the
result. It runs under the payment's lock, at the end of each transaction in which money has moved.

An order that cannot be read is evaluated later. Stripe's data is stored, nothing is derived,
``failed_reads`` is incremented, and the operation is tried again (by Stripe's redelivery, the next
call or the sweep). After three failed tries, staff are asked to look.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from shop_payments.balance import Balance, View, newest_first
from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError, OrderUnreadable
from shop_payments.ledger.observations import (
    counted_money,
    is_live_under_test_key,
    observe,
    refund_key,
    waived_by,
    would_count,
)
from shop_payments.ledger.payments import (
    LockedPayment,
    data_of_item,
    leading_intent,
    reopened,
)
from shop_payments.lifecycle import (
    UPDATABLE_STATUSES,
    DisputeState,
    PaymentStatus,
    RefundStatus,
    most_serious_dispute,
)
from shop_payments.models import Dispute, FactKind, OrderPayment, PaymentIntent, Refund, ReviewItem
from shop_payments.money import Money, minimum_charge
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
"""The reasons of review items that an evaluation opens, and closes when their cause is gone."""


def evaluate(locked: LockedPayment, *, terms: OrderTerms | None = None) -> Balance | None:
    """Evaluate an order under its payment's lock; None if it could not be read.

    Without ``terms``, the order is read here. If that fails, ``locked.order_error`` says why.

    Raises:
        ConfigurationError: it was paid in live mode, and the key in use is a test key. Nothing
            is written.
        DatabaseError: the database failed.
    """
    _refuse_other_mode(locked)
    try:
        _record_terms(locked, terms or _read(locked))
    except OrderUnreadable as error:
        _record_failed_read(locked, error)
        return None
    locked.payment.failed_reads = 0
    balance = derive(locked)
    # In this order the host is notified: money, then "paid", then refunds.
    received = _record_received(locked, balance)
    _record_paid(locked, balance, received)
    _record_refunds(locked, balance)
    # After the facts, so that the host hears of the payment before the question about it.
    sync_review(locked, _wanted_items(locked, balance))
    locked.needs_follow_up = is_follow_up_needed(locked, balance)
    return balance


def has_same_terms(payment: OrderPayment, terms: OrderTerms) -> bool:
    """Return whether the order has the terms that were last evaluated."""
    seen = (payment.total, payment.currency, payment.is_payable)
    now = (terms.total.amount, terms.total.currency, terms.is_payable)
    return seen == now and not payment.failed_reads


def terms_last_seen(payment: OrderPayment) -> OrderTerms:
    """Return the order's terms as they were last read."""
    total = Money(payment.total or 0, payment.currency)
    return OrderTerms(total=total, is_payable=payment.is_payable)


def record_outflow(locked: LockedPayment, row: Refund | Dispute, intent: PaymentIntent) -> None:
    """Record on a new refund or dispute of ``intent`` what the order costs now.

    The meaning of an outflow depends on the order at that time. If the order cannot be read, the
    terms last seen are used, so that a refund never waits for the order.
    """
    try:
        _record_terms(locked, _read(locked))
    except OrderUnreadable as error:
        logger.warning("%s was stored without reading its order: %s", row, error)
    is_wanted = intent.wanted or locked.payment.is_payable
    # Without ``total_seen`` it undoes the payment: see Note [Giving back] in ``balance.py``.
    if is_wanted and would_count(locked.payment, intent):
        row.total_seen = locked.payment.total
        row.waived_seen = locked.balance().waived


def derive(locked: LockedPayment) -> Balance:
    """Compute the balance from the rows, and store the values that lists and filters show.

    Raises:
        ConfigurationError: the order was paid in live mode, and the key in use is a test key.
    """
    _refuse_other_mode(locked)
    payment, balance = locked.payment, locked.balance()
    for name, value in derived_values(locked, balance).items():
        setattr(payment, name, value)
    return balance


def derived_values(locked: LockedPayment, balance: Balance) -> dict[str, Any]:
    """Return the values of the payment's fields that are derived from its rows."""
    money = counted_money(locked.rows)
    return {
        "status": balance.status,
        "dispute_state": most_serious_dispute(row.status for row in locked.disputes),
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
    # The reverse, test money under a live key, is stored and does not count.
    if is_live_under_test_key(locked.intents):
        raise ConfigurationError(
            "This order has a payment in live mode, "
            "but SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a test key"
        )


def _read(locked: LockedPayment) -> OrderTerms:
    """Read the order, at most once in a transaction."""
    if locked.order_error is not None:
        raise locked.order_error
    if locked.terms is None:
        try:
            order = find_order(locked.payment.order_id)
            locked.payment.order = order  # the receivers get the same object
            locked.terms = read_terms(order)
        except OrderUnreadable as error:
            locked.order_error = error
            raise
    return locked.terms


def _record_terms(locked: LockedPayment, terms: OrderTerms) -> None:
    """Store the order's terms, and which payments it wants.

    Raises:
        OrderUnreadable: the order's currency is no longer that of the counted payments.
    """
    payment, currency = locked.payment, terms.total.currency
    # Counted money of another currency would suddenly not count, and the order would look unpaid.
    if currency != payment.currency and any(locked.counts(row) for row in locked.intents):
        raise OrderUnreadable(
            payment.order_id,
            "total",
            f"returned {currency.upper()}, but the order was paid in {payment.currency.upper()}",
            reason="currency_changed",
        )
    payment.total, payment.currency = terms.total.amount, currency
    payment.is_payable = terms.is_payable
    _record_wanted(locked)


def _record_failed_read(locked: LockedPayment, error: OrderUnreadable) -> None:
    if locked.has_counted_failure:
        return  # count it once for each unit of work
    locked.order_error, locked.has_counted_failure = error, True
    payment = locked.payment
    payment.failed_reads += 1
    leading = leading_intent(locked.intents)
    if payment.failed_reads >= TRIES_BEFORE_REVIEW:
        figures = {"error": str(error)[:500], "method": error.method, "cause": error.reason}
        item = WantedItem(leading, _Reason.ORDER_UNREADABLE, figures=figures)
        sync_review(locked, [item], only={_Reason.ORDER_UNREADABLE})


def _record_wanted(locked: LockedPayment) -> None:
    payment = locked.payment
    for row in locked.intents:
        if not row.has_succeeded:
            continue
        if row.total_seen is None:
            # Recorded once: a later total must not change what this payment was for.
            row.total_seen = payment.total
            row.waived_seen = waived_by(locked.intents, locked.entries)
            locked.save_later(row)
        if payment.is_payable and not row.wanted:
            row.wanted = True  # never unset: a shipped order is not payable any more
            locked.save_later(row)


# --- facts --------------------------------------------------------------------------------------


def _record_received(locked: LockedPayment, balance: Balance) -> list[PaymentIntent]:
    """Record the payments that count from now on; return their intents, oldest charge first."""
    new = [row for row in locked.intents if locked.counts(row) and not row.received_recorded]
    # The host is notified in the order of the charges.
    order = {each.id: at for at, each in enumerate(newest_first(observe(locked.rows).payments))}
    new.sort(key=lambda row: order[row.stripe_id], reverse=True)
    for row in new:
        row.received_recorded = True
        locked.save_later(row)
        figures = {
            "stripe_intent_id": row.stripe_id,
            "amount": row.amount_received,
            "outstanding": balance.outstanding,
            "currency": row.currency,
        }
        locked.add_facts(row, [(FactKind.PAYMENT_RECEIVED, figures)])
    return new


_SETTLED = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED)


def _record_paid(locked: LockedPayment, balance: Balance, received: list[PaymentIntent]) -> None:
    payment = locked.payment
    if balance.is_covered and payment.paid_at is None:
        newest = received[-1] if received else None
        # Without new money, a waiver or a lower total covers the order, and only we know when.
        payment.paid_at = (newest.charged_at if newest else None) or timezone.now()
    # ``order_paid`` is sent once, and only while the shop wants the order.
    if payment.paid_recorded or not payment.is_payable or balance.status not in _SETTLED:
        return
    payment.paid_recorded = True
    row = _covering_intent(locked, balance, received)
    figures = {
        "stripe_intent_id": row.stripe_id,
        "amount": balance.paid,
        "amount_received": row.amount_received,
        "total": balance.total,
        "currency": row.currency,
    }
    locked.add_facts(row, [(FactKind.ORDER_PAID, figures)])


def _covering_intent(
    locked: LockedPayment, balance: Balance, received: list[PaymentIntent]
) -> PaymentIntent:
    """Return the intent that covered the order: the first new one that suffices.

    After a waiver or a lower total, it is the newest counted one.
    """
    wanted = balance.total - balance.waived
    for row in received:
        if balance.paid_before[row.stripe_id] + row.amount_received >= wanted:
            return row
    return newest_counted_first(locked)[0]


def newest_counted_first(locked: LockedPayment) -> list[PaymentIntent]:
    """Return the counted intents, the newest charge first."""
    by_id = {row.stripe_id: row for row in locked.intents}
    payments = newest_first(observe(locked.rows).payments)
    return [by_id[each.id] for each in payments if each.counts]


def _record_refunds(locked: LockedPayment, balance: Balance) -> None:
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
            "refund_id": str(refund.pk),
            "stripe_refund_id": refund.stripe_id,
            "amount": refund.amount,
            "goods": goods,
            "currency": refund.currency,
            "status": refund.status,
            "refund_reason": refund.reason,
        }
        locked.add_facts(row, [(FactKind.ORDER_REFUNDED, figures)])


# --- review -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WantedItem:
    """A review item that should be open; ``row`` is None if the intent has no row here."""

    row: PaymentIntent | None
    reason: ReviewItem.Reason
    cause: str = ""
    """The code of the item's sentence. Empty if the reason has only one, with the same code."""

    subject: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int | None, str, str]:
        """The identity of an item: there is one for each intent, reason and subject."""
        return (None if self.row is None else self.row.pk, str(self.reason), self.subject)

    @property
    def data(self) -> dict[str, Any]:
        """The data of the item, and of the fact about it."""
        sentence = self.cause or str(self.reason)
        return data_of_item(sentence, self.reason, self.subject, self.figures)


def _wanted_items(locked: LockedPayment, balance: Balance) -> list[WantedItem]:
    """Return the items that staff have to look at, given this balance."""
    by_id = {row.stripe_id: row for row in locked.intents}
    payment = locked.payment
    currency = payment.currency
    items: list[WantedItem] = []
    for stripe_id, amount in balance.excess.items():
        items.append(_excess_item(locked, by_id[stripe_id], amount, balance))
    for stripe_id, amount in balance.uncounted.items():
        items.append(_uncounted_item(locked, by_id[stripe_id], amount))
    counted = newest_counted_first(locked)
    # Another item is about a dispute, and staff can do nothing about a refund on its way.
    if counted and balance.paid > 0 and balance.waivable > 0:
        row = counted[0]
        figures = {"amount": balance.waivable, "currency": currency}
        if not balance.is_payable and balance.status == PaymentStatus.PARTIALLY_PAID:
            figures["paid"] = balance.paid_asking
            items.append(WantedItem(row, _Reason.REST_OWED, figures=figures))
        elif balance.refusal is None and balance.outstanding < minimum_charge(currency):
            # The customer would be asked, but Stripe would refuse to create the intent.
            figures["outstanding"] = balance.outstanding
            items.append(WantedItem(row, _Reason.REST_TOO_SMALL, figures=figures))
    return [*items, *_waived_items(locked, balance)]


def _excess_item(
    locked: LockedPayment, row: PaymentIntent, amount: int, balance: Balance
) -> WantedItem:
    """Return the item about what was received in excess of the order's total."""
    cause = "excess_over_remainder" if _looks_like_a_remainder(row, balance) else ""
    figures = {**_figures_of_money(locked, row, amount), "total": balance.total}
    return WantedItem(row, _Reason.EXCESS, cause, figures=figures)


def _looks_like_a_remainder(intent: PaymentIntent, balance: Balance) -> bool:
    """Return whether the total fell by exactly the first payment when that was received.

    An adapter that wrongly returns the outstanding amount shows this pattern.
    """
    seen = intent.total_seen
    is_first = balance.received == intent.amount_received
    return (
        is_first
        and seen is not None
        and (balance.total == max(0, seen - intent.amount_received) != seen)
    )


def _uncounted_item(locked: LockedPayment, row: PaymentIntent, amount: int) -> WantedItem:
    """Return the item about received money that does not count, by its cause."""
    payment, figures = locked.payment, _figures_of_money(locked, row, amount)
    if row.livemode != get_config().livemode:
        cause = "uncounted_in_test_mode"
    elif not row.has_succeeded:
        cause = "uncounted_after_cancellation"
    elif payment.currency and row.currency != payment.currency:
        cause = "uncounted_in_other_currency"
        figures |= {"order_total": payment.total or 0, "order_currency": payment.currency}
    else:
        cause = "uncounted_unwanted"
    return WantedItem(row, _Reason.UNCOUNTED, cause, figures=figures)


def _figures_of_money(locked: LockedPayment, row: PaymentIntent, amount: int) -> dict[str, Any]:
    """Return the figures of an item about ``amount`` of the money of ``row``."""
    return {
        "amount": amount,
        "amount_received": row.amount_received,
        "currency": row.currency,
        "stripe_intent_id": row.stripe_id,
        # A bank that holds or has taken the money changes what staff can do.
        "dispute_state": str(locked.dispute_state_of(row)),
    }


def _waived_items(locked: LockedPayment, balance: Balance) -> list[WantedItem]:
    """Return an item for each payment that arrived although it had been waived."""
    items = []
    for row in locked.intents:
        before, total = balance.paid_before.get(row.stripe_id), row.total_seen
        waived = min(balance.waived, row.waived_seen)
        is_kept = waived and balance.refundable.get(row.stripe_id)
        if before is None or total is None or not is_kept:
            continue
        if before < total <= before + waived:
            # Before this payment, the order was covered only because of the waivers.
            figures = {
                "amount": row.amount_received,
                "currency": row.currency,
                "stripe_intent_id": row.stripe_id,
            }
            items.append(WantedItem(row, _Reason.WAIVED_RECEIVED, figures=figures))
    return items


def sync_review(
    locked: LockedPayment,
    wanted: list[WantedItem],
    *,
    only: frozenset[ReviewItem.Reason] | set[ReviewItem.Reason] = _BALANCE_REASONS,
) -> None:
    """Open and update the ``wanted`` items; close others whose reasons are among ``only``."""
    payment = locked.payment
    if not wanted and not payment.needs_review:
        return  # nothing to open and nothing open: no statement
    items = list(payment.review_items.all())
    known = {_key_of(item): item for item in items}
    wanted_keys = {each.key for each in wanted}
    for each in wanted:
        _open_or_update(locked, known.get(each.key), each, items)
    for item in items:
        is_open = item.closed_at is None
        if not is_open:
            continue
        is_gone = item.reason in only and _key_of(item) not in wanted_keys
        if is_gone or _is_made_good(locked, item):
            item.closed_at, item.closed_automatically = timezone.now(), True
            item.closing_data = {"sentence": _why_closed(item)}
            item.save()
    still_open = [item.reason for item in items if item.closed_at is None]
    payment.needs_review = bool(still_open)
    payment.has_unknown_intent = _Reason.UNKNOWN_INTENT in still_open


def _key_of(item: ReviewItem) -> tuple[int | None, str, str]:
    return (item.payment_intent_id, item.reason, item.subject)


def _why_closed(item: ReviewItem) -> str:
    """Return the code of the sentence about it."""
    if item.reason == _Reason.ORDER_UNREADABLE:
        return "order_readable"
    if item.reason == _Reason.REFUND_FAILED:
        return "money_returned"
    return "cause_gone"


_REOPENING = ("amount", "is_on_its_way")
"""A change of one of these figures opens an item again that staff have closed."""


def _open_or_update(
    locked: LockedPayment, item: ReviewItem | None, wanted: WantedItem, items: list[ReviewItem]
) -> None:
    data = wanted.data
    if item is None:
        item = ReviewItem(
            order_payment=locked.payment,
            payment_intent=wanted.row,
            reason=wanted.reason,
            subject=wanted.subject,
            data=data,
        )
        items.append(item)
    elif item.closed_at is not None:
        same = all(item.data.get(name) == wanted.figures.get(name) for name in _REOPENING)
        if same and not item.closed_automatically:
            return  # staff have closed it for the same amount
        for name, value in {"data": data, **reopened()}.items():
            setattr(item, name, value)
    else:
        if item.data != data:
            item.data = data
            item.save()
        return  # the host was notified when the item was opened
    item.save()
    locked.add_facts(wanted.row, [(FactKind.REVIEW_NEEDED, data)])


def _is_made_good(locked: LockedPayment, item: ReviewItem) -> bool:
    """Return whether the money of a failed refund has been returned in another way since."""
    if item.reason != _Reason.REFUND_FAILED:
        return False
    failed = locked.refund(item.subject)
    if failed is None:
        return False
    row = next(each for each in locked.intents if each.pk == item.payment_intent_id)
    since = failed.stripe_created_at or failed.created_at
    # In the coverage view, so that money on its way out counts, too.
    gone = sum(
        each.amount
        for each in observe(locked.rows).outflows
        if each.payment_id == row.stripe_id and each.at >= since and each.is_in(View.COVERAGE)
    )
    return gone >= failed.amount


# --- what follows -------------------------------------------------------------------------------


def is_follow_up_needed(locked: LockedPayment, balance: Balance) -> bool:
    """Return whether a follow-up at Stripe is needed: see ``follow_up.py``."""
    return intent_to_lower(locked, balance) is not None or bool(excess_to_return(locked, balance))


def intent_to_lower(locked: LockedPayment, balance: Balance) -> PaymentIntent | None:
    """Return the open intent if it can be changed and asks for too much.

    That is more than is outstanding, or any amount in another currency, which would not count.
    """
    row = locked.open_intent
    if row is None or row.status not in UPDATABLE_STATUSES:
        return None
    is_too_much = row.amount > balance.askable or row.currency != locked.payment.currency
    return row if is_too_much else None


_HARMLESS = (DisputeState.NONE, DisputeState.WON)
MAX_AUTOMATIC_REFUNDS = 3
AUTOMATIC_KEY = "excess of"
"""The prefix of the request keys of automatic refunds."""


def excess_to_return(locked: LockedPayment, balance: Balance) -> list[PaymentIntent]:
    """Return the intents that ``AUTO_REFUND_EXCESS`` refunds.

    Only whole payments that came when nothing was owed or wanted are refunded, never the difference
    to a lower total. Nothing is refunded while a payment of the order is disputed or was lost. An
    order gets at most three automatic refunds.
    """
    if not get_config().AUTO_REFUND_EXCESS:
        return []
    if most_serious_dispute(row.status for row in locked.disputes) not in _HARMLESS:
        return []
    done = [row for row in locked.refunds if row.request_key.startswith(AUTOMATIC_KEY)]
    tried = {row.payment_intent_id for row in done}  # also failed ones: staff handle those
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
    """Return whether nothing was owed, or nothing wanted, when this money came."""
    if row.livemode != get_config().livemode:
        return False
    if row.stripe_id in balance.uncounted:
        # If the intent was cancelled, the purpose of its captures is unknown: staff decide.
        return row.has_succeeded and not row.wanted and not locked.payment.is_payable
    is_excess = balance.excess.get(row.stripe_id) == row.amount_received
    was_covered = balance.paid_before.get(row.stripe_id, 0) >= (row.total_seen or 0)
    return is_excess and was_covered
