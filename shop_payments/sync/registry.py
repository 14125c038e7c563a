"""The types of Stripe's objects that belong to a payment intent.

Webhooks look up the type of an event here, and the sweep goes through all of them. docs/adding.md
explains how to add one.
"""

from __future__ import annotations

from typing import Any

from shop_payments.sync.base import ObjectType
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.early_fraud_warnings import EARLY_FRAUD_WARNINGS
from shop_payments.sync.refunds import REFUNDS
from shop_payments.sync.reviews import REVIEWS

OBJECT_TYPES: tuple[ObjectType[Any, Any], ...] = (
    REFUNDS,
    DISPUTES,
    EARLY_FRAUD_WARNINGS,
    REVIEWS,
)
"""In the order of the sweep."""


def type_of_event(event_type: str) -> ObjectType[Any, Any] | None:
    """Return the object type of an event; None for payment intents and for unknown types."""
    return next((each for each in OBJECT_TYPES if event_type.startswith(each.events)), None)
