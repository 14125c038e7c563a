"""The types of Stripe's objects that belong to a payment intent.

Webhooks look up the type of an event here, and the sweep goes through all of them. docs/adding.md
explains how to add one.
"""

from __future__ import annotations

from typing import Any

from shop_payments.sync.base import ObjectType
from shop_payments.sync.disputes import DISPUTES
from shop_payments.sync.radar import EARLY_FRAUD_WARNINGS, REVIEWS
from shop_payments.sync.refunds import REFUNDS

OBJECT_TYPES: tuple[ObjectType[Any, Any], ...] = (
    REFUNDS,
    DISPUTES,
    EARLY_FRAUD_WARNINGS,
    REVIEWS,
)
"""In the order of the sweep."""

LISTED_EVENTS: tuple[str, ...] = (
    *("payment_intent.created", "payment_intent.requires_action", "payment_intent.processing"),
    *("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"),
    *("payment_intent.amount_capturable_updated", "payment_intent.partially_funded"),
    *(name for each in OBJECT_TYPES for name in each.listed_events),
)
"""The event types that the app needs: a webhook endpoint is registered for them, and the sweep asks
Stripe for them. Stripe takes at most 20 in one request.

See: https://docs.stripe.com/api/events/list (checked 2026-11)
"""


OPTIONAL_EVENTS = frozenset(
    name for each in OBJECT_TYPES if each.is_optional for name in each.listed_events
)
"""Those of them that a shop may do without."""


def type_of_event(event_type: str) -> ObjectType[Any, Any] | None:
    """Return the object type of an event; None for payment intents and for unknown types."""
    return next((each for each in OBJECT_TYPES if event_type.startswith(each.events)), None)
