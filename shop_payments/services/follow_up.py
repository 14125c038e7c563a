"""Follow-ups at Stripe after an evaluation.

An open payment intent that asks for more than is outstanding is lowered or cancelled, so that the
customer does not pay twice. Money that came when nothing was owed is refunded, if the shop has
enabled that.

The sweep retries what fails here.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import Error as DatabaseFailure
from django.db.models import F, Q, QuerySet

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    ConfigurationError,
    GatewayInvalidRequest,
    MoneyError,
    PaymentError,
    ShopPaymentsError,
)
from shop_payments.ledger.evaluation import evaluate, intent_to_lower
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import runs_after_commit
from shop_payments.lifecycle import UPDATABLE_STATUSES
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.outbox.intent_params import build_update
from shop_payments.outbox.writer import save_write, write_until_done
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.create_payment_intent import remember_refused_receipt
from shop_payments.services.refund_excess import refund_excess

logger = logging.getLogger("shop_payments")

_DUPLICATE = "duplicate"
"""Stripe's cancellation reason for an intent whose money is not owed any more."""


@runs_after_commit
def follow_up(payment_pk: int, *, origin: Origin) -> None:
    """Run the follow-ups of a payment. Failures are logged, and the sweep tries them again."""
    # Lower first, so that the customer cannot pay too much while a refund is sent.
    for work in (lower_open_intent, refund_excess):
        try:
            work(payment_pk, origin=origin)
        except Exception as error:
            # The change is committed, so an error here must not fail the request.
            is_known = isinstance(error, ShopPaymentsError | DatabaseFailure)
            logger.warning(
                "payment=%s %s failed, the sweep tries it again: %s",
                payment_pk,
                work.__name__,
                error,
                exc_info=not is_known,
            )


def lower_open_intent(payment_pk: int, *, origin: Origin) -> None:
    """Lower an open intent to the amount of call 1; cancel it if nothing is outstanding.

    The update sends all parameters, as call 1 does, because the order's capture method may have
    changed, too. An intent is cancelled if its currency is wrong or if it cannot be updated.

    Raises:
        OrderUnreadable: the order could not be read.
        PaymentError, GatewayError: another request is handling it, or Stripe refused or could not
            be reached.
    """
    payment = OrderPayment.objects.get(pk=payment_pk)

    def decide(locked: LockedPayment) -> StripeAttempt | None:
        balance = evaluate(locked)
        if balance is None:
            assert locked.order_error is not None
            raise locked.order_error
        locked.needs_follow_up = False  # this is the follow-up
        row = intent_to_lower(locked, balance)
        if row is None:
            return None
        if balance.askable == 0 or row.currency != locked.payment.currency:
            params = {"cancellation_reason": _DUPLICATE}
            return save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)
        try:
            params = build_update(locked, row, balance)
        except (PaymentError, MoneyError, ConfigurationError) as error:
            # The customer must not pay too much, and the next call 1 creates another intent.
            logger.warning("payment=%s %s is cancelled, not lowered: %s", payment_pk, row, error)
            params = {"cancellation_reason": _DUPLICATE}
            return save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)
        sent.update(params)
        return save_write(locked, row, StripeAttempt.Operation.UPDATE_INTENT, params)

    # The second time without a receipt address that Stripe has refused.
    for _try in range(2):
        sent: dict[str, Any] = {}
        try:
            write_until_done(order_id=payment.order_id, decide=decide, origin=origin)
        except GatewayInvalidRequest as error:
            if error.param == "receipt_email" and sent.get("receipt_email"):
                remember_refused_receipt(payment_pk, sent["receipt_email"], origin=origin)
                continue  # without the address
            break
        return
    # Stripe refused, for example an amount below its minimum. The intent must not be paid.
    cancel_payment(order_id=payment.order_id, reason=_DUPLICATE, origin=origin)


def payments_to_follow_up() -> QuerySet[OrderPayment]:
    """Return the payments that need a follow-up according to their stored amounts."""
    is_too_much = Q(amount__gt=F("order_payment__amount_outstanding"))
    # An order with an unknown intent asks for nothing, whatever is outstanding.
    is_too_much |= Q(order_payment__has_unknown_intent=True)
    excessive = PaymentIntent.objects.filter(
        is_too_much | ~Q(currency=F("order_payment__currency")),
        status__in=sorted(UPDATABLE_STATUSES),
        livemode=get_config().livemode,
    )
    wanted = Q(pk__in=excessive.values("order_payment"))
    if get_config().AUTO_REFUND_EXCESS:
        wanted |= Q(needs_review=True) & (Q(amount_excess__gt=0) | Q(amount_uncounted__gt=0))
    return OrderPayment.objects.filter(wanted, failed_reads=0).order_by("pk")
