"""The identity of a user: a row of the user table, or a token user."""

from __future__ import annotations

from typing import Any


def is_known_user(user: Any) -> bool:
    """Return whether ``user`` is signed in and has an identity.

    Only such users are passed to an order adapter, because ``filter(customer=None)`` would find the
    orders of all guests. A user class may have neither ``pk`` nor ``id``, if the host's adapter
    uses something else.
    """
    if not getattr(user, "is_authenticated", False) or getattr(user, "is_anonymous", False):
        return False
    keys = [getattr(user, name) for name in ("pk", "id") if hasattr(user, name)]
    return not keys or keys[0] not in (None, "")


def key_of_user(user: Any) -> Any | None:
    """Return the key of a known user: ``pk``, else ``id``; None for others."""
    if not is_known_user(user):
        return None
    return user.pk if hasattr(user, "pk") else getattr(user, "id", None)
