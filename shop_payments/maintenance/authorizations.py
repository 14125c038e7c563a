"""Ask staff about authorizations before they expire and the money stays with the customer.

See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from shop_payments.gateway import assert_no_transaction
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment, open_review
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import CAPTURABLE_STATUSES
from shop_payments.models import PaymentIntent, ReviewItem
from shop_payments.models.words import stored_moment

_EXPIRES = ReviewItem.Reason.AUTHORIZATION_EXPIRES


def expiring_authorizations(*, within: timedelta = timedelta(hours=24)) -> QuerySet[PaymentIntent]:
    """Return the intents whose authorizations expire ``within`` this time, if not asked before."""
    return PaymentIntent.objects.filter(
        status__in=CAPTURABLE_STATUSES, capture_before__lte=timezone.now() + within
    ).exclude(review_items__reason=_EXPIRES)


def flag_expiring_authorizations(*, within: timedelta = timedelta(hours=24), origin: Origin) -> int:
    """Ask staff about authorizations that expire ``within`` this time; return their number.

    Staff are asked once about each. The items close when the money is captured or released. Stripe
    is not called, because the rows store the time of expiry.

    Raises:
        TransactionOpenError: called inside a database transaction.
    """
    # A rollback would undo the items of which the receivers have been notified.
    assert_no_transaction()
    rows = expiring_authorizations(within=within).order_by("capture_before")
    return sum(flag_authorization(row, origin=origin) for row in rows)


def flag_authorization(seen: PaymentIntent, *, origin: Origin) -> bool:
    """Ask staff about the authorization of this intent; return whether the item is new."""

    def flag(locked: LockedPayment) -> bool:
        row = locked.intent(seen.stripe_id)
        if row is None or row.status not in CAPTURABLE_STATUSES or row.capture_before is None:
            return False
        open_review(
            locked,
            row,
            _EXPIRES,
            amount=row.amount,
            currency=row.currency,
            stripe_intent_id=row.stripe_id,
            capture_before=stored_moment(row.capture_before),
        )
        # Without a fact, another process has opened the item before.
        return bool(locked.facts)

    return bool(change_payment(flag, origin=origin, pk=seen.order_payment_id).value)
