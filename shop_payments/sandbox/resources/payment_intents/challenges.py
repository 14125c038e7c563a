"""3D Secure challenges: the links under which customers authenticate a payment.

Anyone who knows a link may answer for the customer, so each link holds a secret, and is void once
the same intent gets another one.
"""

from __future__ import annotations

from ...account.books import Authentication, Books, Object

PATH = "/3ds/"


def open_challenge(books: Books, intent: Object, return_url: str | None) -> str:
    """Return the address where the customer authenticates; links from before are void."""
    for token, earlier in [*books.authentications.items()]:
        if earlier.intent_id == intent["id"]:
            del books.authentications[token]
    token = books.token(32)
    books.authentications[token] = Authentication(
        token=token, intent_id=intent["id"], return_url=return_url
    )
    return f"{books.base_url}{PATH}{token}"
