"""The unit of work: lock a payment, change it, evaluate it, commit, notify, follow up.

Note [Unit of work]
~~~~~~~~~~~~~~~~~~~
Every change of a payment goes through here, so nobody pairs a transaction with what has to come
after it by hand:

1. the payment is locked and its rows are read, in a transaction that is run again where the
   database undoes it;
2. the caller changes rows;
3. if money has moved, the order is evaluated (``evaluation.py``); the rows are saved;
4. after the commit the host is notified of the new facts, and what has to be done at Stripe
   because of them is done (``services/follow_up.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from django.db import transaction

from shop_payments.ledger.evaluation import derive, evaluate, terms_last_seen
from shop_payments.ledger.facts import Origin, dispatch
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
from shop_payments.ledger.transactions import after_commit, is_in_transaction, run_short

logger = logging.getLogger("shop_payments")

_T = TypeVar("_T")

Lock = Callable[[], LockedPayment | None]


class _FollowUp(Protocol):
    def __call__(self, payment_pk: int, *, origin: Origin) -> None: ...


_follow_ups: list[_FollowUp] = []


def runs_after_commit(work: _FollowUp) -> _FollowUp:
    """Register what is done at Stripe after a commit. It sends, so it stands above this room."""
    _follow_ups.append(work)
    return work


@dataclass(frozen=True)
class Done(Generic[_T]):
    """What came of a unit of work."""

    locked: LockedPayment | None
    """The payment as it was committed; None where there was none to lock."""

    value: _T | None

    def raise_if_unreadable(self) -> None:
        """Raise where the order could not be read, so that the caller tries again.

        Raises:
            OrderUnreadable: what Stripe said is stored, and nothing was derived from it.
        """
        if self.locked is not None and self.locked.order_error is not None:
            raise self.locked.order_error


def change_payment(
    change: Callable[[LockedPayment], _T],
    *,
    origin: Origin,
    lock: Lock | None = None,
    reads_order: bool = False,
    follows_up: bool = True,
    competes: bool = False,
    **lookup: Any,
) -> Done[_T]:
    """Run ``change`` under the lock of the payment that ``lookup`` (or ``lock``) finds.

    ``reads_order`` has the order read and evaluated whether or not something has changed. Without
    ``follows_up`` nothing is done at Stripe afterwards: a follow-up must not start another one.
    With ``competes`` it is run again if another process was faster to insert the same row. Inside a
    transaction of the caller everything that follows the commit waits for that commit.

    Raises:
        ConfigurationError: the order was paid in live mode, and the key in use is a test key.
        Exception: what ``change`` raises; nothing is written then.
    """
    find = lock or partial(find_and_lock_payment, **lookup)

    def run() -> Done[_T]:
        locked = find()
        if locked is None:
            return Done(None, None)
        locked.follows_up = follows_up
        value = change(locked)
        _complete(locked, origin=origin, reads_order=reads_order)
        return Done(locked, value)

    if is_in_transaction():
        with transaction.atomic():
            done = run()
        if done.locked is not None:
            what = f"what follows a change of {done.locked.payment}"
            after_commit(partial(_after, done.locked, origin=origin), what=what)
        return done
    done = run_short(run, competes=competes)
    if done.locked is not None:
        _after(done.locked, origin=origin)
    return done


def _complete(locked: LockedPayment, *, origin: Origin, reads_order: bool = False) -> None:
    """Evaluate a changed payment and save its rows: the end of each transaction."""
    payment = locked.payment
    if reads_order or locked.needs_order or payment.failed_reads or payment.total is None:
        evaluate(locked, origin=origin)
    elif locked.needs_evaluation:
        evaluate(locked, origin=origin, terms=terms_last_seen(payment))
    elif locked.has_changed:
        derive(locked)
    locked.flush()


def _after(locked: LockedPayment, *, origin: Origin) -> None:
    """Notify the host of what was committed, and do at Stripe what follows from it."""
    _log(locked)
    dispatch(locked.facts, others_wait=locked.others_wait)
    if locked.needs_follow_up and locked.follows_up:
        for work in _follow_ups:
            work(locked.payment.pk, origin=origin)


def _log(locked: LockedPayment) -> None:
    """Write one line for each change of state that was committed."""
    payment = locked.payment
    for fact in locked.facts:
        logger.info(
            "Payment changed: order=%s intent=%s fact=%s status=%s source=%s request_id=%s",
            payment.order_id,
            fact.payment_intent.stripe_id if fact.payment_intent else "-",
            fact.kind,
            payment.status,
            fact.source,
            fact.request_id or "-",
        )
