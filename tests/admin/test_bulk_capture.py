"""Staff capture the reserved money of several payments."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connections

from shop_payments.admin import bulk_capture
from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentHistory, PaymentIntent
from shop_payments.sandbox import Fault
from shop_payments.services import reevaluate_order
from tests.admin.support import changelist, messages_of, text_of
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, call_stripe, writes

pytestmark = pytest.mark.django_db

ACTION = "capture_selected"
PAYMENTS = changelist(OrderPayment)


@pytest.fixture
def reserve(configure, stripe, webhooks):
    """Take an order to reserved money, and return its payment."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    key = issue_key(APIKeyScope.STOREFRONT)

    def take(**values: Any) -> OrderPayment:
        order = OrderFactory.create(**values)
        token = TokenFactory.create(user=order.customer).key
        intent = Caller(token=token, key=key).payment_intent(order).json()["data"]
        stripe.pay(intent["id"], "pm_card_visa", deliver=False)
        webhooks()
        payment = OrderPayment.objects.get(order=order)
        assert payment.status == "authorized"
        return payment

    return take


@pytest.fixture
def two(reserve) -> list[OrderPayment]:
    return [reserve(), reserve()]


@pytest.fixture
def paid_before(reserve, stripe, webhooks):
    payment = reserve()
    intent = payment.payment_intents.get()
    call_stripe(stripe, "POST", f"payment_intents/{intent.stripe_id}/capture")
    webhooks()
    return payment


def form_of(response: Any) -> dict[str, Any]:
    """What a browser sends from the page that asks for a confirmation."""
    text = text_of(response)
    names = ("action", "_selected_action", "shown")
    found = {name: re.findall(f'name="{name}" value="([^"]*)"', text) for name in names}
    return {"sure": "on", **found}


def numbers(payments: list[OrderPayment]) -> list[str]:
    return [payment.order.number for payment in payments]


def captures(stripe: Any) -> int:
    return sum(path.endswith("/capture") for path in writes(stripe))


def test_the_page_lists_what_will_be_captured_and_then_it_is(two, staff, superuser, stripe):
    page = staff.choose(ACTION, *two)
    text = text_of(page)
    assert "224.00 USD of 2 payments will be captured" in text
    for payment in two:
        assert payment.order.number in text
        assert payment.order.email in text
    assert text.count("112.00 USD") == 2
    assert "If one fails, the others are captured nevertheless." in text
    assert captures(stripe) == 0
    unticked = staff.post(PAYMENTS, {**form_of(page), "sure": ""})
    assert "This field is required." in text_of(unticked)
    assert captures(stripe) == 0
    response = staff.post(PAYMENTS, form_of(page), follow=True)
    assert messages_of(response) == [
        *(f"Order {number}: 112.00 USD was captured." for number in numbers(two)),
        "Captured 2 of 2 payments: 224.00 USD.",
    ]
    assert {payment.status for payment in OrderPayment.objects.all()} == {"paid"}
    actors = PaymentHistory.objects.filter(kind="capture_requested").values_list("actor")
    assert {*actors} == {(f"staff {superuser.pk}",)}


def test_the_confirmation_sent_twice_captures_once(two, staff, stripe):
    form = form_of(staff.choose(ACTION, *two))
    staff.post(PAYMENTS, form)
    again = staff.post(PAYMENTS, form, follow=True)
    text = "2 selected payments have no reserved money and are left out."
    assert messages_of(again)[-1] == text
    assert captures(stripe) == 2


def test_each_currency_has_its_sum(reserve, staff):
    yen = {"currency": "jpy", "lines": [{"unit_amount": 500, "quantity": 3}]}
    page = staff.choose(ACTION, reserve(), reserve(**yen), reserve(**yen))
    assert "3000 JPY, 112.00 USD of 3 payments will be captured" in text_of(page)


def test_a_failure_of_one_does_not_stop_the_others(two, reserve, staff, stripe):
    payments = [*two, reserve()]
    first, second = [payment.payment_intents.get().stripe_id for payment in two]
    page = staff.choose(ACTION, *payments)
    stripe.inject(Fault("drop_after", path=f"/v1/payment_intents/{first}/capture"))
    payments[1].order.lines.update(unit_amount=2500)  # unnoticed so far
    response = staff.post(PAYMENTS, form_of(page), follow=True)
    lost, changed, done, summary = messages_of(response)
    assert "Stripe has not answered, so it is not known yet" in lost
    assert "Not captured: The order has changed since 112.00 USD was authorized." in changed
    assert done == f"Order {payments[2].order.number}: 112.00 USD was captured."
    assert summary == "Captured 1 of 3 payments: 112.00 USD."
    reevaluate_order(payments[1].order_id)
    page = staff.choose(ACTION, *payments)
    response = staff.post(PAYMENTS, form_of(page), follow=True)
    assert OrderPayment.objects.get(pk=payments[0].pk).is_paid
    assert PaymentIntent.objects.get(stripe_id=second).status == "requires_capture"


def test_an_order_that_cannot_be_read_is_named_in_words(reserve, staff, configure):
    """Found: the message was the error of the shop's code, in English."""
    form = form_of(staff.choose(ACTION, reserve(number="BROKEN-1")))
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForTotal")
    [message] = messages_of(staff.post(PAYMENTS, form, follow=True))
    why = "The shop's code failed while reading the order (its total)."
    assert message == f"Order BROKEN-1: Not captured: {why}"


def test_a_name_from_right_to_left_does_not_move_the_amount(two, staff):
    """Found: with a name in Hebrew, the amount stood on the other side of its currency."""
    order = two[0].order
    order.customer.first_name, order.customer.last_name = "\u202e<b>", "\u05db\u05d4\u05df"
    order.customer.save()
    name = "\u202e&lt;b&gt; \u05db\u05d4\u05df"
    page = text_of(staff.choose(ACTION, *two))
    assert f": <bdi>{name}</bdi> – <bdi>112.00 USD</bdi></li>" in page


def test_payments_without_reserved_money_are_left_out(two, paid_before, staff, stripe):
    cancelled = two[1]
    Order.objects.filter(pk=cancelled.order_id).update(status="cancelled")
    reevaluate_order(cancelled.order_id)
    text = text_of(staff.choose(ACTION, *two, paid_before))
    assert "1 selected payment has no reserved money and is left out." in text
    assert f"does not accept payments: {cancelled.order.number}." in text
    assert "112.00 USD of 1 payment will be captured" in text
    [first, _second] = messages_of(staff.choose(ACTION, cancelled, paid_before))
    assert first.startswith("1 selected payment has no reserved money")


@pytest.mark.by_hand
def test_amounts_that_have_changed_are_shown_again(two, staff, stripe):
    page = staff.choose(ACTION, *two)
    PaymentIntent.objects.filter(order_payment=two[0]).update(amount_capturable=9000)
    response = staff.post(PAYMENTS, form_of(page))
    assert f"nothing was captured. Read the amounts again. Changed: {numbers(two)[0]}." in (
        text_of(response)
    )
    assert captures(stripe) == 0


@pytest.mark.parametrize("limit", ["MAX_PAYMENTS", "MAX_SECONDS"])
def test_a_request_has_limits_and_says_so(limit, two, staff, stripe, monkeypatch):
    page = staff.choose(ACTION, *two)
    monkeypatch.setattr(bulk_capture, limit, 1 if limit == "MAX_PAYMENTS" else -1)
    [message] = messages_of(staff.post(PAYMENTS, form_of(page), follow=True))
    expected = {
        "MAX_PAYMENTS": "Select at most 1 payments. Nothing was captured.",
        "MAX_SECONDS": f"Stripe was slow, so these were not tried: {', '.join(numbers(two))}."
        " Select them again.",
    }
    assert message == expected[limit]
    assert captures(stripe) == 0


def test_who_may_not_capture_is_refused_without_a_call(two, staff_with, staff, stripe):
    form = form_of(staff.choose(ACTION, *two))
    before = len(stripe.requests)
    for clerk in (staff_with("view_orderpayment", "add_refund"), staff_with("add_refund")):
        assert clerk.post(PAYMENTS, form).status_code == 403
    viewer = staff_with("view_orderpayment")
    assert ACTION not in viewer.read(PAYMENTS)
    assert len(stripe.requests) == before


@pytest.mark.django_db(transaction=True)
def test_captures_are_made_outside_of_the_hosts_transactions(reserve, staff, monkeypatch):
    page = staff.choose(ACTION, reserve())
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    response = staff.post(PAYMENTS, form_of(page), follow=True)
    assert messages_of(response)[-1] == "Captured 1 of 1 payments: 112.00 USD."
