"""Change an order's open intent at Stripe: decide under the lock, send, and look again.

This is the simple case of Note [One call, two short transactions] in
``services/create_payment_intent.py``: the intent exists, and there is one change to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone
from django.utils.translation import gettext_noop

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    Message,
    OrderNotFound,
    PaymentIntentInProgress,
    PaymentIntentMissing,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.units import change_payment
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.orders import get_order_adapter
from shop_payments.outbox.sender import check_target, finish_for_others, send_attempt
from shop_payments.outbox.turns import WaitBudget, acquire, pending_write
from shop_payments.prepared import insert_rows

_MAX_ROUNDS = 8

Decide = Callable[[LockedPayment], StripeAttempt | None]
"""Under the lock, return the attempt to send, or None if nothing is left to do. May raise."""


def save_write(
    locked: LockedPayment,
    row: PaymentIntent,
    operation: StripeAttempt.Operation,
    params: Mapping[str, Any],
) -> StripeAttempt:
    """Save an attempt that changes ``row``, in the caller's transaction.

    Raises:
        PaymentIntentMissing: created with a test key, and the key in use is live.
        ConfigurationError: created in live mode, and the key in use is a test key.
    """
    if belongs_to_other_mode(row.livemode):
        raise PaymentIntentMissing(
            Message(
                gettext_noop(
                    "This payment was started in test mode, but the key in use is a live key."
                )
            )
        )
    return save_attempt(locked, operation, row.stripe_id, params, target_version=row.version)


def save_attempt(
    locked: LockedPayment,
    operation: StripeAttempt.Operation,
    target: str,
    params: Mapping[str, Any],
    *,
    target_version: int = 0,
    attempt_id: UUID | None = None,
) -> StripeAttempt:
    """Save an attempt in the caller's transaction, already acquired by the caller.

    Raises:
        IntegrityError: another write of this payment's intents is not finished.
    """
    now = timezone.now()
    locked.follows_up = False  # the unit of work that records the answer runs the follow-ups
    attempt = StripeAttempt(
        id=attempt_id or uuid4(),
        order_payment=locked.payment,
        operation=operation,
        target=target,
        target_version=target_version,
        params=dict(params),
        livemode=get_config().livemode,
        acquired_at=now,
        # Before it is sent: if the process dies, the search for its effect needs an end.
        last_sent_at=now,
    )
    insert_rows(attempt)
    return attempt


def write_until_done(*, order_id: object, decide: Decide, origin: Origin) -> LockedPayment:
    """Send the attempts that ``decide`` returns until it returns None; return the payment.

    A pending attempt of another request is waited for, or finished, first. The work is done as soon
    as an attempt was sent and no intent is open: a later intent belongs to another request.

    Raises:
        OrderNotFound: there is no such order, or it has no payment.
        PaymentIntentInProgress: another request holds it for more than ``INTENT_WAIT_SECONDS``.
        PaymentIntentMissing: Stripe does not know the intent, which is of live mode.
        TargetMissing: the same for a capture, whose outcome is then unknown.
        GatewayError: Stripe refused, or could not be reached.
    """
    lock = partial(_lock, get_order_adapter().parse_id(order_id))
    budget = WaitBudget(
        get_config().INTENT_WAIT_SECONDS,
        PaymentIntentInProgress("Another request is handling this payment. Try again in a moment."),
    )
    is_sent = False

    def choose(locked: LockedPayment) -> tuple[StripeAttempt | None, StripeAttempt | None]:
        if is_sent and locked.open_intent is None:
            return None, None
        pending = pending_write(locked)
        if pending is not None:
            locked.follows_up = False  # the pending attempt must be finished first
            return pending, None
        return None, decide(locked)

    # Other requests may begin something new in each round, so the rounds are limited.
    for _round in range(_MAX_ROUNDS):
        done = change_payment(choose, origin=origin, lock=lock, competes=True)
        assert done.locked is not None
        assert done.value is not None
        pending, step = done.value
        if step is not None:
            is_sent = True
            sent = send_attempt(step, origin=origin)
            # A 404 has finished the attempt without an error: see whether the intent is missing.
            check_target(step, origin=origin)
            if sent.locked is not None and sent.locked.open_intent is None:
                return sent.locked
        elif pending is None:
            return done.locked
        elif acquire(pending, within=budget.lease):
            finish_for_others(pending, origin=origin)
        else:
            budget.wait_for(pending)
    raise PaymentIntentInProgress(
        Message(gettext_noop("The payment keeps changing. Try again in a moment."))
    )


def _lock(pk: object) -> LockedPayment:
    locked = None if pk is None else find_and_lock_payment(order_id=pk)
    if locked is None:
        raise OrderNotFound(Message(gettext_noop("No payment of this order was found.")))
    return locked
