"""Read single values from Stripe's JSON: check them, and make them fit the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shop_payments.days import as_stored
from shop_payments.money import MAX_AMOUNT
from shop_payments.secrecy import Secret, redact

_ID_LENGTH = 255
"""The columns' length. Stripe's ids can have up to 255 characters.

See: https://docs.stripe.com/upgrades (checked 2026-11)
"""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""The exceptions of the functions below, and of looking up a missing value."""


def text_of(value: object) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError("a text was expected")
    return value


def own_id(value: object) -> str:
    """Return an object's id unchanged, or raise: an altered id could be that of another object."""
    text = text_of(value)
    if len(text) > _ID_LENGTH or storable(text) != text:
        raise ValueError("an id was expected")
    return text


def secret_of(value: object) -> Secret:
    """Return a client secret, which may be empty."""
    text = text_of(value) if value else ""
    text.encode()  # a ValueError for lone surrogates
    return Secret(text)


def integer_of(value: object) -> int:
    """Return an integer that is not negative and fits the columns."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_AMOUNT:
        raise TypeError("a positive integer was expected")
    return value


def signed_integer_of(value: object) -> int:
    """Return an integer that may be negative and fits the columns."""
    return -integer_of(-value) if isinstance(value, int) and value < 0 else integer_of(value)


def moment_of(value: object) -> datetime:
    """Return a time from its Unix time in seconds."""
    try:
        return as_stored(datetime.fromtimestamp(integer_of(value), tz=UTC))
    except OSError:  # beyond what the platform's C library can convert
        raise ValueError("a time was expected") from None


def id_of(value: object) -> str:
    """Return the id of an object that may be expanded; empty if there is none."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return storable(str(value or ""))


def metadata_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return an object's metadata."""
    return {
        storable(str(key)): storable(str(value))
        for key, value in (values.get("metadata") or {}).items()
    }


def without_client_secrets(value: Any) -> Any:
    """Copy a JSON value without any ``client_secret``, at any depth, and with storable text."""
    if isinstance(value, dict):
        return {
            storable(key): without_client_secrets(item)
            for key, item in value.items()
            if key != "client_secret"
        }
    if isinstance(value, list):
        return [without_client_secrets(item) for item in value]
    return storable(value) if isinstance(value, str) else value


def storable(text: str) -> str:
    """Return a text without secrets, NUL and lone surrogates. PostgreSQL refuses the latter two."""
    text = redact(text).replace("\x00", "?")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
