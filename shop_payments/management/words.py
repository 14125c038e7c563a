"""Words that several commands print."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone


def counted(number: int, one: str, several: str = "") -> str:
    """Write a number and what it counts: ``1 event``, ``2 events``."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def at_second(moment: datetime | None) -> str:
    """Write it in the project's time zone, as the admin does and as ``--since`` reads it."""
    if moment is None:
        return "–"
    aware = timezone.is_aware(moment)  # not where the host has USE_TZ = False
    return f"{timezone.localtime(moment) if aware else moment:%Y-%m-%d %H:%M:%S}"


def sentence(error: Exception) -> str:
    """Write what an error says as a sentence, for another one to follow."""
    return f"{str(error).rstrip('.')}."
