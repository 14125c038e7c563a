"""What payments cost is fetched, for reports."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.models import BalanceTransaction
from shop_payments.sync.balance_transactions import fetch_fees
from tests.books import answer_dispute, assert_books_agree
from tests.support import call_stripe

pytestmark = pytest.mark.django_db


def fetch() -> int:
    return fetch_fees(since=timezone.now() - timedelta(days=1))


def test_the_fee_of_a_payment_is_fetched_once(paid, stripe):
    """Those of other systems on the account are left out."""
    theirs = call_stripe(stripe, "POST", "payment_intents", amount="500", currency="usd")["id"]
    stripe.pay(theirs, deliver=False)

    assert fetch() == 1
    row = BalanceTransaction.objects.get()
    assert (row.reporting_category, row.amount, row.fee, row.net) == ("charge", 11200, 355, 10845)
    assert row.order_payment == paid
    before = BalanceTransaction.objects.values().get()
    assert fetch() == 0
    assert BalanceTransaction.objects.values().get() == before


def test_the_sums_are_stripes(office, order, pay_order, stripe, webhooks):
    pay_order("pm_card_createDispute")
    answer_dispute(stripe, "winning_evidence")
    stripe.advance_clock(3600)
    webhooks()
    office.refund(order, {"amount": "12.50"})

    fetch()

    theirs = call_stripe(stripe, "GET", "balance_transactions", limit="100")["data"]
    assert BalanceTransaction.objects.all().totals() == {
        "usd": {key: sum(each[key] for each in theirs) for key in ("amount", "fee", "net")}
    }
    assert {row.reporting_category for row in BalanceTransaction.objects.all()} == {
        *("charge", "dispute", "dispute_reversal", "refund")
    }
    assert_books_agree(stripe)


def test_what_was_fetched_before_trouble_stays(office, order, paid, stripe, configure, monkeypatch):
    """Found: all pages were fetched before the first was written, so the last one lost them all."""
    monkeypatch.setattr("shop_payments.gateway.calls.PAGE_SIZE", 1)
    office.refund(order, {"amount": "1.00"})

    def first_page_only(method, url, headers, body):
        if "starting_after" in url:
            raise TimeoutError
        return stripe.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=first_page_only)
    with pytest.raises(GatewayUnavailable):
        fetch()
    kept = BalanceTransaction.objects.count()

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert (kept, fetch()) == (1, 1)
