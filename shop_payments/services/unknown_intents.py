"""Payment intents at Stripe that name an order of ours, and that are not known here.

Note [Unknown intents]
~~~~~~~~~~~~~~~~~~~~~~
Each intent of ours names its order's id and number in its metadata, and the attempt that made it.
An attempt is committed before it is sent, so an intent whose attempt is not in the table comes
from another installation that uses the same Stripe account, or from time that the database has
lost: a backup was restored, or a standby took over without the last seconds. Only staff can tell.

Until they do, the order asks for no money, for the customer may have paid. Staff accept the
intent, which writes the lost attempt again and makes the intent one like any other; or they dismiss
it, by closing the item. It is asked about again if money comes with it after that, or is on its
way; and staff who were wrong can still accept it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError
from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import EntryRefused, OrderUnreadable
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.descriptions import describe_unknown
from shop_payments.ledger.evaluation import WantedItem, sync_review
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import (
    LockedPayment,
    close_items,
    find_and_lock_payment,
    read_rows,
)
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import IntentStatus, is_open
from shop_payments.models import FactKind, OrderPayment, PaymentIntent, ReviewItem, StripeAttempt
from shop_payments.orders import find_order_or_none, parse_order_id, read_number
from shop_payments.outbox.intent_params import METADATA_VALUE_LIMIT
from shop_payments.sync.outflows import Outflows, list_outflows
from shop_payments.sync.payment_intents import complete_charge_times, insert_intent, named_attempt

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult

_REASON = ReviewItem.Reason.UNKNOWN_INTENT


def find_named_order(intent: PaymentIntentResult) -> Any | None:
    """Return the order that an intent names, if it is not known here; None where there is none.

    Both the order's id and its number have to be right: installations that share an account often
    have orders of the same id.

    Raises:
        OrderUnreadable: the shop's code failed.
    """
    attempt_id = named_attempt(intent)
    if attempt_id is None or intent.livemode != get_config().livemode:
        return None
    pk = parse_order_id(intent.metadata.get("order_id", ""))
    order = None if pk is None else find_order_or_none(pk)
    if order is None:
        return None
    if not _names_number_of(order, intent) or _is_known(intent.id, attempt_id):
        return None
    return order


def _names_number_of(order: Any, intent: PaymentIntentResult) -> bool:
    number = read_number(order)[:METADATA_VALUE_LIMIT]
    return number == intent.metadata.get("order_number")


def _still_names(order_id: Any, intent: PaymentIntentResult) -> bool:
    """Whether an intent names the order that staff are asked about; the shop may hide it by now.

    Raises:
        OrderUnreadable: the shop's code failed.
    """
    pk = parse_order_id(intent.metadata.get("order_id", ""))
    if str(pk) != str(order_id):
        return False
    order = find_order_or_none(pk)
    return order is None or _names_number_of(order, intent)


def ask_about(order: Any, intent: PaymentIntentResult, *, origin: Origin) -> bool:
    """Ask staff about an intent that names ``order``, or stop asking; tell whether it is asked.

    ``intent`` is as Stripe describes it now. Where it can bring no money any more, nobody is asked.
    """
    figures = _figures(intent)
    wish = WantedItem(None, _REASON, describe_unknown(intent), subject=intent.id, figures=figures)

    def ask(locked: LockedPayment) -> bool:
        if _is_known(intent.id, named_attempt(intent)):
            return False
        items = locked.payment.review_items.filter(reason=_REASON, subject=intent.id)
        if _may_hold_money(intent):
            if _is_news(items.first(), intent):
                sync_review(locked, [wish], origin, only=frozenset())
        elif locked.payment.has_unknown_intent:
            note = f"{intent.id} is {intent.status}, without money"
            close_items(locked, note, reason=_REASON, subject=intent.id)
        locked.needs_order = True
        return items.open().exists()

    def lock() -> LockedPayment | None:
        found = find_and_lock_payment(order_id=order.pk)
        if found is None and _may_hold_money(intent):
            found = LockedPayment(OrderPayment(order_id=order.pk), [])
            found.insert()
        return found

    try:
        done = change_payment(ask, origin=origin, lock=lock)
    except IntegrityError:  # another request has inserted the order's payment first
        done = change_payment(ask, origin=origin, lock=lock)
    return bool(done.value)


def would_ask(order: Any, intent: PaymentIntentResult) -> bool:
    """Tell whether :func:`ask_about` would have an open item; nothing is written."""
    items = ReviewItem.objects.filter(
        order_payment__order=order.pk, reason=_REASON, subject=intent.id
    )
    item = items.first()
    is_open_already = item is not None and item.closed_at is None
    return _may_hold_money(intent) and (is_open_already or _is_news(item, intent))


def _may_hold_money(intent: PaymentIntentResult) -> bool:
    return is_open(intent.status) or intent.amount_received > 0


_ON_ITS_WAY = frozenset({IntentStatus.PROCESSING, IntentStatus.REQUIRES_CAPTURE})


def _figures(intent: PaymentIntentResult) -> dict[str, Any]:
    """Return the figures of an item; one that staff have closed opens again with the first two."""
    on_its_way = {"is_on_its_way": True} if intent.status in _ON_ITS_WAY else {}
    return {
        "amount": intent.amount_received,
        **on_its_way,
        "currency": intent.currency,
        "status": intent.status,
        "livemode": intent.livemode,
    }


def _is_news(item: ReviewItem | None, intent: PaymentIntentResult) -> bool:
    """Whether an intent says something to ask staff about, or to ask them again.

    A page of a list may be older than the item. What was received never becomes less.
    """
    if item is None:
        return True
    known: int = item.data.get("amount", 0)
    if item.closed_at is None or item.closed_itself:
        return intent.amount_received >= known
    is_now_on_its_way = intent.status in _ON_ITS_WAY and not item.data.get("is_on_its_way")
    same_amount = intent.amount_received == known
    return intent.amount_received > known or (same_amount and is_now_on_its_way)


def can_be_accepted(item: ReviewItem) -> bool:
    """Tell whether an item is about an unknown intent, and is open or was dismissed by staff."""
    return (
        item.reason == _REASON
        and not item.closed_itself
        and not PaymentIntent.objects.filter(stripe_id=item.subject).exists()
    )


def accept_unknown_intent(*, item_pk: int, user: Any, origin: Origin) -> PaymentIntent | None:
    """Make an unknown intent one of the order's, for staff; None where it cannot be.

    That is where the item has closed itself, or was accepted before: see :func:`can_be_accepted`.

    Its money then counts like any other. Its refunds and disputes are written with it: see
    Note [Outflows with the payment] in ``outflows.py``.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ReviewItem.DoesNotExist: no such item about an unknown intent.
        EntryRefused: the order has another open intent, or the intent names another order or the
            attempt of another intent by now.
        ObjectMissing: Stripe does not know the intent.
        OrderUnreadable: accepted, but the order could not be evaluated; that is tried again.
        GatewayError: Stripe could not be asked, and nothing was recorded.
    """
    assert_no_transaction()
    item = ReviewItem.objects.select_related("order_payment").get(pk=item_pk, reason=_REASON)
    intent = get_gateway().retrieve_payment_intent(item.subject)
    _refuse_renamed(item, intent, origin=origin)
    outflows = list_outflows(intent.id) if intent.amount_received else Outflows(intent.id)
    if intent.amount_received:
        complete_charge_times(read_rows(item.order_payment), origin=origin, expected=1)

    def accept(locked: LockedPayment) -> PaymentIntent | None:
        items = locked.payment.review_items.filter(pk=item.pk)
        if not can_be_accepted(items.get()):
            return None
        attempt = _write_again(locked, intent)
        row = insert_intent(locked, attempt, intent, fingerprint="", origin=origin)
        if row is None:
            raise EntryRefused(
                f"The order has another open payment intent, {locked.open_intent}. Cancel it first."
            )
        outflows.write(locked, origin=origin)
        items.update(closed_at=None, closing_note="")  # it may have been dismissed
        close_items(locked, f"Accepted: {intent.id}", by=user, pk=item.pk)
        figures = {"detail": f"{item.get_reason_display()}: accepted", "review_item": item.pk}
        fact = (FactKind.REVIEW_CLOSED, {**figures, "reason": item.reason})
        locked.add_facts(row, [fact], origin=origin)
        return row

    done = change_payment(accept, origin=origin, pk=item.order_payment_id)
    done.raise_if_unreadable()
    return done.value


def _refuse_renamed(item: ReviewItem, intent: PaymentIntentResult, *, origin: Origin) -> None:
    """Raise where an intent does not name the order of its item any more, and close the item.

    Raises:
        EntryRefused: so it is, or the order could not be read.
    """
    order_id = item.order_payment.order_id
    try:
        is_named = _still_names(order_id, intent)
    except OrderUnreadable as error:
        raise EntryRefused(
            f"The order could not be read, so nothing was recorded: {error}"
        ) from error
    if not is_named:
        _close_renamed(item, origin)
        raise EntryRefused(f"At Stripe, {intent.id} does not name this order any more.")


def close_renamed(intent: PaymentIntentResult, *, origin: Origin) -> None:
    """Close the items of orders that an intent has named before, and does not name any more.

    Raises:
        OrderUnreadable: the shop's code failed.
    """
    for item in asked_about():
        if item.subject == intent.id and not _still_names(item.order_payment.order_id, intent):
            _close_renamed(item, origin)


def _close_renamed(item: ReviewItem, origin: Origin) -> None:
    _close(item, f"{item.subject} does not name this order any more", origin)


def close_known(*, origin: Origin) -> None:
    """Close the items of intents that are known by now: another backup was restored, say."""
    for item in asked_about():
        if PaymentIntent.objects.filter(stripe_id=item.subject).exists():
            _close(item, f"{item.subject} is known here", origin)


def _close(item: ReviewItem, note: str, origin: Origin) -> None:
    def close(locked: LockedPayment) -> None:
        close_items(locked, note, pk=item.pk)

    change_payment(close, origin=origin, pk=item.order_payment_id)


def asked_about() -> list[ReviewItem]:
    """Return the open items about unknown intents of the key's mode."""
    items = ReviewItem.objects.open().filter(reason=_REASON).select_related("order_payment")
    return [
        item for item in items.order_by("pk") if item.data.get("livemode") == get_config().livemode
    ]


def _is_known(stripe_id: str, attempt_id: Any) -> bool:
    """Whether the intent has a row, or an attempt of ours has made it."""
    return (
        PaymentIntent.objects.filter(stripe_id=stripe_id).exists()
        or StripeAttempt.objects.filter(pk=attempt_id).exists()
    )


def _write_again(locked: LockedPayment, intent: PaymentIntentResult) -> StripeAttempt:
    """Return the attempt that made an intent, inserted again with what can be known of it.

    Raises:
        EntryRefused: the intent names no attempt, or that of another intent.
    """
    attempt_id = named_attempt(intent)
    if attempt_id is None:
        raise EntryRefused(f"{intent.id} does not name the attempt that made it any more.")
    attempt, _is_new = StripeAttempt.objects.get_or_create(
        pk=attempt_id,
        defaults={
            "order_payment": locked.payment,
            "operation": StripeAttempt.Operation.CREATE_INTENT,
            "outcome": StripeAttempt.Outcome.SUCCEEDED,
            "livemode": intent.livemode,
            "params": {},  # what was sent is lost: the next call 1 sends everything
            "stripe_object_id": intent.id,
            "finished_at": timezone.now(),
        },
    )
    if attempt.order_payment_id != locked.payment.pk or attempt.stripe_object_id not in {
        "",
        intent.id,
    }:
        raise EntryRefused(
            f"{intent.id} names the attempt that made {attempt.stripe_object_id or 'another one'}:"
            " somebody has copied its metadata. Refund it in Stripe's dashboard, and dismiss it."
        )
    return attempt
