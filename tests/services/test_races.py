"""Concurrent requests about one payment: one outcome, and the books agree.

One call is held on its way to Stripe, or its answer on its way back, while the other one happens. A
request that waits too long takes over what the other one had begun.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction

from shop_payments.exceptions import OrderAlreadyPaid, PaymentNotCancelable, PaymentNotCapturable
from shop_payments.maintenance.cancellations import requested_cancellations
from shop_payments.models import Dispute, Order, OrderPayment, PaymentHistory, PaymentIntent, Refund
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import (
    cancel_payment,
    cancel_payment_on_commit,
    finish_cancellation,
)
from shop_payments.services.capture_payment import capture_payment
from tests.books import STAFF, refunds_at_stripe, sweep
from tests.support import answer, call_stripe
from tests.threads import HeldLine, Hold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_agree")]

BOTH = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def hold(configure, stripe):
    """Hold the first request of a kind; nobody waits for long."""

    def make(path, when="before", *, method="POST") -> HeldLine:
        line = HeldLine(stripe, path, method=method, when=when)
        configure(STRIPE_TRANSPORT=line, INTENT_WAIT_SECONDS=0.2)
        return line

    return make


@pytest.fixture
def create(order, storefront):
    return partial(storefront.payment_intent, order)


@pytest.fixture
def capture(order):
    return partial(capture_payment, order_id=order.pk, origin=STAFF)


@pytest.fixture
def cancel(order):
    return partial(cancel_payment, order_id=order.pk, origin=STAFF)


@pytest.fixture
def refund(order, office):
    return partial(office.refund, order, {"amount": "12.50"}, key="a")


def keys_sent(stripe, suffix) -> set[str | None]:
    sent = [each for each in stripe.requests if each.method == "POST"]
    return {each.idempotency_key for each in sent if each.path.endswith(suffix)}


def cancel_order(order) -> None:
    """What a shop does."""
    with transaction.atomic():
        order.status = "cancelled"
        order.save()
        cancel_payment_on_commit(order_id=order.pk, origin=STAFF)


@BOTH
def test_a_capture_that_is_asked_for_twice_is_one(
    capture, authorized, hold, stripe, when, paid_signals
):
    line = hold("*/capture", when)

    first, _second = line.meanwhile(capture, partial(capture, amount_decimal=Decimal("50.00")))

    assert isinstance(first, PaymentIntent | OrderAlreadyPaid), first
    assert len(keys_sent(stripe, "/capture")) == 1
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


@BOTH
@pytest.mark.parametrize("is_captured", [True, False])
def test_of_a_capture_and_a_cancellation_the_first_one_wins(
    capture, cancel, authorized, hold, stripe, when, is_captured
):
    if is_captured:
        captured, cancelled = hold("*/capture", when).meanwhile(capture, cancel)
        assert isinstance(captured, PaymentIntent | OrderAlreadyPaid), captured
        assert isinstance(cancelled, PaymentNotCancelable)
    else:
        cancelled, captured = hold("*/cancel", when).meanwhile(cancel, capture)
        assert isinstance(captured, PaymentNotCapturable)
        assert cancelled is None

    assert OrderPayment.objects.get().status == ("paid" if is_captured else "unpaid")
    assert not keys_sent(stripe, "/cancel" if is_captured else "/capture")


@pytest.mark.parametrize("operation", ["capture", "cancel"])
def test_the_history_names_who_asked_although_the_webhook_is_quicker(
    request, authorized, hold, webhooks, operation
):
    """Found: the event was the first to say what had come of it, and nobody was named."""
    hold(f"*/{operation}", "after").meanwhile(request.getfixturevalue(operation), webhooks)

    assert not PaymentIntent.objects.open().exists()
    fact = PaymentHistory.objects.get(actor="staff 1")
    assert (fact.kind, fact.source) == (f"{operation}_requested", "admin")
    assert fact.payment_intent == PaymentIntent.objects.get()


def test_a_cancellation_does_not_wait_for_what_is_begun_after_it(cancel, create, hold, stripe):
    """Found: closed at Stripe, it waited for the customer's next intent, and failed with that."""
    create()

    def begin_again() -> None:
        creation = "/v1/payment_intent[s]"  # and not what is done with one
        stripe.inject(Fault("drop_after", path=creation))
        assert answer(create())[0] == 503
        stripe.inject(Fault("drop_after", path=creation))

    cancelled, _begun = hold("*/cancel", "after").meanwhile(cancel, begin_again)

    assert cancelled is None
    assert len(keys_sent(stripe, "/cancel")) == 1
    stripe.clear_faults()
    assert create().status_code == 200


@BOTH
def test_an_intent_that_is_opened_during_a_cancellation_stays_open(
    cancel, create, hold, stripe, when
):
    """Found: the cancellation closed the first one, looked again, and closed the second one too."""
    create()

    cancelled, asked = hold("*/cancel", when).meanwhile(cancel, create)

    assert cancelled is None
    assert asked.status_code == 200
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{asked.json()['data']['id']}")
    assert at_stripe["status"] == "requires_payment_method"
    assert len(keys_sent(stripe, "/cancel")) == 1


@BOTH
def test_the_end_of_a_request_is_not_that_of_the_next_one(order, create, hold, stripe, when):
    """Found: the shop opened the order again meanwhile, and its next cancellation was forgotten."""
    create()

    def open_and_cancel() -> None:
        order.status = "open"
        order.save()
        assert create().status_code == 200
        assert not requested_cancellations().exists()
        stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))
        cancel_order(order)

    hold("*/cancel", when).meanwhile(lambda: cancel_order(order), open_and_cancel)

    (wanted,) = requested_cancellations()
    assert finish_cancellation(wanted.pk, origin=STAFF)
    assert not PaymentIntent.objects.open().exists()


class SlowAdapter(BundledOrderAdapter):
    """The shop's code, which takes its time at one place of the transaction that begins."""

    place: ClassVar[str]
    pause: ClassVar[Hold]

    def find_for_user(self, order_id: object, user: Any) -> Order | None:
        order = super().find_for_user(order_id, user)
        if self.place == "read":
            self.pause.hold()
        return order

    def number(self, order: Order) -> str:
        if self.place == "judged":
            self.pause.hold()
        return super().number(order)


class Death(BaseException):
    """The end of a process, as far as what it was about to do is concerned."""


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.parametrize(("place", "dies"), [("read", False), ("judged", False), ("judged", True)])
def test_an_order_that_is_cancelled_while_its_very_first_intent_is_begun(
    order, create, configure, stripe, monkeypatch, place, dies
):
    """Found: nobody could see yet what was begun, and the intent stayed open.

    If the process dies before its second look, the sweep closes the intent.
    """
    pause = Hold()
    monkeypatch.setattr(SlowAdapter, "place", place, raising=False)
    monkeypatch.setattr(SlowAdapter, "pause", pause, raising=False)
    configure(ORDER_ADAPTER=f"{__name__}.SlowAdapter")

    def after_the_commit() -> None:
        pause.let_go.set()
        if dies:
            raise Death

    def cancel_and_let_go() -> None:
        with suppress(Death), transaction.atomic():
            transaction.on_commit(after_the_commit)
            cancel_order(order)

    begun, cancelled = pause.meanwhile(create, cancel_and_let_go)

    assert cancelled is None
    assert answer(begun) in {(409, "order_not_payable"), (200, None)}
    if dies:
        assert (begun.status_code, [*requested_cancellations()]) == (200, [])
        sweep()
    at_stripe = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert {each["status"] for each in at_stripe} <= {"canceled"}
    assert not PaymentIntent.objects.open().exists()
    assert not requested_cancellations().exists()


@BOTH
def test_a_refund_that_is_asked_for_twice_is_one(paid, refund, hold, stripe, when, told):
    answers = hold("/v1/refunds", when).meanwhile(refund, refund)

    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [1250]
    assert [name for name, _data in told] == ["order_refunded"]


@pytest.mark.parametrize("becomes", ["succeeded", "requires_action"])
def test_an_answer_that_was_overtaken_does_not_undo_what_came_of_the_refund(
    pay_order, refund, hold, stripe, webhooks, becomes, told
):
    """Found: `pending` may follow `requires_action`, so the older one was written last."""
    pay_order("pm_card_pendingRefund")

    def time_passes() -> None:
        if becomes == "requires_action":
            next(iter(stripe._books.refunds.values()))["status"] = becomes
        else:
            stripe.advance_clock(24 * 60 * 60)
        webhooks()

    response, _nothing = hold("/v1/refunds", "after").meanwhile(refund, time_passes)

    assert response.json()["data"]["status"] == becomes
    assert Refund.objects.get().status == becomes
    assert [name for name, _data in told].count("order_refunded") == (becomes == "succeeded")


@pytest.fixture
def dispute(create, payment_system, order, stripe) -> Any:
    """A bank demands the money back, and Stripe has not sent the event yet."""
    paid = stripe.pay(create().json()["data"]["id"], deliver=False)
    assert payment_system.payment(order).status_code == 200
    dispute = stripe.open_dispute(paid["latest_charge"])
    stripe.connect_webhooks()
    call_stripe(stripe, "POST", f"disputes/{dispute['id']}", **{"metadata[a]": "b"})
    return dispute


@BOTH
def test_a_dispute_that_is_heard_of_during_a_refund_forbids_it(
    dispute, refund, hold, stripe, when, told
):
    response, delivered = hold("/v1/refunds", when).meanwhile(refund, stripe.deliver_due)

    assert delivered
    assert answer(response) == (409, "payment_disputed")
    assert Refund.objects.get().status == "refused"
    assert [name for name, _data in told] == ["dispute_opened", "review_needed"]
    assert OrderPayment.objects.get().dispute_state == "open"


def test_a_list_that_grew_old_does_not_open_a_dispute_again(dispute, hold, stripe):
    def the_bank_decides():
        stripe.decide_dispute(dispute["payment_intent"], won=False, deliver=False)
        return stripe.deliver_due()

    hold("/v1/disputes", "after", method="GET").meanwhile(stripe.deliver_due, the_bank_decides)

    assert Dispute.objects.get().status == "lost"
    assert OrderPayment.objects.get().dispute_state == "lost"
