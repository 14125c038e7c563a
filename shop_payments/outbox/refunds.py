"""Send a saved refund."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from shop_payments.exceptions import (
    IdempotencyKeyInUse,
    Message,
    OrderNotRefundable,
    RefundInProgress,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.models import Refund
from shop_payments.outbox.refund_operations import refund_of
from shop_payments.outbox.sender import send_attempt

IN_PROGRESS = Message(
    gettext_noop("This refund is being sent by another request. Try again in a moment.")
)
PAID_IN_TEST_MODE = Message(
    gettext_noop("This payment was made in test mode, but the key in use is a live key.")
)


def send_refund(refund: Refund, *, origin: Origin) -> Refund:
    """Send a saved refund, which the caller has acquired, and record the outcome.

    Raises:
        RefundExceedsBalance, PaymentDisputed: a refund or dispute at Stripe was not known here;
            the rows have been synced.
        OrderNotRefundable: Stripe does not refund this payment over its API.
        RefundInProgress: another request waits for Stripe's answer to it, or its outcome is not
            known yet.
        GatewayError: Stripe refused, or could not be reached.
    """
    attempt = refund.attempt
    assert attempt is not None
    if belongs_to_other_mode(attempt.livemode):
        raise OrderNotRefundable(PAID_IN_TEST_MODE)
    try:
        sent = send_attempt(attempt, origin=origin)
    except IdempotencyKeyInUse:
        raise RefundInProgress(IN_PROGRESS) from None
    assert sent.locked is not None
    return refund_of(sent.locked, attempt)
