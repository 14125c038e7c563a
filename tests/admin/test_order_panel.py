"""The payment on the pages of an order. ``tests/hostshop/test_admin.py`` has a host's own order."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.text import capfirst

from shop_payments import services
from shop_payments.models import Order, OrderPayment, PaymentIntent, ReviewItem
from tests.admin.support import change, changelist, messages_of
from tests.factories import OrderFactory
from tests.support import pay

pytestmark = pytest.mark.django_db


def panel_of(page: str) -> str:
    """The text of the panel on a page; empty if there is none."""
    found = re.search(r'<section class="[^"]*shop-payments-panel.*?</section>', page, re.S)
    return "" if found is None else unescape(" ".join(re.sub("<[^>]+>", " ", found[0]).split()))


def facts_of(page: str) -> dict[str, str]:
    """The values of the panel by label."""
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    return {unescape(label): unescape(value) for label, value in found}


def badges_of(page: str) -> list[str]:
    return re.findall(r'<span class="shop-payments-badge [^"]*">(.*?)</span>', page)


def test_an_order_that_nobody_has_begun_to_pay_says_so(order, staff, stripe):
    expected = "Payment The customer has not begun to pay. Copy payment link"
    assert panel_of(staff.read(order)) == expected
    assert not stripe.requests


def test_a_paid_order_shows_its_payment(paid, staff, stripe):
    PaymentIntent.objects.update(method_type="card", card_brand="visa", last4="4242")
    calls = len(stripe.requests)

    page = staff.read(paid.order)

    assert badges_of(page) == ["paid"]
    facts = facts_of(page)
    assert facts.pop("Paid at").endswith(" UTC")
    assert facts == {
        "Order total": "112.00 USD",
        "Received": "112.00 USD",
        "Method": "Visa •4242",
        "Mode": "test",
    }
    assert f'href="{change(paid)}">Open the payment</a>' in page
    assert staff.buttons(paid.order) == ["Refund", "Settle outside Stripe"]
    assert f"{change(paid).removesuffix('change/')}refund/" in staff.target(paid.order, "Refund")
    assert len(stripe.requests) == calls


MONEY = {
    "partly_paid": ["Order total: 120.00", "Received: 112.00", "Outstanding: 8.00"],
    "waived": ["Order total: 120.00", "Received: 112.00", "Waived: 8.00"],
    "in_review": ["Order total: 102.00", "Received: 112.00", "Excess: 10.00"],
    "late": ["Order total: 112.00", "Received, but does not count: 112.00"],
    "disputed": ["Order total: 112.00", "Received: 112.00", "Held by the customer's bank: 112.00"],
    "authorized": ["Order total: 112.00", "Outstanding: 112.00"],
    "unresolved": [
        *("Order total: 112.00", "Received: 112.00"),
        "On its way back to the customer: 40.00",
    ],
}


@pytest.mark.parametrize("state", MONEY)
def test_only_amounts_that_are_not_zero_are_shown(state, request, staff):
    facts = facts_of(staff.read(request.getfixturevalue(state).order))
    for label in ("Method", "Paid at", "Mode"):
        facts.pop(label, None)
    shown = [f"{label}: {facts[label].removesuffix(' USD')}" for label in facts]
    assert shown == MONEY[state]


def test_money_that_does_not_count_is_shown_in_its_own_currency(late, staff):
    Order.objects.update(currency="eur", status="open")
    services.reevaluate_order(late.order_id)
    facts = facts_of(staff.read(late.order))
    assert facts["Order total"] == "112.00 EUR"
    assert facts["Received, but does not count"] == "112.00 USD"


def test_money_that_was_lost_is_shown(disputed, staff, stripe):
    stripe.decide_dispute(disputed.payment_intents.get().stripe_id, won=False)
    assert facts_of(staff.read(disputed.order))["Lost in disputes"] == "112.00 USD"


def test_a_refunded_order_shows_how_much(paid, office, staff):
    office.refund(paid.order, {"amount": "12.50"}, key="a")
    page = staff.read(paid.order)
    assert badges_of(page) == ["partially refunded"]
    assert facts_of(page)["Refunded"] == "12.50 USD"


def test_what_needs_review_leads_to_its_item_and_has_its_button(in_review, staff):
    item = ReviewItem.objects.get()
    page = staff.read(in_review.order)
    assert badges_of(page) == ["paid", "needs review"]
    assert (
        f'<a href="{change(item)}">{capfirst(item.get_reason_display())}</a>: {item.detail}' in page
    )
    assert re.search(r'href="[^"]*/refund/\d+/\?amount=1000">Refund 10.00 USD</a>', page)


def test_a_dispute_is_part_of_the_status(disputed, staff):
    assert badges_of(staff.read(disputed.order)) == ["paid, dispute open", "needs review"]


@pytest.mark.by_hand
def test_a_total_that_has_changed_is_shown_beside_the_one_last_seen(paid, staff):
    paid.order.lines.update(quantity=3)
    total = facts_of(staff.read(paid.order))["Order total"]
    assert total == "168.00 USD (112.00 USD when the payment was last evaluated)"


def test_both_cards_of_an_order_paid_twice_are_named(
    partly_paid, staff, storefront, stripe, webhooks
):
    pay(stripe, storefront.payment_intent(partly_paid.order).json()["data"]["id"])
    webhooks()
    first, second = PaymentIntent.objects.order_by("pk")
    for intent, brand, last4 in ((first, "visa", "4242"), (second, "mastercard", "4444")):
        PaymentIntent.objects.filter(pk=intent.pk).update(
            method_type="card", card_brand=brand, last4=last4
        )
    assert facts_of(staff.read(partly_paid.order))["Method"] == "Visa •4242; Mastercard •4444"


# --- permissions --------------------------------------------------------------------------------


def test_staff_who_may_not_view_payments_see_nothing_of_them(in_review, staff_with):
    clerk = staff_with("view_order", "change_order", "view_reviewitem", "add_refund")
    assert panel_of(clerk.read(in_review.order)) == ""
    assert badges_of(clerk.read(Order)) == []
    assert '<td class="field-payment_status">–</td>' in clerk.read(Order)


def test_staff_see_the_buttons_and_links_that_they_may_use(in_review, staff_with):
    item, order = ReviewItem.objects.get(), in_review.order
    viewer = staff_with("view_order", "view_orderpayment")
    page = viewer.read(order)
    assert badges_of(page) == ["paid", "needs review"]
    assert viewer.buttons(order) == []
    assert change(item) not in page
    assert "Refund" not in panel_of(page)

    refunder = staff_with("view_order", "view_orderpayment", "add_refund", "view_reviewitem")
    page = refunder.read(order)
    assert refunder.buttons(order) == ["Refund"]
    assert change(item) in page
    assert "Refund 10.00 USD" in panel_of(page)


# --- the list -----------------------------------------------------------------------------------


def test_the_list_has_a_badge_for_each_order(in_review, staff):
    OrderFactory.create()
    assert badges_of(staff.read(Order)) == ["unpaid", "paid", "needs review"]


def test_the_number_of_queries_does_not_depend_on_the_number_of_orders(order, staff):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert staff.get(changelist(Order)).status_code == 200
        return len(found)

    OrderPayment.objects.create(order=order)
    staff.read(Order)
    before = queries()
    for _number in range(19):
        OrderPayment.objects.create(order=OrderFactory.create())
    OrderFactory.create()
    assert len(badges_of(staff.read(Order))) == 21
    assert queries() == before


# --- saving -------------------------------------------------------------------------------------


def test_the_balance_is_announced_only_if_a_change_has_changed_it(paid, staff):
    page = change(paid.order)
    for email, price, expected in (
        ("other@example.com", "56.00", []),
        ("other@example.com", "60.00", ["8.00 USD is outstanding."]),
        ("third@example.com", "60.00", []),
    ):
        staff.save(paid.order, email=email, lines_0_unit_price=price)
        shown = messages_of(staff.get(page))
        assert [text for text in shown if "was changed successfully" not in text] == expected
