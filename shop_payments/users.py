"""The identity of a user: a row of the user table, or a token user."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q


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


_MOST_FOUND = 500


def find_users(text: str) -> list[Any]:
    """Return the keys of users whose name or e-mail address begins with ``text``, in any case.

    A text of several words is a full name in any order, or the beginning of a name of several
    words. User tables have no index for this. docs/performance.md shows how to add one.
    """
    users = get_user_model()
    known = [
        users.USERNAME_FIELD,
        getattr(users, "EMAIL_FIELD", "email"),
        "first_name",
        "last_name",
    ]
    fields = [name for name in dict.fromkeys(known) if _is_column(users, name)]

    def begins(word: str) -> Q:
        return reduce(or_, (Q(**{f"{name}__istartswith": word}) for name in fields))

    found = begins(text)
    if len(words := text.split()) > 1:
        found |= reduce(lambda all_words, word: all_words & begins(word), words, Q())
    rows = users._default_manager.filter(found)
    return list(rows.order_by().values_list("pk", flat=True)[:_MOST_FOUND])


def _is_column(model: Any, name: str) -> bool:
    try:
        return bool(model._meta.get_field(name).concrete)
    except FieldDoesNotExist:
        return False
