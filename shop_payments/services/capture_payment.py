"""Capture authorized money, in full or in part.

An authorization is not a payment: the money stays with the customer until it is captured, and the
authorization expires after some days. The order is paid when Stripe reports the capture.

See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
"""

from __future__ import annotations

from decimal import Decimal

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.exceptions import (
    Message,
    OrderAlreadyPaid,
    PaymentMismatch,
    PaymentNotCapturable,
    UnexpectedState,
)
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.lifecycle import CAPTURABLE_STATUSES
from shop_payments.models import FactKind, PaymentIntent, StaffEntry, StripeAttempt
from shop_payments.models.sentences import CAPTURED_AGAIN, REST_WAIVED
from shop_payments.money import ShownAmount, to_minor_units
from shop_payments.orders import find_order, read_terms
from shop_payments.outbox.writer import save_write, write_until_done


def capture_payment(
    *,
    order_id: object,
    amount_decimal: Decimal | None = None,
    waive_rest: bool = False,
    origin: Origin,
) -> PaymentIntent:
    """Capture the authorized money of an order; return its intent, which has then succeeded.

    ``amount_decimal``, in the payment's currency, captures a part of it. This is possible only
    once: Stripe releases the rest to the customer. With ``waive_rest``, the rest need not be paid
    any more, otherwise it is still owed. None captures everything, and is refused if that is more
    than the order owes.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order, or it has no payment.
        OrderUnreadable: no amount was given, and the order could not be read.
        OrderAlreadyPaid: the money was captured before.
        PaymentNotCapturable: nothing is authorized, or not so much. Or no amount was given, and
            more is authorized than the order owes, or the shop wants no money for it.
        AmountNotRepresentable: the currency has no such amount.
        PaymentMismatch: the money was captured but does not count; it is in review.
        PaymentIntentInProgress: another request is handling this payment.
        GatewayError: Stripe refused, or could not be reached. It is safe to try again.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, before anything is written
    target = ""

    def decide(locked: LockedPayment) -> StripeAttempt:
        nonlocal target
        row = _capturable_intent(locked)
        target = row.stripe_id
        amount = _amount_to_capture(locked, row, amount_decimal)
        # The attempt first, because a waiver of the rest refers to it.
        attempt = _save_capture(locked, row, amount)
        if not waive_rest:
            _revoke_earlier(locked, row)
        elif amount < row.amount_capturable:
            _waive_rest(locked, row, attempt, row.amount_capturable - amount)
        return attempt

    try:
        locked = write_until_done(order_id=order_id, decide=decide, origin=origin)
    except UnexpectedState as error:
        raise PaymentNotCapturable(
            Message(gettext_noop("Stripe does not capture this payment: %(error)s"), error=error)
        ) from None
    return _check_captured(locked, target)


def _check_captured(locked: LockedPayment, intent_id: str) -> PaymentIntent:
    intent = locked.intent(intent_id)
    if intent is None or not intent.has_succeeded:
        raise PaymentNotCapturable(
            Message(gettext_noop("The authorization has ended. Nothing was captured."))
        )
    # If the order could not be read, it is evaluated later; until then nothing is known.
    if not locked.counts(intent) and not locked.payment.failed_reads:
        raise PaymentMismatch(
            Message(
                gettext_noop(
                    "The money was captured but does not count for the order. It is in review."
                )
            )
        )
    return intent


def _capturable_intent(locked: LockedPayment) -> PaymentIntent:
    row = locked.open_intent
    if row is not None and row.status in CAPTURABLE_STATUSES:
        return row
    if row is None and locked.balance().is_covered:
        raise OrderAlreadyPaid(Message(gettext_noop("The order has been paid.")))
    raise PaymentNotCapturable(Message(gettext_noop("No money is authorized for this order.")))


def _amount_to_capture(
    locked: LockedPayment, row: PaymentIntent, amount_decimal: Decimal | None
) -> int:
    if amount_decimal is None:
        _refuse_more_than_owed(locked, row)
        return row.amount_capturable
    amount = to_minor_units(amount_decimal, row.currency)
    if not 0 < amount <= row.amount_capturable:
        left = ShownAmount(row.amount_capturable, row.currency)
        raise PaymentNotCapturable(
            Message(gettext_noop("Only %(amount)s can be captured."), amount=left)
        )
    return amount


def _refuse_more_than_owed(locked: LockedPayment, row: PaymentIntent) -> None:
    """Read the order, and refuse to capture money that would have to be refunded."""
    terms = read_terms(find_order(locked.payment.order_id))
    if not terms.is_payable or terms.total.amount == 0:
        raise PaymentNotCapturable(
            Message(gettext_noop("The order is cancelled, empty or free. Cancel the payment."))
        )
    balance = locked.balance()
    owed = max(0, terms.total.amount - balance.waived - balance.paid)
    if row.amount_capturable > owed or row.currency != terms.total.currency:
        raise PaymentNotCapturable(
            Message(
                gettext_noop(
                    "The order has changed since %(amount)s was authorized. Enter the amount to"
                    " capture, or cancel the payment."
                ),
                amount=ShownAmount(row.amount, row.currency),
            )
        )


def _save_capture(locked: LockedPayment, row: PaymentIntent, amount: int) -> StripeAttempt:
    # Always sent: without it, Stripe takes what is capturable when the request arrives.
    # See: https://docs.stripe.com/api/payment_intents/capture (checked 2026-11)
    params = {"amount_to_capture": amount}
    attempt = save_write(locked, row, StripeAttempt.Operation.CAPTURE_INTENT, params)
    # Record who requested it, because a webhook may be the first to report the capture.
    figures = {
        "stripe_intent_id": row.stripe_id,
        "amount": amount,
        "currency": row.currency,
    }
    locked.add_facts(row, [(FactKind.CAPTURE_REQUESTED, figures)])
    return attempt


def _waive_rest(
    locked: LockedPayment, row: PaymentIntent, attempt: StripeAttempt, rest: int
) -> None:
    """Record a waiver of the rest. It counts if exactly this capture succeeds."""
    entry = StaffEntry.objects.create(
        order_payment=locked.payment,
        payment_intent=row,
        capture=attempt,
        kind=StaffEntry.Kind.WAIVER,
        amount=rest,
        currency=row.currency,
        reason=REST_WAIVED,
        request_key=f"capture {attempt.pk}",
        actor=locked.origin.actor[:255],
    )
    locked.entries.append(entry)
    figures = {
        "sentence": "waived_with_capture",
        "stripe_intent_id": row.stripe_id,
        "amount": rest,
        "currency": row.currency,
    }
    locked.add_facts(row, [(FactKind.AMOUNT_WAIVED, figures)])


def _revoke_earlier(locked: LockedPayment, row: PaymentIntent) -> None:
    """Revoke the waiver of an earlier, unresolved capture: the latest request counts."""
    for entry in locked.entries:
        if entry.capture is None or entry.payment_intent_id != row.pk or entry.is_revoked:
            continue
        entry.revoked_at, entry.revocation_reason = timezone.now(), CAPTURED_AGAIN
        locked.save_later(entry)
        figures = {
            "sentence": "waiver_revoked",
            "staff_entry": entry.pk,
            "amount": entry.amount,
            "currency": entry.currency,
        }
        locked.add_facts(row, [(FactKind.STAFF_ENTRY_REVOKED, figures)])
