"""Taking turns: one process at a time works on an attempt, and the others wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.utils import timezone

from shop_payments.exceptions import GatewayError, PaymentError
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment
from shop_payments.lifecycle import IntentStatus
from shop_payments.models import StripeAttempt

logger = logging.getLogger("shop_payments")


class WaitBudget:
    """How long one request waits for others, in all; ``error`` is raised after that."""

    def __init__(self, seconds: float, error: PaymentError) -> None:
        self.lease = timedelta(seconds=seconds)
        self._impatience = error
        self._deadline = time.monotonic() + seconds
        self._pause = 0.02

    def wait_for(self, attempt: StripeAttempt) -> None:
        """Return when ``attempt`` is finished or free, without holding anything meanwhile.

        Raises:
            PaymentError: ``error``.
        """
        waiting = StripeAttempt.objects.pending().filter(
            pk=attempt.pk, acquired_at=attempt.acquired_at
        )
        while True:
            if time.monotonic() > self._deadline:
                raise self._impatience
            time.sleep(self._pause)
            self._pause = min(self._pause * 1.5, 0.25)
            lease_is_over = not attempt.is_acquired(within=self.lease, now=timezone.now())
            if lease_is_over or not waiting.exists():
                return


def acquire(attempt: StripeAttempt, *, within: timedelta) -> bool:
    """Take over what another request began, unless that request may still be running."""
    now = timezone.now()
    busy = attempt.is_acquired(within=within, now=now)
    return not busy and StripeAttempt.objects.all().acquire(attempt, now=now)


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
