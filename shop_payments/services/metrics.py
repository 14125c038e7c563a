"""Figures for a monitoring system."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db.models import Count
from django.utils import timezone

from shop_payments.days import as_stored
from shop_payments.models import ReviewItem, WebhookEvent
from shop_payments.services.unfinished import (
    count_unfinished_events,
    last_sweep,
    pending_notifications,
    unresolved_attempts,
)

_EPOCH = datetime.fromtimestamp(0, UTC)


def metrics() -> dict[str, int]:
    """Return names and numbers that say whether the payments need anybody.

    It runs seven statements, which read what is open or unfinished and nothing else. All names are
    always there. If no sweep has finished, ``sweep_age_seconds`` is counted from 1970, so that an
    alert for a late sweep includes it.

    Raises:
        OperationalError, InterfaceError: the database is unavailable.
    """
    by_reason = _count_review_items()
    events = count_unfinished_events()
    finished_at = last_sweep() or as_stored(_EPOCH)
    return {
        "review_items_open": sum(by_reason.values()),
        **{f"review_items_open_{reason}": number for reason, number in by_reason.items()},
        "events_waiting": events[WebhookEvent.Status.RECEIVED],
        "events_failed": events[WebhookEvent.Status.FAILED],
        "events_set_aside": events[WebhookEvent.Status.SET_ASIDE],
        "attempts_unresolved": unresolved_attempts().count(),
        "notifications_pending": pending_notifications().order_by().count(),
        "sweep_age_seconds": max(0, round((timezone.now() - finished_at).total_seconds())),
    }


def _count_review_items() -> dict[str, int]:
    counted = ReviewItem.objects.open().order_by().values_list("reason").annotate(Count("pk"))
    # A reason that a newer version has stored is counted, too.
    return {**dict.fromkeys(ReviewItem.Reason.values, 0), **dict(counted)}
