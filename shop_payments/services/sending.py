"""What all writes to Stripe share: taking turns, and knowing when to ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.utils import timezone

from shop_payments.exceptions import (
    GatewayError,
    GatewayInvalidRequest,
    IdempotencyMismatch,
    PaymentError,
    TargetMissing,
)
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import StripeAttempt

logger = logging.getLogger("shop_payments")


class Patience:
    """How long one request waits for others, in all; ``impatience`` is raised after that."""

    def __init__(self, seconds: float, impatience: PaymentError) -> None:
        self.claim_time = timedelta(seconds=seconds)
        self._impatience = impatience
        self._deadline = time.monotonic() + seconds
        self._pause = 0.02

    def wait_for(self, attempt: StripeAttempt) -> None:
        """Return when ``attempt`` is finished or free, without holding anything meanwhile.

        Raises:
            PaymentError: ``impatience``.
        """
        waiting = StripeAttempt.objects.pending().filter(
            pk=attempt.pk, claimed_at=attempt.claimed_at
        )
        while True:
            if time.monotonic() > self._deadline:
                raise self._impatience
            time.sleep(self._pause)
            self._pause = min(self._pause * 1.5, 0.25)
            claim_is_old = not attempt.is_claimed(within=self.claim_time, now=timezone.now())
            if claim_is_old or not waiting.exists():
                return


def claim(attempt: StripeAttempt, *, within: timedelta) -> bool:
    """Take over what another request began, unless that request may still be running."""
    now = timezone.now()
    busy = attempt.is_claimed(within=within, now=now)
    return not busy and StripeAttempt.objects.all().claim(attempt, now=now)


def pending_write(locked: LockedPayment) -> StripeAttempt | None:
    """Return what was begun with the payment's intent and is not known to be finished.

    What was begun with a test key is left behind by a live one: it must never be sent with that.
    So is what was begun with an intent that is missing: it must not keep the order from another.

    Raises:
        ConfigurationError: begun in live mode, and the key in use is a test key.
    """
    pending = locked.payment.attempts.intent_writes().pending().first()
    if pending is None:
        return None
    target = locked.intent(pending.target)
    is_missing = target is not None and target.status == IntentStatus.MISSING
    if not is_missing and not belongs_to_other_mode(pending.livemode):
        return pending
    pending.finish(StripeAttempt.Outcome.ABANDONED)
    return None


@contextmanager
def free_if_lost(attempt: StripeAttempt) -> Iterator[None]:
    """Leave ``attempt`` to the next caller at once where Stripe could not be asked about it.

    Raises:
        GatewayError: as the block.
    """
    try:
        yield
    except GatewayError:
        attempt.release()
        raise


@contextmanager
def doubting_the_key(stripe_id: str) -> Iterator[None]:
    """Conclude nothing if Stripe does not know ``stripe_id``, which is ours, under the key in use.

    See Note [Absence proves nothing] in ``refunds.py``.

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


def must_look_up(error: GatewayError) -> bool:
    """Whether sending the same key again can never tell what happened.

    Stripe repeats a saved answer for as long as it keeps the key: a 5xx, and a "not now" as well,
    if it should ever save one (?). An idempotency error says only that the key has been used.
    """
    return isinstance(error, IdempotencyMismatch) or (error.retryable and error.replayed)
