"""What staff record that Stripe does not know: waive, settle outside Stripe, revoke."""

from __future__ import annotations

from functools import partial

import pytest
from django.test import Client

from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent, StaffEntry
from tests.admin.support import (
    act,
    change,
    changelist,
    errors_of,
    fill_in,
    follow,
    links_of,
    listed,
    messages_of,
    page_of,
    send,
    text_of,
)
from tests.support import answer, writes
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "Agreed by telephone."


def entries() -> list[tuple[str, int, str]]:
    return [(each.kind, each.amount, each.reason) for each in StaffEntry.objects.order_by("pk")]


# --- waiving ------------------------------------------------------------------------------------


def test_it_waives_what_is_owed(partly_paid, staff, superuser, storefront, stripe):
    before = len(stripe.requests)

    response = send(staff, follow(staff, partly_paid, "Waive"), reason=WHY)

    assert messages_of(response) == ["8.00 USD is waived. The order is paid."]
    assert response.redirect_chain == [(change(partly_paid), 302)]
    assert entries() == [("waiver", 800, WHY)]
    entry = StaffEntry.objects.get()
    assert (entry.created_by, entry.actor) == (superuser, f"staff {superuser.pk}")
    fact = PaymentHistory.objects.get(kind="amount_waived")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert len(stripe.requests) == before
    assert answer(storefront.payment_intent(partly_paid.order)) == (409, "order_already_paid")


def test_it_waives_a_part_of_what_is_owed(partly_paid, staff):
    response = act(staff, "waive", amount="3", reason=WHY)

    assert messages_of(response) == ["3.00 USD is waived. 5.00 USD is outstanding."]
    page = text_of(staff.get(page_of("waive")))
    assert 'value="5.00"' in page
    assert "3.00 USD" in page


@pytest.mark.parametrize("amount", ["8.01", "0", "-1", "1.005", "ten", ""])
def test_it_does_not_waive_what_is_not_owed(amount, partly_paid, staff):
    response = act(staff, "waive", amount=amount, reason=WHY)

    assert list(response.context["form"].errors) == ["amount"]
    assert not StaffEntry.objects.exists()


def test_it_says_how_much_can_be_waived(partly_paid, staff):
    response = act(staff, "waive", amount="8.01", reason=WHY)

    assert errors_of(response) == ["Enter an amount up to 8.00 USD."]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
@pytest.mark.parametrize(
    ("action", "state"), [("waive", "partly_paid"), ("settle", "paid"), ("revoke", "waived")]
)
def test_it_needs_a_reason(reason, action, state, request, staff):
    request.getfixturevalue(state)
    before = entries()

    response = act(staff, action, reason=reason)

    assert list(response.context["form"].errors) == ["reason"]
    assert entries() == before
    assert not StaffEntry.objects.exclude(revoked_at=None).exists()


def test_a_form_that_is_sent_twice_waives_once(partly_paid, staff):
    page = page_of("waive")
    form = fill_in(staff, page, amount="3", reason=WHY)

    first, second = (staff.post(page, form, follow=True) for _try in range(2))

    said = ["3.00 USD is waived. 5.00 USD is outstanding."]
    assert messages_of(first) == said
    assert set(messages_of(second)) == set(said)
    assert entries() == [("waiver", 300, WHY)]


def test_a_form_that_waived_everything_says_so_again_when_sent_twice(partly_paid, staff):
    page = page_of("waive")
    form = fill_in(staff, page, reason=WHY)
    staff.post(page, form)

    response = staff.post(page, form, follow=True)

    assert set(messages_of(response)) == {"8.00 USD is waived. The order is paid."}
    assert entries() == [("waiver", 800, WHY)]


def test_a_form_that_is_sent_from_many_tabs_at_once_waives_once(partly_paid, superuser):
    browsers = [Client() for _tab in range(6)]
    for browser in browsers:
        browser.force_login(superuser)
    page = page_of("waive")
    form = fill_in(browsers[0], page, amount="3", reason=WHY)

    answers = at_once(*(partial(browser.post, page, form) for browser in browsers))

    assert {(answer.status_code, answer.url) for answer in answers} == {(302, change(partly_paid))}
    assert entries() == [("waiver", 300, WHY)]


def test_another_amount_in_a_used_form_is_not_a_second_waiver_by_accident(partly_paid, staff):
    page = page_of("waive")
    form = fill_in(staff, page, amount="3", reason=WHY)
    staff.post(page, form)

    response = staff.post(page, {**form, "amount": "4"}, follow=True)

    assert messages_of(response)[-1] == (
        "This form has been used already, and nothing more was done. 3.00 USD is waived."
    )
    assert entries() == [("waiver", 300, WHY)]


def test_what_was_paid_meanwhile_is_not_waived(partly_paid, storefront, stripe, webhooks, staff):
    page = page_of("waive")
    form = fill_in(staff, page, reason=WHY)
    stripe.pay(storefront.payment_intent(partly_paid.order).json()["data"]["id"])
    webhooks()

    response = staff.post(page, form, follow=True)

    assert messages_of(response) == ["Nothing is owed, so there is nothing to waive."]
    assert not StaffEntry.objects.exists()


def test_an_order_without_a_rest_has_nothing_to_waive(paid, staff):
    assert "Waive" not in links_of(staff, paid)

    response = staff.get(page_of("waive"), follow=True)

    assert messages_of(response) == ["Nothing is owed, so there is nothing to waive."]


def test_an_order_without_money_has_no_rest_to_waive(open_payment, staff):
    assert "Waive" not in links_of(staff, open_payment)

    response = staff.get(page_of("waive"), follow=True)

    assert messages_of(response) == [
        "No money was received for this order, so there is no rest to waive."
    ]


def test_it_waives_the_rest_of_a_cancelled_order(partly_paid, staff):
    Order.objects.update(status="cancelled")

    response = act(staff, "waive", reason=WHY)

    assert messages_of(response) == ["8.00 USD is waived. The order is paid."]


def test_an_order_that_cannot_be_read_is_not_waived(partly_paid, staff):
    page = page_of("waive")
    form = fill_in(staff, page, reason=WHY)
    Order.objects.update(currency="us")

    [error] = errors_of(staff.post(page, form))

    assert error.startswith("The order could not be read, so nothing was recorded.")
    assert not StaffEntry.objects.exists()
    Order.objects.update(currency="usd")
    staff.post(page, form)
    assert entries() == [("waiver", 800, WHY)]


# --- settling -----------------------------------------------------------------------------------


def test_it_settles_a_payment_outside_stripe(paid, staff, superuser, stripe):
    before = len(writes(stripe))
    intent = PaymentIntent.objects.get()

    response = send(staff, follow(staff, paid, "Settle outside Stripe"), reason="Paid in cash.")

    assert messages_of(response) == [
        f"112.00 USD of {intent} is settled outside Stripe. 112.00 USD is outstanding."
    ]
    assert entries() == [("settlement", 11200, "Paid in cash.")]
    assert StaffEntry.objects.get().created_by == superuser
    assert len(writes(stripe)) == before


def test_it_proposes_to_settle_what_is_too_much(in_review, staff):
    page = text_of(staff.get(page_of("settle")))

    assert 'value="10.00"' in page
    assert "Received too much" in page


def test_money_that_was_settled_is_not_refunded_as_well(paid, staff):
    act(staff, "settle", amount="100", reason=WHY)

    page = text_of(staff.get(page_of("refund")))

    assert 'value="12.00"' in page
    assert "100.00 USD" in page


@pytest.mark.parametrize("amount", ["112.01", "0", "-1", "1.005"])
def test_it_does_not_settle_more_than_is_left(amount, paid, staff):
    response = act(staff, "settle", amount=amount, reason=WHY)

    assert list(response.context["form"].errors) == ["amount"]
    assert not StaffEntry.objects.exists()


def test_a_form_that_is_sent_twice_settles_once(paid, staff):
    page = page_of("settle")
    form = fill_in(staff, page, amount="12", reason=WHY)

    for _try in range(2):
        assert staff.post(page, form).status_code == 302

    assert entries() == [("settlement", 1200, WHY)]


@pytest.mark.parametrize("state", ["open_payment", "authorized"])
def test_money_that_has_not_come_is_not_settled(state, request, staff):
    payment = request.getfixturevalue(state)
    assert "Settle outside Stripe" not in links_of(staff, payment)

    response = staff.get(page_of("settle"), follow=True)

    assert messages_of(response) == ["Nothing of this payment is left to settle."]


# --- revoking -----------------------------------------------------------------------------------


def test_it_revokes_a_waiver(waived, staff, superuser, storefront):
    response = send(
        staff, follow(staff, waived, "Revoke: 8.00 USD waived"), reason="They pay after all."
    )

    assert messages_of(response)[-1] == (
        "The entry “8.00 USD waived” is revoked. 8.00 USD is outstanding."
    )
    entry = StaffEntry.objects.get()
    assert (entry.revoked_by, entry.revocation_reason) == (superuser, "They pay after all.")
    assert PaymentHistory.objects.filter(kind="staff_entry_revoked").count() == 1
    data = storefront.payment_intent(waived.order).json()["data"]
    assert data["amount"] == "8.00"


def test_it_revokes_a_settlement(paid, staff):
    act(staff, "settle", reason=WHY)

    response = act(staff, "revoke", reason="It never arrived.")

    assert "The order is paid." in messages_of(response)[-1]
    assert OrderPayment.objects.get().is_paid


def test_an_entry_is_revoked_once(waived, staff):
    page = page_of("revoke")
    form = fill_in(staff, page, reason="First.")
    staff.post(page, form)

    response = staff.post(page, {**form, "reason": "Second."}, follow=True)

    assert messages_of(response)[-1] == (
        "Nothing was changed: this entry has been revoked already."
    )
    assert StaffEntry.objects.get().revocation_reason == "First."
    assert PaymentHistory.objects.filter(kind="staff_entry_revoked").count() == 1
    assert not any(label.startswith("Revoke") for label in links_of(staff, waived))


def test_an_entry_is_revoked_once_by_many_tabs_at_once(waived, superuser):
    browsers = [Client() for _tab in range(4)]
    for browser in browsers:
        browser.force_login(superuser)
    page = page_of("revoke")
    form = fill_in(browsers[0], page, reason=WHY)

    answers = at_once(*(partial(browser.post, page, form) for browser in browsers))

    assert {answer.status_code for answer in answers} == {302}
    assert PaymentHistory.objects.filter(kind="staff_entry_revoked").count() == 1


def test_a_waiver_of_a_cancelled_order_is_not_revoked(waived, staff):
    page = page_of("revoke")
    form = fill_in(staff, page, reason=WHY)
    Order.objects.update(status="cancelled")

    response = staff.post(page, form)

    assert "nobody could pay what was waived" in errors_of(response)[0]
    assert not StaffEntry.objects.get().is_revoked


def test_revoking_needs_the_permission_of_the_kind(paid, staff, staff_with):
    act(staff, "settle", reason=WHY)
    page = page_of("revoke")
    clerk = staff_with("view_orderpayment", "waive_amount")

    assert clerk.get(page).status_code == 403
    assert clerk.post(page, {"reason": WHY}).status_code == 403
    assert not any(label.startswith("Revoke") for label in links_of(clerk, paid))


def test_a_settlement_is_revoked_with_the_permission_to_settle(paid, staff, staff_with):
    act(staff, "settle", reason=WHY)
    clerk = staff_with("view_orderpayment", "settle_outside_stripe")

    assert act(clerk, "revoke", reason=WHY).redirect_chain

    assert StaffEntry.objects.get().is_revoked


def test_an_entry_that_is_not_there_leads_to_the_list(waived, staff):
    page = page_of("revoke").replace(f"/{StaffEntry.objects.get().pk}/", "/999/")

    assert staff.get(page).url == changelist(OrderPayment)


# --- looking ------------------------------------------------------------------------------------


def test_a_payment_shows_its_entries(waived, staff, superuser):
    text = text_of(staff.get(change(waived)))

    entry = StaffEntry.objects.get()
    for words in (f'href="{change(entry)}"', "8.00 USD", WHY, superuser.username, "in force"):
        assert words in text


def test_a_payment_without_entries_does_not_mention_them(paid, staff):
    page = staff.get(change(paid))

    shown = {each.opts.model for each in page.context["inline_admin_formsets"]}
    assert StaffEntry not in shown


def test_a_revoked_entry_says_who_revoked_it_and_why(waived, staff, superuser):
    act(staff, "revoke", reason="They pay after all.")
    entry = StaffEntry.objects.get()

    assert ">revoked</td>" in text_of(staff.get(changelist(StaffEntry)))
    for page in (change(waived), change(entry)):
        text = text_of(staff.get(page))
        assert f"revoked by {superuser.username}" in text
        assert "They pay after all." in text


def test_a_waiver_whose_capture_failed_is_not_in_force(authorized, staff, stripe):
    act(staff, "capture", amount="100", rest="waived")
    assert "in force" in text_of(staff.get(change(authorized)))
    PaymentIntent.objects.update(amount_received=11200)

    text = text_of(staff.get(change(StaffEntry.objects.get())))

    assert "not in force: its capture has not succeeded" in text
    PaymentIntent.objects.update(amount_received=10000)


def test_an_entry_has_the_button_that_revokes_it(waived, staff):
    entry = StaffEntry.objects.get()
    assert links_of(staff, entry) == ["Revoke: 8.00 USD waived"]

    send(staff, follow(staff, entry, "Revoke: 8.00 USD waived"), reason=WHY)

    assert links_of(staff, entry) == []


def test_entries_are_filtered_by_kind_and_state(waived, staff):
    act(staff, "settle", amount="1", reason=WHY)
    waiver, settlement = StaffEntry.objects.order_by("pk")
    send(staff, follow(staff, waiver, "Revoke: 8.00 USD waived"), reason=WHY)

    def found(**filters: str) -> set[StaffEntry]:
        return listed(staff.get(changelist(StaffEntry), filters))

    assert found(kind__exact="waiver") == found(state="revoked") == {waiver}
    assert found(kind__exact="settlement") == found(state="not_revoked") == {settlement}
    assert found(q="telephone") == {waiver, settlement}


def test_the_name_of_a_deleted_user_is_not_shown(waived, staff, superuser):
    StaffEntry.objects.update(created_by=None, actor="staff 77")

    assert "staff 77" in text_of(staff.get(change(waived)))


def test_staff_who_may_only_look_see_entries_and_no_buttons(waived, staff_with):
    clerk = staff_with("view_orderpayment", "view_staffentry", "view_order")

    for row in (waived, StaffEntry.objects.get(), waived.order):
        assert links_of(clerk, row) == []
    assert WHY in text_of(clerk.get(change(waived)))
