"""Answers of Stripe's that are not what was asked for: never believed, and no 500."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shop_payments.models import Dispute, OrderPayment, PaymentIntent, Refund
from tests.after_paid.support import assert_books_agree, dispute_at_stripe, refund_in_dashboard
from tests.factories import OrderFactory
from tests.support import answer, call_stripe

pytestmark = pytest.mark.django_db(transaction=True)


class Alteration:
    """Changes Stripe's answers to requests for a path, until it is stopped."""

    def __init__(self, configure, stripe):
        self._configure, self._stripe = configure, stripe

    def __call__(self, path, change):
        def transport(method, url, headers, body):
            found = self._stripe.handle(method, url, headers, body)
            if found.status != 200 or path not in url:
                return found
            return replace(found, body=json.dumps(change(json.loads(found.body))).encode())

        self._configure(STRIPE_TRANSPORT=transport)

    def stop(self):
        self._configure(STRIPE_TRANSPORT=self._stripe.handle)


@pytest.fixture
def alter(configure, stripe):
    alteration = Alteration(configure, stripe)
    yield alteration
    alteration.stop()


def each(**changes):
    """Change every object of a list."""
    return lambda page: {**page, "data": [{**item, **changes} for item in page["data"]]}


def test_another_intents_success_pays_nothing(
    storefront, payment_system, order, stripe, alter, paid_signals
):
    """It was written onto the row of the intent that had been asked for."""
    intent = storefront.payment_intent(order).json()["data"]["id"]
    other = OrderFactory.create(customer=order.customer)
    paid = stripe.pay(storefront.payment_intent(other).json()["data"]["id"], deliver=False)
    alter(f"/v1/payment_intents/{intent}", lambda values: paid)

    assert answer(payment_system.payment(order)) == (503, "gateway_unavailable")

    assert PaymentIntent.objects.get(stripe_id=intent).status == "requires_payment_method"
    assert not paid_signals


@pytest.mark.parametrize(
    "changes", [{"payment_intent": "pi_of_another"}, {"amount": 0}, {"currency": None}]
)
def test_a_refund_that_is_not_the_one_asked_for_stays_requested(
    office, order, paid, stripe, alter, changes
):
    alter("/v1/refunds", lambda values: {**values, **changes})

    assert answer(office.refund(order, {"amount": "1.00"}, key="a")) == (503, "gateway_unavailable")
    assert Refund.objects.get().status == "requested"

    alter.stop()
    assert office.refund(order, {"amount": "1.00"}, key="a").json()["data"]["amount"] == "1.00"
    assert_books_agree(stripe)


@pytest.mark.parametrize(
    "page",
    [
        {"object": "list", "data": [None], "has_more": False, "url": "/v1/refunds"},
        {"object": "list", "data": None, "has_more": False, "url": "/v1/refunds"},
        {"object": "refund"},
    ],
    ids=repr,
)
def test_refunds_that_cannot_be_read_are_looked_up_again(
    office, order, paid, stripe, webhooks, alter, page
):
    refund_in_dashboard(stripe, amount="1000")
    alter("/v1/refunds", lambda values: page)
    webhooks()
    assert OrderPayment.objects.get().amount_refunded == 0

    alter.stop()
    stripe.advance_clock(3600)
    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1000


def test_a_refund_without_a_status_reserves_its_amount(
    office, order, paid, stripe, webhooks, alter
):
    """Stripe's types allow it; it kept all refunds of the payment from being mirrored."""
    refund_in_dashboard(stripe, amount="1000")
    alter("/v1/refunds", each(status=None))

    webhooks()

    assert Refund.objects.get().status == "unknown"
    assert answer(office.refund(order, {"amount": "102.01"})) == (409, "refund_exceeds_balance")

    alter.stop()
    refund_in_dashboard(stripe, amount="200")
    webhooks()
    assert OrderPayment.objects.get().amount_refunded == 1200


def test_a_refund_in_a_status_of_tomorrow_reserves_its_amount_until_it_ends(
    office, order, paid, stripe, webhooks, alter
):
    refund_in_dashboard(stripe, amount="1000")
    alter("/v1/refunds", each(status="on_its_way"))
    webhooks()
    assert answer(office.refund(order, {"amount": "102.01"})) == (409, "refund_exceeds_balance")

    alter.stop()
    refund_in_dashboard(stripe, amount="200")
    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1200
    assert_books_agree(stripe)


@pytest.mark.parametrize("details", ["soon", ["soon"], {"due_by": "soon"}])
def test_a_dispute_that_cannot_be_read_is_looked_up_again(
    pay_order, stripe, webhooks, alter, details
):
    """It was an AttributeError, which says nothing to whoever reads the inbox."""
    alter("/v1/disputes", each(evidence_details=details))
    pay_order("pm_card_createDispute")
    assert not Dispute.objects.exists()

    alter.stop()
    stripe.advance_clock(3600)
    webhooks()

    assert Dispute.objects.get().status == "needs_response"


def test_a_lost_dispute_in_another_currency_leaves_nothing_to_give_back(
    office, order, pay_order, stripe, webhooks, alter
):
    """Its amount was taken for cents."""
    alter("/v1/disputes", each(status="lost", amount=90, currency="jpy"))

    payment = pay_order("pm_card_createDispute")

    assert (payment.dispute_state, payment.amount_lost) == ("lost", 11200)
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")

    alter.stop()
    path = f"disputes/{dispute_at_stripe(stripe)['id']}"
    call_stripe(stripe, "POST", path, **{"metadata[seen]": "yes"})
    webhooks()


def test_a_hundred_refunds_and_one_are_mirrored_with_few_statements(
    office, order, paid, stripe, webhooks, django_assert_max_num_queries
):
    """Each refund's attempt was read, under the payment's lock."""
    for number in range(20):
        office.refund(order, {"amount": "0.01"}, key=str(number))
    for _number in range(81):
        refund_in_dashboard(stripe, amount="1")
    webhooks()
    assert Refund.objects.count() == len(set(Refund.objects.values_list("stripe_id"))) == 101

    refund_in_dashboard(stripe, amount="1")
    with django_assert_max_num_queries(40):
        assert webhooks() == 2

    assert OrderPayment.objects.get().amount_refunded == 102
