"""The pages of actions: permissions, two steps, forms that are sent twice, errors of Stripe."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from shop_payments.admin.actions import ACTIONS
from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, Refund
from shop_payments.sandbox import Fault
from shop_payments.services import reevaluate_order
from tests.admin import support
from tests.admin.support import (
    effect_of,
    errors_of,
    facts_of,
    has_happened,
    messages_of,
    page_of,
    values_of,
)
from tests.books import refunds_at_stripe
from tests.support import writes

pytestmark = pytest.mark.django_db

USED = "This form was already sent, so nothing was done a second time."
IS_REFUNDED = "12.50 USD is refunded to the customer. The order is partially refunded."


@pytest.fixture
def filled_in(paid, staff) -> tuple[str, dict[str, str]]:
    """The page of a refund, and its form for 12.50 as a browser sends it."""
    return page_of("refund"), staff.fill(page_of("refund"), amount="12.50")


MAY_ACT = [
    ("waive", "partly_paid", "waive_amount"),
    ("settle", "paid", "settle_outside_stripe"),
    ("revoke", "waived", "waive_amount"),
    ("refund", "paid", "add_refund"),
    ("capture", "authorized", "change_orderpayment"),
    ("cancel", "authorized", "change_orderpayment"),
    ("give_up", "unresolved", "add_refund"),
    ("evaluate", "paid", "change_orderpayment"),
    ("refresh", "paid", "change_orderpayment"),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_each_action_needs_its_own_permission(
    action, state, permission, request, staff_with, superuser, stripe, monkeypatch
):
    """With it, staff act outside of the host's transactions, in which the services refuse to."""
    request.getfixturevalue(state)
    page = page_of(action)
    others = {each for _action, _state, each in MAY_ACT} - {permission}
    clerk, other = (staff_with("view_orderpayment", *each) for each in ([permission], others))
    blind = staff_with("add_refund", "waive_amount", "settle_outside_stripe")
    elsewhere = Client(enforce_csrf_checks=True)
    elsewhere.force_login(superuser)
    before = len(stripe.requests)
    form = {"amount": "1", "reason": "duplicate", "sure": "on", "key": uuid4()}
    for browser, has_button in ((clerk, True), (other, False)):
        labels = browser.buttons(OrderPayment.objects.get())
        assert any(each.startswith(str(ACTIONS[action].title)) for each in labels) is has_button
    assert blind.get(page).status_code == other.get(page).status_code == 403
    for browser in (other, blind, elsewhere):
        assert browser.post(page, form).status_code == 403
    assert Client().get(page).headers["Location"].startswith("/admin/login/")
    assert len(stripe.requests) == before
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert clerk.act(action, **reason_for(action)).redirect_chain


def reason_for(action: str) -> dict[str, str]:
    return {"reason": "Agreed."} if action in {"waive", "settle", "revoke", "give_up"} else {}


@pytest.mark.parametrize(
    ("action", "state", "words", "kind"),
    [
        ("waive", "partly_paid", "8.00 USD is waived. The order is paid.", "amount_waived"),
        ("settle", "paid", "112.00 USD is settled outside Stripe.", "settled_outside_stripe"),
        ("revoke", "waived", "The entry “8.00 USD waived” is revoked.", "staff_entry_revoked"),
        ("refund", "paid", "112.00 USD is refunded to the customer.", "refund_requested"),
        ("capture", "authorized", "112.00 USD was captured. The order is paid.", "order_paid"),
        ("cancel", "authorized", "The payment is cancelled.", "cancel_requested"),
        ("give_up", "unresolved", "The refund of 40.00 USD is given up.", "refund_changed"),
    ],
)
def test_an_action_is_done_once_and_the_history_says_by_whom(
    action, state, words, kind, request, staff, superuser, stripe
):
    payment = request.getfixturevalue(state)
    page = page_of(action)
    form = staff.fill(page, **reason_for(action))
    response = staff.post(page, form, follow=True)
    assert messages_of(response)[-1].startswith(words)
    assert response.redirect_chain == [(support.change(payment), 302)]
    sent, facts = writes(stripe), PaymentHistory.objects.count()
    staff.post(page, form)
    assert (writes(stripe), PaymentHistory.objects.count()) == (sent, facts)
    fact = PaymentHistory.objects.get(kind=kind, source="admin")
    assert fact.actor == f"staff {superuser.pk}"


# --- two steps ----------------------------------------------------------------------------------

PART, AGREED = {"amount": "40.00"}, {"reason": "Agreed."}
OWED, WITHOUT = {"amount": "100.00", "rest": "owed"}, {"amount": "100.00", "rest": "waived"}
REFUNDED = "40.00 of 112.00 USD will be refunded to the customer."
SETTLED = (
    "40.00 of 112.00 USD will be recorded as settled outside Stripe. No money moves at Stripe."
)
CAPTURED = "100.00 of 112.00 USD will be captured. 12.00 USD will be released to the customer"
ALL_CAPTURED = "112.00 USD will be captured, which is the full reserved amount."
RELEASED = f"{CAPTURED} and waived: the customer does not have to pay it."
WAIVED = "3.00 of 8.00 USD will be waived: the customer does not have to pay it."

EFFECTS = [
    # action, state, fields, text, what it says about the balance
    ("refund", "paid", PART, REFUNDED, "nothing is owed"),
    ("refund", "paid", {**PART, "kind": "correction"}, REFUNDED, "40.00 USD is owed"),
    ("refund", "excess", PART, REFUNDED, "the excess is 72.00 USD"),
    ("refund", "late", PART, REFUNDED, ""),
    ("capture", "authorized", OWED, f"{CAPTURED}, but is still owed.", "12.00 USD is owed"),
    ("capture", "authorized", WITHOUT, RELEASED, "nothing is owed"),
    ("capture", "authorized", {}, ALL_CAPTURED, "nothing is owed"),
    ("waive", "partly_paid", {"amount": "3.00", **AGREED}, WAIVED, "5.00 USD is owed"),
    ("settle", "paid", {**PART, **AGREED}, SETTLED, "40.00 USD is owed"),
]


@pytest.fixture
def excess(paid, staff) -> None:
    """The total fell to nothing after 112.00 were received."""
    staff.save(paid.order, lines_0_unit_price="0.00")


@pytest.mark.parametrize(("action", "state", "changes", "effect", "after"), EFFECTS)
def test_the_effect_is_shown_before_it_is_final(
    action, state, changes, effect, after, request, staff, stripe
):
    request.getfixturevalue(state)
    page = page_of(action)
    first = staff.get(page)
    assert 'name="sure"' not in first.text
    form = {**values_of(first), **changes}
    shown = staff.post(page, form)
    assert effect_of(shown) == (f"{effect} After this, {after}." if after else effect)
    assert shown.context["form"].errors == {}
    assert not has_happened(stripe)
    staff.post(page, {**form, **values_of(shown), "sure": "on"})
    assert has_happened(stripe)
    payment = OrderPayment.objects.get()
    truth = "nothing is owed"
    if payment.amount_excess:
        truth = f"the excess is {payment.amount_excess / 100:.2f} USD"
    elif payment.amount_owed:
        truth = f"{payment.amount_owed / 100:.2f} USD is owed"
    assert after in (truth, "")


@pytest.fixture
def settled(paid, staff) -> None:
    """All of the money was settled outside Stripe."""
    staff.act("settle", reason="Returned in cash.")


@pytest.mark.parametrize(
    ("action", "state", "effect"),
    [
        ("revoke", "waived", "The entry no longer counts. No money moves at Stripe. After this, 8"),
        (
            "revoke",
            "settled",
            "The entry no longer counts. No money moves at Stripe. After this, n",
        ),
        ("cancel", "open_payment", "The payment is closed at Stripe, and no money moves."),
        ("cancel", "authorized", "The payment is closed at Stripe. The reserved 112.00 USD"),
        (
            "evaluate",
            "paid",
            "The order is read again, and the paid amount, the owed amount and the excess",
        ),
        ("refresh", "paid", "Asks Stripe for the current state. No money moves."),
    ],
)
def test_an_action_of_one_step_says_what_will_happen(action, state, effect, request, staff):
    request.getfixturevalue(state)
    page = staff.get(page_of(action))
    assert facts_of(page)["What will happen"].startswith(effect)


@pytest.mark.by_hand
def test_the_effect_of_a_capture_follows_the_order_as_it_is_now(authorized, staff):
    page = page_of("capture")
    authorized.order.lines.update(unit_amount=2500)
    reevaluate_order(authorized.order_id)
    response = staff.post(page, {**values_of(staff.get(page)), **OWED})
    assert effect_of(response) == f"{CAPTURED}. After this, the excess is 50.00 USD."
    OrderPayment.objects.update(is_payable=False)
    response = staff.post(page, values_of(staff.get(page)))
    assert "The order does not accept payments" in effect_of(response)


@pytest.mark.parametrize(
    ("action", "state", "form", "other"),
    [
        ("refund", "paid", {"kind": "goods"}, {"kind": "correction"}),
        ("capture", "authorized", {"rest": "owed"}, {"rest": "waived"}),
    ],
)
def test_the_effect_without_the_tick_does_nothing(
    action, state, form, other, request, staff, stripe
):
    request.getfixturevalue(state)
    page = page_of(action)
    form = {**values_of(staff.get(page)), **form, "amount": "3.00"}
    for confirmed in ("", "300", "200:usd", "on"):
        assert effect_of(staff.post(page, {**form, "confirmed": confirmed, "sure": "on"}))
    shown = {**form, **values_of(staff.post(page, form))}
    unticked = staff.post(page, shown)
    assert unticked.context["form"].errors == {"sure": ["This field is required."]}
    assert effect_of(unticked)
    invalid = staff.post(page, {**shown, "amount": "999999.00", "sure": "on"})
    assert list(invalid.context["form"].errors) == ["amount"]
    assert values_of(invalid)["confirmed"] == ""
    assert 'name="sure"' not in invalid.text
    for changes in ({"amount": "2.00"}, other):
        changed = staff.post(page, {**shown, **changes, "sure": "on"})
        [checkbox] = re.findall('<input type="checkbox" name="sure"[^>]*>', changed.text)
        assert "checked" not in checkbox
        assert 'autocomplete="off"' in checkbox
    assert not has_happened(stripe)
    staff.post(page, {**shown, "sure": "on"})
    assert has_happened(stripe)


# --- forms that are sent twice ------------------------------------------------------------------


def test_a_form_that_is_sent_twice_refunds_once(filled_in, paid, staff, stripe):
    page, form = filled_in
    for _try in range(2):
        assert messages_of(staff.post(page, form, follow=True))[-1] == IS_REFUNDED
    for changes in ({"amount": "20.00"}, {"kind": "correction"}, {"amount": "1.250"}):
        response = staff.post(page, {**form, **changes}, follow=True)
        assert messages_of(response)[-1] == f"{USED} 12.50 USD is refunded to the customer."
        assert response.redirect_chain == [(support.change(paid), 302)]
    assert Refund.objects.count() == writes(stripe).count("/v1/refunds") == 1


def test_a_form_without_its_key_or_its_payment_does_nothing(paid, staff):
    for args in ([paid.pk, 999], [999, PaymentIntent.objects.get().pk]):
        page = reverse("admin:shop_payments_orderpayment_refund", args=args)
        assert staff.post(page).url == support.changelist(OrderPayment)
    for key in ("", "x", "0" * 40):
        response = staff.act("refund", key=key)
        assert errors_of(response) == ["The form was incomplete. Check it and send it again."]
    assert not Refund.objects.exists()


def test_the_url_of_a_used_form_leads_to_its_payment(filled_in, paid, staff, stripe):
    page, form = filled_in
    for response in (staff.get(page), staff.post(page, {**form, "sure": ""})):
        assert "no-store" in response.headers["Cache-Control"]
        assert '<form method="post" autocomplete="off"' in response.text
    stripe.inject(Fault("drop_before", path="/v1/refunds"))
    staff.post(page, form)
    lost = staff.get(page, {"key": form["key"]}, follow=True)
    assert "It is not known yet whether Stripe has made the refund" in messages_of(lost)[-1]
    staff.post(page, form)
    response = staff.get(page, {"key": form["key"]}, follow=True)
    assert response.redirect_chain == [(support.change(paid), 302)]
    assert messages_of(response)[-1] == f"{USED} 12.50 USD is refunded to the customer."
    for invalid in ("", "x", "\u0661", "0" * 99):
        assert len(values_of(staff.get(page, {"key": invalid}))["key"]) == 36


# --- errors of Stripe ---------------------------------------------------------------------------


TROUBLE: list[tuple[Any, str]] = [
    (401, "does not accept the shop's secret key"),
    (429, "Stripe is busy"),
    ("drop_before", "Stripe has not answered"),
    ("another_account", "does not know this payment under the shop's key"),
    ("drop_after", "Stripe has not answered"),
]


def test_trouble_at_stripe_is_a_sentence_and_the_form_can_be_sent_again(
    filled_in, staff, stripe, alter
):
    page, form = filled_in
    for trouble, words in TROUBLE:
        if isinstance(trouble, int):
            alter.refuse("/v1/refunds", status=trouble)
        else:
            alter.stop()
            path = "*" if trouble == "another_account" else "/v1/refunds"
            stripe.inject(Fault(trouble, path=path, times=None))
        response = staff.post(page, form)
        stripe.clear_faults()
        assert words in errors_of(response)[0]
        assert str(response.context["key"]) == form["key"]
        assert Refund.objects.get().status == "requested"
    assert messages_of(staff.post(page, form, follow=True)) == [IS_REFUNDED]
    assert [refund["status"] for refund in refunds_at_stripe(stripe)] == ["succeeded"]


def test_a_refund_that_stripe_refused_can_be_tried_again(filled_in, staff, alter):
    page, form = filled_in
    alter.refuse("/v1/refunds", message="Not at the moment.")
    refused = staff.post(page, form)
    [error] = errors_of(refused)
    assert error == "Stripe refused the request, and no money has moved: Not at the moment."
    assert Refund.objects.get().status == "refused"
    alter.stop()
    [used] = messages_of(staff.post(page, form, follow=True))
    assert used.startswith(f"{USED} The refund of 12.50 USD was not made")
    again = staff.post(page, {**form, "key": str(refused.context["key"])}, follow=True)
    assert messages_of(again) == [IS_REFUNDED]
