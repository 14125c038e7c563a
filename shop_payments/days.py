"""Days in the current time zone, with and without ``USE_TZ``."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo

from django.conf import settings
from django.utils import timezone


def today() -> date:
    """Return today's date."""
    return timezone.localdate() if settings.USE_TZ else timezone.now().date()


def midnight(on: date, zone: tzinfo | None = None) -> datetime:
    """Return the beginning of a day in a zone, by default the current one, as times are stored."""
    begins = datetime.combine(on, time.min)
    return timezone.make_aware(begins, zone) if settings.USE_TZ else begins


def as_stored(moment: datetime) -> datetime:
    """Return a time with an offset as times are stored."""
    # In UTC: PostgreSQL refuses an offset of 16 hours or more, which RFC 3339 allows.
    if settings.USE_TZ:
        return moment.astimezone(UTC)
    return timezone.make_naive(moment, timezone.get_default_timezone())
