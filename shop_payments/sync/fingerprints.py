"""What a payment intent was asked to look like, as one comparable value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shop_payments.models import StripeAttempt

DEFAULT_CAPTURE_METHOD = "automatic_async"
"""What Stripe sets where an intent is created without one.

See: https://docs.stripe.com/api/payment_intents/object#payment_intent_object-capture_method
(checked 2026-11)
"""


def fingerprint_of(params: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what an intent should look like.

    Two orders' states are the same payment if and only if their fingerprints are equal: the
    attempt's id and keys that are sent only to unset something do not count.
    """
    metadata = {
        key: value
        for key, value in params.get("metadata", {}).items()
        if key != "attempt_id" and value != ""
    }
    core = {
        "amount": params["amount"],
        "currency": params["currency"],
        "description": params["description"],
        "receipt_email": params.get("receipt_email") or "",
        "capture_method": params.get("capture_method", DEFAULT_CAPTURE_METHOD),
        "payment_method_types": params.get("allowed_payment_method_types", "automatic"),
        "metadata": metadata,
    }
    text = json.dumps(core, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sent_fingerprint(attempt: StripeAttempt) -> str:
    """Return the fingerprint of what ``attempt`` sent; empty where that is not all, or was purged.

    An intent without a fingerprint is updated to what its order wants when it is next asked for.
    """
    is_complete = attempt.purged_at is None and "description" in attempt.params
    return fingerprint_of(attempt.params) if is_complete else ""
