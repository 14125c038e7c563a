"""The pages of refunds, disputes and balance transactions, and their part of a payment's page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from shop_payments.models import Dispute, Refund
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import money_of
from tests.books import refund_in_dashboard
from tests.support import call_stripe

pytestmark = pytest.mark.django_db


def test_a_payment_shows_where_its_money_is(paid, staff, stripe, webhooks):
    refund_in_dashboard(stripe, amount="1200", reason="requested_by_customer")
    webhooks()
    fetch_fees(since=timezone.now() - timedelta(days=1))
    money = money_of(staff, paid)
    assert money["Stripe's fees"] == "3.55 USD (net for the shop: 96.45 USD)"
    assert (money["Received"], money["Refunded"]) == ("112.00 USD", "12.00 USD")
    assert money["Can be refunded"] == "100.00 USD"
    assert "Lost in disputes" not in money
    refund = Refund.objects.get()
    text = staff.read(refund)
    for words in ("12.00 USD", "succeeded", "requested by customer", "none (made in the Stripe"):
        assert words in text
    assert "1200" not in text.replace(refund.stripe_id, "")


def test_a_dispute_is_shown_with_its_effect_and_deadline(disputed, staff, stripe, webhooks):
    dispute = Dispute.objects.get()
    money = money_of(staff, disputed)
    assert "dispute open" in money["Payment status"]
    assert money["Dispute"] == "open (the customer's bank holds the money until it has decided)"
    assert money["Can be refunded"] == "0.00 USD"
    text = staff.read(dispute)
    url = f"https://dashboard.stripe.com/test/disputes/{dispute.stripe_id}"
    assert f'<a href="{url}" target="_blank" rel="noopener noreferrer">' in text
    call_stripe(stripe, "POST", f"disputes/{dispute.stripe_id}/close")
    webhooks()
    money = money_of(staff, disputed)
    assert money["Dispute"] == "lost (the customer's bank keeps the money)"
    assert money["Lost in disputes"] == "112.00 USD"
