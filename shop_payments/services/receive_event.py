"""Receive Stripe's events and process them.

Note [The inbox]
~~~~~~~~~~~~~~~~
An event is stored under its unique id together with its outcome: if possible in the transaction
that applies it, otherwise right after it. If the process dies before that, Stripe has got no answer
and sends the event again. A host's queue gets the event before it is processed, so then it is
stored first.

A second delivery of a processed event changes nothing. A second delivery of a failed event tries
again: Stripe's redelivery is the retry. An event that keeps failing is set aside for staff, and the
endpoint answers with a success, so that Stripe stops sending it. Two deliveries may be processed at
the same time. A failure is recorded only if the event is not finished. A success replaces
everything except another success.

The existence of an event proves that its object exists. So if Stripe does not know the object, the
API key is probably wrong. The event fails and is tried again (ADR 15).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import IntegrityError, connection, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_noop

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    EventFailed,
    EventKnown,
    EventPurged,
    InvalidWebhookPayload,
    Message,
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
from shop_payments.models.sentences import Figures
from shop_payments.prepared import PreparedQuery, insert_rows
from shop_payments.services.unknown_intents import ask_staff_about, find_named_order
from shop_payments.sync.arrivals import apply_final_state, insert_missing_intent
from shop_payments.sync.base import ObjectType
from shop_payments.sync.payment_intents import (
    Applied,
    apply_event,
    find_attempt_of,
    find_row,
    says_nothing_new,
    sync_intent,
)
from shop_payments.sync.registry import type_of_event

logger = logging.getLogger("shop_payments")


def receive_event(signed: EventResult) -> WebhookEvent:
    """Store an event and process it, or pass it to the host's queue.

    :func:`~shop_payments.gateway.read_event` has verified it. The raw body is not passed on,
    because it contains client secrets.

    Raises:
        EventFailed: stored, but not processed; Stripe should send it again.
    """
    event = WebhookEvent(
        event_id=signed.id,
        type=signed.type,
        livemode=signed.livemode,
        api_version=signed.api_version,
        object_id=signed.object_id,
        intent_id=signed.intent_id,
        stripe_created_at=signed.created_at,
        payload=signed.payload,
    )
    if handler := get_config().EVENT_HANDLER:
        event = _store(event)
        if not event.is_done:
            _hand_over(event, handler)
        return event
    try:
        return _process(event)
    except EventKnown:
        event = WebhookEvent.objects.get(event_id=signed.id)
    return event if event.is_done else _process(event)


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
    return event if event.is_done else _process(event)


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
        raise EventPurged(
            Message(gettext_noop("The payload of %(event)s has been purged."), event=event.event_id)
        )
    return process_event(event.pk)


def skip_event(event: WebhookEvent, *, origin: Origin) -> bool:
    """Skip an event that fails or was set aside, for staff; return whether it was one."""
    failed = WebhookEvent.objects.filter(pk=event.pk, status__in=WebhookEvent.FAILURES)
    return bool(
        failed.update(
            status=WebhookEvent.Status.IGNORED,
            outcome_data={"sentence": "skipped", "note": origin.actor},
            processed_at=timezone.now(),
        )
    )


def _store(event: WebhookEvent) -> WebhookEvent:
    """Insert an event; return the row of an earlier delivery if there is one."""
    # A single INSERT needs no transaction, which would be two more round trips. If one is open, as
    # in a host's TestCase, a savepoint protects it: on PostgreSQL, a failed INSERT would break it.
    savepoint = transaction.atomic if connection.in_atomic_block else nullcontext
    try:
        with savepoint():
            insert_rows(event)
    except IntegrityError:
        # Stripe may deliver an event more than once.
        # See: https://docs.stripe.com/webhooks (checked 2026-11)
        return WebhookEvent.objects.get(event_id=event.event_id)
    return event


def _process(event: WebhookEvent) -> WebhookEvent:
    """Process an event, and store it with its outcome; return its row.

    Raises:
        EventKnown: it was new, and another delivery has stored it.
        EventFailed: it failed.
    """
    handling = _Handling(event)
    try:
        status, outcome = handling.run()
    except EventKnown:
        raise
    except InvalidWebhookPayload as error:
        # The same payload would fail again.
        row = _store(event)
        outcome = {"sentence": "event_unreadable", "message": str(error)[:500]}
        _record_outcome(row, _SET_ASIDE, outcome)
        return row
    except Exception as error:
        if isinstance(error, IntegrityError):
            handling.assert_new()
        row = _store(event)
        # What follows the commit may fail, too. Then the event counts as failed after all.
        was_processed = row is not event and row == handling.stored
        _record_failure(row, error, was_processed=was_processed)
        return row
    if handling.stored is not None:
        return handling.stored
    if not handling.is_new:
        _record_outcome(event, status, outcome)
        return event
    done = _with_outcome(event, status, outcome)
    row = _store(done)
    if row is not done:
        _record_outcome(row, status, outcome)
    return row


_SUCCESSES = WebhookEvent.SUCCESSES
_SET_ASIDE = WebhookEvent.Status.SET_ASIDE


def _with_outcome(
    event: WebhookEvent, status: WebhookEvent.Status, outcome: Figures
) -> WebhookEvent:
    """Return a copy of a new event with its outcome: a transaction may have to insert it again."""
    done = copy(event)
    done.status, done.outcome_data = status, outcome
    done.attempts, done.processed_at = 1, timezone.now()
    return done


def _record_outcome(
    event: WebhookEvent,
    status: WebhookEvent.Status,
    outcome: Figures,
    *,
    replaces: Collection[WebhookEvent.Status] = (),
) -> bool:
    """Store the outcome of a stored event; False if the outcome of another delivery stays.

    See Note [The inbox]. ``replaces`` are statuses that do not stay.
    """
    now = timezone.now()
    staying = _SUCCESSES if status in _SUCCESSES else (*_SUCCESSES, _SET_ASIDE)
    updated = (
        WebhookEvent.objects.filter(pk=event.pk)
        .exclude(status__in=set(staying) - set(replaces))
        .update(
            status=status,
            outcome_data=outcome,
            attempts=F("attempts") + 1,
            processed_at=now,
        )
    )
    if updated:
        event.status, event.outcome_data, event.processed_at = status, outcome, now
        event.attempts += 1
    else:
        event.refresh_from_db(fields=["status", "outcome_data", "attempts", "processed_at"])
    return updated > 0


def _record_failure(event: WebhookEvent, error: Exception, *, was_processed: bool) -> None:
    """Store the error and raise, so that Stripe sends the event again, up to a limit."""
    tries_left = event.attempts + 1 < WebhookEvent.MAX_ATTEMPTS
    status = WebhookEvent.Status.FAILED if tries_left else _SET_ASIDE
    # Not any str(error): a database error quotes the row that it refused.
    message = str(error)[:500] if isinstance(error, ShopPaymentsError) else ""
    outcome = {"sentence": "event_failed", "error": type(error).__name__, "message": message}
    replaces = _SUCCESSES if was_processed else ()
    if not _record_outcome(event, status, outcome, replaces=replaces):
        logger.warning(
            "%s failed, but its status is already %s", event, event.status, exc_info=error
        )
    elif tries_left:
        raise EventFailed(f"{event} could not be processed; it should be sent again") from error
    else:
        logger.error("%s was set aside after %s attempts", event, event.attempts, exc_info=error)


_Outcome = tuple[WebhookEvent.Status, Figures]
"""The status of an event, and the code of a sentence (as ``sentence``) with its figures."""


def _ignored(sentence: str, **figures: str) -> _Outcome:
    return WebhookEvent.Status.IGNORED, {"sentence": sentence, **figures}


def _processed(sentence: str, intent_id: str, **figures: str) -> _Outcome:
    figures["stripe_intent_id"] = intent_id
    return WebhookEvent.Status.PROCESSED, {"sentence": sentence, **figures}


_KEY_BY_EVENT_ID: PreparedQuery[WebhookEvent] = PreparedQuery(
    lambda event_id: WebhookEvent.objects.filter(event_id=event_id).only("pk"),
    field=lambda: WebhookEvent._meta.get_field("event_id"),
)

_NOT_OURS = _ignored("not_ours")
_OF_OTHER_MODE = _ignored("other_mode")


@dataclass
class _Handling:
    """The handling of one event. Every change is recorded with the id of the event."""

    event: WebhookEvent
    stored: WebhookEvent | None = None
    """The row that was written with the change, in one transaction."""

    @property
    def is_new(self) -> bool:
        """Whether the event is not stored yet."""
        return self.event._state.adding

    def assert_new(self) -> None:
        """Check that no other delivery has stored a new event: Stripe need not be asked again.

        Raises:
            EventKnown: another delivery has stored it.
        """
        using = router.db_for_write(WebhookEvent)
        if self.is_new and _KEY_BY_EVENT_ID(self.event.event_id, using=using):
            raise EventKnown

    def record(self, outcome: _Outcome, is_done: bool) -> None:
        """Store a new event as processed, in the transaction that applies it, if that is done."""
        self.stored = None  # the database may have rolled back an earlier try
        if is_done and self.is_new:
            self.stored = _with_outcome(self.event, *outcome)
            insert_rows(self.stored)

    @property
    def origin(self) -> Origin:
        return Origin(source=Source.WEBHOOK, actor=self.event.event_id)

    def run(self) -> _Outcome:
        # An endpoint may also get the events of connected accounts.
        # See: https://docs.stripe.com/connect/webhooks (checked 2026-11)
        if account := account_of_event(self.event.payload):
            return _ignored("connected_account", account=account)
        thin = is_thin(self.event.payload)
        # The same events as thin ones have types such as v1.payment_intent.succeeded.
        # See: https://docs.stripe.com/event-destinations#thin-events (checked 2026-11)
        kind = self.event.type.removeprefix("v1.") if thin else self.event.type
        object_type = type_of_event(kind)
        if object_type is not None:
            return self._sync(object_type)
        # A success for Stripe, which would otherwise send it again for three days.
        # See: https://docs.stripe.com/webhooks#automatic-retries (checked 2026-11)
        if not kind.startswith("payment_intent."):
            return _ignored("unused_type")
        if thin:
            return self._look_up(subject_of_event(self.event.payload).id)
        try:
            intent = intent_from_event(self.event.payload)
        except InvalidWebhookPayload:
            # Its API version cannot be read, so it is only a hint to fetch the intent.
            return self._look_up(id_of_intent_event(self.event.payload))
        if intent.status in FINAL_STATUSES and not _lacks_something(intent):
            # Stripe never takes a final status back, so the event itself is the proof.
            outcome = _processed("intent_status", intent.id, intent_status=intent.status)
            record = partial(self.record, outcome)
            if not apply_final_state(intent, origin=self.origin, record=record):
                return self._handle_unknown(intent)
            return outcome
        return self._fetch_and_write(intent)

    def _sync(self, object_type: ObjectType[Any, Any]) -> _Outcome:
        """List the intent's objects of the event's type, because the event may be outdated.

        Objects of other systems cost at most one call.

        Raises:
            ObjectMissing: Stripe does not know it now, although it has sent an event about it.
            PaymentIntentMissing: the same for a payment intent that is open here.
        """
        about = subject_of_event(self.event.payload)
        self.assert_new()
        row = _row_of(about)
        if self.event.livemode != get_config().livemode:
            return _OF_OTHER_MODE
        if row is None:
            intent = _intent_of(about, object_type)
            if intent is None:
                return _NOT_OURS
            outcome = self._insert_or_ask(intent)
            row = _row_of(replace(about, payment_intent=intent.id))
            if row is None:
                return outcome
        # The intent first: a refund that is written before its order is known to be paid would
        # never be notified as the order's.
        sync_intent(row, origin=self.origin)
        _check_listed(row, about, [each.id for each in object_type.sync(row, origin=self.origin)])
        objects = object_type.plural.replace(" ", "_")
        return _processed("objects_looked_up", row.stripe_id, objects=objects)

    def _look_up(self, intent_id: str) -> _Outcome:
        """Fetch the intent that a thin event names: one call, even if it belongs to another system.

        Raises:
            ObjectMissing: Stripe does not know it now, although it has sent an event about it.
        """
        if self.event.livemode != get_config().livemode:
            return _OF_OTHER_MODE
        self.assert_new()
        fetched = get_gateway().retrieve_payment_intent(intent_id)
        if not PaymentIntent.objects.filter(stripe_id=intent_id).exists():
            return self._insert_or_ask(fetched)
        return self._write(fetched)

    def _fetch_and_write(self, hint: PaymentIntentResult) -> _Outcome:
        """Apply an event about a status that is not final, or fetch the intent.

        See Note [Which message counts] in ``sync/payment_intents.py``.

        Raises:
            PaymentIntentMissing: Stripe does not know it now, although it has sent an event about
                it.
        """
        if hint.livemode != get_config().livemode:
            known = PaymentIntent.objects.filter(stripe_id=hint.id).exists()
            if known or find_attempt_of(hint) is not None:
                return _OF_OTHER_MODE
            return self._handle_unknown(hint)
        outcome = _processed("intent_status", hint.id, intent_status=hint.status)
        if self.event.type == "payment_intent.created" and says_nothing_new(hint):
            return outcome
        done = apply_event(hint, origin=self.origin, record=partial(self.record, outcome))
        if done.value in (Applied.AGREES, Applied.WRITTEN):
            return outcome
        row = None if done.locked is None else done.locked.intent(hint.id)
        if row is None and find_attempt_of(hint) is None:
            return self._handle_unknown(hint)
        self.assert_new()
        if row is None:
            fetched = get_gateway().retrieve_payment_intent(hint.id)
            if not insert_missing_intent(fetched, named_by=hint, origin=self.origin):
                return _NOT_OURS
        elif hint.status in FINAL_STATUSES:
            return self._write(get_gateway().retrieve_payment_intent(hint.id))
        else:
            sync_intent(row, origin=self.origin)
        return _processed("intent_looked_up", hint.id)

    def _write(self, fetched: PaymentIntentResult) -> _Outcome:
        """Apply a fetched intent that has a row."""
        if fetched.status in FINAL_STATUSES:
            apply_final_state(fetched, origin=self.origin)
        else:
            row = PaymentIntent.objects.select_related("order_payment").get(stripe_id=fetched.id)
            sync_intent(row, origin=self.origin)
        return _looked_up(fetched.id)

    def _handle_unknown(self, intent: PaymentIntentResult) -> _Outcome:
        """Ask staff about an intent without a row, if it names an order of this shop.

        Without metadata, the event does not show whether the intent is ours, so it is fetched.

        Raises:
            ObjectMissing: Stripe does not know it now, although it has sent an event about it.
        """
        if "metadata" in intent.absent and intent.livemode == get_config().livemode:
            self.assert_new()
            return self._insert_or_ask(get_gateway().retrieve_payment_intent(intent.id))
        if find_named_order(intent) is None:
            return _NOT_OURS
        # The event may be old. Staff must see the intent as it is now.
        return self._ask_staff(get_gateway().retrieve_payment_intent(intent.id))

    def _insert_or_ask(self, intent: PaymentIntentResult) -> _Outcome:
        """Insert the row of a fetched intent if it is ours; otherwise ask staff about it."""
        if insert_missing_intent(intent, origin=self.origin):
            return _looked_up(intent.id)
        return self._ask_staff(intent)

    def _ask_staff(self, intent: PaymentIntentResult) -> _Outcome:
        """Ask staff about a fetched intent without a row, if it names an order of this shop."""
        order = find_named_order(intent)
        if order is None:
            return _NOT_OURS
        is_asked = ask_staff_about(order, intent, origin=self.origin)
        return _processed("staff_asked" if is_asked else "staff_not_asked", intent.id)


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


def _looked_up(intent_id: str) -> _Outcome:
    if not PaymentIntent.objects.filter(stripe_id=intent_id).exists():
        return _NOT_OURS
    return _processed("intent_looked_up", intent_id)


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
    if about.payment_intent:
        return find_row(about.payment_intent)
    if about.charge:
        return PaymentIntent.objects.filter(latest_charge=about.charge).first()
    return None
