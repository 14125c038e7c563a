"""Refund money that came when nothing was owed or wanted."""

from __future__ import annotations

from shop_payments.conf import get_config
from shop_payments.ledger.evaluation import AUTOMATIC_KEY, evaluate, excess_to_return
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, read_rows
from shop_payments.ledger.units import change_payment
from shop_payments.models import OrderPayment, Refund
from shop_payments.outbox.refunds import send_refund
from shop_payments.services.refund_payment import RefundRequest, insert_refund
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.refunds import REFUNDS


def refund_excess(payment_pk: int, *, origin: Origin) -> None:
    """Refund money that came when nothing was owed or wanted, if ``AUTO_REFUND_EXCESS`` is set.

    Refunds and disputes at Stripe are synced first, because their events may still be on their way.
    Then the order is read and evaluated again under the lock, before anything is sent. If sending
    fails, the refund stays requested, and the sweep sends it.

    Raises:
        PaymentError, GatewayError: see :func:`refund_payment`.
    """
    seen = read_rows(OrderPayment.objects.get(pk=payment_pk))
    if not excess_to_return(seen, seen.balance()):
        return
    for intent in seen.intents:
        # The key in use sees only its own mode.
        if intent.amount_received and intent.livemode == get_config().livemode:
            REFUNDS.sync(intent, origin=origin, follows_up=False)
            DISPUTES.sync(intent, origin=origin, follows_up=False)

    def save(locked: LockedPayment) -> list[Refund]:
        balance = evaluate(locked)
        rows = [] if balance is None else excess_to_return(locked, balance)
        return [
            insert_refund(
                locked,
                row,
                row.amount_received,
                RefundRequest(key=f"{AUTOMATIC_KEY} {row.stripe_id}"),
            )
            for row in rows
        ]

    done = change_payment(save, origin=origin, follows_up=False, pk=payment_pk)
    for refund in done.value or ():
        send_refund(refund, origin=origin)
