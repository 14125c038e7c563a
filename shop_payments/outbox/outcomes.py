"""What a failed call to Stripe means: refused, unresolved, or a key of another account.

Note [Absence proves nothing]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
After a 500 from Stripe, the request may have had any effect, or none, and Stripe may finish it
later. So after such an answer, a refund that is not in the list keeps its amount reserved and its
idempotency key. Staff may give it up. Otherwise it is given up after the key has expired and two
look-ups, an hour apart, have not found it. A refund that appears even later is stored as any other.

A look-up counts only if the payment intent can be retrieved with the same API key: another account
has neither. For the same reason a 404 does not mean that Stripe refused: the object to refund or
capture exists, so the API key is probably wrong. The attempt stays unresolved and is sent again.

See: https://docs.stripe.com/error-low-level (checked 2026-11)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayError,
    GatewayInvalidRequest,
    IdempotencyMismatch,
    TargetMissing,
)
from shop_payments.models import StripeAttempt

logger = logging.getLogger("shop_payments")


@contextmanager
def reporting_missing_target(stripe_id: str) -> Iterator[None]:
    """Raise ``TargetMissing`` if Stripe does not know ``stripe_id``, which is ours.

    See Note [Absence proves nothing].

    Raises:
        TargetMissing: Stripe does not know it under the key in use.
        GatewayError: any other error of the block.
    """
    try:
        yield
    except GatewayInvalidRequest as error:
        if not is_missing(error):
            raise
        raise target_missing(stripe_id, error) from None


def is_missing(error: GatewayError) -> bool:
    """Return whether Stripe does not know the object of the path (404) or of a parameter (400).

    See: https://docs.stripe.com/error-codes#resource-missing (checked 2026-11)
    """
    return isinstance(error, GatewayInvalidRequest) and error.code == "resource_missing"


def target_missing(stripe_id: str, error: GatewayError) -> TargetMissing:
    """Return the error to raise if Stripe does not know an object of ours."""
    fix = (
        "The sandbox forgets everything when it is restarted."
        if get_config().uses_sandbox
        else "Check that SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belongs to the account that created it."
    )
    return TargetMissing(
        f"Stripe does not know {stripe_id} under the key in use. {fix}",
        code=error.code,
        param=error.param,
        request_id=error.request_id,
        http_status=error.http_status,
    )


def log_error(attempt: StripeAttempt, error: GatewayError) -> dict[str, Any]:
    """Log a failed write; return the values of the error that the attempt's row stores."""
    happened = "did not carry out" if error.retryable else "refused"
    logger.warning("Stripe %s %s: %s", happened, attempt, error.in_full)
    return {
        "request_id": error.request_id[:255],
        "error_code": error.code[:255],
        "http_status": error.http_status,
    }


def is_replayed_failure(error: GatewayError) -> bool:
    """Return whether sending the same key again cannot show what happened.

    Stripe repeats a saved answer for as long as it keeps the key: a 5xx, and a "not now" as well,
    if it ever saves one (?). An idempotency error only means that the key has been used.
    """
    return isinstance(error, IdempotencyMismatch) or (error.retryable and error.replayed)
