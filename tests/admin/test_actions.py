"""What staff do with a payment: refund, capture, cancel."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client, override_settings
from django.urls import reverse

from shop_payments.admin.actions import ACTIONS
from shop_payments.admin.forms import RefundForm
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    StaffEntry,
)
from shop_payments.sandbox import Fault, SandboxResponse
from tests.admin.support import (
    act,
    change,
    changelist,
    errors_of,
    fill_in,
    follow,
    links_of,
    messages_of,
    page_of,
    text_of,
)
from tests.after_paid.support import refunds_at_stripe
from tests.support import call_stripe, writes
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ALL_IS_BACK = "112.00 USD goes back to the customer. The order is refunded."
USED = "This form has been used already, and nothing more was done."
PART_IS_BACK = "12.50 USD goes back to the customer. The order is partially refunded."


def refusing(stripe, status, message):
    """Stripe answers every write like this."""

    def handle(method, url, headers, body):
        if method.upper() != "POST":
            return stripe.handle(method, url, headers, body)
        error = {"type": "invalid_request_error", "message": message}
        return SandboxResponse(status, {}, json.dumps({"error": error}).encode())

    return override_settings(SHOP_PAYMENTS={**stripe.shop_payments(), "STRIPE_TRANSPORT": handle})


# --- refunds ------------------------------------------------------------------------------------


def test_staff_refund_all_that_is_left(paid, staff, superuser):
    response = act(staff, "refund", reason="requested_by_customer")

    assert messages_of(response) == [ALL_IS_BACK]
    assert response.redirect_chain == [(change(paid), 302)]
    refund = Refund.objects.get()
    assert (refund.amount, refund.reason, refund.status) == (
        11200,
        "requested_by_customer",
        "succeeded",
    )
    fact = PaymentHistory.objects.get(kind="refund_requested")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert OrderPayment.objects.get().status == "refunded"


def test_a_part_is_refunded_and_the_rest_is_proposed_next(paid, staff):
    act(staff, "refund", amount="12.50")

    page = text_of(staff.get(page_of("refund")))
    assert 'value="99.50"' in page
    assert "12.50 USD" in page
    assert OrderPayment.objects.get().status == "partially_refunded"


def test_a_form_that_is_sent_twice_refunds_once(paid, staff, stripe):
    page = page_of("refund")
    form = fill_in(staff, page, amount="12.50")

    first, second = (staff.post(page, form, follow=True) for _try in range(2))

    assert messages_of(first) == messages_of(second) == [PART_IS_BACK]
    assert Refund.objects.count() == 1
    assert writes(stripe).count("/v1/refunds") == 1


def test_a_form_that_is_sent_by_many_tabs_at_once_refunds_once(paid, superuser, stripe):
    browsers = [Client() for _tab in range(6)]
    for browser in browsers:
        browser.force_login(superuser)
    page = page_of("refund")
    form = fill_in(browsers[0], page, amount="12.50")

    answers = at_once(*(partial(browser.post, page, form) for browser in browsers))

    assert {(answer.status_code, answer.url) for answer in answers} == {(302, change(paid))}
    assert Refund.objects.count() == 1
    assert writes(stripe).count("/v1/refunds") == 1


def test_two_staff_cannot_give_back_more_than_came(paid, superuser, stripe):
    browsers = [Client() for _person in range(4)]
    for browser in browsers:
        browser.force_login(superuser)
    page = page_of("refund")
    forms = [fill_in(browser, page, amount="60.00") for browser in browsers]

    answers = at_once(
        *(partial(browser.post, page, form) for browser, form in zip(browsers, forms, strict=True))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 302]
    assert [refund.amount for refund in Refund.objects.all()] == [6000]


def test_the_last_refund_sent_twice_says_twice_that_it_was_made(paid, staff):
    page = page_of("refund")
    form = fill_in(staff, page)
    staff.post(page, form)

    response = staff.post(page, form, follow=True)

    assert set(messages_of(response)) == {
        "112.00 USD goes back to the customer. The order is refunded."
    }
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(
    "amount", ["", "0", "0.00", "-1", "1.005", "ten", "12,50", "NaN", "1e99", "9" * 40]
)
def test_an_amount_that_cannot_be_is_an_error_at_its_field(amount, paid, staff, stripe):
    response = act(staff, "refund", amount=amount)

    assert list(response.context["form"].errors) == ["amount"]
    assert not Refund.objects.exists()
    assert "/v1/refunds" not in writes(stripe)


def test_more_than_is_left_is_an_error_at_the_amount(paid, staff, stripe):
    response = act(staff, "refund", amount="112.01")

    assert response.context["form"].errors == {
        "amount": ["Only 112.00 USD of this payment is left."]
    }
    assert not Refund.objects.exists()


def test_an_amount_is_one_of_the_payments_currency():
    form = RefundForm({"amount": "1.5", "sure": "on"}, currency="jpy")

    assert form.errors == {"amount": ["Write the amount like 1250."]}


@pytest.mark.parametrize("amount", ["0", "0.00", "000"])
def test_an_amount_is_more_than_nothing(amount):
    form = RefundForm({"amount": amount, "sure": "on"}, currency="usd")

    assert form.errors == {"amount": ["The amount must be more than 0."]}


def test_nothing_is_refunded_without_the_tick(paid, staff):
    response = act(staff, "refund", sure="")

    assert list(response.context["form"].errors) == ["sure"]
    assert not Refund.objects.exists()


@pytest.mark.parametrize("key", ["", "x", "0" * 40])
def test_a_form_without_its_key_does_nothing(key, paid, staff):
    response = act(staff, "refund", key=key)

    assert errors_of(response) == ["The form was incomplete. Check it and send it again."]
    assert not Refund.objects.exists()


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_refund_whose_answer_is_lost_is_finished_by_sending_the_form_again(
    fault, paid, staff, stripe
):
    stripe.inject(Fault(fault, path="/v1/refunds"))
    page = page_of("refund")
    form = fill_in(staff, page, amount="12.50")

    lost = staff.post(page, form)
    [error] = errors_of(lost)
    assert "Nothing is lost" in error
    assert str(lost.context["key"]) == form["key"]
    again = staff.post(page, form, follow=True)

    assert messages_of(again) == [PART_IS_BACK]
    assert Refund.objects.get().status == "succeeded"
    assert len(call_stripe(stripe, "GET", "refunds")["data"]) == 1


def test_it_does_not_say_that_nothing_was_done_where_only_the_repetition_was_turned_away(
    paid, staff, stripe
):
    """The first sending has had its effect."""
    faults = iter([Fault("drop_after"), Fault("error", status=429)])

    def handle(*request):
        stripe.inject(next(faults))
        return stripe.handle(*request)

    bad_day = {**stripe.shop_payments(), "STRIPE_TRANSPORT": handle, "MAX_NETWORK_RETRIES": 1}
    page = page_of("refund")
    form = fill_in(staff, page, amount="12.50")

    with override_settings(SHOP_PAYMENTS=bad_day):
        [error] = errors_of(staff.post(page, form))
    assert "it is not known yet whether it was done" in error
    assert messages_of(staff.post(page, form, follow=True)) == [PART_IS_BACK]
    assert len(call_stripe(stripe, "GET", "refunds")["data"]) == 1


def test_it_says_that_stripe_refused_a_refund_which_can_be_tried_again(paid, staff, stripe):
    page = page_of("refund")
    form = fill_in(staff, page, amount="12.50")

    with refusing(stripe, 400, "Your account cannot do this at the moment."):
        refused = staff.post(page, form)
    [error] = errors_of(refused)
    assert error == (
        "Stripe refused, and no money has moved: Your account cannot do this at the moment."
    )
    assert Refund.objects.get().status == "refused"
    new_key = str(refused.context["key"])
    assert new_key != form["key"]

    [used] = messages_of(staff.post(page, form, follow=True))
    assert used.startswith(f"{USED} The refund of 12.50 USD did not happen")
    again = staff.post(page, {**form, "key": new_key}, follow=True)
    assert messages_of(again) == [PART_IS_BACK]


def test_another_amount_in_a_used_form_is_not_a_second_refund_by_accident(paid, staff):
    page = page_of("refund")
    form = fill_in(staff, page, amount="12.50")
    staff.post(page, form)

    response = staff.post(page, {**form, "amount": "20.00"}, follow=True)

    assert messages_of(response)[-1] == f"{USED} 12.50 USD goes back to the customer."
    assert response.redirect_chain == [(change(paid), 302)]
    assert Refund.objects.count() == 1


def test_a_refund_that_was_made_elsewhere_meanwhile_is_seen(paid, staff, stripe):
    page = page_of("refund")
    form = fill_in(staff, page)
    intent = PaymentIntent.objects.get()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, amount="1200")

    response = staff.post(page, form)

    assert errors_of(response) == ["Only 100.00 USD of this payment is left."]
    assert ("Refunded before", "12.00 USD") in [
        (str(label), value) for label, value in response.context["facts"]
    ]


def test_while_the_bank_holds_the_money_nothing_is_refunded(disputed, staff):
    assert "Refund" not in links_of(staff, disputed)
    sent = {"amount": "1", "sure": "on", "key": uuid4()}

    answers = [
        staff.get(page_of("refund"), follow=True),
        staff.post(page_of("refund"), sent, follow=True),
    ]

    for response in answers:
        assert "bank holds this payment" in messages_of(response)[-1]
        assert response.redirect_chain == [(change(disputed), 302)]
    assert not Refund.objects.exists()


def test_late_money_is_given_back_and_its_review_is_closed(late, staff):
    label = "Refund 112.00 USD that does not count"
    assert links_of(staff, late) == [label, "Settle outside Stripe"]

    act(staff, "refund")

    late.refresh_from_db()
    assert not late.needs_review
    assert Refund.objects.get().amount == 11200
    assert links_of(staff, late) == []


@pytest.mark.parametrize(
    ("kind", "status", "outstanding"),
    [("", "partially_refunded", 0), ("goods", "partially_refunded", 0), ("correction", "", 3000)],
)
def test_it_says_what_a_refund_is_for(kind, status, outstanding, paid, staff):
    act(staff, "refund", amount="30.00", kind=kind)

    payment = OrderPayment.objects.get()
    assert Refund.objects.get().kind == kind
    assert payment.status == (status or "partially_paid")
    assert payment.amount_outstanding == outstanding


def test_it_says_what_is_outstanding_after_a_correction(paid, staff):
    response = act(staff, "refund", amount="30.00", kind="correction")

    assert messages_of(response) == [
        "30.00 USD goes back to the customer. 30.00 USD is outstanding."
    ]


def test_a_refund_for_something_else_is_another_refund(paid, staff):
    page = page_of("refund")
    form = fill_in(staff, page, amount="30.00", kind="goods")
    staff.post(page, form)

    response = staff.post(page, {**form, "kind": "correction"}, follow=True)

    assert messages_of(response)[-1].startswith(USED)
    assert Refund.objects.count() == 1


def test_it_proposes_the_amount_that_a_link_names(paid, staff):
    assert 'value="10.00"' in text_of(staff.get(f"{page_of('refund')}?amount=1000"))


@pytest.mark.parametrize("amount", ["", "-1", "x", "1.5", "9" * 30, "\u0661", "%00"])
def test_it_ignores_what_a_link_cannot_name(amount, paid, staff):
    assert 'value="112.00"' in text_of(staff.get(f"{page_of('refund')}?amount={amount}"))


def test_each_of_several_payments_has_its_own_refund(open_shop, staff):
    shop = open_shop(112)
    older = shop.pay(112)
    newer = shop.pay_again(30)

    refunds = [label for label in links_of(staff, shop.payment) if label.startswith("Refund")]
    assert refunds == [f"Refund up to 30.00 USD of {newer}", f"Refund up to 112.00 USD of {older}"]


def test_it_refunds_the_payment_whose_button_was_pressed(open_shop, staff):
    shop = open_shop(112)
    older, newer = shop.pay(112), shop.pay_again(30)

    act(staff, "refund", intent=shop.intent(older))

    assert shop.refunds() == [(older, 112)]
    assert text_of(staff.get(follow(staff, shop.payment, "Refund"))).count(newer) > 0


# --- capture ------------------------------------------------------------------------------------


def test_staff_capture_all_of_it(authorized, staff, superuser):
    response = act(staff, "capture")

    assert messages_of(response) == ["112.00 USD was taken. The order is paid."]
    assert OrderPayment.objects.get().is_paid
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")


@pytest.mark.parametrize(
    ("rest", "words", "status", "outstanding"),
    [
        ("owed", "100.00 USD was taken. 12.00 USD is outstanding.", "partially_paid", 1200),
        ("waived", "100.00 USD was taken. The order is paid.", "paid", 0),
    ],
)
def test_it_captures_a_part_and_says_what_becomes_of_the_rest(
    rest, words, status, outstanding, authorized, staff
):
    response = act(staff, "capture", amount="100", rest=rest)

    assert messages_of(response) == [words]
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received) == (status, 10000)
    assert payment.amount_outstanding == outstanding


def test_a_part_is_not_captured_before_it_is_said_what_becomes_of_the_rest(
    authorized, staff, stripe
):
    response = act(staff, "capture", amount="100")

    assert response.context["form"].errors == {
        "rest": ["You take less than what is reserved: say what happens to the rest."]
    }
    assert OrderPayment.objects.get().status == "authorized"
    assert not [path for path in writes(stripe) if path.endswith("/capture")]


def test_a_capture_waives_nothing_without_the_permission_to_waive(authorized, staff_with):
    clerk = staff_with("view_orderpayment", "change_orderpayment")

    response = act(clerk, "capture", amount="100", rest="waived")

    assert list(response.context["form"].errors) == ["rest"]
    assert "is waived" not in text_of(clerk.get(page_of("capture")))
    assert not StaffEntry.objects.exists()


@pytest.mark.parametrize("amount", ["112.01", "0", "-1", "1.005"])
def test_an_amount_that_was_not_reserved_is_an_error(amount, authorized, staff, stripe):
    assert errors_of(act(staff, "capture", amount=amount))

    assert OrderPayment.objects.get().status == "authorized"
    assert not [path for path in writes(stripe) if path.endswith("/capture")]


def test_money_is_taken_once(authorized, staff, stripe):
    page = page_of("capture")
    form = fill_in(staff, page)
    staff.post(page, form)

    response = staff.post(page, form, follow=True)

    assert messages_of(response)[-1] == "Nothing was changed: this payment is succeeded."
    assert len([path for path in writes(stripe) if path.endswith("/capture")]) == 1


def test_it_says_what_is_outstanding_after_a_capture(authorized, staff):
    authorized.order.lines.update(unit_amount=6000)
    assert "120.00 USD" in text_of(staff.get(page_of("capture")))

    response = act(staff, "capture")

    assert messages_of(response) == ["112.00 USD was taken. 8.00 USD is outstanding."]


def test_it_says_that_captured_money_is_in_review(authorized, staff):
    Order.objects.update(status="cancelled")

    response = act(staff, "capture")

    assert "It is in review" in messages_of(response)[0]
    assert OrderPayment.objects.get().needs_review


def test_a_capture_whose_answer_is_lost_is_finished_by_sending_the_form_again(
    authorized, staff, stripe
):
    stripe.inject(Fault("drop_after", path="/v1/payment_intents/*/capture"))
    page = page_of("capture")
    form = fill_in(staff, page)

    assert "Nothing is lost" in errors_of(staff.post(page, form))[0]
    staff.post(page, form)

    assert OrderPayment.objects.get().is_paid


# --- cancelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["open_payment", "authorized"])
def test_staff_cancel_a_payment(state, request, staff, stripe):
    request.getfixturevalue(state)

    response = act(staff, "cancel", reason="fraudulent")

    assert messages_of(response)[0].startswith("The payment is cancelled.")
    intent = PaymentIntent.objects.get()
    assert (intent.status, intent.cancellation_reason) == ("canceled", "fraudulent")
    assert call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")["status"] == "canceled"
    assert OrderPayment.objects.get().status == "unpaid"


def test_a_payment_is_cancelled_once(open_payment, staff, stripe):
    page = page_of("cancel")
    form = fill_in(staff, page)
    staff.post(page, form)

    response = staff.post(page, form, follow=True)

    assert "Nothing was changed" in messages_of(response)[-1]
    assert len([path for path in writes(stripe) if path.endswith("/cancel")]) == 1


def test_what_was_paid_meanwhile_is_not_cancelled(open_payment, staff, stripe):
    page = page_of("cancel")
    form = fill_in(staff, page)
    stripe.pay(open_payment.payment_intents.get().stripe_id, deliver=False)

    [error] = errors_of(staff.post(page, form))

    assert error == "The order has been paid; refund it instead."
    assert OrderPayment.objects.get().is_paid


def test_the_page_of_an_intent_that_is_past_it_leads_back(paid, staff):
    for action in ("capture", "cancel"):
        response = staff.get(page_of(action), follow=True)

        assert messages_of(response) == ["Nothing was changed: this payment is succeeded."]


# --- who sees what ------------------------------------------------------------------------------


def test_what_is_offered_follows_from_the_state(paid, staff):
    assert links_of(staff, paid) == ["Refund", "Settle outside Stripe"]
    act(staff, "refund")
    assert links_of(staff, paid) == []


def test_reserved_money_is_captured_or_cancelled(authorized, staff):
    assert links_of(staff, authorized) == ["Capture", "Cancel payment"]


def test_the_order_offers_what_its_payment_does(paid, staff):
    text = text_of(staff.get(change(paid.order)))

    assert f'<li><a href="{page_of("refund")}">Refund</a></li>' in text


MAY_ACT = [
    ("waive", "partly_paid", "waive_amount"),
    ("settle", "paid", "settle_outside_stripe"),
    ("revoke", "waived", "waive_amount"),
    ("refund", "paid", "add_refund"),
    ("capture", "authorized", "change_orderpayment"),
    ("cancel", "authorized", "change_orderpayment"),
    ("give_up", "unresolved", "add_refund"),
]

NEEDED: dict[str, dict[str, Any]] = {
    name: {"reason": "Agreed by telephone."} for name in ("waive", "settle", "revoke", "give_up")
}
"""What a form does not send by itself."""


def has_button(client, action) -> bool:
    labels = links_of(client, OrderPayment.objects.get())
    return any(label.startswith(str(ACTIONS[action].title)) for label in labels)


@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_each_action_needs_its_own_permission(action, state, permission, request, staff_with):
    request.getfixturevalue(state)
    others = {each for _action, _state, each in MAY_ACT} - {permission}
    clerk = staff_with("view_orderpayment", *others)

    answers = [
        clerk.get(page_of(action)),
        clerk.post(page_of(action), {"amount": "1", "sure": "on", "key": uuid4()}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert not has_button(clerk, action)


@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_who_has_the_permission_may(action, state, permission, request, staff_with):
    request.getfixturevalue(state)
    clerk = staff_with("view_orderpayment", permission)

    assert has_button(clerk, action)
    assert act(clerk, action, **NEEDED.get(action, {})).redirect_chain


@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_who_may_not_see_the_payment_may_not_act_on_it(
    action, state, permission, request, staff_with
):
    request.getfixturevalue(state)

    clerk = staff_with("add_refund", "waive_amount", "settle_outside_stripe")

    assert clerk.get(page_of(action)).status_code == 403


@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_a_form_of_another_site_does_nothing(action, state, permission, request, superuser, stripe):
    request.getfixturevalue(state)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(superuser)
    before = len(stripe.requests)

    form = {"amount": "1", "reason": "duplicate", "sure": "on", "key": uuid4()}
    response = browser.post(page_of(action), form)

    assert response.status_code == 403
    assert len(stripe.requests) == before


@pytest.mark.parametrize(("action", "state", "permission"), MAY_ACT)
def test_nobody_else_sees_the_page(action, state, permission, request):
    request.getfixturevalue(state)

    response = Client().get(page_of(action))

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


def test_a_payment_or_an_intent_that_is_not_there_leads_to_the_list(paid, staff):
    intent = PaymentIntent.objects.get()

    for args in ([paid.pk, 999], [999, intent.pk]):
        page = reverse("admin:shop_payments_orderpayment_refund", args=args)
        assert staff.get(page).url == changelist(OrderPayment)


@pytest.mark.parametrize(("action", "state", "_permission"), MAY_ACT)
def test_stripe_is_called_outside_of_the_hosts_transactions(
    action, state, _permission, request, staff, monkeypatch
):
    """The services themselves refuse to work where one is open."""
    request.getfixturevalue(state)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    assert act(staff, action, **NEEDED.get(action, {})).redirect_chain


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not accept the shop's secret key"),
        (429, "Stripe is busy"),
        (500, "not answered"),
    ],
)
def test_trouble_at_stripe_is_a_sentence_and_the_form_can_be_sent_again(
    status, words, paid, staff, stripe
):
    page = page_of("refund")
    form = fill_in(staff, page)

    with refusing(stripe, status, "No."):
        response = staff.post(page, form)

    assert words in errors_of(response)[0]
    assert str(response.context["key"]) == form["key"]
    assert Refund.objects.get().status == "requested"
    staff.post(page, form)
    assert Refund.objects.get().status == "succeeded"


def test_a_key_of_another_account_is_a_sentence_and_the_form_can_be_sent_again(paid, staff, stripe):
    page = page_of("refund")
    form = fill_in(staff, page)
    stripe.inject(Fault("another_account", times=None))

    response = staff.post(page, form)
    stripe.clear_faults()

    assert "does not know this payment under the shop's key" in errors_of(response)[0]
    assert str(response.context["key"]) == form["key"]
    staff.post(page, form)
    assert [refund["status"] for refund in refunds_at_stripe(stripe)] == ["succeeded"]
    assert Refund.objects.get().status == "succeeded"


@pytest.mark.parametrize("status", [401, 429])
def test_it_does_not_say_that_nothing_was_done_after_a_try_that_was_lost(
    status, paid, staff, stripe, configure
):
    configure(MAX_NETWORK_RETRIES=0)
    page = page_of("refund")
    form = fill_in(staff, page)
    stripe.inject(Fault("drop_after", method="POST"))
    staff.post(page, form)

    with refusing(stripe, status, "No."):
        response = staff.post(page, form)

    assert len(refunds_at_stripe(stripe)) == 1
    assert "has not taken this try" in " ".join(errors_of(response)[0].split())
    assert "nothing" not in errors_of(response)[0].lower()


def test_a_missing_key_is_a_sentence(paid, staff, configure, stripe):
    page = page_of("refund")
    form = fill_in(staff, page)
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": ""})

    assert "STRIPE_SECRET_KEY" in errors_of(staff.post(page, form))[0]
