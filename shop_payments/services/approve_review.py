"""Approve a payment that Stripe Radar has marked for review."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from shop_payments.exceptions import Message, PaymentError, ReviewClosed
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.models import RadarReview, StripeAttempt
from shop_payments.outbox.refunds import PAID_IN_TEST_MODE
from shop_payments.outbox.sender import send_attempt
from shop_payments.outbox.writer import save_attempt


def approve_review(*, review_id: str, origin: Origin) -> RadarReview:
    """Approve a Radar review at Stripe, which closes it and its review item; return its row.

    Raises:
        TransactionOpenError: called inside a database transaction.
        RadarReview.DoesNotExist: there is no such review.
        ReviewClosed: it has been closed, here or at Stripe.
        ConfigurationError: it is of live mode, and the key in use is a test key.
        GatewayError: Stripe refused, or could not be reached. It is safe to try again.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, before anything is written
    payment_pk = RadarReview.objects.values_list("order_payment", flat=True).get(
        stripe_id=review_id
    )

    def save(locked: LockedPayment) -> StripeAttempt:
        row = RadarReview.objects.get(stripe_id=review_id)
        if not row.is_open:
            raise ReviewClosed(
                Message(gettext_noop("The review was already closed. Nothing was changed."))
            )
        if belongs_to_other_mode(row.livemode):
            raise PaymentError(PAID_IN_TEST_MODE)
        return save_attempt(locked, StripeAttempt.Operation.APPROVE_REVIEW, review_id, {})

    attempt = change_payment(save, origin=origin, pk=payment_pk).value
    assert attempt is not None
    # The answer also closes the review item: see ``sync/radar.py``.
    send_attempt(attempt, origin=origin)
    return RadarReview.objects.get(stripe_id=review_id)
