"""One process at a time works on an attempt; the others wait."""

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
    """The total time that a request waits for others; after that, ``error`` is raised."""

    def __init__(self, seconds: float, error: PaymentError) -> None:
        self.lease = timedelta(seconds=seconds)
        self._error = error
        self._deadline = time.monotonic() + seconds
        self._pause = 0.02

    def wait_for(self, attempt: StripeAttempt) -> None:
        """Return when ``attempt`` is finished or released. No lock is held while waiting.

        Raises:
            PaymentError: ``error``.
        """
        waiting = StripeAttempt.objects.pending().filter(
            pk=attempt.pk, acquired_at=attempt.acquired_at
        )
        while True:
            if time.monotonic() > self._deadline:
                raise self._error
            time.sleep(self._pause)  # short pauses at first, then longer ones
            self._pause = min(self._pause * 1.5, 0.25)
            # The process that acquired it may have died: after the lease it may be acquired again.
            lease_is_over = not attempt.is_acquired(within=self.lease, now=timezone.now())
            if lease_is_over or not waiting.exists():
                return


def acquire(attempt: StripeAttempt, *, within: timedelta) -> bool:
    """Acquire an attempt of another request, unless that request may still be running."""
    now = timezone.now()
    busy = attempt.is_acquired(within=within, now=now)
    return not busy and StripeAttempt.objects.all().acquire(attempt, now=now)


def pending_write(locked: LockedPayment) -> StripeAttempt | None:
    """Return the pending write of the payment's intents, if there is one.

    An attempt of test mode is abandoned if the key in use is live, because it must never be sent
    with a live key. An attempt with a missing intent is abandoned, because it must not keep the
    order from getting another intent.

    Raises:
        ConfigurationError: created in live mode, and the key in use is a test key.
    """
    if not locked.may_have_pending:
        return None
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
def release_on_error(attempt: StripeAttempt) -> Iterator[None]:
    """Release ``attempt`` if the block's request to Stripe fails, so that the next caller can try.

    Raises:
        GatewayError: the error of the block.
    """
    try:
        yield
    except GatewayError:
        attempt.release()
        raise
