"""Staff refund, capture and cancel a payment intent."""

from __future__ import annotations

import pytest

from shop_payments.models import OrderPayment, PaymentIntent, Refund
from shop_payments.sandbox import Fault
from tests.admin.support import change, errors_of, messages_of, page_of
from tests.support import call_stripe, writes

pytestmark = pytest.mark.django_db

UPKEEP = ["Evaluate again", "Refresh from Stripe"]
"""The buttons that do not depend on where the money is."""


def test_staff_refund_a_part_and_then_the_rest(paid, staff):
    assert f'<li><a href="{page_of("refund")}">Refund</a></li>' in staff.read(paid.order)
    assert staff.buttons(paid) == ["Refund", "Settle outside Stripe", *UPKEEP]
    staff.act("refund", amount="12.50", reason="duplicate")
    assert 'value="99.50"' in staff.read(page_of("refund"))
    staff.act("refund")
    refunds = Refund.objects.order_by("created_at").values_list("amount", "reason", "status")
    assert [*refunds] == [(1250, "duplicate", "succeeded"), (9950, "", "succeeded")]
    assert staff.buttons(paid) == UPKEEP


def test_a_refund_that_was_made_elsewhere_meanwhile_is_seen(paid, staff, stripe):
    page = page_of("refund")
    form = staff.fill(page)
    intent = PaymentIntent.objects.get()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, amount="1200")
    response = staff.post(page, form)
    assert "100.00 USD" in errors_of(response)[0]
    facts = [(str(label), value) for label, value in response.context["facts"]]
    assert ("Already refunded", "12.00 USD") in facts


def test_money_that_the_bank_holds_is_not_refunded(disputed, staff):
    page = page_of("refund")
    assert "Refund" not in staff.buttons(disputed)
    for response in (staff.get(page, follow=True), staff.post(page, {"amount": "1"}, follow=True)):
        assert "bank holds this payment" in messages_of(response)[-1]
        assert response.redirect_chain == [(change(disputed), 302)]
    assert not Refund.objects.exists()


def test_a_capture_whose_answer_is_lost_is_finished(authorized, staff, stripe):
    assert staff.buttons(authorized) == ["Capture", "Cancel payment", *UPKEEP]
    page = page_of("capture")
    form = staff.fill(page)
    stripe.inject(Fault("drop_after", path="/v1/payment_intents/*/capture"))
    assert "Send this form again" in errors_of(staff.post(page, form))[0]
    response = staff.post(page, form, follow=True)
    assert messages_of(response) == ["The money was already captured."]
    again = staff.post(page, form, follow=True)
    assert messages_of(again)[-1] == "Nothing was changed. The payment's status: succeeded."


def test_a_capture_waives_nothing_without_the_permission_to_waive(authorized, staff_with, stripe):
    clerk = staff_with("view_orderpayment", "change_orderpayment")
    assert "is waived" not in clerk.read(page_of("capture"))
    for changes in ({"rest": "waived"}, {}, {"amount": "113"}):
        response = clerk.act("capture", **{"amount": "100", **changes})
        assert list(response.context["form"].errors) == [
            "amount" if "amount" in changes else "rest"
        ]
    assert not any(path.endswith("/capture") for path in writes(stripe))


def test_stripe_learns_why_a_payment_is_cancelled(open_payment, staff, stripe):
    staff.act("cancel", reason="fraudulent")
    intent = PaymentIntent.objects.get()
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")
    for status, reason in (
        (intent.status, intent.cancellation_reason),
        (at_stripe["status"], at_stripe["cancellation_reason"]),
    ):
        assert (status, reason) == ("canceled", "fraudulent")


def test_a_payment_that_was_paid_meanwhile_is_not_cancelled(open_payment, staff, stripe):
    page = page_of("cancel")
    form = staff.fill(page)
    stripe.pay(open_payment.payment_intents.get().stripe_id, deliver=False)
    assert errors_of(staff.post(page, form)) == ["The order has been paid. Refund it instead."]
    assert OrderPayment.objects.get().is_paid
