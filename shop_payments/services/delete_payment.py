"""Delete the payment of an order that never held money, so that the order can be deleted."""

from __future__ import annotations

import logging

from django.db.models import ProtectedError
from django.utils.translation import gettext_noop

from shop_payments.exceptions import Message, PaymentNotDeletable
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.transactions import run_transaction
from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent
from shop_payments.orders import parse_order_id
from shop_payments.services.cancel_payment import cancel_payment

logger = logging.getLogger("shop_payments")

_STAYS = Message(
    gettext_noop("Money was received or is on its way, or staff must review the payment.")
)


def delete_payment(*, order_id: object, origin: Origin) -> bool:
    """Cancel the order's open intent, and delete the payment and its rows.

    Return False if the order has no payment. Afterwards the order itself can be deleted. Stripe
    keeps the cancelled intent, and the log has a line about the deletion.

    Raises:
        TransactionOpenError: an intent is open, and the call is inside a database transaction.
        PaymentNotDeletable: money was received or is on its way, staff have recorded something or
            must review the payment, or a call to Stripe has no known outcome.
        PaymentNotCancelable, PaymentIntentInProgress, PaymentIntentMissing, GatewayError: as in
            :func:`~shop_payments.services.cancel_payment`.
    """
    pk = parse_order_id(order_id)
    payment = None if pk is None else OrderPayment.objects.of_order(pk).first()
    if payment is None:
        return False
    if payment.can_be_deleted and payment.payment_intents.open().exists():
        cancel_payment(order_id=pk, origin=origin)

    def delete() -> bool:
        locked = find_and_lock_payment(order_id=pk)
        if locked is None:
            return False
        if reason := _why_not(locked):
            raise PaymentNotDeletable(reason)
        try:
            _delete_rows(locked.payment)
        except ProtectedError:  # by a refund, dispute, staff entry, fee, warning or review
            raise PaymentNotDeletable(_STAYS) from None
        return True

    is_deleted = run_transaction(delete)
    if is_deleted:
        logger.info(
            "Payment deleted: order=%s source=%s by=%s", pk, origin.source, origin.actor or "-"
        )
    return is_deleted


def _why_not(locked: LockedPayment) -> str:
    """Return why a payment must stay; empty if it can be deleted."""
    if not locked.payment.can_be_deleted:
        return _STAYS
    if locked.open_intent is not None:
        return Message(gettext_noop("The order has an open payment intent."))
    if locked.payment.attempts.pending().exists():
        return Message(gettext_noop("The outcome of a call to Stripe is not known yet."))
    return ""


def _delete_rows(payment: OrderPayment) -> None:
    # In this order, because each protects the one after it.
    PaymentHistory.objects.delete_with(payment)
    payment.review_items.all().delete()
    PaymentIntent.objects.filter(order_payment=payment).delete()
    payment.attempts.all().delete()
    payment.delete()
