"""The unit of work: lock a payment, change it, evaluate it, commit, notify, follow up.

Note [Unit of work]
~~~~~~~~~~~~~~~~~~~
Every change of a payment goes through here, so no caller has to combine a transaction and the
steps that follow it:

1. The payment is locked and its rows are read, in a transaction that is retried if the database
   rolls it back.
2. The caller changes rows.
3. If money has moved, the order is evaluated (``evaluation.py``). The rows are saved.
4. After the commit, the host is notified of the new facts, and the follow-ups at Stripe run
   (``services/follow_up.py``).
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
from shop_payments.ledger.transactions import after_commit, is_in_transaction, run_transaction

logger = logging.getLogger("shop_payments")

_T = TypeVar("_T")

Lock = Callable[[], LockedPayment | None]


class _FollowUp(Protocol):
    def __call__(self, payment_pk: int, *, origin: Origin) -> None: ...


_follow_ups: list[_FollowUp] = []


def runs_after_commit(work: _FollowUp) -> _FollowUp:
    """Register a follow-up at Stripe. It calls services, which this room does not import."""
    _follow_ups.append(work)
    return work


@dataclass(frozen=True)
class Done(Generic[_T]):
    """The result of a unit of work."""

    locked: LockedPayment | None
    """The payment as it was committed; None if there was none to lock."""

    value: _T | None

    @property
    def is_complete(self) -> bool:
        """Whether a payment was changed and its order could be read."""
        return self.locked is not None and self.locked.order_error is None

    def raise_if_unreadable(self) -> None:
        """Raise if the order could not be read, so that the caller tries again.

        Raises:
            OrderUnreadable: Stripe's data is stored, but nothing was derived from it.
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
    also: Callable[[Done[_T]], None] | None = None,
    **lookup: Any,
) -> Done[_T]:
    """Run ``change`` under the lock of the payment that ``lookup`` (or ``lock``) finds.

    With ``reads_order``, the order is read and evaluated even if nothing has changed. Without
    ``follows_up``, no follow-up runs: a follow-up must not start another one. With ``competes``,
    ``change`` runs again if another process inserted the same row first. ``also`` runs at the end
    of the transaction, after the payment is evaluated and saved. If the caller has opened a
    transaction, notifications and follow-ups wait for its commit.

    ``origin`` is handed out as ``locked.origin``: only functions that begin a unit of work take it
    as a parameter.

    Raises:
        ConfigurationError: the order was paid in live mode, and the key in use is a test key.
        Exception: anything that ``change`` raises. Nothing is written then.
    """
    find = lock or partial(find_and_lock_payment, **lookup)

    def run() -> Done[_T]:
        locked = find()
        if locked is None:
            return Done(None, None)
        locked.origin, locked.follows_up = origin, follows_up
        value = change(locked)
        _complete(locked, reads_order=reads_order)
        done = Done(locked, value)
        if also is not None:
            also(done)
        return done

    if is_in_transaction():
        # A savepoint: only the caller can retry its transaction as a whole.
        with transaction.atomic():
            done = run()
        if done.locked is not None:
            what = f"Follow-up of {done.locked.payment}"
            after_commit(partial(_after, done.locked), what=what)
        return done
    done = run_transaction(run, competes=competes)
    if done.locked is not None:
        _after(done.locked)
    return done


def _complete(locked: LockedPayment, *, reads_order: bool = False) -> None:
    """Evaluate a changed payment and save its rows, at the end of each transaction."""
    payment = locked.payment
    # After a failed read, or without any read so far, there are no terms to evaluate with.
    if reads_order or locked.needs_order or payment.failed_reads or payment.total is None:
        evaluate(locked)
    elif locked.needs_evaluation:
        # The terms last seen suffice, unless the change asked for a fresh read.
        evaluate(locked, terms=terms_last_seen(payment))
    elif locked.has_changed:
        # No money has moved: the stored values are derived again, but no fact can follow.
        derive(locked)
    locked.flush()


def _after(locked: LockedPayment) -> None:
    """Notify the host of the committed facts, and run the follow-ups at Stripe."""
    _log(locked)
    # The host first: a follow-up calls Stripe, which may take long or fail.
    dispatch(locked.facts, others_wait=locked.others_wait)
    if locked.needs_follow_up and locked.follows_up:
        for work in _follow_ups:
            work(locked.payment.pk, origin=locked.origin)


def _log(locked: LockedPayment) -> None:
    """Write one line for each committed change of state."""
    payment = locked.payment
    for fact in locked.facts:
        logger.info(
            "Payment changed: order=%s intent=%s fact=%s status=%s source=%s stripe_request_id=%s",
            payment.order_id,
            fact.payment_intent.stripe_id if fact.payment_intent else "-",
            fact.kind,
            payment.status,
            fact.source,
            fact.request_id or "-",
        )
