"""The staff's pages. Importing this registers them with the default admin site."""

from shop_payments.admin import (
    api_keys,
    entries,
    events,
    history,
    orders,
    payments,
    refunds,
    review,
)

__all__ = [
    "api_keys",
    "entries",
    "events",
    "history",
    "orders",
    "payments",
    "refunds",
    "review",
]
