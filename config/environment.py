"""Read settings from environment variables; an error names the variable and what it accepts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ImproperlyConfigured

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def text(name: str, default: str = "") -> str:
    """Return a variable without the spaces around it. An empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    if value:
        raise _wrong(name, f"{_words(_TRUE)}, or {_words(_FALSE)}")
    return default


def number(name: str, *, default: int, least: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    # Not int() alone: it also accepts "1_000" and digits of other scripts.
    # And no number that int() finds too long.
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    if not is_number or int(value) < least:
        raise _wrong(name, f"a whole number, {least} or more")
    return int(value)


def words(name: str) -> list[str]:
    """Return the items of a list that is separated by commas."""
    return [item.strip() for item in text(name).split(",") if item.strip()]


def hosts(name: str) -> list[str]:
    found = words(name)
    if any("/" in host or re.search(r":\d+$", host) for host in found):
        raise _wrong(name, "host names without https:// and port, separated by commas")
    return found


def origins(name: str) -> list[str]:
    found = words(name)
    if not all(origin.startswith(("https://", "http://")) for origin in found):
        raise _wrong(name, "addresses such as https://shop.example, separated by commas")
    return found


def time_zone(name: str, default: str) -> str:
    value = text(name, default)
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong(name, "the name of a time zone, such as Europe/Berlin") from None


def choice(name: str, choices: Sequence[str], *, default: str) -> str:
    """Return one of ``choices``, whatever its case."""
    value = text(name, default)
    found = next((each for each in choices if each.lower() == value.lower()), None)
    if found is None:
        raise _wrong(name, _words(choices))
    return found


def header(name: str) -> tuple[str, str] | None:
    """Return a header of a request, ``"X-Forwarded-Proto: https"``, as Django names it in META."""
    value = text(name)
    if not value:
        return None
    key, colon, content = (part.strip() for part in value.partition(":"))
    if not (colon and content and key.replace("-", "").isalnum() and key.isascii()):
        raise _wrong(name, "the name of a header, a colon and its value: X-Forwarded-Proto: https")
    return f"HTTP_{key.upper().replace('-', '_')}", content


def _words(values: Sequence[str]) -> str:
    *some, last = values
    return f"{', '.join(some)} or {last}"


def _wrong(name: str, accepted: str) -> ImproperlyConfigured:
    # Without the value: someone may have put a secret into the wrong variable.
    return ImproperlyConfigured(f"{name} must be {accepted}.")


def threads() -> int:
    """Return how many requests a process handles at once, which its pool of connections fits."""
    return number("DJANGO_THREADS", default=8, least=1)
