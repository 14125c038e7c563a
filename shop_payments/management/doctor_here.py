"""What the doctor examines in this project: checks, cache, sweep, events, notifications."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from django.core.cache import InvalidCacheBackendError, caches
from django.core.checks import ERROR, run_checks
from django.db import DEFAULT_DB_ALIAS

from shop_payments.conf import Config, get_config
from shop_payments.gateway import is_thin
from shop_payments.management.findings import Finding
from shop_payments.management.words import at_second, counted
from shop_payments.models import WebhookEvent
from shop_payments.services.unfinished import (
    count_unfinished_events,
    is_late,
    last_sweep,
    pending_notifications,
)

NOT_MIGRATED = "shop_payments.W007"

_Findings = Iterator[Finding]


def examine_checks() -> _Findings:
    """Run the app's system checks, with those that need the database."""
    found = [
        message
        for message in run_checks(databases=[DEFAULT_DB_ALIAS])
        if str(message.id).startswith("shop_payments.") and not message.is_silenced()
    ]
    for message in found:
        text = f"{message.msg} ({message.id})"
        # `check` only warns that tables are missing, because `migrate` runs the checks first.
        is_error = message.level >= ERROR or message.id == NOT_MIGRATED
        yield Finding("error" if is_error else "warning", text, str(message.hint or ""))
    if not found:
        yield Finding("ok", "Settings: `manage.py check --database default` finds nothing.")


def examine_state() -> _Findings:
    """Look at the sweep, the events and the notifications."""
    config = get_config()
    yield from _cache(config)
    yield from _sweep()
    yield from _events(config)
    yield from _notifications()


def _cache(config: Config) -> _Findings:
    if not any(config.THROTTLE_RATES.values()):
        yield Finding("ok", "Cache: not needed, because all throttles are off.")
        return
    alias = config.THROTTLE_CACHE
    name, value = f"shop_payments:doctor:{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        cache = caches[alias]
        cache.set(name, value, 60)
        kept = cache.get(name) == value
        cache.delete(name)
    except InvalidCacheBackendError:
        return  # E013 reports it
    except Exception as error:  # each cache backend raises its own exceptions
        yield Finding(
            "error",
            f"The cache {alias!r} does not work, so the throttles count nothing: "
            f"{type(error).__name__}.",
            f"Start the server of the cache, or correct CACHES[{alias!r}].",
        )
        return
    if kept:
        yield Finding("ok", f"Cache: {alias!r} stores the counts of the throttles.")
    else:
        yield Finding(
            "error",
            f"The cache {alias!r} does not store values, so the throttles count nothing.",
            f"Set CACHES[{alias!r}] to a cache that stores values, such as Redis.",
        )


_CRON = "Run `manage.py shop_payments_reconcile` every half hour; docs/reliability.md has the line."


def _sweep() -> _Findings:
    finished_at = last_sweep()
    if finished_at is None:
        yield Finding("warning", "Sweep: no run has finished yet.", _CRON)
    elif is_late(finished_at):
        words = f"Sweep: it last finished at {at_second(finished_at)}, more than 2 hours ago."
        yield Finding("warning", words, _CRON)
    else:
        yield Finding("ok", f"Sweep: it last finished at {at_second(finished_at)}.")


def _events(config: Config) -> _Findings:
    events = WebhookEvent.objects.filter(livemode=config.livemode)
    counts = count_unfinished_events()
    waiting = counts[WebhookEvent.Status.RECEIVED]
    for status, words in (
        (WebhookEvent.Status.SET_ASIDE, "set aside after too many failures"),
        (WebhookEvent.Status.FAILED, "failing; each is tried again"),
    ):
        if counts[status]:
            yield Finding(
                "warning",
                f"Events: {counted(counts[status], 'event')} {words}.",
                f"`manage.py shop_payments_events list --status {status}` shows the reason. After"
                " removing the cause: `shop_payments_events replay"
                f" --{status.replace('_', '-')}`.",
            )
    if waiting:
        yield Finding(
            "warning",
            f"Events: {counted(waiting, 'event')} stored and not processed for ten minutes.",
            "Start the workers of the queue behind EVENT_HANDLER. The sweep processes them, too.",
        )
    if not any(counts.values()):
        yield Finding("ok", "Events: no event is failing, waiting or set aside.")
    newest = events.filter(purged_at=None).order_by("-pk").first()
    if newest is not None and is_thin(newest.payload):
        yield Finding(
            "warning",
            "Events: the newest one is thin, so each event costs a call to Stripe.",
            "Create an endpoint whose payload style is snapshot: `manage.py shop_payments_webhook "
            "create --url URL`. Then delete the other one in Stripe's dashboard.",
        )


def _notifications() -> _Findings:
    waiting = pending_notifications()
    number = waiting.order_by().count()
    if number:
        oldest = waiting.first()
        assert oldest is not None
        yield Finding(
            "warning",
            f"Notifications: {counted(number, 'signal')} not delivered to your receivers, the "
            f"oldest ({oldest.kind}) since {at_second(oldest.created_at)}.",
            "The log names the receiver that raised. Correct it. The sweep then sends them again.",
        )
    else:
        yield Finding("ok", "Notifications: every signal was delivered.")
