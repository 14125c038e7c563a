"""Texts that several commands print."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun: ``1 event``, ``2 events``."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def at_second(moment: datetime | None) -> str:
    """Format a time in the project's time zone, as the admin and ``--since`` do."""
    if moment is None:
        return "–"
    aware = timezone.is_aware(moment)  # False if the host has USE_TZ = False
    return f"{timezone.localtime(moment) if aware else moment:%Y-%m-%d %H:%M:%S}"


def sentence(error: Exception) -> str:
    """Return an error's message as a sentence, so that another one can follow."""
    return f"{str(error).rstrip('.')}."


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with its columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
