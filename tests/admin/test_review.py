"""What needs the attention of staff."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.urls import reverse

from shop_payments.exceptions import OrderUnreadable
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    ReviewItem,
    StaffEntry,
)
from shop_payments.services import reevaluate_order
from tests.admin.support import (
    change,
    changelist,
    errors_of,
    fill_in,
    follow,
    links_of,
    listed,
    messages_of,
    save,
    send,
    text_of,
)
from tests.support import answer

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "Agreed by telephone."


def close_page(item: ReviewItem) -> str:
    return reverse("admin:shop_payments_reviewitem_close", args=[item.pk])


def the_item(reason: str) -> ReviewItem:
    return ReviewItem.objects.open().get(reason=reason)


# --- looking ------------------------------------------------------------------------------------


def test_an_item_says_why_and_what_to_do(in_review, staff):
    item = in_review.review_items.get()

    text = text_of(staff.get(change(item)))

    assert "more was received than the order costs" in text
    assert item.detail in text
    assert item.suggested_action in text


def test_items_are_filtered(in_review, staff):
    item = in_review.review_items.get()

    assert listed(staff.get(changelist(ReviewItem), {"reason__exact": item.reason})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "closed"})) == set()


def test_a_closed_item_is_no_longer_open(in_review, staff):
    item = ReviewItem.objects.get()
    send(staff, close_page(item), closing_note=WHY)

    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == set()
    assert listed(staff.get(changelist(ReviewItem), {"state": "closed"})) == {item}


def test_an_open_item_says_nothing_of_its_closing(in_review, staff):
    assert "Reason for closing" not in text_of(staff.get(change(ReviewItem.objects.get())))


def test_it_says_which_member_of_staff_closed_an_item(in_review, staff, superuser):
    item = ReviewItem.objects.get()
    send(staff, close_page(item), closing_note=WHY)

    for page in (change(item), change(in_review)):
        text = text_of(staff.get(page))
        assert superuser.username in text
        assert WHY in text
        assert "closed by itself" not in text


def test_it_says_that_an_item_closed_by_itself(in_review, staff):
    item = ReviewItem.objects.get()
    send(staff, follow(staff, item, "Refund 10.00 USD"))

    for page in (change(item), change(in_review)):
        assert "closed by itself" in text_of(staff.get(page))


def test_it_does_not_say_that_an_item_of_a_deleted_user_closed_by_itself(
    in_review, staff, superuser
):
    item = ReviewItem.objects.get()
    send(staff, close_page(item), closing_note=WHY)
    ReviewItem.objects.update(closed_by=None)

    text = text_of(staff.get(change(item)))

    assert "staff (the user was deleted)" in text
    assert "closed by itself" not in text


# --- doing what the suggestion says -------------------------------------------------------------


def test_it_refunds_exactly_the_excess(in_review, storefront, staff):
    item = the_item("excess")
    assert item.suggested_action == "Refund 10.00 USD."
    assert links_of(staff, item) == ["Refund 10.00 USD", "Settle outside Stripe", "Close"]
    page = follow(staff, item, "Refund 10.00 USD")
    assert staff.get(page).context["form"]["amount"].value() == "10.00"

    response = send(staff, page)

    assert messages_of(response) == ["10.00 USD goes back to the customer. The order is paid."]
    item.refresh_from_db()
    assert item.closed_itself
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("paid", False)
    assert answer(storefront.payment_intent(payment.order)) == (409, "order_already_paid")


def test_it_refunds_the_excess_of_the_payment_that_the_item_is_about(open_shop, staff):
    shop = open_shop(112)
    older, newer = shop.pay(112), shop.pay_again(30)
    item = the_item("excess")

    send(staff, follow(staff, item, "Refund 30.00 USD"))

    assert shop.refunds() == [(newer, 30)]
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))
    assert older != newer


def test_each_of_two_excess_items_refunds_its_own_part(open_shop, staff):
    shop = open_shop(112)
    older, newer = shop.pay(112), shop.pay_again(30)
    shop.costs(102)
    assert shop.in_review == {("excess", 10, older), ("excess", 30, newer)}

    for _item in range(2):
        item = ReviewItem.objects.open().first()
        assert item is not None
        send(staff, follow(staff, item, item.suggested_action.rstrip(".")))

    assert sorted(shop.refunds()) == sorted([(older, 10), (newer, 30)])
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))


def test_it_refunds_exactly_the_money_that_does_not_count(late, storefront, staff):
    item = the_item("uncounted")
    assert item.suggested_action.startswith("Refund 112.00 USD, or open the order again")
    assert links_of(staff, item)[0] == "Refund 112.00 USD"

    send(staff, follow(staff, item, "Refund 112.00 USD"))

    item.refresh_from_db()
    payment = OrderPayment.objects.get()
    assert item.closed_itself
    assert (payment.status, payment.needs_review) == ("unpaid", False)
    assert answer(storefront.payment_intent(payment.order)) == (409, "order_not_payable")


def test_it_waives_exactly_the_rest_of_a_cancelled_order(open_shop, staff):
    shop = open_shop(180)
    shop.pay(180)
    shop.costs(230)
    shop.wants(False)
    item = the_item("rest_owed")
    assert "waive what is owed" in item.suggested_action
    assert links_of(staff, item)[0] == "Waive 50.00 USD"

    send(staff, follow(staff, item, "Waive 50.00 USD"), reason=WHY)

    item.refresh_from_db()
    assert item.closed_itself
    shop.assert_is("paid", outstanding=0)


def test_it_refunds_what_was_received_for_a_cancelled_order(open_shop, staff):
    shop = open_shop(180)
    shop.pay(180)
    shop.costs(230)
    shop.wants(False)
    item = the_item("rest_owed")
    assert item.suggested_action.startswith("Refund what was received")

    send(staff, follow(staff, item, "Refund"))

    item.refresh_from_db()
    assert item.closed_itself
    shop.wants(True)
    shop.assert_is("unpaid", outstanding=230, asks=230)


def test_it_waives_exactly_a_rest_that_stripe_does_not_charge(open_shop, staff):
    shop = open_shop(180)
    shop.pay(180)
    shop.order.lines.update(unit_amount=18020)
    shop.evaluate()
    item = the_item("rest_too_small")
    assert item.suggested_action.startswith("Waive the rest")
    assert links_of(staff, item)[0] == "Waive 0.20 USD"

    send(staff, follow(staff, item, "Waive 0.20 USD"), reason=WHY)

    item.refresh_from_db()
    assert item.closed_itself
    assert OrderPayment.objects.get().is_paid


def test_it_settles_test_money_outside_stripe(paid, configure, stripe, staff):
    """Stripe does not give it back with a live key, so no button offers that."""
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": "sk_live_of_the_tests"})
    reevaluate_order(paid.order_id)
    item = the_item("uncounted")
    assert "Settle it outside Stripe" in item.suggested_action
    assert links_of(staff, item) == ["Settle 112.00 USD outside Stripe", "Close"]
    page = follow(staff, item, "Settle 112.00 USD outside Stripe")

    send(staff, page, reason="No real money was received.")

    item.refresh_from_db()
    assert item.closed_itself
    entry = StaffEntry.objects.get()
    assert (entry.kind, entry.amount) == ("settlement", 11200)
    assert not OrderPayment.objects.get().needs_review


def test_it_revokes_the_waiver_of_money_that_came_after_all(open_shop, staff):
    shop = open_shop(180)
    shop.pay(180)
    shop.costs(230)
    shop.stripe.pay(shop.begin(50), deliver=False)
    shop.waive(50)
    shop.stripe.deliver_webhooks()
    item = the_item("waived_received")
    assert item.suggested_action.startswith("The money is kept. Revoke the waiver")
    assert links_of(staff, item)[0] == "Revoke: 50.00 USD waived"

    send(staff, follow(staff, item, "Revoke: 50.00 USD waived"), reason=WHY)

    item.refresh_from_db()
    assert item.closed_itself
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))


def test_it_leads_to_the_dashboard_where_a_dispute_is_answered(disputed, staff):
    item = the_item("disputed")

    text = text_of(staff.get(change(item)))

    dispute = Dispute.objects.get()
    url = f"https://dashboard.stripe.com/test/disputes/{dispute.stripe_id}"
    assert links_of(staff, item)[0] == "Answer in the Stripe dashboard"
    assert f'<a href="{url}" target="_blank" rel="noopener noreferrer"' in text


def test_it_leads_to_the_order_that_cannot_be_read(paid, staff):
    Order.objects.update(currency="us")
    for _try in range(3):
        with suppress(OrderUnreadable):
            reevaluate_order(paid.order_id)
    item = the_item("order_unreadable")
    assert item.suggested_action.startswith("Correct the order")
    page = follow(staff, item, "Correct the order")
    assert page == change(paid.order)

    assert save(staff, page, currency="usd", lines_0_unit_price="56.00").status_code == 302

    item.refresh_from_db()
    assert item.closed_itself
    assert OrderPayment.objects.get().is_paid


def test_the_button_of_the_suggestion_needs_its_permission(in_review, staff_with):
    clerk = staff_with("view_reviewitem", "view_orderpayment", "settle_outside_stripe")

    assert links_of(clerk, ReviewItem.objects.get()) == ["Settle outside Stripe"]


# --- closing ------------------------------------------------------------------------------------


def test_it_closes_an_item_with_a_reason(in_review, staff, superuser):
    item = in_review.review_items.get()

    response = send(staff, follow(staff, item, "Close"), closing_note="The customer keeps it.")

    assert messages_of(response) == ["The item is closed, with your name and your reason."]
    assert response.redirect_chain == [(change(item), 302)]
    item.refresh_from_db()
    assert (item.closing_note, item.closed_by) == ("The customer keeps it.", superuser)
    assert not item.closed_itself
    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    payment = OrderPayment.objects.get()
    assert (payment.needs_review, payment.amount_excess) == (False, 1000)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_an_item_is_not_closed_without_a_reason_that_fits(reason, in_review, staff):
    item = in_review.review_items.get()

    response = send(staff, close_page(item), closing_note=reason)

    assert list(response.context["form"].errors) == ["closing_note"]
    assert OrderPayment.objects.get().needs_review


def test_a_form_that_is_sent_twice_closes_once(in_review, staff):
    item = in_review.review_items.get()
    form = fill_in(staff, close_page(item), closing_note="First.")
    staff.post(close_page(item), form)

    response = staff.post(close_page(item), {**form, "closing_note": "Second."}, follow=True)

    assert messages_of(response)[-1] == "This item had been closed before; nothing was changed."
    item.refresh_from_db()
    assert item.closing_note == "First."
    assert PaymentHistory.objects.filter(kind="review_closed").count() == 1
    assert links_of(staff, item) == []


def test_closing_needs_its_own_permission(in_review, staff_with):
    item = in_review.review_items.get()
    clerk = staff_with("view_reviewitem", "change_orderpayment", "add_refund")

    answers = [
        clerk.get(close_page(item)),
        clerk.post(close_page(item), {"closing_note": "No."}),
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert links_of(clerk, item) == []
    assert OrderPayment.objects.get().needs_review


def test_staff_who_may_change_review_items_may_close_them(in_review, staff_with):
    item = in_review.review_items.get()
    clerk = staff_with("change_reviewitem")

    assert links_of(clerk, item) == ["Close"]
    assert item.detail in text_of(clerk.get(close_page(item)))
    send(clerk, close_page(item), closing_note="Yes.")

    assert not OrderPayment.objects.get().needs_review


def test_an_item_that_is_not_there_leads_to_the_list(staff):
    page = reverse("admin:shop_payments_reviewitem_close", args=[999])

    assert staff.get(page).url == changelist(ReviewItem)


# --- closing the item of a dispute --------------------------------------------------------------

DEADLINE = "Nov. 24, 2036, 12:30 p.m. CET"


@pytest.fixture
def answerable(disputed: OrderPayment, settings) -> ReviewItem:
    """The item of a dispute that can still be answered."""
    settings.TIME_ZONE = "Europe/Berlin"
    Dispute.objects.update(evidence_due_at=datetime(2036, 11, 24, 11, 30, tzinfo=UTC))
    return the_item("disputed")


def test_it_warns_before_the_item_of_a_running_dispute_is_closed(answerable, staff):
    text = text_of(staff.get(close_page(answerable)))

    assert f"the dispute can still be answered until {DEADLINE}." in text


def test_the_item_of_a_running_dispute_is_not_closed_without_the_tick(answerable, staff):
    response = send(staff, close_page(answerable), closing_note=WHY, sure="")

    assert list(response.context["form"].errors) == ["sure"]
    assert errors_of(response) == ["This field is required."]
    answerable.refresh_from_db()
    assert answerable.closed_at is None


def test_the_item_of_a_running_dispute_is_closed_with_the_tick(answerable, staff):
    send(staff, close_page(answerable), closing_note=WHY, sure="on")

    answerable.refresh_from_db()
    assert answerable.closing_note == WHY


@pytest.mark.parametrize("due_at", [None, datetime(2020, 1, 1, tzinfo=UTC)])
def test_after_the_deadline_there_is_nothing_to_tick(due_at, answerable, staff):
    Dispute.objects.update(evidence_due_at=due_at)

    send(staff, close_page(answerable), closing_note=WHY, sure="")

    answerable.refresh_from_db()
    assert answerable.closing_note == WHY


def test_other_items_have_nothing_to_tick(in_review, staff):
    form = staff.get(close_page(the_item("excess"))).context["form"]

    assert list(form.fields) == ["closing_note"]
