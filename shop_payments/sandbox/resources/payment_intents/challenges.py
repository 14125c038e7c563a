"""3D Secure challenges: the links on which customers authenticate a payment.

Anyone who knows a link can answer for the customer. So each link contains a secret, and becomes
invalid when the intent gets another link.
"""

from __future__ import annotations

from ...account.books import Authentication, Books, Object

PATH = "/3ds/"


def open_challenge(books: Books, intent: Object, return_url: str | None) -> str:
    """Return a new link for the intent's customer. Earlier links become invalid."""
    earlier = books.authentication_tokens.get(intent["id"])
    if earlier is not None:
        del books.authentications[earlier]
    token = books.authentication_tokens[intent["id"]] = books.token(32)
    books.authentications[token] = Authentication(
        token=token, intent_id=intent["id"], return_url=return_url
    )
    return f"{books.base_url}{PATH}{token}"
