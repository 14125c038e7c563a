"""Payment intents at Stripe that name an order of ours, but have no row here.

Note [Unknown intents]
~~~~~~~~~~~~~~~~~~~~~~
Each of our intents has in its metadata the order's id and number, and the attempt that created it.
An attempt is committed before it is sent. So an intent whose attempt is not in the table comes from
another installation with the same Stripe account, or from a period that the database has lost: a
backup was restored, or a standby became the primary without the last seconds. Only staff can decide
which it is.

Until then, the order asks for no money, because the customer may have paid. Staff accept the
intent, which inserts the lost attempt again, and the intent becomes one like any other. Or they
dismiss it by closing the item. The item opens again if money comes with the intent after that, or
is on its way. Staff can still accept an intent that was dismissed by mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.conf import get_config
from shop_payments.exceptions import EntryRefused, Message, OrderUnreadable
from shop_payments.gateway import assert_no_transaction, get_gateway
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

_UNKNOWN = ReviewItem.Reason.UNKNOWN_INTENT


def find_named_order(intent: PaymentIntentResult) -> Any | None:
    """Return the order that an unknown intent names; None if there is none, or if it is known.

    Both the order's id and its number must match, because installations that share an account often
    have orders with the same id.

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
    """Return whether an intent still names the order that staff are asked about.

    The shop may hide the order by now; then only its id is compared.

    Raises:
        OrderUnreadable: the shop's code failed.
    """
    pk = parse_order_id(intent.metadata.get("order_id", ""))
    if str(pk) != str(order_id):
        return False
    order = find_order_or_none(pk)
    return order is None or _names_number_of(order, intent)


def ask_staff_about(order: Any, intent: PaymentIntentResult, *, origin: Origin) -> bool:
    """Open, update or close the item of an intent that names ``order``; return whether it is open.

    ``intent`` was just fetched or listed. If it can bring no money any more, staff are not asked.
    """
    item = WantedItem(None, _UNKNOWN, subject=intent.id, figures=_figures(intent))

    def ask(locked: LockedPayment) -> bool:
        if _is_known(intent.id, named_attempt(intent)):
            return False
        items = locked.payment.review_items.filter(reason=_UNKNOWN, subject=intent.id)
        if _may_hold_money(intent):
            if _is_news(items.first(), intent):
                sync_review(locked, [item], only=frozenset())
        elif locked.payment.has_unknown_intent:
            why = {
                "sentence": "intent_without_money",
                "stripe_intent_id": intent.id,
                "intent_status": intent.status,
            }
            close_items(locked, why, reason=_UNKNOWN, subject=intent.id)
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


def would_ask_staff(order: Any, intent: PaymentIntentResult) -> bool:
    """Return whether :func:`ask_staff_about` would have an open item; nothing is written."""
    items = ReviewItem.objects.filter(
        order_payment__order=order.pk, reason=_UNKNOWN, subject=intent.id
    )
    item = items.first()
    is_open_already = item is not None and item.closed_at is None
    return _may_hold_money(intent) and (is_open_already or _is_news(item, intent))


def _may_hold_money(intent: PaymentIntentResult) -> bool:
    return is_open(intent.status) or intent.amount_received > 0


_ON_ITS_WAY = frozenset({IntentStatus.PROCESSING, IntentStatus.REQUIRES_CAPTURE})


def _figures(intent: PaymentIntentResult) -> dict[str, Any]:
    """Return the figures of an item. A change of the first two opens a closed item again."""
    on_its_way = {"is_on_its_way": True} if intent.status in _ON_ITS_WAY else {}
    return {
        "amount": intent.amount_received,
        **on_its_way,
        "currency": intent.currency,
        "status": intent.status,
        "livemode": intent.livemode,
        "amount_asked": intent.amount,
        "amount_refunded": intent.amount_refunded,
        "is_disputed": intent.is_disputed,
    }


def _is_news(item: ReviewItem | None, intent: PaymentIntentResult) -> bool:
    """Return whether an intent has news for staff, who may have been asked before.

    A page of a list may be older than the item. The received amount never decreases, so it shows
    which of the two is newer.
    """
    if item is None:
        return True
    known: int = item.data.get("amount", 0)
    if item.closed_at is None or item.closed_automatically:
        return intent.amount_received >= known
    is_now_on_its_way = intent.status in _ON_ITS_WAY and not item.data.get("is_on_its_way")
    same_amount = intent.amount_received == known
    return intent.amount_received > known or (same_amount and is_now_on_its_way)


def can_be_accepted(item: ReviewItem) -> bool:
    """Return whether an item is about an unknown intent, and is open or was dismissed by staff."""
    return (
        item.reason == _UNKNOWN
        and not item.closed_automatically
        and not PaymentIntent.objects.filter(stripe_id=item.subject).exists()
    )


def accept_unknown_intent(*, item_pk: int, user: Any, origin: Origin) -> PaymentIntent | None:
    """Make an unknown intent one of the order's intents; None if that is not possible any more.

    It is not possible if the item was closed by the app, or if the intent was accepted before: see
    :func:`can_be_accepted`.

    Its money then counts like any other. Its refunds and disputes are written with it: see
    Note [Outflows with the payment] in ``outflows.py``.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ReviewItem.DoesNotExist: there is no such item about an unknown intent.
        EntryRefused: the order has another open intent, or the intent now names another order or
            the attempt of another intent.
        ObjectMissing: Stripe does not know the intent.
        OrderUnreadable: accepted, but the order could not be evaluated; that is tried again.
        GatewayError: a request to Stripe failed, and nothing was recorded.
    """
    assert_no_transaction()
    item = ReviewItem.objects.select_related("order_payment").get(pk=item_pk, reason=_UNKNOWN)
    intent = get_gateway().retrieve_payment_intent(item.subject)
    _refuse_renamed(item, intent, origin=origin)
    outflows = list_outflows(intent.id) if intent.amount_received else Outflows(intent.id)
    if intent.amount_received:
        # The accepted payment will be one more, so the times of the others begin to matter.
        seen = read_rows(item.order_payment)
        seen.origin = origin
        complete_charge_times(seen, expected=1)

    def accept(locked: LockedPayment) -> PaymentIntent | None:
        items = locked.payment.review_items.filter(pk=item.pk)
        if not can_be_accepted(items.get()):
            return None
        attempt = _restore_attempt(locked, intent)
        row = insert_intent(locked, attempt, intent, fingerprint="")
        if row is None:
            raise EntryRefused(
                Message(gettext_noop("The order has another open payment. Cancel it first."))
            )
        outflows.write(locked)
        items.update(closed_at=None, closing_data=None)  # it may have been dismissed
        why = {"sentence": "intent_accepted", "stripe_intent_id": intent.id}
        close_items(locked, why, by=user, pk=item.pk)
        figures = {
            "sentence": "unknown_intent_accepted",
            "review_item": item.pk,
            "reason": item.reason,
        }
        locked.add_facts(row, [(FactKind.REVIEW_CLOSED, figures)])
        return row

    done = change_payment(accept, origin=origin, pk=item.order_payment_id)
    done.raise_if_unreadable()
    return done.value


def _refuse_renamed(item: ReviewItem, intent: PaymentIntentResult, *, origin: Origin) -> None:
    """Raise and close the item if its intent does not name its order any more.

    Raises:
        EntryRefused: it does not, or the order could not be read.
    """
    order_id = item.order_payment.order_id
    try:
        is_named = _still_names(order_id, intent)
    except OrderUnreadable as error:
        raise EntryRefused(
            Message(gettext_noop("The order could not be read, so nothing was recorded."))
        ) from error
    if not is_named:
        _close_renamed(item, origin)
        raise EntryRefused(
            Message(gettext_noop("At Stripe, the payment no longer names this order."))
        )


def close_items_of_renamed(intent: PaymentIntentResult, *, origin: Origin) -> None:
    """Close the items of orders that an intent does not name any more.

    Raises:
        OrderUnreadable: the shop's code failed.
    """
    for item in open_unknown_items():
        if item.subject == intent.id and not _still_names(item.order_payment.order_id, intent):
            _close_renamed(item, origin)


def _close_renamed(item: ReviewItem, origin: Origin) -> None:
    _close(item, "intent_renamed", origin)


def close_items_with_row(*, origin: Origin) -> None:
    """Close the items of intents that have a row now, for example after another restore."""
    for item in open_unknown_items():
        if PaymentIntent.objects.filter(stripe_id=item.subject).exists():
            _close(item, "intent_known", origin)


def _close(item: ReviewItem, sentence: str, origin: Origin) -> None:
    def close(locked: LockedPayment) -> None:
        why = {"sentence": sentence, "stripe_intent_id": item.subject}
        close_items(locked, why, pk=item.pk)

    change_payment(close, origin=origin, pk=item.order_payment_id)


def open_unknown_items() -> list[ReviewItem]:
    """Return the open items about unknown intents of the key's mode."""
    items = ReviewItem.objects.open().filter(reason=_UNKNOWN).select_related("order_payment")
    return [
        item for item in items.order_by("pk") if item.data.get("livemode") == get_config().livemode
    ]


def _is_known(stripe_id: str, attempt_id: Any) -> bool:
    """Return whether the intent has a row, or was created by an attempt of ours."""
    return (
        PaymentIntent.objects.filter(stripe_id=stripe_id).exists()
        or StripeAttempt.objects.filter(pk=attempt_id).exists()
    )


def _restore_attempt(locked: LockedPayment, intent: PaymentIntentResult) -> StripeAttempt:
    """Return the attempt that created an intent, inserted again with the fields that are known.

    Raises:
        EntryRefused: the intent names no attempt, or that of another intent.
    """
    attempt_id = named_attempt(intent)
    if attempt_id is None:
        raise EntryRefused(
            Message(
                gettext_noop("At Stripe, the payment no longer names the request that created it.")
            )
        )
    attempt, _is_new = StripeAttempt.objects.get_or_create(
        pk=attempt_id,
        defaults={
            "order_payment": locked.payment,
            "operation": StripeAttempt.Operation.CREATE_INTENT,
            "outcome": StripeAttempt.Outcome.SUCCEEDED,
            "livemode": intent.livemode,
            "params": {},  # they are lost, so the next call 1 sends all of them again
            "stripe_object_id": intent.id,
            "finished_at": timezone.now(),
        },
    )
    if attempt.order_payment_id != locked.payment.pk or attempt.stripe_object_id not in {
        "",
        intent.id,
    }:
        raise EntryRefused(
            Message(
                gettext_noop(
                    "The metadata of this payment was copied from another payment. Refund this "
                    "payment in Stripe's dashboard, and dismiss it here."
                )
            )
        )
    return attempt
