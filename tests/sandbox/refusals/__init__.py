"""What Stripe refuses: one table, for test_refusals.py.

Each row says what is sent, to an intent in which status, and what comes back: HTTP status, type,
code and param of Stripe's error object. Whatever is refused has no effect.

Sources: https://docs.stripe.com/api (errors, idempotent_requests, metadata, pagination,
payment_intents), https://docs.stripe.com/error-codes and https://docs.stripe.com/currencies
(checked 2026-11). What takes two requests, idempotency keys, is in test_refusals.py, and those in
use in test_idempotency.py.
"""

from __future__ import annotations

from . import intents, others, requests
from .row import INVALID, Refusal

__all__ = ["INVALID", "REFUSALS", "Refusal"]

REFUSALS = [
    *requests.keys(),
    *requests.bodies(),
    *requests.lookups(),
    *requests.expansions(),
    *requests.browsers(),
    *requests.other_lookups(),
    *intents.amounts(),
    *intents.metadata(),
    *intents.creates(),
    *intents.declines(),
    *intents.states(),
    *intents.ways_back(),
    *intents.updates(),
    *intents.captures(),
    *others.webhook_endpoints(),
    *others.refunds(),
    *others.disputes(),
]
