"""What is unfinished and should be finished by now: for metrics, readiness and the doctor."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.models import PaymentHistory, StripeAttempt, SweepState, WebhookEvent
from shop_payments.models.history import PaymentHistoryQuerySet
from shop_payments.models.payments import StripeAttemptQuerySet

LONGEST_BETWEEN_SWEEPS = timedelta(hours=2)
"""The sweep should run every half hour."""

_IN_PROGRESS = timedelta(minutes=10)
"""What is younger may still be in progress, or be repeated."""


def last_sweep() -> datetime | None:
    """Return when a sweep last finished in the mode of the key in use; None if never."""
    states = SweepState.objects.filter(livemode=get_config().livemode)
    return states.values_list("finished_at", flat=True).first()


def is_late(finished_at: datetime | None) -> bool:
    """Return whether the last sweep is too long ago."""
    return finished_at is None or timezone.now() - finished_at > LONGEST_BETWEEN_SWEEPS


def count_unfinished_events() -> dict[str, int]:
    """Count the events of this mode that wait (``received``), fail or were set aside, by status."""
    events = WebhookEvent.objects.filter(livemode=get_config().livemode)
    waiting, failed, set_aside = (
        WebhookEvent.Status.RECEIVED,
        WebhookEvent.Status.FAILED,
        WebhookEvent.Status.SET_ASIDE,
    )
    return {
        waiting: events.filter(status=waiting, received_at__lt=_due()).count(),
        failed: events.filter(status=failed).count(),
        set_aside: events.filter(status=set_aside).count(),
    }


def unresolved_attempts() -> StripeAttemptQuerySet:
    """Return the requests to Stripe whose outcome is unknown."""
    return StripeAttempt.objects.pending().filter(created_at__lt=_due())


def pending_notifications() -> PaymentHistoryQuerySet:
    """Return the facts that the host has not been notified of, oldest first."""
    return PaymentHistory.objects.undispatched().filter(created_at__lt=_due())


def _due() -> datetime:
    return timezone.now() - _IN_PROGRESS
