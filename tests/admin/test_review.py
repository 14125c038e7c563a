"""What needs the attention of staff."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from shop_payments import signals
from shop_payments.exceptions import OrderUnreadable
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.authorizations import flag_expiring_authorizations
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    ReviewItem,
    Source,
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
    make_records,
    messages_of,
    save,
    send,
    text_of,
    values_of,
)
from tests.support import answer, pay

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


def test_staff_close_only_what_they_have_read(in_review, staff):
    item = in_review.review_items.get()
    form = fill_in(staff, close_page(item), closing_note="10.00 stay with us.")
    in_review.order.lines.update(unit_amount=100)
    reevaluate_order(in_review.order_id)

    response = staff.post(close_page(item), form)

    assert "changed since this page was opened" in errors_of(response)[0]
    assert "110.00 USD is too much" in text_of(response)
    assert OrderPayment.objects.get().needs_review
    staff.post(close_page(item), {**values_of(response), "closing_note": "They give us all."})
    assert not OrderPayment.objects.get().needs_review


def test_a_form_that_does_not_say_what_was_read_closes_nothing(in_review, staff):
    item = in_review.review_items.get()

    staff.post(close_page(item), {"closing_note": "10.00 stay with us."})

    assert OrderPayment.objects.get().needs_review


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

    assert [bound.name for bound in form.visible_fields()] == ["closing_note"]


# --- closing several items ----------------------------------------------------------------------


def select(*items: ReviewItem, **more: str) -> dict[str, Any]:
    pks = [each.pk for each in items]
    shown = " ".join(each.shown_key for each in ReviewItem.objects.filter(pk__in=pks))
    return {"action": "close_selected", "_selected_action": pks, "shown": shown, **more}


@pytest.fixture
def missing(db) -> list[ReviewItem]:
    """Items of three orders, all for the same reason."""
    for _order in range(3):
        make_records()
    items = ReviewItem.objects.filter(reason="intent_missing").order_by("pk")
    items.update(closed_at=None, closing_note="")
    OrderPayment.objects.update(needs_review=True)
    return list(items)


def test_it_asks_for_a_reason_before_it_closes_several_items(missing, staff):
    response = staff.post(changelist(ReviewItem), select(*missing[:2]))

    text = text_of(response)
    assert "2 items will be closed: Stripe does not know the payment intent" in text
    assert missing[0].suggested_action in text
    for item in missing[:2]:
        assert f'name="_selected_action" value="{item.pk}"' in text
        assert item.order_payment.order.number in text
    assert not ReviewItem.objects.exclude(closed_at=None).exists()


def test_it_closes_several_items_with_one_reason(missing, staff, superuser):
    sent = select(*missing[:2], closing_note=WHY)

    response = staff.post(changelist(ReviewItem), sent, follow=True)

    assert messages_of(response) == ["2 items were closed."]
    assert response.redirect_chain == [(changelist(ReviewItem), 302)]
    closed = ReviewItem.objects.exclude(closed_at=None)
    assert {item.pk for item in closed} == {item.pk for item in missing[:2]}
    assert {(item.closing_note, item.closed_by) for item in closed} == {(WHY, superuser)}
    facts = PaymentHistory.objects.filter(kind="review_closed")
    assert {(fact.source, fact.actor) for fact in facts} == {("admin", f"staff {superuser.pk}")}
    assert len(facts) == 2
    needing = OrderPayment.objects.filter(needs_review=True)
    assert [payment.pk for payment in needing] == [missing[2].order_payment_id]


def test_it_closes_all_items_of_a_list(missing, staff):
    sent = {**select(missing[0]), "select_across": "1"}

    text = text_of(staff.post(changelist(ReviewItem), sent))

    assert "3 items will be closed" in text


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_several_items_are_not_closed_without_a_reason_that_fits(reason, missing, staff):
    sent = select(*missing, closing_note=reason)

    response = staff.post(changelist(ReviewItem), sent)

    assert list(response.context["form"].errors) == ["closing_note"]
    assert not ReviewItem.objects.exclude(closed_at=None).exists()


def test_items_of_several_reasons_are_not_closed_together(missing, staff):
    ReviewItem.objects.filter(pk=missing[0].pk).update(reason="refund_failed")

    for more in ({}, {"closing_note": WHY}):
        sent = select(*missing, **more)
        response = staff.post(changelist(ReviewItem), sent, follow=True)

        assert messages_of(response)[-1].startswith("Select items of one reason only")
    assert not ReviewItem.objects.exclude(closed_at=None).exists()


def test_items_that_are_closed_already_stay_as_they_are(missing, staff):
    send(staff, close_page(missing[0]), closing_note="First.")

    staff.post(changelist(ReviewItem), select(*missing, closing_note="Second."), follow=True)

    notes = [item.closing_note for item in ReviewItem.objects.order_by("pk")]
    assert notes == ["First.", "Second.", "Second."]
    again = staff.post(changelist(ReviewItem), select(*missing, closing_note="Third."), follow=True)
    assert messages_of(again)[-1] == (
        "The selected items had been closed before; nothing was changed."
    )


def test_disputes_with_a_running_deadline_are_left_out_and_named(answerable, missing, staff):
    dispute = Dispute.objects.get(stripe_id=answerable.subject)
    [over, *_others] = missing
    ReviewItem.objects.filter(pk=over.pk).update(reason="disputed", subject="du_long_ago")
    named = f"order {dispute.order_payment.order.number} (until {DEADLINE})"
    selected = select(answerable, over)
    assert named in text_of(staff.post(changelist(ReviewItem), selected))

    sent = {**selected, "closing_note": WHY}
    response = staff.post(changelist(ReviewItem), sent, follow=True)

    assert messages_of(response) == [
        "1 item was closed.",
        f"Disputes that can still be answered are left out; close each on its own page: {named}.",
    ]
    answerable.refresh_from_db()
    assert answerable.closed_at is None
    over.refresh_from_db()
    assert over.closing_note == WHY


def test_only_running_disputes_close_nothing(answerable, staff):
    sent = select(answerable, closing_note=WHY)

    response = staff.post(changelist(ReviewItem), sent, follow=True)

    assert DEADLINE in messages_of(response)[0]
    answerable.refresh_from_db()
    assert answerable.closed_at is None


def test_several_items_are_closed_only_as_they_were_read(missing, staff):
    sent = select(*missing, closing_note=WHY)
    ReviewItem.objects.filter(pk=missing[1].pk).update(detail="Stripe knows it again")

    response = staff.post(changelist(ReviewItem), sent)

    number = missing[1].order_payment.order.number
    assert response.context["form"].non_field_errors()[0].endswith(f"Changed: {number}.")
    assert "Stripe knows it again" in text_of(response)
    assert not ReviewItem.objects.exclude(closed_at=None).exists()
    again = {**sent, "shown": response.context["form"]["shown"].value()}
    staff.post(changelist(ReviewItem), again)
    assert not ReviewItem.objects.open().exists()


def test_closing_several_items_needs_the_permission_to_close(missing, staff_with):
    clerk = staff_with("view_reviewitem", "change_orderpayment")
    assert "close_selected" not in text_of(clerk.get(changelist(ReviewItem)))

    clerk.post(changelist(ReviewItem), select(*missing, closing_note=WHY))

    assert not ReviewItem.objects.exclude(closed_at=None).exists()


def test_several_items_are_closed_outside_of_the_hosts_transactions(missing, staff, monkeypatch):
    """The service itself refuses to work where one is open."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    staff.post(changelist(ReviewItem), select(*missing, closing_note=WHY), follow=True)

    assert not ReviewItem.objects.open().exists()


# --- skipping a notification --------------------------------------------------------------------


def refuse(**kwargs: Any) -> None:
    raise ConnectionError("the warehouse does not answer")


@pytest.fixture
def failing(open_payment, stripe, webhooks) -> Iterator[ReviewItem]:
    """The item of a notification that the shop's code has refused three times."""
    signals.order_paid.connect(refuse)
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()
    for _try in range(2):
        with time_machine.travel(timezone.now() + timedelta(minutes=2), tick=True):
            reconcile(since=timezone.now() - timedelta(days=1))
    yield the_item("notification_failed")
    signals.order_paid.disconnect(refuse)


def skip_page(item: ReviewItem) -> str:
    return reverse("admin:shop_payments_reviewitem_skip", args=[item.pk])


def test_a_failing_notification_is_skipped_with_a_reason(failing, staff, superuser):
    assert "skip this notification" in failing.suggested_action
    assert links_of(staff, failing)[0] == "Skip this notification"
    page = follow(staff, failing, "Skip this notification")
    fact = PaymentHistory.objects.get(fact_id=failing.subject)
    assert fact.sentence in text_of(staff.get(page))

    response = send(staff, page, reason="Shipped by hand.")

    assert response.redirect_chain == [(change(failing), 302)]
    assert messages_of(response)[0].startswith(f"The notification “{fact}” is skipped")
    failing.refresh_from_db()
    assert failing.closing_note == "Skipped: Shipped by hand."
    fact = PaymentHistory.objects.get(pk=fact.pk)
    assert fact.skipped_at is not None
    assert fact.skipped_by == f"staff {superuser.pk}"
    skipped = PaymentHistory.objects.get(kind="notification_skipped")
    assert (skipped.source, skipped.actor) == ("admin", f"staff {superuser.pk}")
    assert not PaymentHistory.objects.undispatched().exists()


def test_the_history_shows_failures_and_who_skipped(failing, staff, superuser):
    fact = PaymentHistory.objects.get(fact_id=failing.subject)
    for page in (change(fact), change(fact.order_payment)):
        assert f"waiting, after {fact.dispatch_failures} failed tries" in text_of(staff.get(page))
    send(staff, skip_page(failing), reason="Shipped by hand.")

    for page in (change(fact), change(fact.order_payment)):
        text = text_of(staff.get(page))
        assert f"skipped by staff {superuser.pk} ({superuser.username}), " in text
        assert f", after {fact.dispatch_failures} failed tries" in text
        assert "waiting" not in text.partition('id="content"')[2]


def test_failing_and_skipped_notifications_are_found(failing, staff):
    fact = PaymentHistory.objects.get(fact_id=failing.subject)

    def found(state: str) -> set[Any]:
        return listed(staff.get(changelist(PaymentHistory), {"notified": state}))

    assert found("failing") == {fact}
    assert fact in found("waiting")
    send(staff, skip_page(failing), reason="Shipped by hand.")
    assert found("failing") == found("waiting") == set()
    assert found("skipped") == {fact}


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_a_notification_is_not_skipped_without_a_reason_that_fits(reason, failing, staff):
    response = send(staff, skip_page(failing), reason=reason)

    assert list(response.context["form"].errors) == ["reason"]
    assert PaymentHistory.objects.undispatched().exists()


def test_skipping_needs_the_permission_to_change_payments(failing, staff_with):
    clerk = staff_with("view_reviewitem", "change_reviewitem", "view_orderpayment")

    answers = [
        clerk.get(skip_page(failing)),
        clerk.post(skip_page(failing), {"reason": "No."}),
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert "Skip this notification" not in links_of(clerk, failing)
    assert PaymentHistory.objects.undispatched().exists()


def test_staff_who_may_change_payments_may_skip(failing, staff_with):
    clerk = staff_with("view_reviewitem", "change_orderpayment")
    assert links_of(clerk, failing)[0] == "Skip this notification"

    send(clerk, skip_page(failing), reason="Yes.")

    assert not PaymentHistory.objects.undispatched().exists()


def test_staff_who_may_not_see_the_review_may_not_skip(failing, staff_with):
    assert staff_with("change_orderpayment").get(skip_page(failing)).status_code == 403


def test_a_notification_that_was_accepted_meanwhile_is_not_skipped(failing, staff):
    form = fill_in(staff, skip_page(failing), reason="Too late.")
    signals.order_paid.disconnect(refuse)
    with time_machine.travel(timezone.now() + timedelta(minutes=2), tick=True):
        reconcile(since=timezone.now() - timedelta(days=1))

    response = staff.post(skip_page(failing), form, follow=True)

    assert messages_of(response) == [
        "This notification does not wait any more; nothing was changed."
    ]
    assert PaymentHistory.objects.get(fact_id=failing.subject).dispatched_at is not None


def test_other_items_have_no_notification_to_skip(in_review, staff):
    assert staff.get(skip_page(the_item("excess"))).url == changelist(ReviewItem)


def test_a_notification_is_skipped_outside_of_the_hosts_transactions(failing, staff, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    send(staff, skip_page(failing), reason="Shipped by hand.")

    assert not PaymentHistory.objects.undispatched().exists()


# --- times --------------------------------------------------------------------------------------


def in_los_angeles(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo("America/Los_Angeles"))


def test_a_deadline_is_shown_in_the_projects_zone_by_name(disputed, staff, settings):
    """Found: a dispute's deadline was the date of UTC, a day late in Los Angeles."""
    settings.TIME_ZONE = "America/Los_Angeles"
    Dispute.objects.update(evidence_due_at=datetime(2036, 11, 25, 4, 30, tzinfo=UTC))
    dispute, item = Dispute.objects.get(), the_item("disputed")

    for page in (
        changelist(Dispute),
        change(dispute),
        change(disputed),
        close_page(item),
    ):
        assert "Nov. 24, 2036, 8:30 p.m. PST" in text_of(staff.get(page))


def test_a_review_item_names_the_zone_of_a_dispute_deadline(
    open_payment, stripe, webhooks, settings
):
    settings.TIME_ZONE = "America/Los_Angeles"
    with time_machine.travel(datetime(2036, 11, 1, 6, 30, tzinfo=UTC), tick=True):
        pay(stripe, open_payment.payment_intents.get().stripe_id, "pm_card_createDispute")
        webhooks()

    due_at = Dispute.objects.get().evidence_due_at
    assert due_at is not None
    local = in_los_angeles(due_at)
    assert f"answer until {local:%Y-%m-%d %H:%M} {local.tzname()}" in the_item("disputed").detail


def test_a_review_item_names_the_zone_in_which_an_authorization_expires(authorized, settings):
    settings.TIME_ZONE = "America/Los_Angeles"
    expires_at = datetime(2036, 7, 1, 5, 30, tzinfo=UTC)
    PaymentIntent.objects.update(capture_before=expires_at)

    with time_machine.travel(expires_at - timedelta(hours=3), tick=False):
        flag_expiring_authorizations(origin=Origin(source=Source.RECONCILE))

    assert the_item("authorization_expires").detail.endswith("until 2036-06-30 22:30 PDT")


def test_the_zone_of_a_request_is_not_that_of_a_stored_text(authorized, settings):
    settings.TIME_ZONE = "America/Los_Angeles"
    expires_at = datetime(2036, 7, 1, 5, 30, tzinfo=UTC)
    PaymentIntent.objects.update(capture_before=expires_at)

    with (
        timezone.override("Asia/Tokyo"),
        time_machine.travel(expires_at - timedelta(hours=3), tick=False),
    ):
        flag_expiring_authorizations(origin=Origin(source=Source.RECONCILE))

    assert the_item("authorization_expires").detail.endswith("until 2036-06-30 22:30 PDT")


def test_times_name_their_zone_without_time_zones(authorized, staff, settings):
    settings.TIME_ZONE = "America/Los_Angeles"
    settings.USE_TZ = False
    expires_at = datetime(2036, 6, 30, 22, 30)  # noqa: DTZ001
    PaymentIntent.objects.update(capture_before=expires_at)

    with time_machine.travel(datetime(2036, 7, 1, 4, 30, tzinfo=UTC).timestamp(), tick=False):
        flag_expiring_authorizations(origin=Origin(source=Source.RECONCILE))
    shown = text_of(staff.get(change(authorized)))

    assert the_item("authorization_expires").detail.endswith("until 2036-06-30 22:30 PDT")
    assert "June 30, 2036, 10:30 p.m. PDT" in shown


@pytest.mark.parametrize("model", [ReviewItem, OrderPayment, PaymentHistory, Order])
def test_lists_and_pages_name_the_zone_of_their_times(model, in_review, staff, settings):
    settings.TIME_ZONE = "America/Los_Angeles"

    for page in (changelist(model), change(model.objects.first())):
        assert "Times are in the time zone America/Los_Angeles." in text_of(staff.get(page))
