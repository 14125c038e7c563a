"""Write what Stripe says of an intent onto its row, and draw the conclusions.

Note [Whose word counts]
~~~~~~~~~~~~~~~~~~~~~~~~
Messages arrive in any order, late, and twice. Three rules make every order of arrival end in the
same state:

* a row in a final status never moves;
* a message about a final status is believed as it stands, for Stripe never takes it back;
* anything else is only a hint to fetch the intent, and what was fetched is written only if the
  row is still at the version it had before the fetch. Otherwise somebody knew something newer,
  and the caller looks again.
"""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    MoneyError,
    ObjectMissing,
    PaymentIntentInProgress,
    PaymentIntentMissing,
)
from shop_payments.gateway import get_gateway
from shop_payments.lifecycle import (
    Claim,
    IntentStatus,
    Proof,
    Verdict,
    can_observe,
    is_open,
    judge,
)
from shop_payments.models import (
    FactKind,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
)
from shop_payments.money import Money
from shop_payments.orders import get_order_adapter, take_snapshot
from shop_payments.services.history import Origin, dispatch
from shop_payments.services.ledger import Fact, LockedPayment, close_review, lock_payment, record
from shop_payments.services.refunds import refund_late_money
from shop_payments.services.sending import belongs_to_other_mode
from shop_payments.services.transactions import short_transactions
from shop_payments.services.words import (
    describe_failure,
    describe_misfit,
    describe_received,
    describe_status,
)

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult

logger = logging.getLogger("shop_payments")

_MAX_ROUNDS = 4


def find_attempt_of(intent: PaymentIntentResult) -> StripeAttempt | None:
    """Return the attempt that created ``intent`` at Stripe, if it was one of ours.

    An intent is ours only if its id is in our table or its metadata names an attempt of our
    table that has not created another intent. An order's number in the metadata proves nothing:
    staging and production may share an account.
    """
    attempt_id = named_attempt(intent)
    if attempt_id is None:
        return None
    attempt = StripeAttempt.objects.filter(
        pk=attempt_id, operation=StripeAttempt.Operation.CREATE_INTENT
    ).first()
    if attempt is None or attempt.stripe_object_id not in {"", intent.id}:
        return None
    return attempt


def named_attempt(intent: PaymentIntentResult) -> UUID | None:
    """Return the attempt's primary key that the intent's metadata names, of our table or not."""
    try:
        return UUID(intent.metadata.get("attempt_id", ""))
    except ValueError:
        return None


def adopt_intent(
    locked: LockedPayment,
    attempt: StripeAttempt,
    intent: PaymentIntentResult,
    *,
    fingerprint: str,
    origin: Origin,
) -> PaymentIntent | None:
    """Insert the row of an intent that ``attempt`` created, and finish the attempt.

    The attempt must belong to the locked payment. None where another intent has taken the place
    of this one, which can still take no money: nobody has its client secret, and the sweeper
    cancels it.
    """
    attempt.finish(
        StripeAttempt.Outcome.SUCCEEDED,
        if_pending=False,
        stripe_object_id=intent.id,
        request_id=intent.request_id[:255],
        http_status=200,
    )
    if is_open(intent.status) and locked.open_intent is not None:
        logger.error("%s came too late: %s is open", intent.id, locked.open_intent)
        return None
    row = PaymentIntent(
        order_payment=locked.payment,
        stripe_id=intent.id,
        attempt=attempt,
        livemode=intent.livemode,
        fingerprint=fingerprint,
        stripe_created_at=intent.created_at,
    )
    conclusions = _take_over(locked, row, intent)
    row.save(force_insert=True)
    locked.intents.append(row)
    created = {
        "detail": f"{row.stripe_id}, {row.amount_display}",
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status,
    }
    facts = [(FactKind.INTENT_CREATED, created), *conclusions]
    record(locked, row, facts, origin=origin, request_id=intent.request_id)
    refund_late_money(locked, row, origin=origin)
    return row


def write_intent(
    locked: LockedPayment,
    row: PaymentIntent,
    intent: PaymentIntentResult,
    *,
    origin: Origin,
    updated_to: str | None = None,
) -> None:
    """Bring ``row`` to what Stripe says, with history, verdict and payment status.

    The caller has made sure that ``intent`` is not older than the row. A final row is left alone.
    ``updated_to`` is the fingerprint of the parameters that an update has just sent.
    """
    moves = intent.status != row.status
    if row.is_final or (moves and not can_observe(row.status, intent.status)):
        return
    if not row.is_open and is_open(intent.status) and locked.open_intent is not None:
        return  # it was missing and has come back, but another one has taken its place
    before, was = _visible_state(row), row.status
    facts = _take_over(locked, row, intent)
    if updated_to is not None:
        row.fingerprint = updated_to
        facts.append((FactKind.INTENT_UPDATED, {"detail": row.amount_display}))
    if _visible_state(row) == before:
        return
    row.version += 1
    row.save()
    record(locked, row, facts, origin=origin, request_id=intent.request_id)
    _close_expiry(locked, row, was)
    refund_late_money(locked, row, origin=origin)


def _close_expiry(locked: LockedPayment, row: PaymentIntent, was: str) -> None:
    """Ask nobody any more to capture in time where there is nothing left to capture."""
    if was == IntentStatus.REQUIRES_CAPTURE and row.status != was:
        reason = ReviewItem.Reason.AUTHORIZATION_EXPIRES
        close_review(locked, row, reason, "", f"{row.stripe_id} is {row.status}")


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """An intent as Stripe has just described it, and the row that now says so."""

    intent: PaymentIntentResult
    row: PaymentIntent


def refresh_intent(row: PaymentIntent, *, origin: Origin) -> Refreshed | None:
    """Fetch an intent and write down what has changed.

    None where the row changed during the fetch (see Note [Whose word counts]): look again.

    Raises:
        PaymentIntentMissing: Stripe does not know the intent; the row or a review item says so.
        ConfigurationError: the intent is of live mode, and the key in use is not.
        GatewayError: Stripe could not be asked.
    """
    belongs_to_other_mode(row.livemode)
    try:
        intent = get_gateway().retrieve_payment_intent(row.stripe_id)
    except ObjectMissing:
        intent = None
    if intent is not None and agrees(row, intent):
        return Refreshed(intent=intent, row=row)
    current = write_seen(row, intent, origin=origin)
    if current is None:
        return None
    if intent is None:
        raise PaymentIntentMissing("The order's payment intent is not at Stripe.")
    return Refreshed(intent=intent, row=current)


def bring_up_to_date(row: PaymentIntent, *, origin: Origin) -> None:
    """Look at an intent until what was seen is written down; without a call where it is final.

    Raises:
        PaymentIntentMissing: Stripe does not know the intent.
        PaymentIntentInProgress: others keep changing the row.
        ConfigurationError, GatewayError: see :func:`refresh_intent`.
    """
    for _round in range(_MAX_ROUNDS):
        if row.is_final or refresh_intent(row, origin=origin) is not None:
            return
        row.refresh_from_db()
    raise PaymentIntentInProgress(f"{row} keeps changing.")


def write_seen(
    row: PaymentIntent, intent: PaymentIntentResult | None, *, origin: Origin
) -> PaymentIntent | None:
    """Write what a look at Stripe has shown (None: no such intent); return the row.

    ``row`` was read before Stripe was asked. None where it has changed since: see
    Note [Whose word counts].
    """
    for short in short_transactions():
        with short:
            locked = lock_payment(row.order_payment_id)
            current = locked.intent(row.stripe_id)
            if current is None or current.version != row.version:
                return None
            if intent is None:
                mark_missing(locked, current, origin=origin)
            else:
                write_intent(locked, current, intent, origin=origin)
    dispatch(locked.facts)
    return current


def agrees(row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    """Whether there is nothing to write down."""
    before = _visible_state(row)
    probe = copy(row)
    _copy_fields(probe, intent)
    _note_failure(probe, intent)
    return _visible_state(probe) == before


def mark_missing(locked: LockedPayment, row: PaymentIntent, *, origin: Origin) -> None:
    """Note that Stripe does not know the intent any more.

    In test mode the row is closed, so that another intent can take its place: test data may be
    deleted at any time, and there is no money in it. In live mode the intent may exist in another
    account and still take money, so the row stays open and a person is asked; once they have
    decided, and Stripe still does not know it, it is closed as well. A row in a final status keeps
    it: what happened has happened.
    """
    if row.is_final:
        return
    was = row.status
    detail = f"Stripe does not know {row.stripe_id} under the key in use"
    reason = str(ReviewItem.Reason.INTENT_MISSING)
    decided = row.review_items.filter(reason=reason, resolved_at__isnull=False)
    if row.livemode and not decided.exists():
        facts: list[Fact] = [(FactKind.REVIEW_NEEDED, {"detail": detail, "reason": reason})]
    else:
        row.status = IntentStatus.MISSING
        row.version += 1
        row.save()
        facts = [(FactKind.INTENT_MISSING, {"detail": detail})]
    record(locked, row, facts, origin=origin)
    _close_expiry(locked, row, was)


def _take_over(
    locked: LockedPayment, row: PaymentIntent, intent: PaymentIntentResult
) -> list[Fact]:
    """Copy what Stripe says onto an unsaved or open row; return what follows from it."""
    old_status = row.status
    _copy_fields(row, intent)
    facts = _note_failure(row, intent)
    if row.status != old_status:
        facts += _conclude(locked, row, intent, is_new=not old_status)
    return facts


def _copy_fields(row: PaymentIntent, intent: PaymentIntentResult) -> None:
    row.status = intent.status
    row.amount = intent.amount
    row.amount_received = intent.amount_received
    row.amount_capturable = intent.amount_capturable
    row.currency = intent.currency
    row.payment_method = intent.payment_method[:255]
    row.latest_charge = intent.latest_charge[:255]
    row.capture_before = intent.capture_before or row.capture_before
    row.cancellation_reason = intent.cancellation_reason[:255]


def _visible_state(row: PaymentIntent) -> tuple[Any, ...]:
    return (
        row.status,
        row.amount,
        row.amount_received,
        row.amount_capturable,
        row.currency,
        row.payment_method,
        row.latest_charge,
        row.capture_before,
        row.cancellation_reason,
        row.fingerprint,
        row.last_error_key,
    )


def _note_failure(row: PaymentIntent, intent: PaymentIntentResult) -> list[Fact]:
    """Copy the last payment error; return the fact if it is a new one."""
    error = intent.last_payment_error
    if error is None or error.key[:255] == row.last_error_key:
        return []
    row.last_error_key = error.key[:255]
    row.last_error_code = error.code[:255]
    row.last_decline_code = error.decline_code[:255]
    data = {
        "detail": describe_failure(error),
        "code": row.last_error_code,
        "decline_code": row.last_decline_code,
    }
    return [(FactKind.PAYMENT_FAILED, data)]


_STATUS_FACTS: dict[str, FactKind] = {
    IntentStatus.PROCESSING: FactKind.PAYMENT_PROCESSING,
    IntentStatus.REQUIRES_CAPTURE: FactKind.PAYMENT_AUTHORIZED,
}


def _conclude(
    locked: LockedPayment, row: PaymentIntent, intent: PaymentIntentResult, *, is_new: bool
) -> list[Fact]:
    """Judge a row whose status has just moved; return what there is to tell."""
    if row.status != IntentStatus.SUCCEEDED:
        kind = _STATUS_FACTS.get(row.status)
        if kind is None and is_new:
            return []
        return [(kind or FactKind.STATUS_CHANGED, {"detail": describe_status(row.status)})]
    claim = _claim(locked, row)
    proof = Proof(
        amount_received=intent.amount_received, currency=intent.currency, livemode=intent.livemode
    )
    row.verdict = judge(proof, claim)
    figures = {"amount_received": row.amount_received, "currency": row.currency}
    if row.verdict == Verdict.ACCEPTED:
        return [(FactKind.ORDER_PAID, {"detail": describe_received(row), **figures})]
    detail = describe_misfit(row, claim, paid_by=locked.accepted_intent)
    return [(FactKind.REVIEW_NEEDED, {"detail": detail, "reason": str(row.verdict), **figures})]


def _claim(locked: LockedPayment, row: PaymentIntent) -> Claim:
    """Ask the shop what the order is worth at this moment."""
    amount_due, payable = _amount_due(locked.payment)
    if amount_due is not None and _is_captured_in_part_by_us(row, amount_due):
        amount_due = Money(row.amount_received, row.currency)
    return Claim(
        amount_due=amount_due,
        livemode=get_config().livemode,
        payable=payable,
        already_paid=locked.accepted_intent is not None,
    )


def _is_captured_in_part_by_us(row: PaymentIntent, due: Money) -> bool:
    """Whether what is due was authorized, and the shop itself chose to take this part of it."""
    due_was_authorized = (row.amount, row.currency) == (due.amount, due.currency)
    return (due_was_authorized and row.amount_received < row.amount) and any(
        attempt.params.get("amount_to_capture") == row.amount_received
        for attempt in StripeAttempt.objects.filter(
            operation=StripeAttempt.Operation.CAPTURE_INTENT, target=row.stripe_id
        ).exclude(outcome=StripeAttempt.Outcome.FAILED)
    )


def _amount_due(payment: OrderPayment) -> tuple[Money | None, bool]:
    """Return what is due and whether the shop wants it; neither where the shop cannot tell.

    Money that has come is recorded even if the order can no longer be read (it was deleted softly,
    or the adapter raises): a person will see it.
    """
    adapter = get_order_adapter()
    try:
        order = adapter.find(payment.order_id)
        if order is None:
            return None, False
        payment.order = order  # the receivers get it too
        snapshot = take_snapshot(adapter, order)
    except MoneyError:
        return None, True
    except DatabaseError:
        raise  # passing trouble; Stripe sends the event again
    except Exception:
        logger.exception("The order of payment %s cannot be read", payment.pk)
        return None, False
    return snapshot.amount_due, snapshot.payable
