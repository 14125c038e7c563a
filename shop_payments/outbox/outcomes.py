"""What the outcome of a call to Stripe means: refused, unknown, or a key in doubt.

Note [Absence proves nothing]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Stripe says of its own 500s that the request may have had any effect, or none, and that it may
finish it later. So a refund that was answered so, and is not in the list, keeps its amount and its
key. It is given up only when the key has expired and two looks, an hour apart, have not found it,
or by staff. A refund that comes even later is mirrored as any other.

A look counts only if the payment intent can be retrieved under the same key: another account has
neither. For the same reason a 404 refuses nothing: what was to be refunded or captured exists, so
the key is in doubt. The call stays unresolved, and is sent again.

See: https://docs.stripe.com/error-low-level (checked 2026-11)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shop_payments.exceptions import (
    GatewayError,
    GatewayInvalidRequest,
    IdempotencyMismatch,
    TargetMissing,
)
from shop_payments.models import StripeAttempt

logger = logging.getLogger("shop_payments")


@contextmanager
def doubting_the_key(stripe_id: str) -> Iterator[None]:
    """Conclude nothing if Stripe does not know ``stripe_id``, which is ours, under the key in use.

    See Note [Absence proves nothing].

    Raises:
        TargetMissing: Stripe does not know it.
        GatewayError: as the block.
    """
    try:
        yield
    except GatewayInvalidRequest as error:
        if not is_missing(error):
            raise
        raise doubt_of(stripe_id, error) from None


def is_missing(error: GatewayError) -> bool:
    """Whether Stripe does not know an object: the one of the path (404), or a parameter's (400).

    See: https://docs.stripe.com/error-codes#resource-missing (checked 2026-11)
    """
    return isinstance(error, GatewayInvalidRequest) and error.code == "resource_missing"


def doubt_of(stripe_id: str, error: GatewayError) -> TargetMissing:
    """Return what to raise where Stripe does not know an object of ours."""
    return TargetMissing(
        f"Stripe does not know {stripe_id} under the key in use: does"
        " SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belong to the account that made it?",
        code=error.code,
        param=error.param,
        request_id=error.request_id,
        http_status=error.http_status,
    )


def log_error(attempt: StripeAttempt, error: GatewayError) -> dict[str, Any]:
    """Log that a write has failed; return what the attempt's row keeps of it."""
    happened = "did not carry out" if error.retryable else "refused"
    logger.warning("Stripe %s %s: %s", happened, attempt, error.in_full)
    return {
        "request_id": error.request_id[:255],
        "error_code": error.code[:255],
        "http_status": error.http_status,
    }


def is_replayed_failure(error: GatewayError) -> bool:
    """Whether sending the same key again can never tell what happened.

    Stripe repeats a saved answer for as long as it keeps the key: a 5xx, and a "not now" as well,
    if it should ever save one (?). An idempotency error says only that the key has been used.
    """
    return isinstance(error, IdempotencyMismatch) or (error.retryable and error.replayed)
