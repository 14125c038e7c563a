"""The host is notified of facts after the commit: normally once, at least once after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.dispatch import Signal

from shop_payments import signals
from shop_payments.ledger.facts import SIGNALS, Origin, build_fact, dispatch, dispatch_waiting
from shop_payments.models import (
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Source,
)
from shop_payments.orders import BundledOrderAdapter
from tests.support import pay

pytestmark = pytest.mark.django_db

ORIGIN = Origin(source=Source.API, actor="key 1234")
FIGURES: dict[str, Any] = {"amount": 11200, "outstanding": 0, "total": 11200, "goods": 0}
HOOKS = {
    "payment_received": ("on_payment_received", "outstanding"),
    "order_paid": ("on_paid", "total"),
    "order_refunded": ("on_refunded", "goods"),
}
"""The adapter is notified of these facts: its method, and the figure beside the amount."""


@pytest.fixture
def payment(order: Order) -> OrderPayment:
    return OrderPayment.objects.create(order=order)


@pytest.fixture
def fact(payment: OrderPayment) -> PaymentHistory:
    return new_fact(payment)


def new_fact(payment: OrderPayment, kind: FactKind = FactKind.ORDER_PAID) -> PaymentHistory:
    fact = build_fact(kind, order_payment=payment, payment_intent=None, origin=ORIGIN, **FIGURES)
    fact.save()
    return fact


@contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def fail(**kwargs: Any) -> None:
    raise RuntimeError("the receiver is broken")


class ListeningAdapter(BundledOrderAdapter):
    """Remembers what it was notified of."""

    heard: ClassVar[list[tuple[str, Any, dict[str, Any]]]] = []

    def on_payment_received(self, order: Any, **kwargs: Any) -> None:
        self.heard.append(("on_payment_received", order, kwargs))

    def on_paid(self, order: Any, **kwargs: Any) -> None:
        self.heard.append(("on_paid", order, kwargs))

    def on_refunded(self, order: Any, **kwargs: Any) -> None:
        self.heard.append(("on_refunded", order, kwargs))


class FailingAdapter(ListeningAdapter):
    """Raises, like a host with a bug."""

    def on_paid(self, order: Any, **kwargs: Any) -> None:
        super().on_paid(order, **kwargs)
        raise RuntimeError("the adapter is broken")


Heard = list[tuple[str, Any, dict[str, Any]]]


@pytest.fixture
def heard(configure: Callable[..., None]) -> Heard:
    ListeningAdapter.heard.clear()
    configure(ORDER_ADAPTER="tests.test_history.ListeningAdapter")
    return ListeningAdapter.heard


def is_dispatched(fact: PaymentHistory) -> bool:
    return PaymentHistory.objects.get(pk=fact.pk).dispatched_at is not None


# --- facts --------------------------------------------------------------------------------------


def test_a_fact_says_what_and_whence(payment):
    fact = new_fact(payment)
    seen = PaymentHistory.objects.get()
    assert (seen.kind, seen.source, seen.actor) == ("order_paid", "api", "key 1234")
    assert seen.data == FIGURES
    assert seen.fact_id == fact.fact_id
    assert (seen.needs_dispatch, seen.dispatched_at) == (True, None)


def test_a_long_actor_and_request_id_are_cut_to_fit(payment):
    build_fact(
        FactKind.ORDER_PAID,
        order_payment=payment,
        payment_intent=None,
        origin=Origin(source=Source.WEBHOOK, actor="a" * 300),
        request_id="r" * 300,
    ).save()
    seen = PaymentHistory.objects.get()
    assert (len(seen.actor), len(seen.request_id)) == (255, 255)


@pytest.mark.parametrize("kind", FactKind.values)
def test_the_host_is_told_of_facts_that_have_a_signal(payment, kind):
    assert new_fact(payment, FactKind(kind)).needs_dispatch == (kind in SIGNALS)


def test_every_signal_has_a_fact():
    public = {value for value in vars(signals).values() if isinstance(value, Signal)}
    assert set(SIGNALS.values()) == public


# --- dispatch -----------------------------------------------------------------------------------


def test_receivers_and_the_adapter_are_told_once(fact, heard, paid_signals):
    dispatch([fact])
    dispatch([fact])
    dispatch([PaymentHistory.objects.get()])

    about = {"order_payment": fact.order_payment, "payment_intent": None, "fact_id": fact.fact_id}
    figures = {"amount": 11200, "total": 11200}
    assert heard == [("on_paid", fact.order_payment.order, {**about, **figures})]
    assert [received["fact_id"] for received in paid_signals] == [fact.fact_id]
    assert is_dispatched(fact)


def test_a_receiver_gets_what_the_signals_promise(fact, paid_signals):
    dispatch([fact])
    received = paid_signals[0]
    assert received.pop("signal") is signals.order_paid
    assert received == {
        "sender": OrderPayment,
        "order": fact.order_payment.order,
        "order_payment": fact.order_payment,
        "payment_intent": None,
        "fact_id": fact.fact_id,
        "data": FIGURES,
    }


@pytest.mark.parametrize("kind", FactKind.values)
def test_the_adapter_is_notified_of_money_that_counts(payment, heard, kind):
    """Its methods take minor units, each by name."""
    dispatch([new_fact(payment, FactKind(kind))])

    assert [method for method, _order, _about in heard] == (
        [HOOKS[kind][0]] if kind in HOOKS else []
    )
    for _method, _order, about in heard:
        assert {"amount", HOOKS[kind][1]} == set(about) - {
            "order_payment",
            "payment_intent",
            "fact_id",
        }


def test_facts_without_a_signal_are_not_dispatched(payment):
    fact = new_fact(payment, FactKind.INTENT_CREATED)
    dispatch([fact])
    assert not is_dispatched(fact)
    assert not PaymentHistory.objects.undispatched().exists()


def test_facts_are_told_in_order(payment):
    heard: list[str] = []
    facts = [
        new_fact(payment, kind) for kind in (FactKind.PAYMENT_PROCESSING, FactKind.PAYMENT_FAILED)
    ]

    def receiver(signal: Signal, **kwargs: Any) -> None:
        heard.append("processing" if signal is signals.payment_processing else "failed")

    with (
        connected(signals.payment_failed, receiver),
        connected(signals.payment_processing, receiver),
    ):
        dispatch(facts)
    assert heard == ["processing", "failed"]


def test_a_receiver_that_raises_leaves_the_fact_for_later(fact, heard, paid_signals, caplog):
    with connected(signals.order_paid, fail):
        dispatch([fact])

    assert (len(heard), len(paid_signals)) == (1, 1)
    assert not is_dispatched(fact)
    assert list(PaymentHistory.objects.undispatched()) == [fact]
    assert f"raised for fact {fact.fact_id}" in caplog.text
    assert "the receiver is broken" in caplog.text


def test_a_repetition_has_the_same_fact_id(fact, heard, paid_signals):
    with connected(signals.order_paid, fail):
        dispatch([fact])
    dispatch(PaymentHistory.objects.undispatched())

    assert {received["fact_id"] for received in paid_signals} == {fact.fact_id}
    assert [about["fact_id"] for _method, _order, about in heard] == [fact.fact_id] * 2
    assert is_dispatched(fact)


def test_an_adapter_that_raises_leaves_the_fact_for_later(fact, heard, configure, paid_signals):
    configure(ORDER_ADAPTER="tests.test_history.FailingAdapter")
    dispatch([fact])
    assert (len(heard), len(paid_signals)) == (1, 1)
    assert not is_dispatched(fact)


def test_an_adapter_that_cannot_be_built_stops_no_receiver(fact, configure, paid_signals):
    configure(ORDER_ADAPTER="tests.nowhere.Adapter")
    dispatch([fact])
    assert len(paid_signals) == 1
    assert not is_dispatched(fact)


def test_a_later_fact_waits_for_an_earlier_one_that_was_not_accepted(payment, paid_signals):
    broken = new_fact(payment, FactKind.REVIEW_NEEDED)
    fact = new_fact(payment)
    with connected(signals.review_needed, fail):
        dispatch([broken, fact])
    assert paid_signals == []
    assert (is_dispatched(broken), is_dispatched(fact)) == (False, False)

    dispatch_waiting(payment.pk)
    assert (is_dispatched(broken), is_dispatched(fact)) == (True, True)


def test_a_receiver_may_use_the_database(fact, order):
    def receiver(order: Order, **kwargs: Any) -> None:
        with transaction.atomic():
            Order.objects.filter(pk=order.pk).update(email="told@example.com")

    with connected(signals.order_paid, receiver):
        dispatch([fact])
    order.refresh_from_db()
    assert order.email == "told@example.com"


# --- through the front door ---------------------------------------------------------------------


def settle(stripe, storefront, payment_system, order):
    intent = storefront.payment_intent(order).json()["data"]
    pay(stripe, intent["id"])
    return payment_system.payment(order)


def test_a_receiver_that_raises_does_not_undo_the_payment(
    stripe, storefront, payment_system, order, paid_signals
):
    with connected(signals.order_paid, fail):
        assert settle(stripe, storefront, payment_system, order).status_code == 200

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    undispatched = PaymentHistory.objects.undispatched().get()
    assert undispatched.fact_id == paid_signals[0]["fact_id"]
    assert undispatched.payment_intent == PaymentIntent.objects.get()


def test_an_adapter_that_raises_does_not_undo_the_payment(
    stripe, storefront, payment_system, order, configure, heard
):
    configure(ORDER_ADAPTER="tests.test_history.FailingAdapter")
    assert settle(stripe, storefront, payment_system, order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"
    assert [method for method, _order, _about in heard] == ["on_payment_received", "on_paid"]
    assert [fact.kind for fact in PaymentHistory.objects.undispatched()] == ["order_paid"]


def test_what_is_settled_again_is_not_told_again(
    stripe, storefront, payment_system, order, webhooks, heard, paid_signals
):
    settle(stripe, storefront, payment_system, order)
    payment_system.payment(order)
    webhooks()

    assert [method for method, _order, _about in heard] == ["on_payment_received", "on_paid"]
    assert len(paid_signals) == 1
    assert not PaymentHistory.objects.undispatched().exists()


def test_receivers_are_told_after_the_commit(stripe, storefront, payment_system, order):
    seen: list[tuple[str, bool]] = []

    def receiver(order_payment: OrderPayment, **kwargs: Any) -> None:
        blocks = transaction.get_connection().atomic_blocks
        in_a_block = not all(getattr(block, "_from_testcase", False) for block in blocks)
        seen.append((OrderPayment.objects.get(pk=order_payment.pk).status, in_a_block))

    with connected(signals.order_paid, receiver):
        settle(stripe, storefront, payment_system, order)
    assert seen == [("paid", False)]


def test_a_declined_payment_is_told_once_for_each_decline(stripe, storefront, order, webhooks):
    declines: list[Any] = []

    def receiver(**kwargs: Any) -> None:
        declines.append(kwargs["data"]["decline_code"])

    intent = storefront.payment_intent(order).json()["data"]
    with connected(signals.payment_failed, receiver):
        for method in ("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"):
            pay(stripe, intent["id"], method)
            webhooks()
            storefront.payment_intent(order)
    assert declines == ["generic_decline", "insufficient_funds"]
