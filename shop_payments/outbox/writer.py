"""Change an order's open intent at Stripe: decide under the lock, send, and look again.

See Note [One call, two short transactions] in ``intents.py``, of which this is the simple case:
there is an intent, and one thing is to be done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import OrderNotFound, PaymentIntentInProgress, PaymentIntentMissing
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.units import change_payment
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.orders import get_order_adapter
from shop_payments.outbox.sender import check_target, finish_for_others, send_attempt
from shop_payments.outbox.turns import WaitBudget, acquire, pending_write

_MAX_ROUNDS = 8

Decide = Callable[[LockedPayment], StripeAttempt | None]
"""Under the lock: the attempt to send, or None where nothing is left to do. May raise."""


def save_write(
    locked: LockedPayment,
    row: PaymentIntent,
    operation: StripeAttempt.Operation,
    params: Mapping[str, Any],
) -> StripeAttempt:
    """Commit, with the caller's transaction, what is about to be sent.

    Raises:
        PaymentIntentMissing: begun with a test key, and the key in use is live.
        ConfigurationError: begun in live mode, and the key in use is a test key.
    """
    if belongs_to_other_mode(row.livemode):
        raise PaymentIntentMissing("This payment was begun in test mode; the key in use is live.")
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
    """Commit, with the caller's transaction, what is about to be sent; claimed by the caller.

    Raises:
        IntegrityError: another write of this payment's intents is not finished.
    """
    now = timezone.now()
    locked.follows_up = False  # what has to follow, follows from the answer
    return StripeAttempt.objects.create(
        id=attempt_id or uuid4(),
        order_payment=locked.payment,
        operation=operation,
        target=target,
        target_version=target_version,
        params=dict(params),
        livemode=get_config().livemode,
        acquired_at=now,
        last_sent_at=now,
    )


def write_until_done(*, order_id: object, decide: Decide, origin: Origin) -> LockedPayment:
    """Send what ``decide`` asks for until it asks for nothing; return the payment as it is then.

    What another request has begun with the intent is waited for, or finished, first. Once something
    was sent and no intent is open any more, it is done: what others begin then is theirs.

    Raises:
        OrderNotFound: no such order, or nothing was ever tried for it.
        PaymentIntentInProgress: another request holds it for more than ``INTENT_WAIT_SECONDS``.
        PaymentIntentMissing: the intent is of live mode, and not at Stripe.
        TargetMissing: the same of a capture, whose outcome is not known then.
        GatewayError: Stripe refused, or could not be reached.
    """
    lock = partial(_lock, get_order_adapter().parse_id(order_id))
    budget = WaitBudget(
        get_config().INTENT_WAIT_SECONDS,
        PaymentIntentInProgress("Another request is at this payment. Try again in a moment."),
    )
    is_sent = False

    def choose(locked: LockedPayment) -> tuple[StripeAttempt | None, StripeAttempt | None]:
        if is_sent and locked.open_intent is None:
            return None, None
        pending = pending_write(locked)
        if pending is not None:
            locked.follows_up = False  # first of all that has to be finished
            return pending, None
        return None, decide(locked)

    for _round in range(_MAX_ROUNDS):
        done = change_payment(choose, origin=origin, lock=lock, competes=True)
        assert done.locked is not None
        assert done.value is not None
        pending, step = done.value
        if step is not None:
            is_sent = True
            sent = send_attempt(step, origin=origin)
            check_target(step, origin=origin)
            if sent.locked is not None and sent.locked.open_intent is None:
                return sent.locked
        elif pending is None:
            return done.locked
        elif acquire(pending, within=budget.lease):
            finish_for_others(pending, origin=origin)
        else:
            budget.wait_for(pending)
    raise PaymentIntentInProgress("The payment keeps changing. Try again in a moment.")


def _lock(pk: object) -> LockedPayment:
    locked = None if pk is None else find_and_lock_payment(order_id=pk)
    if locked is None:
        raise OrderNotFound("No payment of this order was found.")
    return locked
