"""Apply what Stripe says about an intent to its row.

Note [Which message counts]
~~~~~~~~~~~~~~~~~~~~~~~~~~~
Messages arrive in any order, late, and twice. With three rules, each order of arrival ends in the
same state:

* A row in a final status never changes its status. Only fields that were unknown are completed.
* A message about a final status is applied as it is, because Stripe never takes it back.
* An event about another status is applied if it is newer than the row (Note [Newer events]), and
  costs nothing if it agrees with the row. Otherwise it is only a hint to fetch the intent. The
  result is written only if the row still has the version that it had before the fetch. Otherwise
  the row may hold something newer, and the caller looks again.

Note [Newer events]
~~~~~~~~~~~~~~~~~~~
``as_of`` is the time of the newest message that was applied to a row, by Stripe's clock: the
``created`` of an event, or the ``Date`` of an answer. Both are whole seconds. An event that is at
least two seconds newer was created after the state that the row shows, with a second to spare for
the clocks of Stripe's machines. Events of the same second are fetched.

Stripe does not deliver events in order, but an event holds the object as it was at the event's
time. See: https://docs.stripe.com/webhooks#event-ordering and
https://docs.stripe.com/api/events/object (checked 2026-11)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import router
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    Message,
    ObjectMissing,
    PaymentIntentInProgress,
    PaymentIntentMissing,
)
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import (
    Fact,
    LockedPayment,
    close_review,
    find_and_lock_payment,
    open_review,
)
from shop_payments.ledger.units import Done, change_payment
from shop_payments.lifecycle import IntentStatus, can_observe, is_open
from shop_payments.models import FactKind, PaymentIntent, ReviewItem, StripeAttempt
from shop_payments.prepared import PreparedQuery, insert_rows
from shop_payments.sync.outflows import look_for_outflows

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult

logger = logging.getLogger("shop_payments")

_MAX_FETCHES = 4
_NEWER = timedelta(seconds=2)
"""See Note [Newer events]."""

_APPLIED_IF_NEWER = frozenset(
    {
        IntentStatus.REQUIRES_PAYMENT_METHOD,
        IntentStatus.REQUIRES_CONFIRMATION,
        IntentStatus.REQUIRES_ACTION,
        IntentStatus.PROCESSING,
    }
)
"""Statuses that an event may set. The time until which a reserved payment must be captured is only
known from its charge, so ``requires_capture`` is fetched."""

_READ_FROM_EVENTS = frozenset(
    {"amount_received", "cancellation_reason", "latest_charge", "payment_method"}
)
"""Fields that an event of an older API version may lack. Then the intent is fetched."""


def find_attempt_of(intent: PaymentIntentResult) -> StripeAttempt | None:
    """Return the attempt that created ``intent`` at Stripe, if it was one of ours.

    An intent is ours only if its id is in our table, or its metadata names an attempt of our table
    that has not created another intent. An order's number in the metadata proves nothing, because
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
    """Return the id of the attempt that the intent's metadata names, which need not be ours."""
    try:
        return UUID(intent.metadata.get("attempt_id", ""))
    except ValueError:
        return None


def insert_intent(
    locked: LockedPayment, attempt: StripeAttempt, intent: PaymentIntentResult, *, fingerprint: str
) -> PaymentIntent | None:
    """Insert the row of an intent that ``attempt`` created, and finish the attempt.

    The attempt must belong to the locked payment. Return None if another intent is open already.
    This one cannot take money, because no client has its secret, and the sweep cancels it.
    """
    attempt.finish(
        StripeAttempt.Outcome.SUCCEEDED,
        if_pending=False,  # it may have been abandoned, but it had an effect
        stripe_object_id=intent.id,
        request_id=intent.request_id[:255],
        http_status=200,
    )
    if is_open(intent.status) and locked.open_intent is not None:
        logger.error("%s came too late: %s is open", intent.id, locked.open_intent)
        return None
    # Stripe leaves the field out of some messages; then the request shows it.
    is_automatic = intent.uses_automatic_methods
    if is_automatic is None:
        is_automatic = "automatic_payment_methods" in attempt.params
    row = PaymentIntent(
        order_payment=locked.payment,
        stripe_id=intent.id,
        attempt=attempt,
        livemode=intent.livemode,
        fingerprint=fingerprint,
        uses_automatic_methods=is_automatic,
        stripe_created_at=intent.created_at,
    )
    facts = _copy_state(locked, row, intent)
    insert_rows(row)
    locked.intents.append(row)
    created = {
        "stripe_intent_id": row.stripe_id,
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status,
    }
    locked.add_facts(
        row, [(FactKind.INTENT_CREATED, created), *facts], request_id=intent.request_id
    )
    return row


def apply_intent(
    locked: LockedPayment,
    row: PaymentIntent,
    intent: PaymentIntentResult,
    *,
    updated_to: str | None = None,
) -> None:
    """Update ``row`` to what Stripe says, with history.

    The caller has made sure that ``intent`` is not older than the row. Of a final row, only unknown
    fields are completed. ``updated_to`` is the fingerprint of the parameters that an update has
    just sent.
    """
    # Any message about the intent proves that Stripe knows it.
    missing = ReviewItem.Reason.INTENT_MISSING
    close_review(locked, row, missing, "", "intent_found", stripe_intent_id=row.stripe_id)
    if row.is_final:
        had_method = row.method_type
        if _complete(row, intent):
            _save_intent(locked, row)
        elif row.method_type != had_method:
            _save_method(locked, row)
        return
    moves = intent.status != row.status
    if moves and not can_observe(row.status, intent.status):
        return  # an outdated message
    if not row.is_open and is_open(intent.status) and locked.open_intent is not None:
        return  # it was missing and exists again, but another intent has replaced it
    before, was, had_method = _visible_state(row), row.status, row.method_type
    facts = _copy_state(locked, row, intent)
    if updated_to is not None:
        row.fingerprint = updated_to
        figures = {"amount": row.amount, "currency": row.currency}
        facts.append((FactKind.INTENT_UPDATED, figures))
    if _visible_state(row) == before:
        if row.method_type != had_method:
            _save_method(locked, row)
        return
    _save_intent(locked, row)
    locked.add_facts(row, facts, request_id=intent.request_id)
    _close_expiry(locked, row, was)


def _save_intent(locked: LockedPayment, row: PaymentIntent) -> None:
    row.version += 1
    locked.save_later(row)
    locked.has_changed = True


def _save_method(locked: LockedPayment, row: PaymentIntent) -> None:
    # No amount depends on it, so the payment is not evaluated, and the order is not read.
    row.version += 1
    locked.save_later(row)


def can_be_completed(row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    """Return whether Stripe's object has fields that the row of a final intent lacks."""
    if row.status != intent.status:
        return False
    lacks_charge = not row.latest_charge and bool(intent.latest_charge)
    lacks_method = not row.method_type and intent.method is not None
    return lacks_charge or lacks_method or (not row.payment_method and bool(intent.payment_method))


def _complete(row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    """Fill in the unknown fields of a final row; return whether another one than the method was."""
    if row.status != intent.status:
        return False
    before = (row.latest_charge, row.payment_method, row.charged_at, row.charged_at_is_exact)
    row.latest_charge = row.latest_charge or intent.latest_charge[:255]
    row.payment_method = row.payment_method or intent.payment_method[:255]
    if intent.charged_at is not None and not row.charged_at_is_exact:
        row.charged_at, row.charged_at_is_exact = intent.charged_at, True
    if not row.method_type:
        _copy_method(row, intent)
    after = (row.latest_charge, row.payment_method, row.charged_at, row.charged_at_is_exact)
    return after != before


def _close_expiry(locked: LockedPayment, row: PaymentIntent, was: str) -> None:
    """Close the item that asks staff to capture in time, if nothing is left to capture."""
    if was == IntentStatus.REQUIRES_CAPTURE and row.status != was:
        reason = ReviewItem.Reason.AUTHORIZATION_EXPIRES
        figures = {"stripe_intent_id": row.stripe_id, "intent_status": row.status}
        close_review(locked, row, reason, "", "intent_status", **figures)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """A freshly fetched intent, and its row after the sync."""

    intent: PaymentIntentResult
    row: PaymentIntent
    locked: LockedPayment | None = None
    """The payment as it was committed; None if there was nothing to write."""


def refresh_intent(row: PaymentIntent, *, origin: Origin) -> Refreshed | None:
    """Fetch an intent and write the changes.

    None if the row changed during the fetch (see Note [Which message counts]): look again.

    Raises:
        PaymentIntentMissing: Stripe does not know the intent; the row or a review item says so.
        ConfigurationError: the intent is of live mode, and the key in use is a test key.
        GatewayError: the request to Stripe failed.
    """
    # Only for its error. Test data under a live key is not found, which is handled below.
    belongs_to_other_mode(row.livemode)
    try:
        intent = get_gateway().retrieve_payment_intent(row.stripe_id)
    except ObjectMissing:
        intent = None
    # An item about a missing intent has to be closed, even if the row agrees.
    if intent is not None and agrees(row, intent) and not _was_missing(row):
        return Refreshed(intent=intent, row=row)
    done = _apply_fetched(row, intent, origin=origin)
    done.raise_if_unreadable()
    if done.value is None:
        return None
    if intent is None:
        raise PaymentIntentMissing(
            Message(gettext_noop("Stripe does not know the order's payment intent."))
        )
    return Refreshed(intent=intent, row=done.value, locked=done.locked)


def _was_missing(row: PaymentIntent) -> bool:
    """Return whether staff are being asked about this intent because Stripe did not know it."""
    missing = ReviewItem.Reason.INTENT_MISSING
    return row.order_payment.needs_review and (
        row.review_items.open().filter(reason=missing).exists()
    )


def sync_intent(row: PaymentIntent, *, origin: Origin, fetches_final: bool = False) -> None:
    """Fetch an intent until the result could be written.

    Without ``fetches_final``, a final intent costs no call: it only lacks unknown fields, if any.

    Raises:
        PaymentIntentMissing: Stripe does not know the intent.
        PaymentIntentInProgress: others keep changing the row.
        ConfigurationError, GatewayError: see :func:`refresh_intent`.
    """
    for _round in range(_MAX_FETCHES):
        if row.is_final and not fetches_final:
            return
        if refresh_intent(row, origin=origin) is not None:
            return
        row.refresh_from_db()
    raise PaymentIntentInProgress(f"{row} keeps changing.")


def apply_fetched(
    row: PaymentIntent, intent: PaymentIntentResult | None, *, origin: Origin
) -> PaymentIntent | None:
    """Write a fetched intent (None: Stripe does not know it); return its row.

    ``row`` was read before the fetch. Return None if it has changed since: see
    Note [Which message counts].

    Raises:
        OrderUnreadable: written, but the order could not be evaluated; try again.
        GatewayError: fetching its refunds and disputes, or charge times, failed.
    """
    done = _apply_fetched(row, intent, origin=origin)
    done.raise_if_unreadable()
    return done.value


def _apply_fetched(
    row: PaymentIntent, intent: PaymentIntentResult | None, *, origin: Origin
) -> Done[PaymentIntent | None]:
    # Before the lock, because no transaction may be open while Stripe is called.
    outflows = None if intent is None else look_for_outflows(intent)

    def write(locked: LockedPayment) -> PaymentIntent | None:
        current = locked.intent(row.stripe_id)
        if current is None or current.version != row.version:
            return None
        if intent is None or outflows is None:
            mark_missing(locked, current)
        else:
            apply_intent(locked, current, intent)
            outflows.write(locked)
        return current

    done = change_payment(write, origin=origin, pk=row.order_payment_id)
    complete_charge_times(done.locked)
    return done


class Applied(Enum):
    """What became of an event about a status that is not final."""

    AGREES = auto()
    """The row says the same already."""

    WRITTEN = auto()
    NO = auto()
    """The intent must be fetched."""


def apply_event(
    hint: PaymentIntentResult, *, origin: Origin, record: Callable[[bool], None]
) -> Done[Applied]:
    """Apply an event about a status that is not final, if that is safe without a fetch.

    See Note [Newer events]. ``record`` runs at the end of the transaction that applies it, and is
    told whether that is all there is to do. The payment of the result is None if the intent has no
    row.

    Raises:
        OrderUnreadable: written, but the order could not be evaluated; try again.
    """

    def write(locked: LockedPayment) -> Applied:
        row = locked.intent(hint.id)
        if row is None or row.as_of is None or hint.as_of is None or _was_missing(row):
            return Applied.NO
        if agrees(row, hint):
            if row.as_of < hint.as_of:
                # Otherwise an older event that arrives later would seem to be newer than the row.
                row.as_of = hint.as_of
                locked.save_later(row)
            return Applied.AGREES
        if (
            row.is_final
            or hint.status not in _APPLIED_IF_NEWER
            or hint.absent & _READ_FROM_EVENTS
            or hint.as_of - row.as_of < _NEWER
        ):
            return Applied.NO
        apply_intent(locked, row, hint)
        return Applied.WRITTEN

    def finish(done: Done[Applied]) -> None:
        is_written = done.value == Applied.WRITTEN and done.is_complete
        record(done.value == Applied.AGREES or is_written)

    lock = partial(find_and_lock_payment, intent_id=hint.id)
    done = change_payment(write, origin=origin, lock=lock, also=finish)
    if done.value == Applied.WRITTEN:
        done.raise_if_unreadable()
    return done


def says_nothing_new(hint: PaymentIntentResult) -> bool:
    """Return whether a row agrees with an event and is not older, read without a lock.

    The event of the creation is such a message, unless it is faster than the answer.
    """
    row = find_row(hint.id)
    if row is None or hint.as_of is None or row.as_of is None or hint.as_of > row.as_of:
        return False
    # An item about a missing intent has to be closed, even if the row agrees.
    return not getattr(row, "needs_review", True) and agrees(row, hint)


def find_row(stripe_id: str) -> PaymentIntent | None:
    """Return an intent's row, without a lock; None if there is none."""
    found = _BY_STRIPE_ID(stripe_id, using=router.db_for_write(PaymentIntent))
    return found[0] if found else None


_BY_STRIPE_ID = PreparedQuery(
    lambda stripe_id: (
        PaymentIntent.objects.filter(stripe_id=stripe_id)
        .annotate(needs_review=F("order_payment__needs_review"))
        .order_by()
    ),
    field=lambda: PaymentIntent._meta.get_field("stripe_id"),
)


def complete_charge_times(locked: LockedPayment | None, *, expected: int = 0) -> None:
    """Fetch the exact times of an order's charges that are only known from events.

    The order of payments matters as soon as there are several; ``expected`` more are about to be
    added. The time of an event may differ from that of the charge: a bank debit succeeds days after
    its charge was created.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    if locked is None:
        return
    for row in _without_charge_time(locked, expected):
        # Without the exact time, that of the event stays.
        with suppress(ObjectMissing):
            fetched = get_gateway().retrieve_payment_intent(row.stripe_id)
            change_payment(
                partial(_write_charge, stripe_id=row.stripe_id, intent=fetched),
                origin=locked.origin,
                reads_order=True,
                pk=row.order_payment_id,
            )


def lacks_charge_times(locked: LockedPayment | None) -> bool:
    """Return whether :func:`complete_charge_times` would fetch anything."""
    return bool(_without_charge_time(locked))


def _without_charge_time(locked: LockedPayment | None, expected: int = 0) -> list[PaymentIntent]:
    paid = [] if locked is None else [row for row in locked.intents if row.has_succeeded]
    if len(paid) + expected < 2:
        return []
    livemode = get_config().livemode
    return [row for row in paid if not row.charged_at_is_exact and row.livemode == livemode]


def _write_charge(locked: LockedPayment, *, stripe_id: str, intent: PaymentIntentResult) -> None:
    row = locked.intent(stripe_id)
    if row is not None:
        apply_intent(locked, row, intent)


def agrees(row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    """Return whether the row equals the object, so that there is nothing to write."""
    probe = copy(row)  # so that the row itself stays unchanged
    _copy_fields(probe, intent)
    _copy_failure(probe, intent)
    has_method = probe.method_type == row.method_type
    return has_method and _visible_state(probe) == _visible_state(row)


def mark_missing(locked: LockedPayment, row: PaymentIntent) -> None:
    """Record that Stripe does not know the intent any more.

    In test mode the row is closed, so that another intent can replace it: test data may be deleted
    at any time and moves no money. In live mode the intent may exist in another account and still
    take money, so the row stays open and staff are asked. It is closed after they have closed the
    item, if Stripe still does not know the intent. A row in a final status keeps it.
    """
    if row.is_final or row.status == IntentStatus.MISSING:
        return
    was = row.status
    figures: dict[str, Any] = {"stripe_intent_id": row.stripe_id}
    reason = ReviewItem.Reason.INTENT_MISSING
    # Staff have closed the item, so they have checked the key.
    closed = row.review_items.filter(
        reason=reason, closed_at__isnull=False, closed_automatically=False
    )
    if row.livemode and not closed.exists():
        open_review(locked, row, reason, **figures)
        return
    row.status = IntentStatus.MISSING
    _save_intent(locked, row)
    locked.add_facts(row, [(FactKind.INTENT_MISSING, figures)])
    _close_expiry(locked, row, was)


def _copy_state(
    locked: LockedPayment, row: PaymentIntent, intent: PaymentIntentResult
) -> list[Fact]:
    """Copy Stripe's data to an unsaved or open row; return the facts."""
    old_status, had_received = row.status, row.amount_received
    _copy_fields(row, intent)
    facts = _copy_failure(row, intent)
    if row.status != old_status:
        facts += _status_facts(row, is_new=not old_status)
    if intent.as_of is not None:
        row.as_of = max(row.as_of or intent.as_of, intent.as_of)
    if row.status != old_status or row.amount_received != had_received:
        locked.has_changed = True
        # Whether the shop wants this money can only be observed now.
        locked.needs_order |= row.amount_received > 0
    return facts


def _copy_fields(row: PaymentIntent, intent: PaymentIntentResult) -> None:
    # A field that is absent from a message is unknown, and keeps its value.
    row.livemode = intent.livemode
    row.status = intent.status
    row.amount = intent.amount
    if "amount_received" not in intent.absent:
        row.amount_received = intent.amount_received
    row.amount_capturable = intent.amount_capturable
    row.currency = intent.currency
    if "payment_method" not in intent.absent:
        row.payment_method = intent.payment_method[:255]
    _copy_charge(row, intent)
    # Only an intent that was fetched with its charge has it.
    # See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
    row.capture_before = intent.capture_before or row.capture_before
    if "cancellation_reason" not in intent.absent:
        row.cancellation_reason = intent.cancellation_reason[:255]


def _copy_charge(row: PaymentIntent, intent: PaymentIntentResult) -> None:
    charge = intent.latest_charge[:255]
    if charge and charge != row.latest_charge:
        row.latest_charge = charge
        # The known time is that of another charge.
        row.charged_at, row.charged_at_is_exact = None, False
        row.method_type = row.card_brand = row.last4 = row.wallet = ""
    _copy_method(row, intent)
    if intent.charged_at is not None:
        row.charged_at, row.charged_at_is_exact = intent.charged_at, True
    elif row.charged_at is None and row.has_succeeded:
        # The best time that is known until the charge is fetched.
        row.charged_at = intent.as_of or timezone.now()


def _copy_method(row: PaymentIntent, intent: PaymentIntentResult) -> None:
    if intent.method is not None:
        row.method_type = intent.method.type[:32]
        row.card_brand = intent.method.card_brand[:32]
        row.last4 = intent.method.last4[-4:]
        row.wallet = intent.method.wallet[:32]


def _visible_state(row: PaymentIntent) -> tuple[Any, ...]:
    return (
        row.livemode,
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


def _copy_failure(row: PaymentIntent, intent: PaymentIntentResult) -> list[Fact]:
    """Copy the last payment error; return the fact if it is a new one."""
    error = intent.last_payment_error
    # Stripe repeats the last error in later messages about the intent.
    if error is None or error.key[:255] == row.last_error_key:
        return []
    row.last_error_key = error.key[:255]
    row.last_error_code = error.code[:255]
    row.last_decline_code = error.decline_code[:255]
    data = {
        "code": row.last_error_code,
        "decline_code": row.last_decline_code,
        "message": _TRACES.sub("…", error.message),
    }
    return [(FactKind.PAYMENT_FAILED, data)]


_TRACES = re.compile(r"\S+@\S+|\+?\d[\d ()./-]{4,}\d")
"""E-mail addresses; telephone, account and card numbers.

The history is never purged, so it must not contain personal data. Stripe's messages are the same
for all customers; addresses and numbers are removed in case one contains them.
"""


_STATUS_FACTS: dict[str, FactKind] = {
    IntentStatus.PROCESSING: FactKind.PAYMENT_PROCESSING,
    IntentStatus.REQUIRES_CAPTURE: FactKind.PAYMENT_AUTHORIZED,
}


def _status_facts(row: PaymentIntent, *, is_new: bool) -> list[Fact]:
    """Return the facts of a new status. The evaluation records that money counts."""
    if row.has_succeeded:
        return []
    kind = _STATUS_FACTS.get(row.status)
    if kind is None and is_new:
        return []  # INTENT_CREATED says it already
    return [(kind or FactKind.STATUS_CHANGED, {"intent_status": row.status})]
