"""What a person has to decide."""

from __future__ import annotations

import pytest
from django.urls import reverse

from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem
from tests.admin.support import change, changelist, listed, text_of
from tests.support import answer

pytestmark = pytest.mark.django_db


def test_an_item_says_why_and_what_to_do(in_review, staff):
    item = in_review.review_items.get()

    text = text_of(staff.get(change(item)))

    assert "the amount differs from what is due" in text
    assert item.detail in text
    assert item.suggested_action in text


def test_items_are_filtered(in_review, staff):
    item = in_review.review_items.get()

    assert listed(staff.get(changelist(ReviewItem), {"reason__exact": item.reason})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == {item}
    assert listed(staff.get(changelist(ReviewItem), {"state": "decided"})) == set()


def test_a_decided_item_is_no_longer_open(in_review, staff):
    staff.post(decide_page(ReviewItem.objects.get()), {"closing_note": "Decided."})

    assert listed(staff.get(changelist(ReviewItem), {"state": "open"})) == set()
    assert len(listed(staff.get(changelist(ReviewItem), {"state": "decided"}))) == 1


# --- deciding -----------------------------------------------------------------------------------


def decide_page(item) -> str:
    return reverse("admin:shop_payments_reviewitem_decide", args=[item.pk])


def told(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def links(client, item) -> list[str]:
    shown = client.get(change(item)).context
    return [link.label for link in shown.get("action_links") or []]


def test_staff_decide_and_the_customer_can_pay_again(
    in_review, storefront, order, staff, superuser
):
    item = in_review.review_items.get()
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")

    response = staff.post(decide_page(item), {"closing_note": "Paid back in cash."}, follow=True)

    assert told(response) == ["The item is closed. Your name and your words stand beside it."]
    assert response.redirect_chain == [(change(item), 302)]
    item.refresh_from_db()
    assert (item.closing_note, item.closed_by) == ("Paid back in cash.", superuser)
    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert storefront.payment_intent(order).status_code == 200


def test_money_that_does_not_fit_is_refunded_from_its_item(in_review, staff):
    item = in_review.review_items.get()

    assert links(staff, item) == ["Refund 112.00 USD that did not pay the order", "Decide"]


@pytest.mark.parametrize("words", ["", "   ", "x" * 501])
def test_a_decision_needs_words_that_fit(words, in_review, staff):
    item = in_review.review_items.get()

    response = staff.post(decide_page(item), {"closing_note": words})

    assert list(response.context["form"].errors) == ["closing_note"]
    assert OrderPayment.objects.get().needs_review


def test_a_decision_that_is_sent_twice_is_made_once(in_review, staff):
    item = in_review.review_items.get()
    staff.post(decide_page(item), {"closing_note": "First."})

    response = staff.post(decide_page(item), {"closing_note": "Second."}, follow=True)

    assert told(response)[-1] == "This item had been decided before; nothing was changed."
    item.refresh_from_db()
    assert item.closing_note == "First."
    assert links(staff, item) == []


def test_deciding_needs_its_own_permission(in_review, staff_with):
    item = in_review.review_items.get()
    clerk = staff_with("view_reviewitem", "change_orderpayment", "add_refund")

    answers = [
        clerk.get(decide_page(item)),
        clerk.post(decide_page(item), {"closing_note": "No."}),
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert links(clerk, item) == []
    assert OrderPayment.objects.get().needs_review


def test_who_may_change_review_items_may_decide(in_review, staff_with):
    item = in_review.review_items.get()
    clerk = staff_with("change_reviewitem")

    assert links(clerk, item) == ["Decide"]
    assert item.detail in text_of(clerk.get(decide_page(item)))
    clerk.post(decide_page(item), {"closing_note": "Yes."})

    assert not OrderPayment.objects.get().needs_review


def test_an_item_that_is_not_there_leads_to_the_list(staff):
    page = reverse("admin:shop_payments_reviewitem_decide", args=[999])

    assert staff.get(page).url == changelist(ReviewItem)
