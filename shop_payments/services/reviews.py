"""Decide what needed a person: in words, by name, and for good."""

from __future__ import annotations

from typing import Any

from shop_payments.gateway import assert_no_transaction
from shop_payments.models import FactKind, ReviewItem
from shop_payments.services.history import Origin, dispatch
from shop_payments.services.ledger import close_items, lock_payment, record
from shop_payments.services.transactions import short_transactions


def resolve_review(*, item_pk: int, words: str, user: Any, origin: Origin) -> bool:
    """Close a review item with what ``user`` decided; tell whether nobody had done so before.

    It moves no money. Where no other item is open, the payment needs no review any more: an order
    that has not been paid can then be paid again. The history says who decided and on what; the
    words stay with the item, for the history is never purged.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ReviewItem.DoesNotExist: no such item.
        ValueError: no words.
    """
    if not words.strip():
        raise ValueError("a decision needs words")
    assert_no_transaction()
    item = ReviewItem.objects.select_related("payment_intent").get(pk=item_pk)
    for short in short_transactions():
        with short:
            locked = lock_payment(item.order_payment_id)
            is_first = close_items(locked, words.strip(), by=user, pk=item.pk)
            if is_first:
                figures = {
                    "detail": str(item.get_reason_display()),
                    "review_item": item.pk,
                    "reason": item.reason,
                }
                fact = (FactKind.REVIEW_RESOLVED, figures)
                record(locked, item.payment_intent, [fact], origin=origin)
    dispatch(locked.facts)
    return is_first
