"""Staff evaluate a payment again, and refresh it from Stripe."""

from __future__ import annotations

import pytest

from shop_payments.models import (
    Dispute,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from tests.admin.support import change, errors_of, facts_of, messages_of, page_of, values_of
from tests.books import refund_in_dashboard
from tests.support import pay, writes

pytestmark = pytest.mark.django_db

UNCHANGED = "Stripe has answered, and nothing has changed. The order is paid."


class BrokenAdapter(BundledOrderAdapter):
    def total(self, order):
        raise RuntimeError("a bug of the shop")


# --- evaluate again -----------------------------------------------------------------------------


def test_an_order_that_was_changed_unnoticed_is_evaluated(paid, staff, superuser, stripe):
    page = page_of("evaluate")
    paid.order.lines.update(unit_amount=6000)
    shown = staff.get(page)
    assert "No money moves." in facts_of(shown)["What will happen"]
    assert facts_of(shown)["Order total"] == "120.00 USD"
    assert facts_of(shown)["Total at the last evaluation"] == "112.00 USD"
    assert OrderPayment.objects.get().is_paid
    before = len(stripe.requests)
    response = staff.act("evaluate")
    assert response.redirect_chain == [(change(paid), 302)]
    assert messages_of(response) == [
        "The order was evaluated again. Changed: order total 112.00 USD → 120.00 USD, status paid →"
        " partially paid, outstanding 0.00 USD → 8.00 USD, owed 0.00 USD → 8.00 USD. 8.00 USD is"
        " outstanding."
    ]
    assert messages_of(staff.act("evaluate")) == [
        "The order was evaluated again, and nothing has changed. 8.00 USD is outstanding."
    ]
    assert len(stripe.requests) == before


@pytest.mark.by_hand
def test_an_order_that_cannot_be_read_is_an_error_with_the_next_step(paid, staff, configure):
    configure(ORDER_ADAPTER=f"{__name__}.BrokenAdapter")
    page = page_of("evaluate")
    assert "cannot be read" in facts_of(staff.get(page))["Order total"]
    for _try in range(3):
        [error] = errors_of(staff.act("evaluate"))
        assert error.startswith("The order could not be read, so nothing was recorded.")
    item = ReviewItem.objects.get(reason="order_unreadable")
    assert staff.buttons(item)[:2] == ["Correct the order", "Evaluate again"]
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    staff.act("evaluate")
    item.refresh_from_db()
    assert item.closed_automatically


def test_a_shop_that_refunds_excess_by_itself_is_named(paid, staff, configure, stripe):
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True})
    for action in ("evaluate", "refresh"):
        text = facts_of(staff.get(page_of(action)))["What will happen"]
        assert "this shop automatically refunds payments" in text


# --- refresh from Stripe ------------------------------------------------------------------------


def test_money_whose_webhook_never_came_is_found(open_payment, staff, superuser, stripe):
    intent = PaymentIntent.objects.get()
    pay(stripe, intent.stripe_id)
    page = page_of("refresh")
    shown = staff.get(page)
    assert facts_of(shown)["What will happen"] == (
        "Asks Stripe for the current state. No money moves."
    )
    assert facts_of(shown)["Payment intents"] == intent.stripe_id
    assert not OrderPayment.objects.get().is_paid
    sent = writes(stripe)
    response = staff.act("refresh")
    [message] = messages_of(response)
    assert message.startswith("Stripe has answered. New: ")
    assert message.endswith("The order is paid.")
    assert response.redirect_chain == [(change(open_payment), 302)]
    intent.refresh_from_db()
    assert (intent.card_brand, intent.last4) == ("visa", "4242")
    fact = PaymentHistory.objects.get(kind="order_paid")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert messages_of(staff.act("refresh")) == [UNCHANGED]
    assert writes(stripe) == sent


def test_the_card_of_a_payment_is_filled_in(paid, staff):
    PaymentIntent.objects.update(method_type="", card_brand="", last4="", wallet="")
    [message] = messages_of(staff.act("refresh"))
    assert message == (
        "Stripe has answered, and missing details were added. No money has moved."
        " The order is paid."
    )
    assert PaymentIntent.objects.get().last4 == "4242"


def test_refunds_and_disputes_of_the_dashboard_are_found(paid, staff, stripe):
    stripe.disconnect_webhooks()
    refund_in_dashboard(stripe, amount="1200")
    [message] = messages_of(staff.act("refresh"))
    assert "12.00 USD" in message
    assert "partially refunded" in message
    assert Refund.objects.get().amount == 1200
    stripe.open_dispute(PaymentIntent.objects.get().latest_charge)
    staff.act("refresh")
    assert Dispute.objects.count() == 1
    assert ReviewItem.objects.filter(reason="disputed", closed_at=None).exists()


def test_a_refund_whose_answer_was_lost_is_found(paid, staff, stripe):
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    staff.act("refund", amount="40.00")
    assert Refund.objects.get().status == "requested"
    staff.act("refresh")
    assert Refund.objects.get().status == "succeeded"


@pytest.mark.parametrize("path", ["/v1/payment_intents/*", "/v1/refunds"])
def test_trouble_at_stripe_is_a_sentence_and_changes_nothing(path, paid, staff, stripe):
    staff.act("refresh")
    before = OrderPayment.objects.values().get()
    stripe.inject(Fault("drop_before", path=path, times=None))
    [error] = errors_of(staff.act("refresh"))
    assert error.startswith("Stripe could not be reached. The data that was read before is stored.")
    assert OrderPayment.objects.values().get() == before
    stripe.clear_faults()
    assert messages_of(staff.act("refresh")) == [UNCHANGED]


def test_a_key_that_stripe_refuses_is_named(paid, staff, stripe, configure):
    stripe.restrict_key("rk_test_without_permissions")
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": "rk_test_without_permissions"})
    [error] = errors_of(staff.act("refresh"))
    assert error.startswith("Stripe does not accept the shop's secret key, or the key lacks")


def test_a_restricted_key_need_not_list_what_is_optional(paid, staff, stripe, configure):
    key = "rk_test_without_radar"
    needed = ("payment_intent", "refund", "dispute")
    stripe.restrict_key(key, *(f"rak_{each}_read" for each in needed))
    configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": key})
    staff.act("refresh")
    assert messages_of(staff.act("refresh")) == [UNCHANGED]


def test_an_intent_that_stripe_does_not_know_is_named(open_payment, staff, stripe):
    PaymentIntent.objects.update(stripe_id="pi_gone")
    [message] = messages_of(staff.act("refresh"))
    assert "Stripe does not know pi_gone under the shop's key." in message
    assert PaymentIntent.objects.get().status == "missing"


@pytest.mark.by_hand
def test_a_payment_of_the_other_mode_is_not_refreshed(paid, staff, stripe):
    PaymentIntent.objects.update(livemode=True)
    assert "Refresh from Stripe" not in staff.buttons(paid)
    before = len(stripe.requests)
    [message] = messages_of(staff.post(page_of("refresh"), {"key": "x"}, follow=True))
    assert message == "Stripe has no payment of this order in the mode of the shop's key."
    assert len(stripe.requests) == before


def test_pages_are_asked_for_without_a_call_and_posts_without_permission_are_refused(
    paid, staff, staff_with, stripe
):
    before = len(stripe.requests)
    viewer = staff_with("view_orderpayment", "add_refund")
    assert viewer.buttons(paid) == ["Refund"]
    for action in ("evaluate", "refresh"):
        form = values_of(staff.get(page_of(action)))
        assert viewer.get(page_of(action)).status_code == 403
        assert viewer.post(page_of(action), form).status_code == 403
    assert len(stripe.requests) == before
