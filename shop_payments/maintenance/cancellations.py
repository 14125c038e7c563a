"""Cancellations that were asked for and not done, and open intents that nobody is going to pay."""

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
from shop_payments.gateway import PaymentIntentResult, assert_no_transaction, get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import CANCELABLE_STATUSES, IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.orders import is_unwanted
from shop_payments.services.cancel_payment import close_open_intent, request_cancellation
from shop_payments.sync.payment_intents import refresh_intent

logger = logging.getLogger("shop_payments")


def requested_cancellations() -> list[int]:
    """Return the primary keys of payments whose cancellation is wanted and not done yet."""
    rows = OrderPayment.objects.filter(cancel_requested_at__isnull=False)
    return list(rows.order_by("cancel_requested_at").values_list("pk", flat=True))


def payments_without_request(*, since: datetime) -> list[OrderPayment]:
    """Return those with an open, unpaid intent that was first seen since then."""
    rows = PaymentIntent.objects.open().filter(
        livemode=get_config().livemode,
        created_at__gte=since,
        status__in=sorted(_ABANDONED),
        order_payment__cancel_requested_at=None,
    )
    return [row.order_payment for row in rows.select_related("order_payment").order_by("pk")]


def request_lost_cancellation(payment_pk: int, *, origin: Origin) -> None:
    """Note that an open, unpaid intent is to be closed, if the shop wants no money for its order.

    All is looked at once more under the lock: the shop may just have taken the order up again, or
    the customer's money be on its way.
    """

    def note(locked: LockedPayment) -> None:
        row = locked.open_intent
        is_unpaid = row is not None and row.status in _ABANDONED
        if is_unpaid and is_unwanted(locked.payment.order_id):
            request_cancellation(locked, origin)

    change_payment(note, origin=origin, pk=payment_pk)


_ABANDONED = CANCELABLE_STATUSES - {IntentStatus.PROCESSING, IntentStatus.REQUIRES_CAPTURE}


def abandoned_intents(*, older_than: datetime) -> QuerySet[PaymentIntent]:
    """Return the open, unpaid intents of the key's mode that nobody has touched since then.

    Intents with money on its way (processing, authorized) are left alone.
    """
    return PaymentIntent.objects.open().filter(
        livemode=get_config().livemode,
        updated_at__lt=older_than,
        asked_at__lt=older_than,
        status__in=sorted(_ABANDONED),
    )


def cancel_abandoned_intents(*, older_than: datetime, origin: Origin) -> int:
    """Close the open intents that nobody has touched since ``older_than``; return how many.

    What cannot be closed, for whatever reason of its own, keeps no other from being closed.

    Raises:
        GatewayError: Stripe could not be reached; what was closed before stays closed.
        ConfigurationError: the secret key is missing.
    """
    assert_no_transaction()
    get_gateway()
    rows = abandoned_intents(older_than=older_than).select_related("order_payment")
    return sum(close_abandoned_intent(row, origin=origin) for row in rows.order_by("pk"))


def _waits_for_customer(intent: PaymentIntentResult) -> bool:
    """Whether the customer can still do something elsewhere: pay a voucher, say."""
    until = intent.payable_until
    return intent.is_finished_elsewhere and (until is None or until > timezone.now())


def close_abandoned_intent(row: PaymentIntent, *, origin: Origin) -> bool:
    """Close an intent that nobody is going to pay; tell whether that was done.

    It is looked at before: that somebody has paid it, or that the money is on its way, may not
    have been heard of. A customer who asks for it meanwhile keeps it.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    order_id, asked_at = row.order_payment.order_id, row.asked_at
    try:
        seen = refresh_intent(row, origin=origin)
        if seen is None or seen.row.status not in _ABANDONED or _waits_for_customer(seen.intent):
            return False
        # A customer who asks for it while Stripe is asked is about to pay.
        close_open_intent(
            order_id, "abandoned", origin, as_seen=(seen.row.pk, seen.row.version, asked_at)
        )
    except (GatewayUnavailable, GatewayBusy, GatewayAuthenticationError):
        raise
    except (PaymentError, GatewayError) as error:
        logger.info("The payment of order %s stays: %s", order_id, error)
        return False
    row.refresh_from_db()
    return row.cancellation_reason == "abandoned"
