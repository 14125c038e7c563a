"""A customer's bank claims the money back: followed, never decided here."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from shop_payments.models import Dispute, OrderPayment, PaymentHistory, ReviewItem
from tests.after_paid.support import answer_dispute, assert_books_agree, dispute_at_stripe
from tests.support import answer, assert_state_follows_from_rows, call_stripe, post_webhook, sign

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_open_dispute_asks_a_person_and_forbids_refunds(office, order, pay_order, stripe, told):
    payment = pay_order("pm_card_createDispute")

    dispute, item = Dispute.objects.get(), ReviewItem.objects.get()
    at_stripe = dispute_at_stripe(stripe)
    assert (payment.status, payment.dispute_state, payment.needs_review) == ("paid", "open", True)
    assert dispute.stripe_id == at_stripe["id"]
    assert (dispute.amount, dispute.currency, dispute.reason) == (11200, "usd", "fraudulent")
    assert dispute.evidence_due_at is not None
    assert dispute.evidence_due_at.timestamp() == at_stripe["evidence_details"]["due_by"]
    assert (item.reason, item.subject) == ("disputed", dispute.stripe_id)
    assert f"answer until {dispute.evidence_due_at:%Y-%m-%d %H:%M} UTC" in item.detail
    assert [name for name, _data in told] == ["dispute_opened", "review_needed"]
    assert answer(office.refund(order)) == (409, "payment_disputed")
    assert_state_follows_from_rows()


def test_a_won_dispute_restores_the_money(office, order, pay_order, stripe, webhooks, told):
    pay_order("pm_card_createDispute")
    answer_dispute(stripe, "winning_evidence")
    stripe.advance_clock(3600)
    webhooks()

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.dispute_state, payment.amount_lost) == ("paid", "won", 0)
    assert (payment.needs_review, item.closing_note) == (False, "Stripe: won")
    assert told[-1][0] == "dispute_closed"
    assert office.refund(order).json()["data"]["amount"] == "112.00"
    assert_books_agree(stripe)


def test_a_lost_dispute_books_the_loss(office, order, pay_order, stripe, webhooks, told):
    pay_order("pm_card_createDispute")
    answer_dispute(stripe, "losing_evidence")
    stripe.advance_clock(3600)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.dispute_state, payment.amount_lost) == ("paid", "lost", 11200)
    assert payment.needs_review is False
    assert told[-1] == ("dispute_closed", {**told[-1][1], "status": "lost", "amount": 11200})
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")
    assert_books_agree(stripe)


def test_an_inquiry_may_be_settled_by_a_refund(office, order, pay_order, stripe, webhooks):
    before = pay_order("pm_card_createDisputeInquiry")

    response = office.refund(order)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (before.dispute_state, before.needs_review) == ("inquiry", True)
    assert response.json()["data"]["status"] == "succeeded"
    assert (payment.status, payment.dispute_state, payment.needs_review) == ("refunded", "", False)
    assert Dispute.objects.get().status == "warning_closed"
    assert_books_agree(stripe)


def test_an_inquiry_may_escalate(office, order, pay_order, stripe, webhooks):
    pay_order("pm_card_createDisputeInquiry")
    office.refund(order, {"amount": "12.00"})
    answer_dispute(stripe, "escalate_inquiry_evidence")
    stripe.advance_clock(3600)
    webhooks()

    dispute = Dispute.objects.get()
    assert (dispute.status, dispute.amount) == ("needs_response", 10000)
    assert OrderPayment.objects.get().dispute_state == "open"
    assert answer(office.refund(order)) == (409, "payment_disputed")
    assert_books_agree(stripe)


def dispute_while_refunding(office, order, stripe):
    office.refund(order, {"amount": "12.00"})
    (charge,) = call_stripe(stripe, "GET", "charges")["data"]
    stripe.open_dispute(charge["id"])


def test_a_refund_on_its_way_fails_when_the_bank_takes_the_money(
    office, order, pay_order, stripe, webhooks
):
    pay_order("pm_card_pendingRefund")
    dispute_while_refunding(office, order, stripe)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.amount_refunded) == ("open", 0)
    assert Dispute.objects.get().amount == 10000
    assert_books_agree(stripe)


def test_what_a_failed_refund_leaves_of_a_lost_payment_cannot_go_back(
    office, order, pay_order, stripe, webhooks
):
    pay_order("pm_card_pendingRefund")
    dispute_while_refunding(office, order, stripe)
    answer_dispute(stripe, "losing_evidence")
    stripe.advance_clock(3600)
    webhooks()

    assert answer(office.refund(order, key="first")) == (409, "payment_disputed")
    assert answer(office.refund(order, key="first")) == (409, "refund_refused")
    assert answer(office.refund(order, key="second")) == (409, "payment_disputed")

    payment = OrderPayment.objects.get()
    lost = (payment.dispute_state, payment.amount_lost, payment.amount_refunded)
    assert lost == ("lost", 10000, 0)
    assert_books_agree(stripe)


def test_a_deadline_that_passes_is_a_loss(pay_order, stripe, webhooks):
    pay_order("pm_card_createDispute")
    stripe.advance_clock(10 * 24 * 60 * 60)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.amount_lost) == ("lost", 11200)
    assert_books_agree(stripe)


def test_an_inquiry_that_is_closed_leaves_nothing(pay_order, stripe, webhooks):
    pay_order("pm_card_createDisputeInquiry")
    answer_dispute(stripe, "winning_evidence")
    stripe.advance_clock(3600)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.needs_review) == ("", False)
    assert Dispute.objects.get().status == "warning_closed"


def test_stripe_refuses_a_refund_before_we_hear_of_the_dispute(
    office, order, storefront, payment_system, stripe
):
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], "pm_card_createDispute", deliver=False)
    payment_system.payment(order)

    assert answer(office.refund(order)) == (409, "payment_disputed")

    assert OrderPayment.objects.get().dispute_state == "open"
    assert_books_agree(stripe)


def test_a_status_that_stripe_invents_tomorrow_counts_as_open(
    office, order, pay_order, stripe, webhooks
):
    pay_order("pm_card_createDispute")
    dispute = next(iter(stripe._books.disputes.values()))
    dispute["status"] = "appeal_needs_response"
    call_stripe(stripe, "POST", f"disputes/{dispute['id']}", **{"metadata[a]": "b"})
    webhooks()

    assert Dispute.objects.get().status == "appeal_needs_response"
    assert answer(office.refund(order)) == (409, "payment_disputed")


def test_the_history_tells_the_story(pay_order, stripe, webhooks):
    pay_order("pm_card_createDispute")
    answer_dispute(stripe, "losing_evidence")
    webhooks()
    stripe.advance_clock(3600)
    webhooks()

    dispute = Dispute.objects.get().stripe_id
    told = PaymentHistory.objects.filter(kind__startswith="dispute").order_by("pk")
    why = f"112.00 USD disputed by the customer's bank (fraudulent), {dispute}"
    assert [fact.sentence for fact in told] == [
        f"dispute opened: {why}, via webhook",
        f"dispute changed: under review: {why}, via webhook",
        f"dispute closed: lost: {why}, via webhook",
    ]


@pytest.mark.parametrize("order_of_arrival", [*permutations(range(3))])
def test_the_order_of_arrival_does_not_matter(
    storefront, order, payment_system, stripe, order_of_arrival
):
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], "pm_card_createDispute", deliver=False)
    payment_system.payment(order)
    answer_dispute(stripe, "losing_evidence")
    stripe.advance_clock(3600)
    events = [each for each in stripe.events if each["type"].startswith("charge.dispute.")]
    kept = [events[0], events[-2], events[-1]]

    for position in order_of_arrival:
        body = json.dumps(kept[position]).encode()
        assert post_webhook(body, sign(body)).status_code == 200

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.amount_lost) == ("lost", 11200)
    assert PaymentHistory.objects.filter(kind="dispute_closed").count() == 1
    assert_state_follows_from_rows()
