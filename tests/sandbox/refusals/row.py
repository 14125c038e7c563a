"""A row of the table: a request, and how Stripe refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.sandbox.support import INTENTS, KEY

INTENT = f"{INTENTS}/ID"
CONFIRM = f"{INTENT}/confirm"
CANCEL = f"{INTENT}/cancel"
CAPTURE = f"{INTENT}/capture"
REFUNDS = "/v1/refunds"
DISPUTES = "/v1/disputes"
EVENT = "enabled_events[]"
EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook_endpoints"

AUTOMATIC = "automatic_payment_methods[enabled]"
TYPES = "allowed_payment_method_types"
NO_TYPES: Mapping[str, str | None] = {f"{TYPES}[]": None}

INVALID = "invalid_request_error"
UNEXPECTED = "payment_intent_unexpected_state"

DISPUTED = "charge_disputed"

CLOSED = ("processing", "succeeded", "canceled")
NOT_PAYABLE = ("processing", "requires_capture", "succeeded", "canceled")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A request, and how Stripe refuses it."""

    name: str
    method: str = "POST"
    path: str = INTENTS
    sent: Mapping[str, str] | str = field(default_factory=dict)
    state: str | None = None
    """The status of the intent that ID stands for; one that waits for a payment method if None."""
    card: str | None = None
    """What that intent is then confirmed with."""
    after: tuple[str, Mapping[str, str]] | None = None
    """A write that has gone before, by its path and parameters; LAST stands for its id."""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = KEY
    status: int = 400
    type: str = INVALID
    code: str | None = None
    param: str | None = None
