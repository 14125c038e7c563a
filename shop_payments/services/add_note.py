"""Add a note of staff to a payment."""

from __future__ import annotations

from typing import Any

from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderPayment, StaffNote

LONGEST_NOTE = 2000
"""Characters of a note."""


def add_note(*, payment: OrderPayment, text: str, key: str, user: Any, origin: Origin) -> StaffNote:
    """Add a note; repeated with the same idempotency key, return the same note.

    No lock is needed: nothing is derived from notes.

    Raises:
        ValueError: the text is empty or too long.
    """
    text = text.strip()
    if not text or len(text) > LONGEST_NOTE:
        raise ValueError("a note must have 1 to ")
    note, _is_new = StaffNote.objects.get_or_create(
        order_payment=payment,
        request_key=key,
        defaults={"text": text, "actor": origin.actor, "created_by": user},
    )
    return note
