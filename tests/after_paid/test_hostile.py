"""Promises that were broken once, each by a case that nobody had thought of."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from importlib import import_module

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from shop_payments.exceptions import PaymentMismatch, PaymentNotCapturable
from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.cancellations import (
    cancel_abandoned_intents,
    requested_cancellations,
)
from shop_payments.models import (
    Dispute,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, SandboxResponse, SandboxServer
from shop_payments.services.cancel_payment import (
    cancel_payment,
    cancel_payment_on_commit,
    finish_cancellation,
)
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.give_up_refund import give_up_refund
from shop_payments.testing import build_event
from tests.after_paid.support import answer_dispute, refund_in_dashboard, refunds_at_stripe
from tests.factories import OrderFactory
from tests.sandbox.support import MANDATE
from tests.support import answer, call_stripe, post_webhook, sign, writes

pytestmark = pytest.mark.django_db(transaction=True)

SHOP = Origin(source=Source.ADMIN, actor="staff 1")


def cancel_order(order):
    with transaction.atomic():
        order.status = "cancelled"
        order.save()
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)


# --- late money ---------------------------------------------------------------------------------


class BrokenShop(BundledOrderAdapter):
    """A shop with a fault in its code: it cannot price its orders, or does not find them."""

    fault = ""

    def total(self, order):
        if self.fault == "raises":
            raise KeyError("product")
        return super().total(order)

    def find(self, order_id):
        return None if self.fault == "finds nothing" else super().find(order_id)


@pytest.mark.parametrize("fault", ["raises", "finds nothing"])
def test_a_fault_in_the_shops_code_gives_no_payment_back(
    configure, storefront, order, stripe, webhooks, monkeypatch, fault
):
    """Money for an order that could not be read went back as if the order had been cancelled."""
    path = f"{BrokenShop.__module__}.BrokenShop"
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True, "ORDER_ADAPTER": path})
    intent = storefront.payment_intent(order).json()["data"]
    monkeypatch.setattr(BrokenShop, "fault", fault)

    stripe.pay(intent["id"], deliver=False)
    webhooks()

    assert not refunds_at_stripe(stripe)
    assert OrderPayment.objects.get().failed_reads > 0

    monkeypatch.setattr(BrokenShop, "fault", "")
    stripe.advance_clock(3600)
    webhooks()
    assert OrderPayment.objects.get().is_paid
    assert not refunds_at_stripe(stripe)


# --- capture ------------------------------------------------------------------------------------


def test_a_cancelled_orders_money_is_not_taken(order, authorized, stripe):
    """It was taken, and then put into review because the order was cancelled."""
    order.status = "cancelled"
    order.save()
    sent = len(stripe.requests)

    with pytest.raises(PaymentNotCapturable, match="Cancel the payment"):
        capture_payment(order_id=order.pk, origin=SHOP)

    assert len(stripe.requests) == sent


def test_an_amount_is_taken_of_a_cancelled_order_if_staff_say_so_and_is_in_review(
    order, authorized, stripe
):
    """A capture with an amount reads nothing of the order; what was taken does not count."""
    order.status = "cancelled"
    order.save()

    with pytest.raises(PaymentMismatch, match="in review"):
        capture_payment(order_id=order.pk, amount_decimal=Decimal(100), origin=SHOP)

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.amount_uncounted) == ("unpaid", 10000)
    assert (item.reason, item.data["amount"]) == ("uncounted", 10000)


class VagueShop(BundledOrderAdapter):
    def capture_method(self, order):
        return "Manual"


def test_a_capture_method_that_there_is_not_takes_no_money(configure, storefront, order, stripe):
    """It was taken for automatic, and the customer was charged at once."""
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{VagueShop.__module__}.VagueShop"})

    assert answer(storefront.payment_intent(order)) == (503, "not_configured")
    assert not writes(stripe)


def test_a_part_whose_answer_is_lost_counts_after_the_key_is_old(
    order, authorized, stripe, webhooks
):
    stripe.inject(Fault("drop_after", path="/v1/payment_intents/*/capture"))
    with pytest.raises(Exception, match="could not be reached"):
        capture_payment(order_id=order.pk, amount_decimal=Decimal(100), origin=SHOP)

    with time_machine.travel(timezone.now() + timedelta(hours=24)):
        intent = capture_payment(order_id=order.pk, amount_decimal=Decimal(100), origin=SHOP)

    assert intent.amount_received == 10000

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received) == ("partially_paid", 10000)
    assert (payment.amount_outstanding, payment.needs_review) == (1200, False)
    assert not StripeAttempt.objects.pending().exists()


def test_what_was_begun_does_not_block_the_customer(order, authorized, storefront, stripe):
    stripe.inject(Fault("drop_after", path="/v1/payment_intents/*/capture"))
    with pytest.raises(Exception, match="could not be reached"):
        capture_payment(order_id=order.pk, origin=SHOP)

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert OrderPayment.objects.get().is_paid


# --- disputes -----------------------------------------------------------------------------------


def move_dispute(stripe, status):
    """As the bank may, and no evidence makes the sandbox do."""
    dispute = next(iter(stripe._books.disputes.values()))
    dispute["status"] = status
    body = json.dumps(build_event("charge.dispute.updated", dispute)).encode()
    assert post_webhook(body, sign(body)).status_code == 200


def test_an_inquiry_that_becomes_a_dispute_asks_again(pay_order, stripe, webhooks, told):
    """Staff had dealt with the inquiry; nobody heard that the money is withheld now."""
    pay_order("pm_card_createDisputeInquiry")
    item = ReviewItem.objects.get()
    close_review_item(item_pk=item.pk, reason="answered", user=None, origin=SHOP)

    answer_dispute(stripe, "escalate_inquiry_evidence")
    stripe.advance_clock(3600)
    webhooks()

    item.refresh_from_db()
    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.needs_review) == ("open", True)
    assert (item.closed_at, item.closing_note, item.data["status"]) == (None, "", "needs_response")
    assert [name for name, _data in told] == ["dispute_opened", "review_needed", "review_needed"]


@pytest.mark.parametrize("decided", ["warning_closed", "won", "lost"])
def test_a_dispute_that_comes_back_asks_again(pay_order, stripe, decided):
    """Its item had been closed with the first decision and stayed closed."""
    pay_order("pm_card_createDispute")
    move_dispute(stripe, decided)
    assert not OrderPayment.objects.get().needs_review

    move_dispute(stripe, "needs_response")

    assert OrderPayment.objects.get().needs_review
    assert ReviewItem.objects.get().closed_at is None
    assert Dispute.objects.get().status == "needs_response"


def test_a_dispute_that_is_decided_closes_its_own_item_alone(
    office, order, pay_order, stripe, webhooks
):
    pay_order("pm_card_createDispute")
    payment = OrderPayment.objects.get()
    other = ReviewItem.objects.create(
        order_payment=payment,
        payment_intent=PaymentIntent.objects.get(),
        reason=ReviewItem.Reason.REFUND_FAILED,
        subject="re_1",
    )

    answer_dispute(stripe, "winning_evidence")
    stripe.advance_clock(3600)
    webhooks()

    assert OrderPayment.objects.get().needs_review
    assert list(ReviewItem.objects.open()) == [other]


# --- refunds ------------------------------------------------------------------------------------


def test_a_refund_that_did_not_happen_is_never_answered_with_success(office, order, paid, stripe):
    """A repetition was answered with 200 and "Refund created successfully"."""
    stripe.inject(Fault("error", path="/v1/refunds", status=500))
    assert answer(office.refund(order, {"amount": "1.00"}, key="a"))[0] == 503

    for _time in range(2):
        again = office.refund(order, {"amount": "1.00"}, key="a")
        assert answer(again) == (409, "refund_in_progress"), "it may still happen at Stripe"

    give_up_refund(
        refund_pk=Refund.objects.get().pk,
        reason="not in Stripe's dashboard",
        origin=SHOP,
    )

    given_up = office.refund(order, {"amount": "1.00"}, key="a")
    again = office.refund(order, {"amount": "1.00"}, key="a")
    assert answer(given_up) == answer(again) == (409, "refund_refused")
    assert given_up.json() == again.json()
    assert again.json()["data"]["status"] == "refused"
    assert again["Idempotency-Key"] == "a"
    assert not refunds_at_stripe(stripe)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "spk_wrong"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Accept": "text/csv"}, 406),
    ],
)
def test_the_key_is_in_every_answer(office, order, paid, headers, status):
    """Who was refused early was not told the key that the refusal had been made under."""
    sent = {**office.headers, **headers}
    path = f"/api/v1/shop/orders/{order.pk}/refunds"
    content_type = sent.pop("Content-Type", "application/json")

    for given in ({}, {"Idempotency-Key": "a"}):
        response = office.client.post(
            path, data="{}", content_type=content_type, headers={**sent, **given}
        )
        assert response.status_code == status
        assert response["Idempotency-Key"] in ([*given.values()] or response["Idempotency-Key"])


def test_a_call_that_waits_at_stripe_is_a_refund_in_progress(
    office, order, paid, stripe, configure
):
    """It was called a payment intent that is being created."""
    busy = {
        "error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "x"}
    }

    def transport(method, url, headers, body):
        found = stripe.handle(method, url, headers, body)
        if "/v1/refunds" not in url:
            return found
        return type(found)(409, found.headers, json.dumps(busy).encode())

    configure(STRIPE_TRANSPORT=transport)
    first = office.refund(order, {"amount": "1.00"}, key="a")
    configure(STRIPE_TRANSPORT=stripe.handle)

    assert answer(first) == (409, "refund_in_progress")
    assert first["Retry-After"]
    StripeAttempt.objects.update(acquired_at=None)
    assert office.refund(order, {"amount": "1.00"}, key="a").status_code == 200


def test_a_refund_that_is_heard_of_before_the_payment_is_told_to_the_host(
    storefront, order, stripe, told
):
    """The refund was mirrored before the payment was known, and `order_refunded` never sent."""
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], deliver=False)
    refund_in_dashboard(stripe, amount="1000")
    (event,) = (each for each in stripe.events if each["type"] == "refund.created")

    body = json.dumps(event).encode()
    assert post_webhook(body, sign(body)).status_code == 200

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1000)
    assert [name for name, _data in told] == ["order_refunded"]
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1


# --- cancelling ---------------------------------------------------------------------------------


def test_a_wish_outlives_money_that_does_not_come(configure, order, storefront, stripe, webhooks):
    """The wish ended while the bank was at it, and the failure left the intent open to be paid."""
    configure(**{**stripe.shop_payments(), "ALLOWED_PAYMENT_METHOD_TYPES": ["us_bank_account"]})
    intent = storefront.payment_intent(order).json()["data"]
    path = f"payment_intents/{intent['id']}/confirm"
    call_stripe(stripe, "POST", path, payment_method="pm_usBankAccount_accountClosed", **MANDATE)
    webhooks()
    assert OrderPayment.objects.get().status == "pending"
    refusal = {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}

    def too_late(method, url, headers, body):
        if url.endswith("/cancel"):
            return SandboxResponse(400, {}, json.dumps({"error": refusal}).encode())
        return stripe.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=too_late)
    cancel_order(order)
    (wanted,) = requested_cancellations()
    assert not finish_cancellation(wanted, origin=SHOP)
    configure(STRIPE_TRANSPORT=stripe.handle)
    stripe.advance_clock(10 * 24 * 60 * 60)
    webhooks()

    assert finish_cancellation(wanted, origin=SHOP)
    assert PaymentIntent.objects.get().status == "canceled"
    assert requested_cancellations() == []


def test_a_wish_that_ended_meanwhile_closes_nothing(order, storefront, stripe, monkeypatch):
    """The shop took the order up again between the look at the wish and the lock."""
    storefront.payment_intent(order)
    payment = OrderPayment.objects.get()
    payment.cancel_requested_at = timezone.now()
    payment.save()

    def somebody_pays(*args, **kwargs):
        monkeypatch.undo()
        assert storefront.payment_intent(order).status_code == 200
        return get_gateway()

    module = import_module("shop_payments.services.cancel_payment")
    monkeypatch.setattr(module, "get_gateway", somebody_pays)
    assert finish_cancellation(payment.pk, origin=SHOP)

    assert PaymentIntent.objects.get().is_open
    assert requested_cancellations() == []


def test_what_another_request_had_refused_is_not_the_callers_answer(
    order, storefront, stripe, configure
):
    """An update of the order that was, refused late, was answered to who cancelled it."""
    storefront.payment_intent(order)
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*"))
    order.lines.update(unit_amount=1)
    assert answer(storefront.payment_intent(order))[0] == 503

    cancel_payment(order_id=order.pk, origin=SHOP)

    assert PaymentIntent.objects.get().status == "canceled"


def test_a_savepoint_that_is_rolled_back_takes_its_wish_along(order, storefront, stripe):
    storefront.payment_intent(order)
    with transaction.atomic(), transaction.atomic():
        cancel_payment_on_commit(order_id=order.pk, origin=SHOP)
        transaction.set_rollback(True)

    assert PaymentIntent.objects.get().is_open
    assert requested_cancellations() == []


def test_test_payments_do_not_keep_a_live_shop_from_cancelling(
    order, storefront, stripe, configure
):
    """One that was left behind raised each night before anything else was closed."""
    storefront.payment_intent(order)
    cancel_order(order)
    PaymentIntent.objects.update(status="requires_payment_method")
    OrderPayment.objects.update(cancel_requested_at=timezone.now())
    sandbox = stripe.shop_payments()
    with SandboxServer(stripe) as server:
        configure(STRIPE_SECRET_KEY="sk_live_x", STRIPE_API_BASE=server.url, STRIPE_TRANSPORT=None)
        tomorrow = timezone.now() + timedelta(days=1)

        assert finish_cancellation(OrderPayment.objects.get().pk, origin=SHOP)
        assert cancel_abandoned_intents(older_than=tomorrow, origin=SHOP) == 0
    configure(**sandbox)

    assert PaymentIntent.objects.get().status == "missing"
    assert requested_cancellations() == []


def test_nothing_begun_in_test_mode_is_sent_with_a_live_key(order, storefront, stripe, configure):
    """Cancelling finished it first, and would have made a live payment intent."""
    stripe.inject(Fault("drop_before", path="/v1/payment_intents"))
    assert answer(storefront.payment_intent(order))[0] == 503
    sent = len(stripe.requests)
    sandbox = stripe.shop_payments()
    with SandboxServer(stripe) as server:
        configure(STRIPE_SECRET_KEY="sk_live_x", STRIPE_API_BASE=server.url, STRIPE_TRANSPORT=None)

        cancel_payment(order_id=order.pk, origin=SHOP)
    configure(**sandbox)

    assert len(stripe.requests) == sent
    assert StripeAttempt.objects.get().outcome == "abandoned"


def test_money_that_we_have_not_heard_of_is_not_abandoned(configure, order, storefront, stripe):
    """The authorization was let go, because its webhook had been lost."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], deliver=False)
    tomorrow = timezone.now() + timedelta(days=1)

    assert cancel_abandoned_intents(older_than=tomorrow, origin=SHOP) == 0

    assert OrderPayment.objects.get().status == "authorized"


def test_one_intent_that_cannot_be_closed_does_not_keep_the_others(
    configure, order, storefront, stripe
):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    for number in range(2):
        each = OrderFactory.create(customer=order.customer) if number else order
        intent = storefront.payment_intent(each).json()["data"]
        if not number:
            stripe.pay(intent["id"], deliver=False)
    tomorrow = timezone.now() + timedelta(days=1)

    assert cancel_abandoned_intents(older_than=tomorrow, origin=SHOP) == 1
    assert [row.status for row in PaymentIntent.objects.open()] == ["requires_capture"]
