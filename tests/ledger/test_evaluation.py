"""An order that cannot be read: nothing is derived from its rows, and it is tried again.

The formulas are in test_balance.py, and random stories in tests/reliability/.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shop_payments import services
from shop_payments.exceptions import OrderUnreadable
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
)
from tests.books import STAFF, refund_in_dashboard
from tests.states import compute
from tests.support import answer, pay, send_event

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_states_in_the_docs_is_that_of_the_code():
    page = (DOCS / "after-paid.md").read_text(encoding="utf-8")
    lines = page.partition("|---|---|---|---|---|---|\n")[2].partition("\n\n")[0].splitlines()

    assert len(lines) == 24
    assert [compute(line) for line in lines] == lines


def test_after_three_failed_tries_it_is_in_review(order, stripe, intent_id, told, paid_signals):
    """Found: one exception while the webhook was processed, and it was unpaid for ever."""
    intent = pay(stripe, intent_id)
    Order.objects.update(currency="xx")
    for tries in (1, 2, 3, 4):
        assert send_event(intent).status_code == 503
        assert OrderPayment.objects.get().failed_reads == tries
        assert ReviewItem.objects.exists() is (tries >= 3)

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.needs_review) == ("unpaid", True)
    assert PaymentIntent.objects.get().status == "succeeded", "what Stripe said is stored"
    assert (item.reason, item.data["method"]) == ("order_unreadable", "total")
    assert item.detail == "The shop's code failed while reading the order (its total)"
    assert "Correct the order, or ask the shop's developers" in item.suggested_action
    assert [name for name, _data in told] == ["review_needed"]
    assert paid_signals == []

    Order.objects.update(currency="usd")
    assert send_event(intent).status_code == 200
    item.refresh_from_db()
    assert (item.closed_automatically, item.closing_note) == (True, "The order can be read again")
    payment.refresh_from_db()
    assert (payment.status, payment.needs_review, payment.failed_reads) == ("paid", False, 0)
    assert len(paid_signals) == 1


def test_the_currency_of_an_order_changes_nothing_once_money_counts(storefront, order, paid):
    """Otherwise its money would stop counting, and the customer would be asked for all of it."""
    before = OrderPayment.objects.values().get()
    Order.objects.update(currency="eur")

    response = storefront.payment_intent(order)
    assert answer(response) == (409, "order_not_payable")
    assert response.json()["data"] == {"reason": "currency_changed"}
    with pytest.raises(OrderUnreadable, match="returned EUR, but the order was paid in USD"):
        services.reevaluate_order(order.pk)
    now = OrderPayment.objects.values().get()
    assert {**now, "failed_reads": 0, "updated_at": None} == {**before, "updated_at": None}


@pytest.mark.parametrize("place", ["here", "dashboard"])
def test_a_refund_is_not_held_up_by_an_order_that_cannot_be_read(
    office, order, paid, stripe, webhooks, sent, place
):
    """The total that was last seen says what it means: goods that were returned are not owed."""
    Order.objects.update(currency="xx")

    if place == "here":
        assert office.refund(order, {"amount": "12.00"}).status_code == 200
    else:
        refund_in_dashboard(stripe, amount="1200")
        webhooks()

    refund, payment = Refund.objects.get(), OrderPayment.objects.get()
    assert (refund.status, refund.total_seen) == ("succeeded", 11200)
    assert (payment.status, payment.failed_reads > 0) == ("paid", True)
    assert "order_refunded" not in [name for name, _data in sent]

    Order.objects.update(currency="usd")
    services.reevaluate_order(order.pk)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_outstanding) == ("partially_refunded", 0)
    (data,) = (data for name, data in sent if name == "order_refunded")
    assert (data["amount"], data["goods"]) == (1200, 1200)


@pytest.mark.parametrize("way", ["dispute", "refund"])
def test_a_rest_that_may_come_back_is_not_asked_about(open_shop, way):
    """It cannot be waived, so the item would stay open. What else is owed can be waived."""
    shop = open_shop(230)
    shop.deposit(90)
    second = shop.deposit(90, "pm_card_pendingRefund")
    shop.wants(False)
    disputed = {("disputed", 90, second)} if way == "dispute" else set()
    if way == "dispute":
        shop.stripe.dispute(second)
    else:
        shop.refund_in_dashboard(second, 90)

    rest = {("rest_owed", 50, second)}
    shop.assert_is("partially_paid", outstanding=0, owed=140, review=rest | disputed)
    item = ReviewItem.objects.get(reason="rest_owed")
    assert "180.00 USD received and 50.00 USD owed" in item.detail
    request = services.EntryRequest(reason="not worth it")
    services.waive_amount(order_id=shop.order.pk, request=request, origin=STAFF)
    shop.assert_is("partially_paid", outstanding=0, owed=90, review=disputed)

    if way == "dispute":
        shop.stripe.decide_dispute(second, won=False)
    else:
        shop.stripe.advance_clock(10 * 86_400)
        shop.stripe.deliver_webhooks()
    assert ("rest_owed", 90, second) in shop.in_review
