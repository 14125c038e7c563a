"""Close an order's open payment intent, so that it can never take money.

Note [Cancelling with the order]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A shop cancels its order in its own transaction, in which Stripe must not be called. So the request
is recorded in that transaction, on the payment's row, and Stripe is called after the commit. If the
process dies in between, or Stripe is unavailable, the request remains and the sweep finds it. If
the shop rolls back, there is no request.

An order without a payment has no row for the request. But a concurrent request for a payment intent
may have inserted the payment without having committed it. So such a request inserts the row first
and reads the order afterwards (``create_payment_intent.py``). The cancellation looks again after
its commit, in a way that waits for such a row. Whichever came first, the other one sees it. If the
process dies just before this second look, only the shop knows of the cancellation, and the sweep
asks the adapter.

See: https://docs.stripe.com/refunds#cancel-payment (checked 2026-11)
"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.exceptions import (
    Message,
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
"""Stripe's cancellation reasons."""

_ON_REQUEST = "requested_by_customer"


def cancel_payment(*, order_id: object, reason: str = _ON_REQUEST, origin: Origin) -> None:
    """Close the order's open intent at Stripe now. Nothing happens if none is open.

    Raises:
        TransactionOpenError: called inside a database transaction; see
            :func:`cancel_payment_on_commit`.
        OrderNotFound: there is no such order, or it has no payment.
        PaymentNotCancelable: the money was received or is on its way.
        PaymentIntentInProgress: another request is handling this payment.
        PaymentIntentMissing: Stripe does not know the intent, which is of live mode.
        GatewayError: Stripe could not be reached. It is safe to try again.
    """
    close_open_intent(order_id, reason, origin)


def close_open_intent(
    order_id: object,
    reason: str,
    origin: Origin,
    *,
    requested_at: datetime | None = None,
    as_seen: _Seen | None = None,
    is_recorded: bool = False,
) -> None:
    """Close the intent that is open now, but none that is opened meanwhile.

    With ``requested_at``, it is closed only while that request is in force. With ``as_seen``, only
    that intent is closed, and only if it has not been changed or asked for since. ``is_recorded``
    means that the history already contains the request.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, before anything is written
    target = ""

    def decide(locked: LockedPayment) -> StripeAttempt | None:
        nonlocal target
        if requested_at is not None and locked.payment.cancel_requested_at != requested_at:
            return None
        row = _open_intent(locked, as_seen)
        if row is None or target not in {"", row.stripe_id}:
            return None  # the intent to close is closed, and the customer has started again
        target = row.stripe_id
        if belongs_to_other_mode(row.livemode):
            mark_missing(locked, row)  # of test mode, and the key in use is live
            return None
        # A request of the shop stays, so the sweep must not repeat a refused call each time.
        if row.status not in CANCELABLE_STATUSES or (requested_at and _was_refused(row)):
            raise PaymentNotCancelable(
                Message(
                    gettext_noop("The payment cannot be cancelled: it is %(status)s."),
                    status=row.status,
                )
            )
        params = {"cancellation_reason": reason}
        attempt = save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)
        if not is_recorded:
            _record_request(locked, row)
        return attempt

    try:
        locked = write_until_done(order_id=order_id, decide=decide, origin=origin)
    except UnexpectedState as error:
        raise PaymentNotCancelable(
            Message(gettext_noop("Stripe does not cancel this payment: %(error)s"), error=error)
        ) from None
    row = locked.intent(target)
    if row is not None and row.has_succeeded:
        raise _already_paid()


def _already_paid() -> PaymentNotCancelable:
    return PaymentNotCancelable(
        Message(gettext_noop("The order has been paid. Refund it instead."))
    )


def _record_request(locked: LockedPayment, row: PaymentIntent | None) -> None:
    """Record who requested it, because a webhook may be the first to report the cancellation."""
    figures = {"stripe_intent_id": row.stripe_id} if row else {}
    locked.add_facts(row, [(FactKind.CANCEL_REQUESTED, figures)])


_Seen = tuple[int, int, datetime]
"""An intent's primary key, its version, and the time when it was last asked for."""


def _open_intent(locked: LockedPayment, as_seen: _Seen | None) -> PaymentIntent | None:
    """Return the intent to close.

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
    """Return whether Stripe has refused to cancel this version of the intent."""
    return StripeAttempt.objects.filter(
        order_payment=row.order_payment_id,
        operation=StripeAttempt.Operation.CANCEL_INTENT,
        outcome=StripeAttempt.Outcome.FAILED,
        target=row.stripe_id,
        target_version=row.version,
    ).exists()


def cancel_payment_on_commit(*, order_id: object, origin: Origin) -> None:
    """Cancel the order's open intent after the caller's transaction is committed.

    Call this when the shop cancels its order, inside its transaction or without one. A failure
    after the commit is logged, not raised, and the sweep tries again. Money that comes nevertheless
    goes to review. If the shop reopens the order, the next call for a payment intent withdraws the
    request.
    """
    pk = get_order_adapter().parse_id(order_id)
    if pk is None:
        return
    what = f"Cancellation of order {pk}"

    def record(locked: LockedPayment) -> None:
        # A covered order without an open intent has nothing to cancel: it can be refunded.
        if locked.open_intent is not None or not locked.balance().is_covered:
            request_cancellation(locked)
            after_commit(partial(finish_cancellation, locked.payment.pk, origin=origin), what=what)

    # The caller may hold the order's lock. The payment's comes second: see Note [Lock order] in
    # ``ledger/payments.py``.
    if change_payment(record, origin=origin, order_id=pk).locked is None:
        # There is no row for the request, but a payment may just be being inserted.
        after_commit(partial(_cancel_concurrent_payment, pk, origin=origin), what=what)


def request_cancellation(locked: LockedPayment) -> None:
    """Record a request to close the order's open intent, and its origin."""
    payment = locked.payment
    if payment.cancel_requested_at is None:
        payment.cancel_requested_at = timezone.now()
        _record_request(locked, locked.open_intent)


def _cancel_concurrent_payment(order_pk: Any, *, origin: Origin) -> None:
    """Look again for a payment of an order that had none, and wait for one being inserted.

    See Note [Cancelling with the order].
    """
    if is_payment_begun(order_pk):
        cancel_payment_on_commit(order_id=order_pk, origin=origin)


def finish_cancellation(payment_pk: int, *, origin: Origin) -> bool:
    """Close the intent of a payment whose cancellation was requested; return whether it is done.

    Our own errors and Stripe's are logged, not raised.
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
    """Close the intent of a payment whose cancellation was requested, and end the request.

    An intent that Stripe refused to cancel is fetched, and tried again after it has changed.

    Raises:
        TransactionOpenError: called inside a database transaction.
        PaymentNotCancelable: the money is on its way. If it comes, it goes to review. If it fails,
            the intent is open again, so the request remains.
        PaymentIntentMissing: Stripe does not know the intent, which is of live mode; staff are
            asked.
        PaymentIntentInProgress: other requests hold the intent for too long.
        GatewayError: Stripe could not be reached; the request remains.
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
            payment.order_id, _ON_REQUEST, origin, requested_at=requested_at, is_recorded=True
        )
    except (PaymentNotCancelable, PaymentIntentMissing):
        if still_open.all().exists():
            raise
    # Not a newer request, if the order was reopened and cancelled again meanwhile.
    same_request = OrderPayment.objects.filter(pk=payment_pk, cancel_requested_at=requested_at)
    same_request.update(cancel_requested_at=None)
