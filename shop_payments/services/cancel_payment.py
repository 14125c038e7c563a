"""Close an order's open payment intent, so that it can never take money.

Note [Cancelling with the order]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A shop cancels its order in a transaction of its own, in which Stripe must not be called. So the
wish is written down in that transaction, on the payment's row; Stripe is told after the commit.
If the process dies in between, or Stripe is away, the wish stands, and the next look finds it. If
the shop rolls back, there never was a wish.

An order of which there is no payment yet has no row for the wish, but its first request may have
begun one that it has not committed. So who begins one inserts its row first and reads the order
after that (``intents.py``), and who cancels looks again after the commit, in a way that waits for
such a row. Whichever came first, the other one sees it. If the process dies just before that second
look, the shop's word is all that is left of the wish, and the sweep asks for it.

See: https://docs.stripe.com/refunds#cancel-payment (checked 2026-11)
"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone

from shop_payments.exceptions import (
    PaymentIntentMissing,
    PaymentNotCancelable,
    ShopPaymentsError,
    UnexpectedState,
)
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, is_payment_begun
from shop_payments.ledger.transactions import after_commit
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import CANCELABLE_STATUSES
from shop_payments.models import FactKind, OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.orders import get_order_adapter
from shop_payments.outbox.writer import save_write, write_until_done
from shop_payments.sync.payment_intents import mark_missing, refresh_intent

logger = logging.getLogger("shop_payments")

REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
"""Why, in Stripe's words."""

_ON_REQUEST = "requested_by_customer"


def cancel_payment(*, order_id: object, reason: str = _ON_REQUEST, origin: Origin) -> None:
    """Close the order's open intent at Stripe now; nothing happens where none is open.

    Raises:
        TransactionOpenError: called inside a database transaction; see
            :func:`cancel_payment_on_commit`.
        OrderNotFound: no such order, or nothing was ever tried for it.
        PaymentNotCancelable: the money has come or is on its way.
        PaymentIntentInProgress: another request is at this payment.
        PaymentIntentMissing: the intent is of live mode, and not at Stripe.
        GatewayError: Stripe could not be reached; asking again is safe.
    """
    close_open_intent(order_id, reason, origin)


def close_open_intent(
    order_id: object,
    reason: str,
    origin: Origin,
    *,
    requested_at: datetime | None = None,
    as_seen: _Seen | None = None,
    is_noted: bool = False,
) -> None:
    """Close the intent that is open now, and none that is opened meanwhile.

    Where ``requested_at`` is given, it is closed only for as long as that wish stands; where
    ``as_seen`` is given, only that intent, and as long as nobody has touched it or asked for it
    since. ``is_noted``
    where the history says already who has asked for it.
    """
    assert_no_transaction()
    get_gateway()
    target = ""

    def decide(locked: LockedPayment) -> StripeAttempt | None:
        nonlocal target
        if requested_at is not None and locked.payment.cancel_requested_at != requested_at:
            return None
        row = _open_intent(locked, as_seen)
        if row is None or target not in {"", row.stripe_id}:
            return None  # what was to be closed is closed, and the customer has begun again
        target = row.stripe_id
        if belongs_to_other_mode(row.livemode):
            mark_missing(locked, row, origin=origin)  # a test payment, left behind by a live key
            return None
        if row.status not in CANCELABLE_STATUSES or (requested_at and _was_refused(row)):
            raise PaymentNotCancelable(f"The payment cannot be cancelled: it is {row.status}.")
        params = {"cancellation_reason": reason}
        attempt = save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)
        if not is_noted:
            _record_request(locked, row, origin)
        return attempt

    try:
        locked = write_until_done(order_id=order_id, decide=decide, origin=origin)
    except UnexpectedState as error:
        raise PaymentNotCancelable(f"Stripe does not cancel this payment: {error}") from None
    row = locked.intent(target)
    if row is not None and row.has_succeeded:
        raise _already_paid()


def _already_paid() -> PaymentNotCancelable:
    return PaymentNotCancelable("The order has been paid; refund it instead.")


def _record_request(locked: LockedPayment, row: PaymentIntent | None, origin: Origin) -> None:
    """Note who wants it: that the intent is closed, a webhook may be the first to say."""
    locked.add_facts(row, [(FactKind.CANCEL_REQUESTED, {"detail": str(row or "")})], origin=origin)


_Seen = tuple[int, int, datetime]
"""An intent's primary key and version, and when it was last asked for."""


def _open_intent(locked: LockedPayment, as_seen: _Seen | None) -> PaymentIntent | None:
    """Return what is to be closed.

    Raises:
        PaymentNotCancelable: the order has been paid.
    """
    row = locked.open_intent
    if row is None and locked.balance().is_covered:
        raise _already_paid()
    if row is None or as_seen is None:
        return row
    return row if (row.pk, row.version, row.asked_at) == as_seen else None


def _was_refused(row: PaymentIntent) -> bool:
    """Whether Stripe has refused to cancel the intent as it is: it would refuse again."""
    return StripeAttempt.objects.filter(
        order_payment=row.order_payment_id,
        operation=StripeAttempt.Operation.CANCEL_INTENT,
        outcome=StripeAttempt.Outcome.FAILED,
        target=row.stripe_id,
        target_version=row.version,
    ).exists()


def cancel_payment_on_commit(*, order_id: object, origin: Origin) -> None:
    """Cancel the order's open intent once the caller's transaction is committed.

    Call this where the shop cancels its order, inside that transaction or outside of one. A failure
    after the commit is logged, not raised, and the sweep tries again. Money that comes nevertheless
    goes to review. A shop that reopens the order has nothing to do: the next call for a payment
    intent withdraws the request.
    """
    pk = get_order_adapter().parse_id(order_id)
    if pk is None:
        return
    what = f"the cancellation of order {pk}"

    def note(locked: LockedPayment) -> None:
        if locked.open_intent is not None or not locked.balance().is_covered:
            request_cancellation(locked, origin)
            after_commit(partial(finish_cancellation, locked.payment.pk, origin=origin), what=what)

    if change_payment(note, origin=origin, order_id=pk).locked is None:
        after_commit(partial(_cancel_what_was_just_begun, pk, origin=origin), what=what)


def request_cancellation(locked: LockedPayment, origin: Origin) -> None:
    """Write down that the order's open intent is to be closed, and by whom."""
    payment = locked.payment
    if payment.cancel_requested_at is None:
        payment.cancel_requested_at = timezone.now()
        _record_request(locked, locked.open_intent, origin)


def _cancel_what_was_just_begun(order_pk: Any, *, origin: Origin) -> None:
    """Look once more for a payment of an order that had none, and wait for one that is begun.

    See Note [Cancelling with the order].
    """
    if is_payment_begun(order_pk):
        cancel_payment_on_commit(order_id=order_pk, origin=origin)


def finish_cancellation(payment_pk: int, *, origin: Origin) -> bool:
    """Close the intent of a payment whose cancellation is wanted; tell whether that is done.

    It never raises for Stripe's sake: what keeps it from being done is logged.
    """
    try:
        close_as_requested(payment_pk, origin=origin)
    except PaymentNotCancelable as error:
        logger.warning("The cancellation of payment %s has to wait: %s", payment_pk, error)
        return False
    except ShopPaymentsError:
        logger.exception("Payment %s is not cancelled yet", payment_pk)
        return False
    return True


def close_as_requested(payment_pk: int, *, origin: Origin) -> None:
    """Close the intent of a payment whose cancellation is wanted, and end the wish.

    What Stripe has refused before is looked at, and asked for again once it has moved.

    Raises:
        TransactionOpenError: called inside a database transaction.
        PaymentNotCancelable: the money is on its way. When it comes, it is judged, and goes to
            review; but it may fail to come, and leave the intent open, so the wish stands.
        PaymentIntentMissing: the intent is of live mode, and not at Stripe; a person is asked.
        PaymentIntentInProgress: other requests hold the intent for too long.
        GatewayError: Stripe could not be reached; the wish stands.
    """
    payment = OrderPayment.objects.filter(pk=payment_pk, cancel_requested_at__isnull=False).first()
    if payment is None:
        return
    requested_at = payment.cancel_requested_at
    still_open = payment.payment_intents.open()
    try:
        for row in still_open:
            if _was_refused(row):
                refresh_intent(row, origin=origin)
        close_open_intent(
            payment.order_id, _ON_REQUEST, origin, requested_at=requested_at, is_noted=True
        )
    except (PaymentNotCancelable, PaymentIntentMissing):
        if still_open.all().exists():
            raise
    # Not a newer wish, of an order that was taken up again and cancelled again meanwhile.
    same_request = OrderPayment.objects.filter(pk=payment_pk, cancel_requested_at=requested_at)
    same_request.update(cancel_requested_at=None)
