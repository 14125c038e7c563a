"""Money that a customer's bank demands back is followed, and never decided here."""

from __future__ import annotations

import pytest

from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import Dispute, OrderPayment, PaymentHistory, PaymentIntent, ReviewItem
from shop_payments.models.words import moment_words
from shop_payments.testing import build_event
from tests.books import STAFF, answer_dispute, deliver, dispute_at_stripe
from tests.support import answer, call_stripe

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]

DISPUTED = (409, "payment_disputed")


@pytest.fixture
def decide(stripe, webhooks):
    """Have the bank decide, by the evidence that staff submit."""

    def submit(evidence: str) -> OrderPayment:
        answer_dispute(stripe, evidence)
        stripe.advance_clock(3600)
        webhooks()
        return OrderPayment.objects.get()

    return submit


@pytest.fixture
def disputed(pay_order) -> OrderPayment:
    payment: OrderPayment = pay_order("pm_card_createDispute")
    return payment


def move_dispute(stripe, status: str, **details: object) -> None:
    """As the bank may, and no evidence makes the sandbox do."""
    dispute = next(iter(stripe._books.disputes.values()))
    dispute["status"] = status
    dispute["evidence_details"].update(details)
    deliver(build_event("charge.dispute.updated", dispute))


def test_an_open_dispute_asks_a_person_and_forbids_refunds(
    office, order, pay_order, stripe, webhooks, told
):
    payment = pay_order("pm_card_createDispute")

    dispute, item = Dispute.objects.get(), ReviewItem.objects.get()
    at_stripe = dispute_at_stripe(stripe)
    assert (payment.status, payment.dispute_state, payment.needs_review) == ("paid", "open", True)
    assert dispute.stripe_id == at_stripe["id"]
    assert (dispute.amount, dispute.currency, dispute.reason) == (11200, "usd", "fraudulent")
    assert dispute.evidence_due_at is not None
    assert dispute.evidence_due_at.timestamp() == at_stripe["evidence_details"]["due_by"]
    assert (item.reason, item.subject) == ("disputed", dispute.stripe_id)
    assert f"answer until {moment_words(dispute.evidence_due_at)}" in item.detail
    assert [name for name, _data in told] == ["dispute_opened", "review_needed"]
    assert answer(office.refund(order)) == DISPUTED

    stripe.advance_clock(10 * 24 * 60 * 60)
    webhooks()
    payment.refresh_from_db()
    assert (payment.dispute_state, payment.amount_lost) == ("lost", 11200), "not answered in time"


def test_a_won_dispute_restores_the_money(office, order, disputed, decide, told):
    """And closes its own item alone."""
    intent = PaymentIntent.objects.get()
    other = ReviewItem.objects.create(
        order_payment=disputed, payment_intent=intent, reason="refund_failed", subject="re_1"
    )

    payment = decide("winning_evidence")

    assert (payment.status, payment.dispute_state, payment.amount_lost) == ("paid", "won", 0)
    assert list(ReviewItem.objects.open()) == [other]
    assert ReviewItem.objects.get(reason="disputed").closing_note == "Stripe: won"
    assert told[-1][0] == "dispute_closed"
    assert office.refund(order).json()["data"]["amount"] == "112.00"


def test_a_lost_dispute_records_the_loss_and_its_history(office, order, disputed, decide, told):
    payment = decide("losing_evidence")

    assert (payment.status, payment.dispute_state, payment.amount_lost) == ("paid", "lost", 11200)
    assert payment.needs_review is False
    assert told[-1] == ("dispute_closed", {**told[-1][1], "status": "lost", "amount": 11200})
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")
    kinds = PaymentHistory.objects.filter(kind__startswith="dispute").values_list("kind", flat=True)
    assert [*kinds.order_by("pk")] == ["dispute_opened", "dispute_closed"]


def test_an_inquiry_may_be_settled_by_a_refund(office, order, pay_order, webhooks):
    inquiry = pay_order("pm_card_createDisputeInquiry")
    response = office.refund(order)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (inquiry.dispute_state, inquiry.needs_review) == ("inquiry", True)
    assert response.json()["data"]["status"] == "succeeded"
    assert (payment.status, payment.dispute_state, payment.needs_review) == ("refunded", "", False)
    assert Dispute.objects.get().status == "warning_closed"


def test_an_inquiry_that_becomes_a_dispute_is_in_review_again(
    told, office, order, pay_order, decide
):
    """Found: staff had dealt with the inquiry, and were not asked when the money was withheld."""
    pay_order("pm_card_createDisputeInquiry")
    office.refund(order, {"amount": "12.00"})
    item = ReviewItem.objects.get()
    close_review_item(item_pk=item.pk, reason="answered", user=None, origin=STAFF)

    payment = decide("escalate_inquiry_evidence")

    item.refresh_from_db()
    dispute = Dispute.objects.get()
    assert (payment.dispute_state, payment.needs_review) == ("open", True)
    assert (dispute.status, dispute.amount) == ("needs_response", 10000)
    assert (item.closed_at, item.closing_note, item.data["status"]) == (None, "", "needs_response")
    assert [name for name, _data in told].count("review_needed") == 2
    assert answer(office.refund(order)) == DISPUTED


def test_a_dispute_that_comes_back_is_in_review_again(office, order, disputed, stripe):
    """Found: its item had been closed with the first decision. An unknown status counts as open."""
    for decided in ("warning_closed", "won", "lost"):
        move_dispute(stripe, decided)
        assert not OrderPayment.objects.get().needs_review

        move_dispute(stripe, "appeal_needs_response")

        assert OrderPayment.objects.get().needs_review
        assert ReviewItem.objects.get().closed_at is None
        assert Dispute.objects.get().status == "appeal_needs_response"
        assert answer(office.refund(order)) == DISPUTED


@pytest.mark.parametrize(
    ("answered", "state"), [("under_review", "open"), ("warning_under_review", "inquiry")]
)
def test_a_dispute_that_was_answered_is_in_review_no_more(told, disputed, stripe, answered, state):
    """Found: it stayed first in the queue for weeks, and "past due" although staff had answered."""
    move_dispute(stripe, answered)

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert (payment.dispute_state, payment.needs_review) == (state, False)
    assert item.closing_note == f"Stripe: {answered.replace('_', ' ')}"
    assert item.closed_automatically

    move_dispute(stripe, "needs_response")

    assert ReviewItem.objects.get().closed_at is None
    assert OrderPayment.objects.get().needs_review
    assert [name for name, _data in told].count("review_needed") == 2


def test_an_item_has_the_deadline_that_stripe_gives_now(disputed, stripe):
    """Found: it kept the first one."""
    later = 1_900_000_000
    move_dispute(stripe, "needs_response", due_by=later)

    item, dispute = ReviewItem.objects.get(), Dispute.objects.get()
    assert dispute.evidence_due_at is not None
    assert dispute.evidence_due_at.timestamp() == later
    assert f"answer until {moment_words(dispute.evidence_due_at)}" in item.detail

    close_review_item(item_pk=item.pk, reason="accepted", user=None, origin=STAFF)
    move_dispute(stripe, "needs_response", due_by=later + 60)
    closed = ReviewItem.objects.get()
    assert closed.closed_at is not None, "staff have decided already"
    assert closed.data == item.data


@pytest.mark.parametrize(
    ("changes", "amount_lost"),
    [
        ({"evidence_details": "soon"}, None),
        ({"status": "lost", "amount": 90, "currency": "jpy"}, 11200),
    ],
)
def test_a_dispute_that_says_something_strange(
    office, order, pay_order, stripe, webhooks, alter, changes, amount_lost
):
    """Found: an AttributeError, and an amount in another currency that was taken for cents.

    What cannot be read is looked up again. A loss in another currency leaves nothing to refund.
    """
    alter("/disputes", lambda page: {**page, "data": [{**page["data"][0], **changes}]})
    payment = pay_order("pm_card_createDispute")
    if amount_lost is None:
        assert not Dispute.objects.exists()
    else:
        assert (payment.dispute_state, payment.amount_lost) == ("lost", amount_lost)
        assert answer(office.refund(order)) == (409, "refund_exceeds_balance")

    alter.stop()
    path = f"disputes/{dispute_at_stripe(stripe)['id']}"
    call_stripe(stripe, "POST", path, **{"metadata[seen]": "yes"})
    stripe.advance_clock(3600)
    webhooks()
    assert Dispute.objects.get().status == "needs_response"


def test_a_refund_on_its_way_fails_when_the_bank_takes_the_money(
    office, order, pay_order, stripe, webhooks
):
    """What it leaves of a lost payment cannot be refunded: Stripe refuses."""
    pay_order("pm_card_pendingRefund")
    office.refund(order, {"amount": "12.00"})
    (charge,) = call_stripe(stripe, "GET", "charges")["data"]
    stripe.open_dispute(charge["id"])
    answer_dispute(stripe, "losing_evidence")
    stripe.advance_clock(3600)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.amount_refunded) == ("lost", 0)
    assert Dispute.objects.get().amount == 10000
    assert answer(office.refund(order, key="first")) == DISPUTED
    assert answer(office.refund(order, key="first")) == (409, "refund_refused")
