"""What the doctor says: one finding a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something that the doctor looked at."""

    level: Literal["ok", "warning", "error"]
    text: str
    """What was found: sentences."""

    fix: str = ""
    """What to do: sentences. Empty if there is nothing to do."""

    def __str__(self) -> str:
        words = " ".join(f"{self.text} {self.fix}".split())
        return f"{self.level:<9}{words}"
