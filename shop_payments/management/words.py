"""Words that several commands print."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """Write a number and what it counts: ``1 event``, ``2 events``."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def sentence(error: Exception) -> str:
    """Write what an error says as a sentence, for another one to follow."""
    return f"{str(error).rstrip('.')}."
