"""The queue of review items: what is shown of each, and in which order."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from shop_payments.admin.base import moment_text
from shop_payments.models import ReviewItem, StripeAttempt, WebhookEvent
from shop_payments.orders import BundledOrderAdapter
from tests.admin.support import changelist

pytestmark = pytest.mark.django_db


def queue(staff, **filters):
    """The open items, as the list shows them."""
    return [
        item.reason for item in staff.get(changelist(ReviewItem), filters).context["cl"].result_list
    ]


@pytest.fixture
def many(open_shop):
    """Five orders in review."""
    for total in (102, 20):
        shop = open_shop(112)
        shop.pay(112)
        shop.costs(total)
    shop = open_shop(230)
    shop.deposit(180)
    shop.wants(False)
    shop = open_shop(50)
    shop.pay_late()
    shop = open_shop(112)
    shop.stripe.dispute(shop.pay(112))
    return shop


def test_the_worst_is_first_and_the_rest_by_its_kind(many, staff):
    kinds = ["disputed", "excess", "excess", "uncounted", "rest_owed"]
    assert queue(staff) == kinds
    assert queue(staff, reason="rest_owed") == ["rest_owed"]


def test_the_list_opens_on_what_is_open(many, staff):
    item = ReviewItem.objects.get(reason="rest_owed")
    staff.press(item, "Close", closing_note="The customer pays in cash.")

    assert "rest_owed" not in queue(staff)
    assert queue(staff, state="closed") == ["rest_owed"]
    assert len(queue(staff, state="all")) == 5
    assert queue(staff, q=str(item.order_payment.order_id)) == ["rest_owed"]
    shown = staff.read(changelist(ReviewItem), state="closed")
    item.refresh_from_db()
    how = f"root, {moment_text(item.closed_at)}: The customer pays in cash."
    assert f"but the shop wants no more money: refund or waive – {how}" in shown


def test_a_closed_item_has_no_deadline(many, staff):
    item = ReviewItem.objects.get(reason="disputed")
    sure = {"closing_note": "The loss is accepted.", "sure": "on"}
    due = datetime.fromisoformat(item.data["evidence_due_at"]) + timedelta(seconds=1)
    with time_machine.travel(due):
        assert "past due (" in staff.read(ReviewItem)
        staff.press(item, "Close", **sure)
        assert "past due (" not in staff.read(ReviewItem, state="closed")
        assert "past due (" not in staff.read(ReviewItem, q=item.subject)


def test_an_item_without_its_own_amount_has_that_of_its_payment(paid, stripe, webhooks, staff):
    stripe.open_review(paid.payment_intents.get().stripe_id)
    webhooks()
    assert queue(staff) == ["radar_review"]
    assert '<td class="field-money">112.00 USD</td>' in staff.read(ReviewItem)


def test_an_item_shows_customer_money_deadline_and_the_button_that_resolves_it(many, staff):
    many.order.customer.first_name, many.order.customer.last_name = "Ada", "Lovelace"
    many.order.customer.save()
    text = staff.read(changelist(ReviewItem))
    for words in ("Ada Lovelace", "10.00 USD", "92.00 USD", "Answer in the Stripe dashboard"):
        assert words in text
    for button in ("Refund 10.00 USD", "Refund 92.00 USD", "Refund 50.00 USD", "Waive 50.00 USD"):
        assert button in text
    assert "past due" not in text
    due = ReviewItem.objects.get(reason="disputed").data["evidence_due_at"]
    with time_machine.travel(datetime.fromisoformat(due) + timedelta(seconds=1)):
        assert "past due (" in staff.read(changelist(ReviewItem))

    item = ReviewItem.objects.filter(reason="excess")[0]
    page = staff.get(changelist(ReviewItem)).text
    path = f"/orderpayment/{item.order_payment_id}/refund/{item.payment_intent_id}/"
    assert f'{path}?amount={item.data["amount"]}"' in page


def test_a_button_needs_its_permission(many, staff_with):
    viewer = staff_with("view_reviewitem", "view_orderpayment")
    text = viewer.read(changelist(ReviewItem))
    assert "Refund 10.00 USD" not in text
    assert "Waive" not in text
    assert text.count("Open") >= 4
    refunder = staff_with("view_reviewitem", "view_orderpayment", "add_refund")
    text = refunder.read(changelist(ReviewItem))
    assert "Refund 10.00 USD" in text
    assert "Waive" not in text
    assert "Refund 10.00 USD" not in staff_with("view_reviewitem", "add_refund").read(
        changelist(ReviewItem)
    )


def test_a_failed_refund_is_closed_from_its_row(
    pay_order, office, order, webhooks, stripe, staff, staff_with
):
    """Found: the button led to the page of the item, which says that it is to be closed."""
    pay_order("pm_card_refundFail")
    office.refund(order)
    stripe.advance_clock(3600)
    webhooks()
    item = ReviewItem.objects.get(reason="refund_failed")
    button = f'href="{changelist(ReviewItem)}{item.pk}/close/">Close</a>'
    assert button in staff.read(ReviewItem)
    assert button not in staff_with("view_reviewitem").read(ReviewItem)


def test_the_number_of_queries_does_not_depend_on_the_number_of_items(many, staff, open_shop):
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            staff.get(changelist(ReviewItem))
        return len(captured)

    few = count()
    for _number in range(3):
        shop = open_shop(112)
        shop.pay(112)
        shop.costs(90)
    assert count() == few


@pytest.mark.parametrize("method", ["customer", "get_queryset"])
def test_an_adapter_that_fails_does_not_hide_the_queue(many, staff, monkeypatch, method):
    def fail(*args: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(BundledOrderAdapter, method, fail)
    assert len(queue(staff)) == 5


# --- records that wait and have no item ---------------------------------------------------------


def waiting(response) -> list[str]:
    return [each["text"] for each in response.context["other_work"]]


def test_what_waits_without_an_item_is_counted_above_the_list(paid, unresolved, staff):
    first, second = WebhookEvent.objects.order_by("pk")[:2]
    WebhookEvent.objects.filter(pk=first.pk).update(status="set_aside")
    WebhookEvent.objects.filter(pk=second.pk).update(status="failed")

    assert waiting(staff.get(changelist(ReviewItem))) == [
        "1: a message from Stripe cannot be processed and was set aside",
        "1: a message from Stripe could not be processed and will be tried again",
    ]
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        response = staff.get(changelist(ReviewItem))
    assert waiting(response)[2:] == ["1: it is not known whether Stripe has carried out a request"]
    found = [
        staff.get(each["url"]).context["cl"].result_list for each in response.context["other_work"]
    ]
    attempt = StripeAttempt.objects.pending().get()
    assert [[*rows] for rows in found] == [[first], [second], [attempt]]
    # The first page has them, too.
    assert "a message from Stripe cannot be processed" in staff.read("/admin/")


def test_staff_who_may_not_see_such_records_are_not_told_of_them(paid, staff, staff_with):
    WebhookEvent.objects.update(status="set_aside")
    assert len(waiting(staff.get(changelist(ReviewItem)))) == 1
    clerk = staff_with("view_reviewitem")
    assert waiting(clerk.get(changelist(ReviewItem))) == []
