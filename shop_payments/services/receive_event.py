"""Receive Stripe's events and process them.

Note [The inbox]
~~~~~~~~~~~~~~~~
An event is stored under its unique id before it is processed, and its outcome is stored with it. A
second delivery of a processed event changes nothing. A second delivery of a failed event tries
again: Stripe's redelivery is the retry. An event that keeps failing is set aside for staff, and the
endpoint answers with a success, so that Stripe stops sending it. Two deliveries may be processed at
the same time. A failure is recorded only if the event is not finished. A success replaces
everything except another success.

The existence of an event proves that its object exists. So if Stripe does not know the object, the
API key is probably wrong. The event fails and is tried again (ADR 15).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    EventFailed,
    EventPurged,
    InvalidWebhookPayload,
    ShopPaymentsError,
)
from shop_payments.gateway import (
    EventResult,
    EventSubject,
    PaymentIntentResult,
    account_of_event,
    assert_no_transaction,
    get_gateway,
    id_of_intent_event,
    intent_from_event,
    is_thin,
    subject_of_event,
)
from shop_payments.ledger.facts import Origin
from shop_payments.lifecycle import FINAL_STATUSES, holds_money
from shop_payments.models import PaymentIntent, Source, WebhookEvent
from shop_payments.services.unknown_intents import ask_about, find_named_order
from shop_payments.sync.arrivals import apply_final_state, insert_missing_intent
from shop_payments.sync.base import ObjectType
from shop_payments.sync.payment_intents import find_attempt_of, sync_intent
from shop_payments.sync.registry import type_of_event

logger = logging.getLogger("shop_payments")


def receive_event(signed: EventResult) -> WebhookEvent:
    """Store an event and process it, or pass it to the host's queue.

    :func:`~shop_payments.gateway.read_event` has verified it. The raw body is not passed on,
    because it contains client secrets.

    Raises:
        EventFailed: stored, but not processed; Stripe should send it again.
    """
    event = _store(signed)
    if event.is_done:
        return event
    if handler := get_config().EVENT_HANDLER:
        _hand_over(event, handler)
    else:
        _process(event)
    return event


def _hand_over(event: WebhookEvent, handler: str) -> None:
    try:
        import_string(handler)(event.pk)
    except Exception as error:
        # A broker may be unavailable for a while. Stripe's next delivery tries it again.
        logger.exception("EVENT_HANDLER %s did not accept %s", handler, event)
        raise EventFailed(f"{event} could not be queued; it should be sent again") from error


def process_event(event_pk: int) -> WebhookEvent:
    """Process a stored event (for a host's task queue). A processed event is left alone.

    Raises:
        TransactionOpenError: called inside a database transaction.
        WebhookEvent.DoesNotExist: there is no such event.
        EventFailed: it should be tried again later.
    """
    assert_no_transaction()
    event = WebhookEvent.objects.get(pk=event_pk)
    if not event.is_done:
        _process(event)
    return event


def acquire_event(event: WebhookEvent) -> bool:
    """Acquire an event to try it again; False if another process has acquired it.

    ``processed_at`` becomes the time of this try, so if the process dies, the next try comes after
    the usual pause.
    """
    rows = WebhookEvent.objects.filter(
        pk=event.pk, status=event.status, processed_at=event.processed_at
    )
    return bool(rows.update(processed_at=timezone.now()))


def replay_event(event: WebhookEvent) -> WebhookEvent:
    """Process an event as if it had just come, whatever its outcome was.

    Raises:
        TransactionOpenError: called inside a database transaction.
        EventPurged: the payload has been purged.
        EventFailed: it failed, and will be tried again later.
    """
    assert_no_transaction()
    # The cause of the failures may be gone, so all tries are available again.
    fresh = {"status": WebhookEvent.Status.RECEIVED, "attempts": 0, "processed_at": timezone.now()}
    if not WebhookEvent.objects.filter(pk=event.pk, purged_at=None).update(**fresh):
        raise EventPurged(f"The payload of {event.event_id} has been purged.")
    return process_event(event.pk)


def _store(event: EventResult) -> WebhookEvent:
    """Return the inbox row of ``event``, new or not."""
    try:
        with transaction.atomic():  # on PostgreSQL, a failed INSERT ends the transaction
            return WebhookEvent.objects.create(
                event_id=event.id,
                type=event.type,
                livemode=event.livemode,
                api_version=event.api_version,
                object_id=event.object_id,
                intent_id=event.intent_id,
                stripe_created_at=event.created_at,
                payload=event.payload,
            )
    except IntegrityError:
        return WebhookEvent.objects.get(event_id=event.id)


def _process(event: WebhookEvent) -> None:
    try:
        status, outcome = _act_on(event)
    except InvalidWebhookPayload as error:
        # The same payload would fail again.
        _record_outcome(event, _SET_ASIDE, str(error))
    except Exception as error:
        _record_failure(event, error)
    else:
        _record_outcome(event, status, outcome)


_SUCCESSES = WebhookEvent.SUCCESSES
_SET_ASIDE = WebhookEvent.Status.SET_ASIDE


def _record_outcome(event: WebhookEvent, status: WebhookEvent.Status, outcome: str) -> bool:
    """Store the outcome; False if the outcome of another delivery stays.

    See Note [The inbox].
    """
    now = timezone.now()
    staying = _SUCCESSES if status in _SUCCESSES else (*_SUCCESSES, _SET_ASIDE)
    updated = (
        WebhookEvent.objects.filter(pk=event.pk)
        .exclude(status__in=staying)
        .update(
            status=status,
            outcome=outcome[:500],
            attempts=F("attempts") + 1,
            processed_at=now,
        )
    )
    if updated:
        event.status, event.outcome, event.processed_at = status, outcome[:500], now
        event.attempts += 1
    else:
        event.refresh_from_db(fields=["status", "outcome", "attempts", "processed_at"])
    return updated > 0


def _record_failure(event: WebhookEvent, error: Exception) -> None:
    """Store the error and raise, so that Stripe sends the event again, up to a limit."""
    tries_left = event.attempts + 1 < WebhookEvent.MAX_ATTEMPTS
    status = WebhookEvent.Status.FAILED if tries_left else _SET_ASIDE
    # Not str(error): a database error quotes the row that it refused.
    if not _record_outcome(event, status, f"{type(error).__name__}" + _public_message(error)):
        logger.warning("%s failed, but is %s already", event, event.status, exc_info=error)
    elif tries_left:
        raise EventFailed(f"{event} could not be processed; it should be sent again") from error
    else:
        logger.error("%s was set aside after %s attempts", event, event.attempts, exc_info=error)


def _public_message(error: Exception) -> str:
    return f": {error}" if isinstance(error, ShopPaymentsError) else ""


_Outcome = tuple[WebhookEvent.Status, str]
_NOT_OURS: _Outcome = (WebhookEvent.Status.IGNORED, "not one of this shop's payment intents")
_OF_OTHER_MODE: _Outcome = (WebhookEvent.Status.IGNORED, "of Stripe's other mode (test or live)")


def _act_on(event: WebhookEvent) -> _Outcome:
    if account := account_of_event(event.payload):
        return WebhookEvent.Status.IGNORED, f"of the connected account {account}"
    thin = is_thin(event.payload)
    kind = event.type.removeprefix("v1.") if thin else event.type
    object_type = type_of_event(kind)
    if object_type is not None:
        return _sync(event, object_type)
    if not kind.startswith("payment_intent."):
        return WebhookEvent.Status.IGNORED, "no use for this type"
    origin = Origin(source=Source.WEBHOOK, actor=event.event_id)
    if thin:
        return _look_up(event, subject_of_event(event.payload).id, origin=origin)
    try:
        intent = intent_from_event(event.payload)
    except InvalidWebhookPayload:
        # Its API version cannot be read, so it is only a hint to fetch the intent.
        return _look_up(event, id_of_intent_event(event.payload), origin=origin)
    if intent.status in FINAL_STATUSES and not _lacks_something(intent):
        # Stripe never takes a final status back, so the event itself is the proof.
        if not apply_final_state(intent, origin=origin):
            return _handle_unknown(intent, origin=origin)
        return WebhookEvent.Status.PROCESSED, f"{intent.id} is {intent.status}"
    return _fetch_and_write(intent, origin=origin)


def _handle_unknown(intent: PaymentIntentResult, *, origin: Origin) -> _Outcome:
    """Ask staff about an intent without a row, if it names an order of this shop.

    Without metadata, the event does not show whether the intent is ours, so it is fetched.

    Raises:
        ObjectMissing: Stripe does not know it now, although it has sent an event about it.
    """
    if "metadata" in intent.absent and intent.livemode == get_config().livemode:
        return _insert_or_ask(get_gateway().retrieve_payment_intent(intent.id), origin=origin)
    if find_named_order(intent) is None:
        return _NOT_OURS
    # The event may be old. Staff must see the intent as it is now.
    return _ask_staff(get_gateway().retrieve_payment_intent(intent.id), origin=origin)


def _ask_staff(intent: PaymentIntentResult, *, origin: Origin) -> _Outcome:
    """Ask staff about a fetched intent without a row, if it names an order of this shop."""
    order = find_named_order(intent)
    if order is None:
        return _NOT_OURS
    is_asked = ask_about(order, intent, origin=origin)
    words = "staff are asked about it" if is_asked else "staff need not be asked"
    return WebhookEvent.Status.PROCESSED, f"{intent.id} is not known here; {words}"


def _insert_or_ask(intent: PaymentIntentResult, *, origin: Origin) -> _Outcome:
    """Insert the row of a fetched intent if it is ours; otherwise ask staff about it."""
    if insert_missing_intent(intent, origin=origin):
        return _looked_up(intent.id)
    return _ask_staff(intent, origin=origin)


def _lacks_something(intent: PaymentIntentResult) -> bool:
    """Return whether an event lacks the received amount, or the charge that later events name.

    Each endpoint has its own API version. Fields that are missing in it are fetched, if the event
    is of the key's mode.
    """
    is_fetchable = intent.livemode == get_config().livemode
    needed = {"amount_received"}
    if holds_money(intent.status, intent.amount_received):
        needed.add("latest_charge")
    return is_fetchable and bool(intent.absent & needed)


def _look_up(event: WebhookEvent, intent_id: str, *, origin: Origin) -> _Outcome:
    """Fetch the intent that a thin event names: one call, even if it belongs to another system.

    Raises:
        ObjectMissing: Stripe does not know it now, although it has sent an event about it.
    """
    if event.livemode != get_config().livemode:
        return _OF_OTHER_MODE
    fetched = get_gateway().retrieve_payment_intent(intent_id)
    if not PaymentIntent.objects.filter(stripe_id=intent_id).exists():
        return _insert_or_ask(fetched, origin=origin)
    return _write(fetched, origin=origin)


def _looked_up(intent_id: str) -> _Outcome:
    if not PaymentIntent.objects.filter(stripe_id=intent_id).exists():
        return _NOT_OURS
    return WebhookEvent.Status.PROCESSED, f"{intent_id} was looked up"


def _write(fetched: PaymentIntentResult, *, origin: Origin) -> _Outcome:
    """Apply a fetched intent that has a row."""
    if fetched.status in FINAL_STATUSES:
        apply_final_state(fetched, origin=origin)
    else:
        row = PaymentIntent.objects.select_related("order_payment").get(stripe_id=fetched.id)
        sync_intent(row, origin=origin)
    return _looked_up(fetched.id)


def _fetch_and_write(hint: PaymentIntentResult, *, origin: Origin) -> _Outcome:
    """Fetch the intent, because an event about a status that is not final is only a hint.

    Raises:
        PaymentIntentMissing: Stripe does not know it now, although it has sent an event about it.
    """
    rows = PaymentIntent.objects.select_related("order_payment")
    row = rows.filter(stripe_id=hint.id).first()
    if row is None and find_attempt_of(hint) is None:
        return _handle_unknown(hint, origin=origin)
    if hint.livemode != get_config().livemode:
        return _OF_OTHER_MODE
    if row is None:
        fetched = get_gateway().retrieve_payment_intent(hint.id)
        if not insert_missing_intent(fetched, named_by=hint, origin=origin):
            return _NOT_OURS
    elif hint.status in FINAL_STATUSES:
        return _write(get_gateway().retrieve_payment_intent(hint.id), origin=origin)
    else:
        sync_intent(row, origin=origin)
    return WebhookEvent.Status.PROCESSED, f"{hint.id} was looked up"


def _check_listed(row: PaymentIntent, about: EventSubject, listed: Sequence[str]) -> None:
    """Check that the account is the right one if it does not list the object of an event.

    Another account lists nothing. But our account lists nothing either for some events of endpoints
    with an older API version: they report a refund when an authorization ends or is captured in
    part.

    See: https://docs.stripe.com/changelog/basil/2025-03-31/\
remove-refund-from-partial-capture-and-payment-cancellation-flow (checked 2026-11)

    Raises:
        ObjectMissing: Stripe does not know the payment intent; the event is tried again.
    """
    # An event that only names the charge does not say which of the objects it is about.
    is_listed = bool(listed) if about.id == about.charge else about.id in listed
    if not is_listed:
        get_gateway().retrieve_payment_intent(row.stripe_id)


def _sync(event: WebhookEvent, object_type: ObjectType[Any, Any]) -> _Outcome:
    """List the intent's objects of the event's type, because the event may be outdated.

    Objects of other systems cost at most one call.

    Raises:
        ObjectMissing: Stripe does not know it now, although it has sent an event about it.
        PaymentIntentMissing: the same for a payment intent that is open here.
    """
    about = subject_of_event(event.payload)
    origin = Origin(source=Source.WEBHOOK, actor=event.event_id)
    row = _row_of(about)
    if event.livemode != get_config().livemode:
        return _NOT_OURS if row is None else _OF_OTHER_MODE
    if row is None:
        intent = _intent_of(about, object_type)
        if intent is None:
            return _NOT_OURS
        outcome = _insert_or_ask(intent, origin=origin)
        row = _row_of(replace(about, payment_intent=intent.id))
        if row is None:
            return outcome
    # The intent first: a refund that is written before its order is known to be paid would never
    # be notified as the order's.
    sync_intent(row, origin=origin)
    _check_listed(row, about, [each.id for each in object_type.sync(row, origin=origin)])
    words = f"the {object_type.plural} of {row.stripe_id} were looked up"
    return WebhookEvent.Status.PROCESSED, words


def _intent_of(
    about: EventSubject, object_type: ObjectType[Any, Any]
) -> PaymentIntentResult | None:
    """Fetch the intent of an object; None if it has none, or if the event does not name it.

    Thin events only name the object, and events of old API versions may only name its charge. The
    intent is needed because refunds and disputes name neither an order nor an attempt.
    """
    if about.payment_intent:
        return get_gateway().retrieve_payment_intent(about.payment_intent)
    if not about.id or about.id == about.charge:
        return None
    return object_type.intent_of(about.id)


def _row_of(about: EventSubject) -> PaymentIntent | None:
    rows = PaymentIntent.objects.filter(stripe_id=about.payment_intent)
    if not about.payment_intent:
        rows = PaymentIntent.objects.filter(latest_charge=about.charge) if about.charge else rows
    return rows.first()
