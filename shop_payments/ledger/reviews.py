"""Close a review item by hand."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_noop

from shop_payments.exceptions import EntryRefused, Message
from shop_payments.gateway import assert_no_transaction
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, close_items
from shop_payments.ledger.units import change_payment
from shop_payments.models import FactKind, ReviewItem


def close_review_item(
    *, item_pk: int, reason: str, user: Any, origin: Origin, shown_key: str | None = None
) -> bool:
    """Close a review item by hand; return whether it was open.

    ``shown_key`` identifies the version that staff have read (:attr:`ReviewItem.shown_key`).

    Closing moves no money and does not change the balance. The item opens again if its amount
    changes. The history records who closed it. The reason stays on the item, because the history
    is never purged.

    Raises:
        TransactionOpenError: called inside a database transaction.
        ReviewItem.DoesNotExist: no such item.
        ValueError: no reason.
        EntryRefused: the item has changed since staff read it; nothing was closed.
    """
    if not reason.strip():
        raise ValueError("closing a review item needs a reason")
    assert_no_transaction()
    item = ReviewItem.objects.select_related("payment_intent").get(pk=item_pk)

    def close(locked: LockedPayment) -> bool:
        now = locked.payment.review_items.open().filter(pk=item.pk).first()
        if now is not None and shown_key not in {None, now.shown_key}:
            raise EntryRefused(
                Message(
                    gettext_noop(
                        "The item has changed since this page was opened, so it was not closed."
                        " Read it again. If it can still be closed, send the form again."
                    )
                )
            )
        why = {"sentence": "closed_by_staff", "note": reason.strip()[:500]}
        was_open = close_items(locked, why, by=user, pk=item.pk)
        if was_open:
            figures = {"review_item": item.pk, "reason": item.reason}
            fact = (FactKind.REVIEW_CLOSED, figures)
            locked.add_facts(item.payment_intent, [fact])
        return was_open

    return bool(change_payment(close, origin=origin, pk=item.order_payment_id).value)
