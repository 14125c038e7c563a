"""Refund a payment, in full or in part.

Note [Refunds]
~~~~~~~~~~~~~~
A refund that is requested here is saved under the payment's lock, where it reserves its amount, and
sent after the commit (see Note [Refund rows] in ``models/refunds.py``). Refunds made elsewhere are
synced (``sync/refunds.py``).

See: https://docs.stripe.com/refunds (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayError,
    IdempotencyKeyReused,
    Message,
    OrderNotRefundable,
    PaymentDisputed,
    PaymentError,
    RefundInProgress,
    RefundRefused,
)
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.evaluation import newest_counted_first, record_outflow
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import DisputeState, RefundStatus
from shop_payments.models import FactKind, PaymentIntent, Refund, StripeAttempt
from shop_payments.money import check_written_decimals, to_minor_units
from shop_payments.orders import find_visible_order, parse_order_id
from shop_payments.outbox.refund_operations import exceeds_balance
from shop_payments.outbox.refunds import IN_PROGRESS, PAID_IN_TEST_MODE, send_refund
from shop_payments.outbox.turns import WaitBudget, acquire
from shop_payments.sync.refunds import digest_of_request, figures_of, mirrored_key


@dataclass(frozen=True, kw_only=True)
class RefundRequest:
    """The refund that a caller requests."""

    amount_decimal: Decimal | None = None
    """In the payment's currency; None for all that is left."""

    is_typed: bool = False
    """Whether the amount came as text. Then it may have at most the currency's decimals, including
    zeros, because ``1.250`` may be meant as 1250."""

    reason: str = ""
    """One of :class:`Refund.Reason`, or empty."""

    note: str = ""
    """For the shop's staff: stored with the refund, and never sent to Stripe. A repeated request
    does not change it."""

    kind: str = ""
    """One of :class:`Refund.Kind`. If empty, excess is refunded first; the rest is for goods."""

    key: str
    """The caller's idempotency key: a repeated request with the same key refunds nothing more."""

    intent_id: str = ""
    """Stripe's id of one intent. Empty for the order's counted money: newest payment first."""


def refund_payment(*, order_id: object, request: RefundRequest, origin: Origin) -> list[Refund]:
    """Refund money of an order; repeated with the same key, return the same refunds.

    A refund has one part for each intent that is needed, the newest payment first. There is one
    call to Stripe for each part, unless a call fails. A repeated request sends the unresolved
    parts again, and never one that was refused.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order.
        OrderNotRefundable: it has not been paid, or not by this intent.
        PaymentDisputed: the customer's bank holds the money.
        AmountNotRepresentable: the currency has no such amount, or it is not above zero.
        RefundExceedsBalance: it is more than is left; nothing was sent.
        IdempotencyKeyReused: the key belongs to a request with another amount ("all that is left"
            counts as one), reason or intent.
        RefundInProgress: another request takes too long to send this refund, or Stripe answered
            with a 500 and does not list the refund yet.
        RefundRefused: Stripe refused a part, or did not have it a day later.
        GatewayError: Stripe refused the only part (its row says so and reserves nothing), or the
            outcome is unknown. Then the part stays requested, and the same key can be used again.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, before anything is written
    parts, is_new = _save_or_find(order_id, request, origin)
    results, failure = [], None
    for part in parts:
        try:
            results.append(_finish_part(part, is_new=is_new, origin=origin))
        except (GatewayError, PaymentError) as error:
            if len(parts) == 1:
                raise
            # The other parts are sent nevertheless: each is limited by its own intent.
            failure = _more_serious(failure, error)
            results.append(Refund.objects.select_related("payment_intent").get(pk=part.pk))
    # An unresolved part comes first: the caller has to repeat the request for it.
    if failure is not None and any(each.status == RefundStatus.REQUESTED for each in results):
        raise failure
    refused = [each for each in results if each.status == RefundStatus.REFUSED]
    if refused:
        words = f"Nothing was refunded: {refused[0].failure}"
        if len(results) > 1:
            words = f"{len(refused)} of {len(results)} parts were refused: {refused[0].failure}"
        raise RefundRefused(words, refunds=results)
    return results


def _finish_part(part: Refund, *, is_new: bool, origin: Origin) -> Refund:
    if not is_new:
        part = _wait_or_acquire(part)
    if part.status == RefundStatus.REQUESTED:
        part = send_refund(part, origin=origin)
    return part


def _more_serious(
    known: GatewayError | PaymentError | None, error: GatewayError | PaymentError
) -> GatewayError | PaymentError:
    """Return the error to raise: an unknown outcome is more serious than a refusal."""
    if known is None or (isinstance(error, GatewayError) and error.retryable):
        return error
    return known


# --- saving -------------------------------------------------------------------------------------


def _save_or_find(
    order_id: object, request: RefundRequest, origin: Origin
) -> tuple[list[Refund], bool]:
    """Save the requested refund, or return the parts that already belong to its key."""
    pk = parse_order_id(order_id)

    def save(locked: LockedPayment) -> tuple[list[Refund], bool]:
        known = _known_parts(locked, request)
        if known:
            return known, False
        shares = _shares(locked, request)
        return [insert_refund(locked, intent, amount, request) for intent, amount in shares], True

    done = change_payment(save, origin=origin, lock=partial(_lock_to_refund, pk))
    assert done.value is not None
    return done.value


def _lock_to_refund(pk: object) -> LockedPayment:
    locked = None if pk is None else find_and_lock_payment(order_id=pk)
    if locked is not None:
        return locked
    find_visible_order(pk, any_order=True)  # raises OrderNotFound
    raise OrderNotRefundable(Message(gettext_noop("The order has not been paid.")))


def _refunded_intents(locked: LockedPayment, request: RefundRequest) -> list[PaymentIntent]:
    """Return the intents from which the request may refund, newest payment first."""
    if request.intent_id:
        named = locked.intent(request.intent_id)
        intents = [named] if named is not None else []
    else:
        intents = newest_counted_first(locked)
    intents = [row for row in intents if row.amount_received]
    if not intents and not request.intent_id and locked.balance().uncounted:
        raise OrderNotRefundable(
            Message(
                gettext_noop(
                    "The received money does not count for this order. Staff can refund it in the"
                    " admin."
                )
            )
        )
    if not intents:
        raise OrderNotRefundable(Message(gettext_noop("The order has not been paid.")))
    if any(belongs_to_other_mode(row.livemode) for row in intents):
        raise OrderNotRefundable(PAID_IN_TEST_MODE)
    return intents


def _known_parts(locked: LockedPayment, request: RefundRequest) -> list[Refund]:
    """Return the refunds that belong to the request's key, or to its digest.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    known = [row for row in locked.refunds if row.request_key == request.key]
    if known:
        _check_same(known, request)
        return known
    # Rows of refunds that were only found at Stripe store the digest instead of the key.
    digest_key = mirrored_key(locked.payment.order_id, request.key)
    mirrored = [row for row in locked.refunds if row.request_key == digest_key]
    if mirrored:
        _check_same_mirrored(mirrored, request)
    return mirrored


def _check_same_mirrored(known: Sequence[Refund], request: RefundRequest) -> None:
    """Compare a request with refunds found at Stripe, which lack the requested amount and kind."""
    asked = _requested_amount(request, known[0].currency)
    is_same = (
        asked in (None, sum(row.amount for row in known))
        and request.reason == known[0].reason
        and (
            not request.intent_id
            or [row.payment_intent.stripe_id for row in known] == [request.intent_id]
        )
    )
    if not is_same:
        raise IdempotencyKeyReused(
            Message(gettext_noop("This idempotency key was used for another refund."))
        )


def _check_same(known: Sequence[Refund], request: RefundRequest) -> None:
    first = known[0]
    is_same = (
        _requested_amount(request, first.currency) == first.requested_amount
        and request.reason == first.reason
        and request.kind == first.kind
        and (
            not request.intent_id
            or [row.payment_intent.stripe_id for row in known] == [request.intent_id]
        )
    )
    if not is_same:
        raise IdempotencyKeyReused(
            Message(gettext_noop("This idempotency key was used for another refund."))
        )


def _shares(locked: LockedPayment, request: RefundRequest) -> list[tuple[PaymentIntent, int]]:
    """Divide the requested amount among the intents, newest payment first.

    Each intent gives at most what is left of it. An intent with an open dispute gives nothing.
    """
    intents = _refunded_intents(locked, request)
    currency = intents[0].currency
    left = {row.pk: locked.money_of(row).refundable for row in intents}
    # Stripe refuses to refund a disputed charge.
    # See: https://docs.stripe.com/error-codes (charge_disputed; checked 2026-11)
    free = [row for row in intents if locked.dispute_state_of(row) != DisputeState.OPEN]
    refundable = sum(left[row.pk] for row in free)
    asked = _requested_amount(request, currency)
    amount = refundable if asked is None else asked
    if amount > refundable or refundable == 0:
        if len(free) < len(intents):
            raise PaymentDisputed(
                Message(
                    gettext_noop("The customer's bank holds this payment. Wait for its decision.")
                )
            )
        raise exceeds_balance(refundable, currency)
    shares = []
    for row in free:
        share = min(amount, left[row.pk])
        if share:
            shares.append((row, share))
            amount -= share
    return shares


def _requested_amount(request: RefundRequest, currency: str) -> int | None:
    """Return the requested amount in minor units; None for all that is left."""
    asked = request.amount_decimal
    if asked is None:
        return None
    if request.is_typed:
        check_written_decimals(asked, currency)
    return to_minor_units(asked, currency)


def insert_refund(
    locked: LockedPayment, intent: PaymentIntent, amount: int, request: RefundRequest
) -> Refund:
    """Insert a refund with its attempt. From then on it reserves ``amount`` (minor units)."""
    key, now = uuid4(), timezone.now()
    params: dict[str, Any] = {
        "payment_intent": intent.stripe_id,
        "amount": amount,
        # By these, the refund is recognised if its answer or our database is lost.
        "metadata": {
            "order_id": str(locked.payment.order_id),
            "attempt_id": str(key),
            "request": digest_of_request(locked.payment.order_id, request.key),
        },
    }
    if request.reason:
        params["reason"] = request.reason
    attempt = StripeAttempt.objects.create(
        id=key,
        order_payment=locked.payment,
        operation=StripeAttempt.Operation.CREATE_REFUND,
        target=intent.stripe_id,
        params=params,
        livemode=get_config().livemode,
        acquired_at=now,
        last_sent_at=now,
    )
    refund = Refund(
        id=key,
        order_payment=locked.payment,
        payment_intent=intent,
        attempt=attempt,
        request_key=request.key,
        requested_amount=_requested_amount(request, intent.currency),
        kind=request.kind,
        amount=amount,
        currency=intent.currency,
        reason=request.reason,
        note=request.note,
        livemode=intent.livemode,
        created_at=now,
    )
    record_outflow(locked, refund, intent)
    refund.save(force_insert=True)
    locked.refunds.append(refund)
    locked.needs_order = True
    locked.add_facts(intent, [(FactKind.REFUND_REQUESTED, figures_of(refund))])
    return refund


def _wait_or_acquire(refund: Refund) -> Refund:
    """Wait while another request sends this refund; acquire it if none does."""
    budget = WaitBudget(
        get_config().INTENT_WAIT_SECONDS,
        RefundInProgress(IN_PROGRESS),
    )
    while refund.status == RefundStatus.REQUESTED and refund.attempt is not None:
        if acquire(refund.attempt, within=budget.lease):
            return refund
        budget.wait_for(refund.attempt)
        refund = Refund.objects.select_related("attempt", "payment_intent").get(pk=refund.pk)
    return refund
