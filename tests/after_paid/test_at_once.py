"""Two at the same payment, after "paid" and shortly before it: one outcome, and the books agree.

One call is held on its way to Stripe, or its answer on its way back, while the other one happens.
Whoever waits too long takes over what the other had begun. The fixture ``books_agree`` compares the
books in the end.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from django.utils import timezone

from shop_payments.exceptions import OrderAlreadyPaid, PaymentNotCancelable, PaymentNotCapturable
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.cancellations import requested_cancellations
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import (
    cancel_payment,
    cancel_payment_on_commit,
    finish_cancellation,
)
from shop_payments.services.capture_payment import capture_payment
from tests.after_paid.support import refund_in_dashboard, refunds_at_stripe
from tests.support import answer, call_stripe
from tests.threads import HeldLine, Hold, at_once

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 1")
BOTH = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def hold(configure, stripe):
    """Hold the first request of a kind; nobody waits for long."""

    def make(path, when="before", *, method="POST", **settings) -> HeldLine:
        line = HeldLine(stripe, path, method=method, when=when)
        wired = {**stripe.shop_payments(), "STRIPE_TRANSPORT": line, "INTENT_WAIT_SECONDS": 0.2}
        configure(**{**wired, **settings})
        return line

    return make


def keys_sent(stripe, suffix) -> set[str | None]:
    return {
        request.idempotency_key
        for request in stripe.requests
        if request.method == "POST" and request.path.endswith(suffix)
    }


def cancel_order(order) -> None:
    """What a shop does."""
    with transaction.atomic():
        order.status = "cancelled"
        order.save()
        cancel_payment_on_commit(order_id=order.pk, origin=STAFF)


# --- capture and cancel -------------------------------------------------------------------------


@BOTH
def test_a_capture_that_is_asked_for_twice_is_one(
    order, authorized, hold, stripe, when, paid_signals
):
    line = hold("*/capture", when)

    results = line.meanwhile(*[lambda: capture_payment(order_id=order.pk, origin=STAFF)] * 2)

    assert all(isinstance(each, (PaymentIntent, OrderAlreadyPaid)) for each in results), results
    assert any(isinstance(each, PaymentIntent) for each in results)
    assert len(keys_sent(stripe, "/capture")) == 1
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


@BOTH
def test_two_captures_of_different_parts_take_one_of_them(order, authorized, hold, stripe, when):
    line = hold("*/capture", when)

    line.meanwhile(
        lambda: capture_payment(order_id=order.pk, amount_decimal=Decimal("100.00"), origin=STAFF),
        lambda: capture_payment(order_id=order.pk, amount_decimal=Decimal("50.00"), origin=STAFF),
    )

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received) == ("partially_paid", 10000)
    assert payment.amount_outstanding == 1200


@BOTH
def test_a_cancellation_during_a_capture_comes_too_late(order, authorized, hold, stripe, when):
    line = hold("*/capture", when)

    captured, cancelled = line.meanwhile(
        lambda: capture_payment(order_id=order.pk, origin=STAFF),
        lambda: cancel_payment(order_id=order.pk, origin=STAFF),
    )

    assert isinstance(captured, (PaymentIntent, OrderAlreadyPaid)), captured
    assert isinstance(cancelled, PaymentNotCancelable)
    assert OrderPayment.objects.get().status == "paid"
    assert not keys_sent(stripe, "/cancel")


@BOTH
def test_a_capture_during_a_cancellation_comes_too_late(order, authorized, hold, stripe, when):
    line = hold("*/cancel", when)

    cancelled, captured = line.meanwhile(
        lambda: cancel_payment(order_id=order.pk, origin=STAFF),
        lambda: capture_payment(order_id=order.pk, origin=STAFF),
    )

    assert cancelled is None
    assert isinstance(captured, PaymentNotCapturable)
    assert OrderPayment.objects.get().status == "unpaid"
    assert not keys_sent(stripe, "/capture")


@pytest.mark.parametrize(
    ("path", "ask", "kind"),
    [
        ("*/capture", capture_payment, "capture_requested"),
        ("*/cancel", cancel_payment, "cancel_requested"),
    ],
)
def test_the_history_names_who_asked_although_the_webhook_is_quicker(
    order, authorized, hold, stripe, webhooks, path, ask, kind
):
    """Found: the event was the first to say what had come of it, and nobody was named."""
    line = hold(path, "after")

    line.meanwhile(lambda: ask(order_id=order.pk, origin=STAFF), webhooks)

    assert not PaymentIntent.objects.open().exists()
    fact = PaymentHistory.objects.get(actor="staff 1")
    assert (fact.kind, fact.source) == (kind, "admin")
    assert PaymentIntent.objects.get().stripe_id in fact.data["detail"]


@pytest.mark.parametrize("lost", ["drop_before", "drop_after"])
def test_a_cancellation_does_not_wait_for_what_is_begun_after_it(
    order, storefront, hold, stripe, lost
):
    """Found: closed at Stripe, it waited for the customer's next intent, and failed with that."""
    storefront.payment_intent(order)
    line = hold("*/cancel", "after")

    def begin_anew() -> None:
        creation = "/v1/payment_intent[s]"  # and not what is done with one
        stripe.inject(Fault(lost, path=creation))
        assert answer(storefront.payment_intent(order))[0] == 503
        stripe.inject(Fault(lost, path=creation))

    cancelled, _begun = line.meanwhile(
        lambda: cancel_payment(order_id=order.pk, origin=STAFF), begin_anew
    )

    assert cancelled is None
    assert len(keys_sent(stripe, "/cancel")) == 1
    stripe.clear_faults()
    assert storefront.payment_intent(order).status_code == 200


@BOTH
def test_a_customer_who_pays_during_the_cancellation(order, storefront, hold, stripe, when):
    intent = storefront.payment_intent(order).json()["data"]
    line = hold("*/cancel", when)

    cancelled, _paid = line.meanwhile(
        lambda: cancel_payment(order_id=order.pk, origin=STAFF),
        lambda: call_stripe(
            stripe,
            "POST",
            f"payment_intents/{intent['id']}/confirm",
            payment_method="pm_card_visa",
        ),
    )

    payment = OrderPayment.objects.get()
    if when == "before":
        assert isinstance(cancelled, PaymentNotCancelable)
        assert (payment.status, payment.needs_review) == ("paid", False)
    else:
        assert cancelled is None
        assert payment.status == "unpaid"


@BOTH
def test_an_order_that_is_cancelled_while_its_intent_is_created(
    order, storefront, hold, stripe, when
):
    line = hold("/v1/payment_intents", when)

    created, _nothing = line.meanwhile(
        lambda: storefront.payment_intent(order), lambda: cancel_order(order)
    )

    for wanted in requested_cancellations():
        assert finish_cancellation(wanted, origin=STAFF)
    at_stripe = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert answer(created) in {(409, "order_not_payable"), (200, None)}
    assert [each["status"] for each in at_stripe] == ["canceled"]
    assert not PaymentIntent.objects.open().exists()


class SlowAdapter(BundledOrderAdapter):
    """The shop's code, which takes its time at one place of the transaction that begins."""

    place: ClassVar[str]
    pause: ClassVar[Hold]

    def find_for_user(self, order_id: object, user: Any) -> Order | None:
        order = super().find_for_user(order_id, user)
        self.wait_at("read")
        return order

    def number(self, order: Order) -> str:
        self.wait_at("judged")
        return super().number(order)

    def wait_at(self, place: str) -> None:
        if place == self.place:
            self.pause.hold()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("place", ["read", "judged"])
def test_an_order_that_is_cancelled_while_its_very_first_intent_is_begun(
    order, storefront, configure, stripe, monkeypatch, place
):
    """Found: nobody could see yet what was begun, and the intent stayed open."""
    pause = Hold()
    monkeypatch.setattr(SlowAdapter, "place", place, raising=False)
    monkeypatch.setattr(SlowAdapter, "pause", pause, raising=False)
    configure(ORDER_ADAPTER=f"{SlowAdapter.__module__}.SlowAdapter")

    def cancel_and_let_go() -> None:
        with transaction.atomic():
            transaction.on_commit(pause.let_go.set)
            cancel_order(order)

    begun, cancelled = pause.meanwhile(lambda: storefront.payment_intent(order), cancel_and_let_go)

    assert cancelled is None
    assert answer(begun) in {(409, "order_not_payable"), (200, None)}
    at_stripe = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert {each["status"] for each in at_stripe} <= {"canceled"}
    assert not PaymentIntent.objects.open().exists()
    assert requested_cancellations() == []


class Death(BaseException):
    """The end of a process, as far as what it was about to do is concerned."""


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_process_that_dies_before_its_second_look_leaves_it_to_the_sweep(
    order, storefront, configure, stripe, monkeypatch
):
    """Found: the very first intent of the cancelled order stayed open until it was abandoned."""
    pause = Hold()
    monkeypatch.setattr(SlowAdapter, "place", "judged", raising=False)
    monkeypatch.setattr(SlowAdapter, "pause", pause, raising=False)
    configure(ORDER_ADAPTER=f"{SlowAdapter.__module__}.SlowAdapter")

    def die() -> None:
        raise Death

    def cancel_and_die() -> None:
        with suppress(Death), transaction.atomic():
            transaction.on_commit(die)
            cancel_order(order)

    begun, _died = pause.meanwhile(lambda: storefront.payment_intent(order), cancel_and_die)
    assert begun.status_code == 200
    assert Order.objects.get().status == "cancelled"
    assert requested_cancellations() == []

    reconcile(since=timezone.now() - timedelta(hours=1))

    at_stripe = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert [each["status"] for each in at_stripe] == ["canceled"]
    assert requested_cancellations() == []


@BOTH
def test_an_intent_that_is_opened_during_a_cancellation_stays_open(
    order, storefront, hold, stripe, when
):
    """Found: the cancellation closed the first one, looked again, and closed the second one too."""
    storefront.payment_intent(order)
    line = hold("*/cancel", when)

    cancelled, asked = line.meanwhile(
        lambda: cancel_payment(order_id=order.pk, origin=STAFF),
        lambda: storefront.payment_intent(order),
    )

    assert cancelled is None
    assert asked.status_code == 200
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{asked.json()['data']['id']}")
    assert at_stripe["status"] == "requires_payment_method"
    assert len(keys_sent(stripe, "/cancel")) == 1


@BOTH
def test_the_end_of_a_wish_is_not_that_of_the_next_one(order, storefront, hold, stripe, when):
    """The shop takes the order up again while Stripe is being told, and cancels it once more.

    Found: the end of the first wish was taken for the end of the second one.
    """
    storefront.payment_intent(order)
    line = hold("*/cancel", when)

    def up_and_down_again() -> None:
        order.status = "open"
        order.save()
        assert storefront.payment_intent(order).status_code == 200
        assert requested_cancellations() == []
        stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))
        cancel_order(order)

    line.meanwhile(lambda: cancel_order(order), up_and_down_again)

    (wanted,) = requested_cancellations()
    assert finish_cancellation(wanted, origin=STAFF)
    assert not PaymentIntent.objects.open().exists()


def test_everybody_at_an_authorization(order, authorized, office, stripe, hold, paid_signals):
    """Captures, cancellations, a refund and the customer's second tab, as chance has it."""
    hold("nothing", INTENT_WAIT_SECONDS=10)

    results = at_once(
        *[lambda: capture_payment(order_id=order.pk, origin=STAFF)] * 3,
        *[lambda: cancel_payment(order_id=order.pk, origin=STAFF)] * 3,
        *[lambda: office.refund(order, key="a")] * 2,
    )

    payment = OrderPayment.objects.get()
    expected = PaymentIntent | OrderAlreadyPaid | PaymentNotCancelable | PaymentNotCapturable | None
    assert all(isinstance(each, expected) for each in results[:6]), results
    assert {answer(each) for each in results[6:]} <= {(409, "order_not_refundable"), (200, None)}
    assert payment.status in {"paid", "unpaid", "refunded"}
    assert (payment.status == "unpaid") == (len(paid_signals) == 0)


# --- refunds ------------------------------------------------------------------------------------


@BOTH
def test_a_refund_that_is_asked_for_twice_is_one(order, paid, office, hold, stripe, when, told):
    line = hold("/v1/refunds", when)

    answers = line.meanwhile(*[lambda: office.refund(order, {"amount": "12.50"}, key="a")] * 2)

    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [1250]
    assert [name for name, _data in told] == ["order_refunded"]


def test_the_webhook_of_a_refund_overtakes_the_answer(
    order, paid, office, hold, stripe, webhooks, told
):
    line = hold("/v1/refunds", "after")

    response, delivered = line.meanwhile(
        lambda: office.refund(order, {"amount": "12.50"}, key="a"), webhooks
    )

    assert delivered
    assert response.json()["data"]["status"] == "succeeded"
    assert Refund.objects.get().stripe_id == refunds_at_stripe(stripe)[0]["id"]
    assert [name for name, _data in told] == ["order_refunded"]


@pytest.mark.parametrize(
    ("card", "becomes", "status"),
    [("pm_card_pendingRefund", "succeeded", "refunded"), ("pm_card_refundFail", "failed", "paid")],
)
def test_an_answer_that_grew_old_does_not_undo_what_came_of_the_refund(
    order, pay_order, office, hold, stripe, webhooks, card, becomes, status
):
    """It is on its way for so long that the bank has decided, and we have been told."""
    pay_order(card)
    line = hold("/v1/refunds", "after")

    def time_passes() -> None:
        stripe.advance_clock(24 * 60 * 60)
        webhooks()

    response, _nothing = line.meanwhile(lambda: office.refund(order, key="a"), time_passes)

    assert response.json()["data"]["status"] == becomes
    assert Refund.objects.get().status == becomes
    assert OrderPayment.objects.get().status == status


def test_an_answer_that_grew_old_does_not_undo_a_status_that_may_pass(
    order, pay_order, office, hold, stripe, webhooks
):
    """Found: `pending` may follow `requires_action`, and so the older one was written last."""
    pay_order("pm_card_pendingRefund")
    line = hold("/v1/refunds", "after")

    def the_customer_has_to_act() -> None:
        (refund,) = stripe._books.refunds.values()
        refund["status"] = "requires_action"
        webhooks()

    response, _nothing = line.meanwhile(
        lambda: office.refund(order, key="a"), the_customer_has_to_act
    )

    assert response.json()["data"]["status"] == "requires_action"
    assert Refund.objects.get().status == "requires_action"


@BOTH
def test_a_refund_while_staff_refund_in_the_dashboard(
    order, paid, office, hold, stripe, webhooks, when
):
    line = hold("/v1/refunds", when)

    def in_the_dashboard():
        refund_in_dashboard(stripe, amount="2000")
        return webhooks()

    response, _delivered = line.meanwhile(
        lambda: office.refund(order, {"amount": "12.50"}, key="a"), in_the_dashboard
    )

    assert response.status_code == 200
    assert OrderPayment.objects.get().amount_refunded == 3250


def test_all_of_it_is_refunded_in_the_dashboard_meanwhile(
    order, paid, office, hold, stripe, webhooks
):
    line = hold("/v1/refunds", "before")

    def in_the_dashboard():
        refund_in_dashboard(stripe)
        return webhooks()

    response, _delivered = line.meanwhile(lambda: office.refund(order, key="a"), in_the_dashboard)

    assert answer(response) == (409, "refund_exceeds_balance")
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]
    assert OrderPayment.objects.get().status == "refunded"


@BOTH
def test_a_list_that_grew_old_does_not_undo_a_newer_refund(
    order, paid, office, hold, stripe, webhooks, when
):
    refund_in_dashboard(stripe, amount="2000")
    line = hold("/v1/refunds", when, method="GET")

    _delivered, response = line.meanwhile(
        webhooks, lambda: office.refund(order, {"amount": "12.50"}, key="a")
    )

    assert response.json()["data"]["status"] == "succeeded"
    assert OrderPayment.objects.get().amount_refunded == 3250
    assert Refund.objects.count() == 2


# --- disputes -----------------------------------------------------------------------------------


@pytest.fixture
def disputed(storefront, payment_system, order, stripe):
    """A bank claims the money back, and Stripe has not told us yet."""

    def make(*, inquiry: bool = False) -> None:
        stripe.disconnect_webhooks()
        intent = storefront.payment_intent(order).json()["data"]
        paid = stripe.pay(intent["id"], deliver=False)
        assert payment_system.payment(order).status_code == 200
        dispute = stripe.open_dispute(paid["latest_charge"], inquiry=inquiry)
        stripe.connect_webhooks()
        call_stripe(stripe, "POST", f"disputes/{dispute['id']}", **{"metadata[a]": "b"})

    return make


@BOTH
def test_a_dispute_that_is_told_of_during_a_refund_forbids_it(
    order, disputed, office, hold, stripe, when, told
):
    disputed()
    line = hold("/v1/refunds", when)

    response, delivered = line.meanwhile(lambda: office.refund(order, key="a"), stripe.deliver_due)

    assert delivered
    assert answer(response) == (409, "payment_disputed")
    assert Refund.objects.get().status == "refused"
    assert [name for name, _data in told] == ["dispute_opened", "review_needed"]
    assert OrderPayment.objects.get().dispute_state == "open"


@BOTH
def test_an_inquiry_that_is_told_of_during_a_refund_does_not(
    order, disputed, office, hold, stripe, when
):
    disputed(inquiry=True)
    line = hold("/v1/refunds", when)

    response, _delivered = line.meanwhile(lambda: office.refund(order, key="a"), stripe.deliver_due)

    stripe.deliver_due()  # a full refund is the end of an inquiry
    payment = OrderPayment.objects.get()
    assert response.json()["data"]["status"] == "succeeded"
    assert (payment.status, payment.dispute_state) == ("refunded", "")


@BOTH
def test_two_events_of_one_dispute_at_once(order, disputed, hold, stripe, when, told):
    disputed()
    dispute = call_stripe(stripe, "GET", "disputes")["data"][0]
    line = hold("/v1/disputes", when, method="GET")

    def another_event():
        call_stripe(stripe, "POST", f"disputes/{dispute['id']}", **{"metadata[a]": "c"})
        return stripe.deliver_due()

    line.meanwhile(stripe.deliver_due, another_event)

    assert Dispute.objects.count() == ReviewItem.objects.count() == 1
    assert [name for name, _data in told] == ["dispute_opened", "review_needed"]
    assert PaymentHistory.objects.filter(kind="dispute_opened").count() == 1


def test_a_list_that_grew_old_does_not_open_a_dispute_again(order, disputed, hold, stripe):
    disputed()
    dispute = call_stripe(stripe, "GET", "disputes")["data"][0]
    line = hold("/v1/disputes", "after", method="GET")

    def the_bank_decides():
        stripe.decide_dispute(dispute["payment_intent"], won=False, deliver=False)
        return stripe.deliver_due()

    line.meanwhile(stripe.deliver_due, the_bank_decides)

    assert Dispute.objects.get().status == "lost"
    assert OrderPayment.objects.get().dispute_state == "lost"


def test_every_event_of_a_long_story_at_once(order, pay_order, office, stripe, webhooks, told):
    """Six threads deliver what happened, each all of it."""
    pay_order("pm_card_createDisputeInquiry")
    stripe.disconnect_webhooks()
    office.refund(order, {"amount": "12.50"})
    refund_in_dashboard(stripe, amount="2000")
    stripe.connect_webhooks()
    dispute = call_stripe(stripe, "GET", "disputes")["data"][0]
    call_stripe(stripe, "POST", f"disputes/{dispute['id']}", **{"metadata[a]": "b"})
    lock = threading.Lock()

    def deliver():
        with lock:  # each thread takes what is left, and the app is at it meanwhile
            refund_in_dashboard(stripe, amount="100")
        return stripe.deliver_due()

    at_once(*[deliver] * 6)
    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1250 + 2000 + 600
    assert [name for name, _data in told].count("order_refunded") == 8
