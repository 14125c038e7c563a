"""Staff give up a refund whose outcome is unknown."""

from __future__ import annotations

import pytest
from django.utils import timezone

from shop_payments.models import Refund, StripeAttempt
from tests.admin.support import (
    effect_of,
    errors_of,
    messages_of,
    money_of,
    page_of,
    values_of,
)
from tests.books import sweep

pytestmark = pytest.mark.django_db

WHY = "It is not in the dashboard."
LABEL = "Give up the refund of 40.00 USD"


def test_it_frees_the_amount_and_sends_nothing(unresolved, staff, stripe):
    before = len(stripe.requests)
    refund = Refund.objects.get()
    assert staff.buttons(refund) == [LABEL]
    can_be_refunded = money_of(staff, unresolved)["Can be refunded"]
    assert can_be_refunded == "72.00 USD, and 40.00 USD is being refunded"
    page = staff.target(unresolved, LABEL)
    first = staff.get(page)
    assert "unknown: Stripe has not reported whether it was made" in first.text
    form = {**values_of(first), "reason": WHY, "sure": "on", "confirmed": "anything"}
    shown = staff.post(page, form)
    assert effect_of(shown) == (
        "The refund of 40.00 USD will be recorded as not made, and this amount can be refunded"
        " again. Nothing is sent to Stripe. If Stripe makes the refund after all, it counts."
        " After this, nothing is owed."
    )
    assert Refund.objects.get().status == "requested"
    staff.post(page, {**form, "confirmed": values_of(shown)["confirmed"]})
    refund.refresh_from_db()
    assert (refund.status, refund.failure) == ("refused", f"given up by staff: {WHY}")
    assert money_of(staff, unresolved)["Can be refunded"] == "112.00 USD"
    assert len(stripe.requests) == before


def test_a_refund_whose_outcome_may_still_come_is_kept(unresolved, staff, stripe):
    page = page_of("give_up")
    form = staff.fill(page, reason=WHY)
    StripeAttempt.objects.update(acquired_at=timezone.now())
    assert "is being sent by another request" in errors_of(staff.post(page, form))[0]
    StripeAttempt.objects.update(acquired_at=None)
    stripe.forget_idempotency_keys()
    sweep()
    response = staff.post(page, form, follow=True)
    assert messages_of(response) == ["Nothing was changed. The refund's status: succeeded."]
    assert Refund.objects.get().status == "succeeded"
