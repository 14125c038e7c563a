"""Payment links: signed, expiring, for one order.

Anyone with the link may pay the order, and see its lines and its state. The token is in the
query, not in the path, because Django logs the paths of failed requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from shop_payments.order_tokens import OrderToken, Purpose, read_order_token, sign_order
from shop_payments.secrecy import Secret

DEFAULT_EXPIRY = timedelta(days=7)

RETURN_EXPIRY = timedelta(days=1)
"""How long a signed-in customer may take at their bank. They return without a session if
cookies are blocked, or with ``SESSION_COOKIE_SAMESITE = "Strict"``."""

TOKEN = "token"  # noqa: S105 - the name of a query parameter
"""The query parameter with the signature."""


@dataclass(frozen=True, kw_only=True)
class Link(OrderToken):
    """A genuine link of an order. If it has expired, the order may not be paid with it any more."""

    token: str


def checkout_url(
    order: Any, request: HttpRequest | None = None, expires_in: timedelta = DEFAULT_EXPIRY
) -> str:
    """Return a link to the order's pay page, for an e-mail or a redirect.

    It is absolute if ``request`` is given, else a path. The link asks for what is outstanding when
    it is opened. The order's own customer, signed in, needs no signature: for them,
    ``reverse("shop_payments_checkout:pay", args=[order.pk])`` is enough.
    """
    path = page_url("pay", order.pk, sign(order.pk, expires_in))
    return request.build_absolute_uri(path) if request else path


def page_url(name: str, order_id: object, token: str = "") -> str:
    """Return the path of a page of the order, with the token if there is one."""
    path = reverse(f"shop_payments_checkout:{name}", args=[str(order_id)])
    return f"{path}?{urlencode({TOKEN: token})}" if token else path


def sign(order_id: object, expires_in: timedelta) -> str:
    """Return a token for one order."""
    return sign_order(order_id, expires_in, purpose=Purpose.CHECKOUT)


def read_link(token: str, order_id: object) -> Link | None:
    """Return the link that a token stands for; None if we did not sign it for this order."""
    found = read_order_token(Secret(token), purpose=Purpose.CHECKOUT)
    if found is None or found.order_id != str(order_id):
        return None
    return Link(token=token, order_id=found.order_id, expires_at=found.expires_at)
