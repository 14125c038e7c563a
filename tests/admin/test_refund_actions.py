"""Staff give up a refund whose outcome nobody knows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StripeAttempt,
)
from shop_payments.sandbox import Fault
from tests.admin.support import (
    act,
    change,
    errors_of,
    fill_in,
    follow,
    links_of,
    messages_of,
    page_of,
    send,
    text_of,
    values_of,
)
from tests.after_paid.support import refunds_at_stripe

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "It is not in the dashboard."
LABEL = "Give up the refund of 40.00 USD"


def test_it_frees_the_amount_and_sends_nothing(unresolved, staff, superuser, stripe):
    before = len(stripe.requests)
    assert OrderPayment.objects.get().amount_owed == 4000

    response = send(staff, follow(staff, unresolved, LABEL), reason=WHY)

    assert messages_of(response) == ["The refund of 40.00 USD is given up. The order is paid."]
    assert response.redirect_chain == [(change(unresolved), 302)]
    assert len(stripe.requests) == before
    refund = Refund.objects.get()
    assert (refund.status, refund.failure_reason) == ("refused", f"given up by staff: {WHY}")
    assert StripeAttempt.objects.get(operation="create_refund").outcome == "abandoned"
    fact = PaymentHistory.objects.get(kind="refund_changed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert WHY in fact.data["detail"]
    assert OrderPayment.objects.get().amount_owed == 0
    assert links_of(staff, unresolved) == ["Refund", "Settle outside Stripe"]
    assert act(staff, "refund", intent=PaymentIntent.objects.get()).redirect_chain
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [11200]


def test_the_page_says_what_is_not_known_and_where_to_look(unresolved, staff):
    page = text_of(staff.get(page_of("give_up")))

    assert "not known: Stripe has not said whether it was made" in page
    intent = PaymentIntent.objects.get()
    assert f'href="https://dashboard.stripe.com/test/payments/{intent.stripe_id}"' in page
    assert 'name="sure"' not in page


def test_the_page_of_the_refund_offers_it(unresolved, staff):
    refund = Refund.objects.get()

    assert links_of(staff, refund) == [LABEL]
    act(staff, "give_up", reason=WHY)
    assert links_of(staff, refund) == []


def test_the_effect_is_shown_before_it_is_final(unresolved, staff):
    page = page_of("give_up")

    response = staff.post(page, {**values_of(staff.get(page)), "reason": WHY})

    text = " ".join(text_of(response).split())
    assert (
        "The refund of 40.00 USD will be recorded as not made, and this amount can be refunded"
        " again. Nothing is sent to Stripe. If Stripe makes the refund all the same, it counts."
        " After that, the order owes nothing."
    ) in text
    assert 'name="sure"' in text
    assert Refund.objects.get().status == "requested"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_it_needs_a_reason(reason, unresolved, staff):
    response = act(staff, "give_up", reason=reason)

    assert list(response.context["form"].errors) == ["reason"]
    assert Refund.objects.get().status == "requested"


@pytest.mark.parametrize("confirmed", ["", "anything"])
def test_it_needs_the_tick_below_the_effect(confirmed, unresolved, staff):
    page = page_of("give_up")
    form = {**values_of(staff.get(page)), "reason": WHY, "sure": "on", "confirmed": confirmed}

    response = staff.post(page, form)

    assert "will be recorded as not made" in text_of(response)
    assert Refund.objects.get().status == "requested"


def test_a_form_that_is_sent_twice_says_that_it_was_done(unresolved, staff):
    page = page_of("give_up")
    form = fill_in(staff, page, reason=WHY)
    staff.post(page, form)

    response = staff.post(page, form, follow=True)

    assert messages_of(response)[-1] == "Nothing was changed: this refund is refused."
    assert PaymentHistory.objects.filter(kind="refund_changed").count() == 1


def test_a_refund_that_was_found_meanwhile_is_kept(unresolved, staff, stripe):
    page = page_of("give_up")
    form = fill_in(staff, page, reason=WHY)
    stripe.forget_idempotency_keys()
    reconcile(since=timezone.now() - timedelta(hours=1))
    assert Refund.objects.get().status == "succeeded"

    response = staff.post(page, form, follow=True)

    assert messages_of(response) == ["Nothing was changed: this refund is succeeded."]
    assert Refund.objects.get().status == "succeeded"


def test_a_refund_that_was_sent_a_moment_ago_is_kept(unresolved, staff):
    """Its answer may still come."""
    page = page_of("give_up")
    form = fill_in(staff, page, reason=WHY)
    StripeAttempt.objects.update(acquired_at=timezone.now())

    [error] = errors_of(staff.post(page, form))

    assert "is being sent by another request" in error
    assert Refund.objects.get().status == "requested"


def test_a_refund_that_comes_all_the_same_counts(unresolved, staff, stripe, webhooks):
    refund = Refund.objects.get()
    act(staff, "give_up", reason=WHY)

    stripe.forget_idempotency_keys()
    headers = {"Authorization": "Bearer sk_test_x", "Idempotency-Key": str(refund.pk)}
    intent = PaymentIntent.objects.get().stripe_id
    body = f"payment_intent={intent}&amount=4000&metadata[attempt_id]={refund.pk}"
    stripe.handle("POST", "/v1/refunds", headers, body)
    webhooks()

    assert Refund.objects.get().status == "succeeded"
    assert OrderPayment.objects.get().amount_owed == 4000


def test_money_that_does_not_count_is_in_review_again(late, staff, stripe):
    stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
    act(staff, "refund")
    StripeAttempt.objects.update(acquired_at=None)
    item = ReviewItem.objects.get()
    assert item.closed_itself

    response = act(staff, "give_up", reason=WHY)

    item.refresh_from_db()
    assert (item.closed_at, item.reason) == (None, "uncounted")
    assert "is given up" in messages_of(response)[-1]
