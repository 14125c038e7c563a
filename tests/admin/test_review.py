"""The pages of review items: their suggestions, closing one, closing several, and times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connections
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from shop_payments.models import Dispute, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.models.words import moment_words
from shop_payments.services import reevaluate_order
from tests.admin.conftest import pay_now
from tests.admin.support import change, errors_of, make_records, messages_of, values_of
from tests.shop import Shop

pytestmark = pytest.mark.django_db

WHY = "Agreed by telephone."


def close_page(item: ReviewItem) -> str:
    return reverse("admin:shop_payments_reviewitem_close", args=[item.pk])


def the_item(reason: str) -> ReviewItem:
    return ReviewItem.objects.open().get(reason=reason)


@pytest.fixture
def shop(open_shop) -> Shop:
    """A shop whose order of 180.00 is paid."""
    shop: Shop = open_shop(180)
    shop.pay(180)
    return shop


@pytest.fixture
def cancelled_in_part(shop) -> None:
    """180.00 of 230.00 were received, and then the order was cancelled."""
    shop.costs(230)
    shop.wants(False)


@pytest.fixture
def small_rest(shop) -> None:
    """0.20 is owed, which Stripe does not charge."""
    shop.order.lines.update(unit_amount=18020)
    shop.evaluate()


@pytest.fixture
def waived_and_paid(shop) -> None:
    """50.00 were received after they had been waived."""
    shop.costs(230)
    shop.stripe.pay(shop.begin(50), deliver=False)
    shop.waive(50)
    shop.stripe.deliver_webhooks()


@pytest.fixture
def other_mode(paid, configure, stripe) -> None:
    """Test money under a live key, which Stripe does not refund."""
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": "sk_live_of_the_tests"})
    reevaluate_order(paid.order_id)


@pytest.mark.parametrize(
    ("state", "reason", "label"),
    [
        ("in_review", "excess", "Refund 10.00 USD"),
        ("late", "uncounted", "Refund 112.00 USD"),
        ("other_mode", "uncounted", "Settle 112.00 USD outside Stripe"),
        ("cancelled_in_part", "rest_owed", "Waive 50.00 USD"),
        ("small_rest", "rest_too_small", "Waive 0.20 USD"),
        ("waived_and_paid", "waived_received", "Revoke: 50.00 USD waived"),
    ],
)
def test_the_first_button_does_exactly_what_the_item_suggests(state, reason, label, request, staff):
    request.getfixturevalue(state)
    item = the_item(reason)
    assert staff.buttons(item)[0] == label
    assert state != "other_mode" or staff.buttons(item)[1:] == ["Close"]
    staff.press(item, label, **({} if "Refund" in label else {"reason": WHY}))
    item.refresh_from_db()
    assert item.closed_automatically
    assert not OrderPayment.objects.get().needs_review
    assert "closed automatically" in staff.read(item)


def test_what_a_bank_holds_is_not_waived(open_shop, staff):
    shop = open_shop(230)
    shop.deposit(90)
    second = shop.deposit(90)
    shop.wants(False)
    shop.stripe.dispute(second)
    item = the_item("rest_owed")
    assert staff.buttons(item)[0] == "Waive 50.00 USD"

    staff.press(item, "Waive 50.00 USD", reason=WHY)

    item.refresh_from_db()
    assert item.closed_automatically
    assert [each.reason for each in ReviewItem.objects.open()] == ["disputed"]
    assert not any(label.startswith("Waive") for label in staff.buttons(shop.payment))
    page = staff.get(f"/admin/shop_payments/orderpayment/{shop.payment.pk}/waive/", follow=True)
    assert "Only money in pending refunds or open disputes is missing" in page.text


def test_each_of_two_items_refunds_its_own_part(open_shop, staff):
    shop = open_shop(112)
    older, newer = shop.pay(112), shop.pay_again(30)
    labels = [
        f"Refund up to {money} of the payment: {shop.intent(each).title}{excess}"
        for each, money, excess in (
            (newer, "30.00 USD", ", in excess"),
            (older, "112.00 USD", ""),
        )
    ]
    assert [each for each in staff.buttons(shop.payment) if each in labels] == labels
    assert staff.target(shop.payment, labels[1]).endswith(f"/{shop.intent(older).pk}/")
    shop.costs(102)
    for item in list(ReviewItem.objects.open()):
        staff.press(item, item.suggested_action.rstrip("."))
    assert sorted(shop.refunds()) == sorted([(older, 10), (newer, 30)])
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))


def test_staff_close_an_item_once_with_a_reason(in_review, staff, superuser):
    item = the_item("excess")
    text = staff.read(item)
    for words in ("more was received than the order costs", item.detail, item.suggested_action):
        assert words in text
    assert staff.rows(ReviewItem, state="open") == {item}
    page = staff.target(item, "Close")
    form = staff.fill(page, closing_note="The customer keeps it.")
    assert errors_of(staff.post(page, {**form, "closing_note": ""}))
    response = staff.post(page, form, follow=True)
    assert messages_of(response) == ["The item is closed, with your name and your reason."]
    assert response.redirect_chain == [(change(item), 302)]
    again = staff.post(page, {**form, "closing_note": "Second."}, follow=True)
    assert messages_of(again)[-1] == "This item was already closed. Nothing was changed."
    item.refresh_from_db()
    assert (item.closing_note, item.closed_by) == ("The customer keeps it.", superuser)
    fact = PaymentHistory.objects.get(kind="review_closed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert not OrderPayment.objects.get().needs_review
    assert staff.buttons(item) == []
    for shown in (item, in_review):
        text = staff.read(shown)
        assert superuser.username in text
        assert "The customer keeps it." in text
    assert staff.rows(ReviewItem, state="closed") == {item}


def test_each_button_needs_its_own_permission(in_review, staff_with):
    item = the_item("excess")
    settler = staff_with("view_reviewitem", "view_orderpayment", "settle_outside_stripe")
    assert settler.buttons(item) == ["Settle outside Stripe"]
    page = close_page(item)
    clerk = staff_with("view_reviewitem", "change_orderpayment", "add_refund")
    assert clerk.get(page).status_code == clerk.post(page, {"closing_note": "x"}).status_code == 403
    assert clerk.buttons(item) == []
    closer = staff_with("change_reviewitem")
    assert closer.buttons(item) == ["Close"]
    closer.submit(page, closing_note="Yes.")
    assert not OrderPayment.objects.get().needs_review


def test_staff_close_only_what_they_have_read(in_review, staff):
    page = close_page(the_item("excess"))
    form = staff.fill(page, closing_note="10.00 stay with us.")
    in_review.order.lines.update(unit_amount=100)
    reevaluate_order(in_review.order_id)
    staff.post(page, {"closing_note": "A form without what was shown."})
    response = staff.post(page, form)
    assert "changed since this page was opened" in errors_of(response)[0]
    assert "110.00 USD is too much" in response.text
    assert OrderPayment.objects.get().needs_review
    staff.post(page, {**values_of(response), "closing_note": "They give us all."})
    assert not OrderPayment.objects.get().needs_review


DEADLINE = "Nov. 24, 2036, 12:30 p.m. CET"


@pytest.fixture
def answerable(disputed: OrderPayment, settings) -> ReviewItem:
    """The item of a dispute that can still be answered."""
    settings.TIME_ZONE = "Europe/Berlin"
    Dispute.objects.update(evidence_due_at=datetime(2036, 11, 24, 11, 30, tzinfo=UTC))
    return the_item("disputed")


def test_the_item_of_a_running_dispute_is_closed_only_with_a_tick(answerable, staff):
    dispute, page = Dispute.objects.get(), close_page(answerable)
    url = f"https://dashboard.stripe.com/test/disputes/{dispute.stripe_id}"
    assert staff.target(answerable, "Answer in the Stripe dashboard") == url
    assert f'<a href="{url}" target="_blank"' in staff.read(answerable)
    assert f"can still be answered until {DEADLINE}." in staff.read(page)
    response = staff.submit(page, closing_note=WHY, sure="")
    assert response.context["form"].errors == {"sure": ["This field is required."]}
    Dispute.objects.update(evidence_due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert 'name="sure"' not in staff.read(page), "after the deadline"
    Dispute.objects.update(evidence_due_at=dispute.evidence_due_at)
    staff.submit(page, closing_note=WHY, sure="on")
    answerable.refresh_from_db()
    assert answerable.closing_note == WHY


def close_all(client, *items: ReviewItem, **more: str) -> Any:
    """Select items of the list, and close them as they are now if there is a reason."""
    shown = " ".join(each.shown_key for each in items)
    return client.choose("close_selected", *items, **{"shown": shown, **more})


@pytest.fixture
def missing(db) -> list[ReviewItem]:
    """The items of three orders with the same reason."""
    for _order in range(3):
        make_records()
    items = ReviewItem.objects.filter(reason="intent_missing").order_by("pk")
    items.update(closed_at=None, closing_data=None)
    OrderPayment.objects.update(needs_review=True)
    return list(items)


@pytest.mark.django_db(transaction=True)
def test_staff_close_several_items_with_one_reason(missing, staff, superuser, monkeypatch):
    """Outside of the host's transactions, in which the service refuses to work."""
    assert "3 items will be closed" in close_all(staff, missing[0], select_across="1").text
    chosen = missing[:2]
    text = close_all(staff, *chosen).text
    assert "2 items will be closed: Stripe does not know the payment intent" in text
    numbers = [each.order_payment.order.number for each in chosen]
    for words in (escape(chosen[0].suggested_action), *numbers):
        assert words in text
    refused = close_all(staff, *chosen, closing_note=" ")
    assert list(refused.context["form"].errors) == ["closing_note"]
    assert ReviewItem.objects.open().count() == 3
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    response = close_all(staff, *chosen, closing_note=WHY)
    assert messages_of(response) == ["2 items were closed."]
    closed = ReviewItem.objects.exclude(closed_at=None)
    assert {*closed.values_list("pk", flat=True)} == {item.pk for item in chosen}
    assert {(item.closing_note, item.closed_by) for item in closed} == {(WHY, superuser)}
    payment = OrderPayment.objects.get(needs_review=True)
    assert payment == missing[2].order_payment


def test_items_that_cannot_be_closed_together_stay_as_they_are(missing, staff, staff_with):
    clerk = staff_with("view_reviewitem", "change_orderpayment")
    assert "close_selected" not in clerk.read(ReviewItem)
    close_all(clerk, *missing, closing_note=WHY)
    first = ReviewItem.objects.filter(pk=missing[0].pk)
    first.update(reason="refund_failed")
    response = close_all(staff, *missing, closing_note=WHY)
    assert messages_of(response)[-1].startswith("Select items with the same reason")
    assert ReviewItem.objects.open().count() == 3
    why = {"sentence": "closed_by_staff", "note": "First."}
    first.update(reason="intent_missing", closing_data=why, closed_at=timezone.now())
    close_all(staff, *missing, closing_note="Second.")
    notes = [item.closing_note for item in ReviewItem.objects.order_by("pk")]
    assert notes == ["First.", "Second.", "Second."]
    [*_others, message] = messages_of(close_all(staff, *missing, closing_note="Third."))
    assert message == "The selected items were already closed. Nothing was changed."


def test_running_disputes_are_left_out_and_named(answerable, missing, staff):
    [over, *_others] = missing
    ReviewItem.objects.filter(pk=over.pk).update(reason="disputed", subject="du_long_ago")
    note = (
        "Disputes that can still be answered are left out. Close each on its own page:"
        f" order {answerable.order_payment.order.number} (until {DEADLINE})."
    )
    assert note in close_all(staff, answerable, over).text
    response = close_all(staff, answerable, over, closing_note=WHY)
    assert messages_of(response) == ["1 item was closed.", note]
    assert ReviewItem.objects.open().filter(pk=answerable.pk).exists()


def test_several_items_are_closed_only_as_they_were_read(missing, staff):
    data = {"sentence": "order_unreadable", "cause": "negative_total"}
    ReviewItem.objects.filter(pk=missing[1].pk).update(data=data)
    response = close_all(staff, *missing, closing_note=WHY)
    number = missing[1].order_payment.order.number
    assert response.context["form"].non_field_errors()[0].endswith(f"Changed: {number}.")
    assert "reports a total below 0" in response.text
    assert ReviewItem.objects.open().count() == 3
    shown = response.context["form"]["shown"].value()
    staff.choose("close_selected", *missing, shown=shown, closing_note=WHY)
    assert not ReviewItem.objects.open().exists()


def test_a_deadline_is_shown_in_the_projects_zone_by_name(
    open_payment, stripe, webhooks, staff, settings
):
    """Found: the deadline of a dispute was the date in UTC, a day late in Los Angeles."""
    settings.TIME_ZONE = "America/Los_Angeles"
    with time_machine.travel(datetime(2036, 11, 1, 6, 30, tzinfo=UTC), tick=True):
        pay_now(open_payment, stripe, webhooks, "pm_card_createDispute")
    dispute, item = Dispute.objects.get(), the_item("disputed")
    assert dispute.evidence_due_at is not None
    local = dispute.evidence_due_at.astimezone(ZoneInfo("America/Los_Angeles"))
    assert f"answer until {moment_words(local)}" in item.detail
    Dispute.objects.update(evidence_due_at=datetime(2036, 11, 25, 4, 30, tzinfo=UTC))
    for page in (Dispute, dispute, open_payment, close_page(item)):
        assert "Nov. 24, 2036, 8:30 p.m. PST" in staff.read(page)
    for page in (ReviewItem, item, open_payment.order):
        assert "Times are in the time zone America/Los_Angeles." in staff.read(page)
