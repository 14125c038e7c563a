"""Signed, expiring tokens for one order: for payment links, and for guests who use the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.core import signing

from shop_payments.secrecy import Secret

_LONGEST = timedelta(days=3650)


class Purpose(StrEnum):
    """What a token is for. A token of one purpose is not valid for the other."""

    CHECKOUT = "shop_payments.checkout"
    API = "shop_payments.api"


@dataclass(frozen=True, kw_only=True)
class OrderToken:
    """The content of a genuine token."""

    order_id: str
    expires_at: datetime
    """In UTC, also with ``USE_TZ = False``: a middleware may activate the visitor's time zone."""

    @property
    def has_expired(self) -> bool:
        """Whether the token is too old to be used."""
        return datetime.now(UTC) >= self.expires_at


def create_order_token(order: Any, expires_in: timedelta = timedelta(days=1)) -> str:
    """Return a token with which a guest can pay this order by the API, and read its state.

    The guest's client sends it as ``X-Order-Token`` instead of ``Authorization``. Create it in the
    shop's own code, for the visitor who placed the order.
    """
    return sign_order(order.pk, expires_in, purpose=Purpose.API)


def sign_order(order_id: object, expires_in: timedelta, *, purpose: Purpose) -> str:
    """Return a token for one order. It is valid for ten years at most."""
    expires_at = datetime.now(UTC) + min(expires_in, _LONGEST)
    return signing.dumps([str(order_id), int(expires_at.timestamp())], salt=purpose)


def read_order_token(text: Secret, *, purpose: Purpose) -> OrderToken | None:
    """Return the content of a token, also of an expired one; None if we did not sign it."""
    try:
        order_id, expires = signing.loads(text.reveal(), salt=purpose)
    except signing.BadSignature:
        return None
    return OrderToken(order_id=order_id, expires_at=datetime.fromtimestamp(expires, UTC))
