"""Unfinished cancellations, and abandoned intents."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayUnavailable,
    PaymentError,
)
from shop_payments.gateway import PaymentIntentResult
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import CANCELABLE_STATUSES, IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.orders import is_unwanted
from shop_payments.services.cancel_payment import close_open_intent, request_cancellation
from shop_payments.sync.payment_intents import refresh_intent

logger = logging.getLogger("shop_payments")


def requested_cancellations() -> QuerySet[OrderPayment]:
    """Return the payments with a cancellation that is not finished."""
    return OrderPayment.objects.filter(cancel_requested_at__isnull=False)


def intents_without_request(*, since: datetime) -> QuerySet[PaymentIntent]:
    """Return the open, unpaid intents first seen since then whose cancellation nobody requested."""
    rows = PaymentIntent.objects.open().filter(
        livemode=get_config().livemode,
        created_at__gte=since,
        status__in=sorted(_ABANDONED),
        order_payment__cancel_requested_at=None,
    )
    return rows.select_related("order_payment")


def request_lost_cancellation(payment_pk: int, *, origin: Origin) -> None:
    """Request the cancellation of an open, unpaid intent, if the shop wants no money for its order.

    Everything is checked again under the lock: the shop may just have reopened the order, or the
    customer's money may be on its way.
    """

    def request(locked: LockedPayment) -> None:
        row = locked.open_intent
        is_unpaid = row is not None and row.status in _ABANDONED
        if is_unpaid and is_unwanted(locked.payment.order_id):
            request_cancellation(locked)

    change_payment(request, origin=origin, pk=payment_pk)


_ABANDONED = CANCELABLE_STATUSES - {IntentStatus.PROCESSING, IntentStatus.REQUIRES_CAPTURE}
"""Statuses of an open intent without money on its way."""


def abandoned_intents(*, older_than: datetime) -> QuerySet[PaymentIntent]:
    """Return the open, unpaid intents of the key's mode without activity since then.

    Intents with money on its way (processing, authorized) are left out.
    """
    return PaymentIntent.objects.open().filter(
        livemode=get_config().livemode,
        updated_at__lt=older_than,
        asked_at__lt=older_than,
        status__in=sorted(_ABANDONED),
    )


def _waits_for_customer(intent: PaymentIntentResult) -> bool:
    """Return whether the customer can still pay elsewhere, for example with a voucher."""
    until = intent.payable_until
    return intent.is_finished_elsewhere and (until is None or until > timezone.now())


def close_abandoned_intent(row: PaymentIntent, *, origin: Origin) -> bool:
    """Close an abandoned intent; return whether that was done.

    It is fetched first, because the event about its payment may have been lost. It stays open if a
    customer asks for it meanwhile.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    order_id, asked_at = row.order_payment.order_id, row.asked_at
    try:
        seen = refresh_intent(row, origin=origin)
        if seen is None or seen.row.status not in _ABANDONED or _waits_for_customer(seen.intent):
            return False
        # With the ``asked_at`` from before the fetch: a customer who asks since then may pay.
        close_open_intent(
            order_id, "abandoned", origin, as_seen=(seen.row.pk, seen.row.version, asked_at)
        )
    # The next intent would fail for the same reason, so the caller has to know.
    except (GatewayUnavailable, GatewayBusy, GatewayAuthenticationError):
        raise
    except (PaymentError, GatewayError) as error:
        logger.info("The payment intent of order %s stays open: %s", order_id, error)
        return False
    row.refresh_from_db()  # another reason means that somebody else has cancelled it
    return row.cancellation_reason == "abandoned"
