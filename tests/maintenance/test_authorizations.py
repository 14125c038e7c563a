"""Money is reserved for a while only: staff are asked before the authorization expires."""

from __future__ import annotations

import pytest
from django.db import transaction

from shop_payments.exceptions import TransactionOpenError
from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.authorizations import flag_expiring_authorizations
from shop_payments.models import OrderPayment, ReviewItem
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from tests.books import STAFF, at

pytestmark = pytest.mark.django_db


def flag_after(*, days: int, hours: int = 0) -> int:
    with at(24 * days + hours):
        return flag_expiring_authorizations(origin=STAFF)


def test_what_lapses_soon_is_put_into_review_once(authorized, told):
    assert flag_after(days=5) == 0
    assert flag_after(days=6, hours=1) == 1
    assert flag_after(days=6, hours=2) == 0

    item = ReviewItem.objects.get()
    assert item.reason == "authorization_expires"
    assert "112.00 USD is reserved" in item.detail
    assert item.suggested_action == "Capture the payment now, or cancel it."
    assert OrderPayment.objects.get().needs_review
    assert [name for name, _data in told] == ["review_needed"]
    close_review_item(item_pk=item.pk, reason="It may lapse.", user=None, origin=STAFF)
    assert flag_after(days=6, hours=3) == 0


@pytest.mark.parametrize("end", ["capture", "cancel", "expiry"])
def test_the_item_closes_when_the_authorization_ends(authorized, order, stripe, webhooks, end):
    flag_after(days=6, hours=1)
    if end == "capture":
        capture_payment(order_id=order.pk, origin=STAFF)
    elif end == "cancel":
        cancel_payment(order_id=order.pk, origin=STAFF)
    else:
        stripe.advance_clock(8 * 24 * 60 * 60)
        webhooks()

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert item.closing_note.endswith("succeeded" if end == "capture" else "canceled")
    assert payment.status == ("paid" if end == "capture" else "unpaid")
    assert not payment.needs_review


@pytest.mark.django_db(transaction=True)
def test_the_shop_is_not_notified_of_what_a_host_may_roll_back(authorized, told):
    """Found: within the host's transaction the receivers were notified before the commit."""
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        flag_after(days=6, hours=1)

    assert told == []
    assert flag_after(days=6, hours=1) == 1
