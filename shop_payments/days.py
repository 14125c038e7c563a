"""Days in the current time zone, with and without ``USE_TZ``."""

from __future__ import annotations

from datetime import date, datetime, time

from django.conf import settings
from django.utils import timezone


def today() -> date:
    """Return today's date."""
    return timezone.localdate() if settings.USE_TZ else timezone.now().date()


def midnight(on: date) -> datetime:
    """Return the beginning of a day, as times are stored."""
    begins = datetime.combine(on, time.min)
    return timezone.make_aware(begins) if settings.USE_TZ else begins
