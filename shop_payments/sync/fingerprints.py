"""The parameters of a payment intent as one comparable value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shop_payments.models import StripeAttempt

DEFAULT_CAPTURE_METHOD = "automatic_async"
"""Stripe's default for an intent that is created without a capture method.

See: https://docs.stripe.com/api/payment_intents/object#payment_intent_object-capture_method
(checked 2026-11)
"""


def fingerprint_of(params: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an intent's parameters.

    Two fingerprints are equal if and only if the parameters describe the same payment. The
    attempt's id, and keys that are only sent to unset something, do not count.
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
    """Return the fingerprint of the parameters of ``attempt``; empty if incomplete or purged.

    An intent without a fingerprint is updated by the next call 1.
    """
    is_complete = attempt.purged_at is None and "description" in attempt.params
    return fingerprint_of(attempt.params) if is_complete else ""
