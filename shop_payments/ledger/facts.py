"""Facts: inserted with the change they describe; the host is notified after the commit.

Note [Notifying the host]
~~~~~~~~~~~~~~~~~~~~~~~~~
A fact is inserted in the transaction that makes it true and dispatched after that transaction is
committed. ``dispatched_at`` is set when every receiver has returned. If the process is killed
before that, or a receiver raises, it stays empty and the sweep notifies the host again. So the host
is notified normally once, and at least once after a failure.

Note [One after another]
~~~~~~~~~~~~~~~~~~~~~~~~
Facts of one payment are dispatched in the order in which they became true. A shop that was notified
of a refund before the payment would ship the goods of a refunded order. So a later fact waits for
an earlier one, even if another process is handling the earlier one or its receiver keeps failing.
Earlier facts are looked up under the payment's lock. The process that dispatches the earlier fact
then dispatches those that waited, and the sweep dispatches the rest. Staff see a notification that
keeps failing, and can skip it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone, translation

from shop_payments import signals
from shop_payments.models import FactKind, OrderPayment, PaymentHistory, PaymentIntent, Source
from shop_payments.orders import OrderAdapter, get_order_adapter

if TYPE_CHECKING:
    from django.dispatch import Signal

logger = logging.getLogger("shop_payments")

SIGNALS: dict[str, Signal] = {
    FactKind.PAYMENT_RECEIVED: signals.payment_received,
    FactKind.ORDER_PAID: signals.order_paid,
    FactKind.PAYMENT_FAILED: signals.payment_failed,
    FactKind.PAYMENT_PROCESSING: signals.payment_processing,
    FactKind.PAYMENT_AUTHORIZED: signals.payment_authorized,
    FactKind.ORDER_REFUNDED: signals.order_refunded,
    FactKind.REFUND_FAILED: signals.refund_failed,
    FactKind.DISPUTE_OPENED: signals.dispute_opened,
    FactKind.DISPUTE_CLOSED: signals.dispute_closed,
    FactKind.REVIEW_NEEDED: signals.review_needed,
}
"""The facts of which the host is notified."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of a change, for the history."""

    source: Source
    actor: str = ""
    """A user, the prefix of an API key or the id of an event."""


def build_fact(
    kind: FactKind,
    *,
    order_payment: OrderPayment,
    payment_intent: PaymentIntent | None,
    origin: Origin,
    request_id: str = "",
    **data: Any,
) -> PaymentHistory:
    """Return a fact, to be inserted in the transaction that makes it true."""
    return PaymentHistory(
        kind=kind,
        order_payment=order_payment,
        payment_intent=payment_intent,
        source=origin.source,
        actor=origin.actor[:255],
        request_id=request_id[:255],
        data=data,
        needs_dispatch=_is_awaited(kind),
    )


_HOOKS = {
    FactKind.PAYMENT_RECEIVED: "on_payment_received",
    FactKind.ORDER_PAID: "on_paid",
    FactKind.ORDER_REFUNDED: "on_refunded",
}
"""The adapter's methods that are called for a fact."""


def _is_awaited(kind: FactKind) -> bool:
    """Return whether the host has code that is notified of these facts.

    Without any, there is nothing to record after the commit.
    """
    signal = SIGNALS.get(kind)
    if signal is None:
        return False
    hook = _HOOKS.get(kind)
    if hook is not None:
        adapter = type(get_order_adapter())
        if getattr(adapter, hook, None) is not getattr(OrderAdapter, hook):
            return True
    return signal.has_listeners(OrderPayment)


def dispatch(facts: Iterable[PaymentHistory], *, others_wait: bool = False) -> None:
    """Notify the host of committed facts of one payment, in order. See Note [One after another].

    ``others_wait`` means that earlier facts of the payment were undispatched when these were
    inserted. Never raises: a receiver's exception is logged, and the fact stays undispatched.
    """
    waiting = [fact for fact in facts if fact.needs_dispatch and fact.dispatched_at is None]
    if not waiting:
        return
    payment_pk, started = waiting[0].order_payment_id, time.monotonic()
    try:
        # If they wait for others, the process that handles those may dispatch these as well.
        if others_wait:
            PaymentHistory.objects.release_dispatch(waiting)
            _wait_for_turn(payment_pk)
            return
        if _deliver(waiting) and time.monotonic() - started > _SLOW:
            # Meanwhile, other processes may have given up waiting for these facts.
            dispatch_waiting(payment_pk)
    except Exception:
        # The change is committed, so an error here must not fail the request.
        logger.exception("Facts could not be dispatched; the next sweep tries it again")


def dispatch_waiting(payment_pk: int) -> bool:
    """Notify the host of a payment's undispatched facts, in order; return whether none is left.

    Stops at a fact that another process is handling, or that a receiver does not accept.
    """
    while True:
        facts = PaymentHistory.objects.undispatched().filter(order_payment=payment_pk)
        fact = facts.select_related("order_payment", "payment_intent").first()
        if fact is None:
            return True
        if not PaymentHistory.objects.acquire_dispatch(fact) or not _deliver([fact]):
            return False


_SLOW = 0.2
"""Seconds that a process waits for another one to dispatch earlier facts."""


def _wait_for_turn(payment_pk: int) -> None:
    """Dispatch the waiting facts; give a process that is handling an earlier one time to end."""
    deadline = time.monotonic() + _SLOW
    while not dispatch_waiting(payment_pk) and time.monotonic() < deadline:
        time.sleep(_SLOW / 8)


def _deliver(facts: list[PaymentHistory]) -> bool:
    """Dispatch facts in order, up to the first failure; return whether all succeeded."""
    delivered: list[PaymentHistory] = []
    for fact in facts:
        if not _dispatch_one(fact):
            break
        delivered.append(fact)
    PaymentHistory.objects.mark_dispatched(delivered)
    left = facts[len(delivered) :]
    if left:
        # Only the first has failed. Those after it were not tried.
        PaymentHistory.objects.record_failed_dispatch(left[0])
        PaymentHistory.objects.release_dispatch(left)
    return not left


def _dispatch_one(fact: PaymentHistory) -> bool:
    try:
        # Inside the try, because the shop's own model may fail to load, too.
        order = fact.order_payment.order
        # "&", not "and": the receivers are called even if the adapter fails.
        return _notify_adapter(fact, order) & _notify_receivers(fact, order)
    except Exception:
        logger.exception("Fact %s could not be dispatched; it stays undispatched", fact.fact_id)
        return False


def _notify_adapter(fact: PaymentHistory, order: Any) -> bool:
    about: dict[str, Any] = {
        "order_payment": fact.order_payment,
        "payment_intent": fact.payment_intent,
        "amount": fact.data.get("amount"),
        "fact_id": fact.fact_id,
    }
    data = fact.data
    try:
        if fact.kind == FactKind.PAYMENT_RECEIVED:
            get_order_adapter().on_payment_received(order, outstanding=data["outstanding"], **about)
        elif fact.kind == FactKind.ORDER_PAID:
            get_order_adapter().on_paid(order, total=data["total"], **about)
        elif fact.kind == FactKind.ORDER_REFUNDED:
            get_order_adapter().on_refunded(order, goods=data["goods"], **about)
    except Exception:
        logger.exception(
            "OrderAdapter raised for %s of order %s, fact %s",
            fact.kind,
            fact.order_payment.order_id,
            fact.fact_id,
        )
        return False
    return True


def _detail_of(fact: PaymentHistory) -> str:
    """Return the text of a fact for the shop's own messages, whatever request caused the fact.

    Otherwise an alert for staff would be in the language of the customer who paid.
    """
    zone = timezone.get_default_timezone()
    with translation.override(settings.LANGUAGE_CODE), timezone.override(zone):
        return fact.detail


def _notify_receivers(fact: PaymentHistory, order: Any) -> bool:
    answers = SIGNALS[fact.kind].send_robust(
        sender=OrderPayment,
        order=order,
        order_payment=fact.order_payment,
        payment_intent=fact.payment_intent,
        fact_id=fact.fact_id,
        data={**fact.data, "detail": _detail_of(fact)},
    )
    failures = [(receiver, answer) for receiver, answer in answers if isinstance(answer, Exception)]
    for receiver, error in failures:
        logger.error(
            "Receiver %r raised for fact %s, which stays undispatched",
            receiver,
            fact.fact_id,
            exc_info=error,
        )
    return not failures
