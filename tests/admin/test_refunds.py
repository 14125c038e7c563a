"""Refunds, disputes and fees, as staff see them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.ledger.facts import Origin
from shop_payments.models import BalanceTransaction, Dispute, PaymentIntent, Refund, Source
from shop_payments.sandbox import Fault
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import change, changelist, listed, make_records, money_of, text_of
from tests.support import call_stripe

pytestmark = pytest.mark.django_db


def refund_in_dashboard(stripe, **params):
    intent = PaymentIntent.objects.get()
    return call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, **params)


def test_a_payment_says_where_the_money_is(paid, staff, stripe, webhooks):
    refund_in_dashboard(stripe, amount="1200")
    webhooks()

    money = money_of(staff, paid)

    assert (money["Received"], money["Refunded"]) == ("112.00 USD", "12.00 USD")
    assert money["Can be refunded"] == "100.00 USD"
    assert "Lost in disputes" not in money


def test_a_payment_before_the_money_says_nothing_of_refunds(open_payment, staff):
    money = money_of(staff, open_payment)

    assert money["Payment"] == "112.00 USD asked for"
    unsaid = {"Received", "Refunded", "Can be refunded", "Stripe's fees", "Dispute"}
    assert not unsaid & money.keys()


def test_money_that_does_not_count_is_called_that(late, staff):
    money = money_of(staff, late)

    assert money["Payment"] == "112.00 USD received, which does not count"


def test_reserved_money_is_not_received(authorized, staff):
    assert money_of(staff, authorized)["Payment"] == "112.00 USD reserved"
    assert "112.00 USD reserved" in text_of(staff.get(changelist(type(authorized))))


def test_a_refund_that_is_on_its_way_is_not_promised_twice(paid, staff, stripe):
    stripe.inject(Fault("drop_before", path="/v1/refunds"))
    request = RefundRequest(amount_decimal=Decimal("12.00"), key="k")
    with pytest.raises(GatewayUnavailable):
        refund_payment(order_id=paid.order_id, request=request, origin=Origin(source=Source.API))

    money = money_of(staff, paid)

    assert money["Can be refunded"] == "100.00 USD, and 12.00 USD is on its way back"


def test_a_dispute_lies_over_the_payment(disputed, staff):
    money = money_of(staff, disputed)

    assert money["Payment status"] == "paid"
    assert money["Dispute"] == "open (the customer's bank holds the money until it has decided)"
    assert money["Can be refunded"] == "0.00 USD"


def test_a_lost_dispute_says_what_is_lost(disputed, staff, stripe, webhooks):
    call_stripe(stripe, "POST", f"disputes/{Dispute.objects.get().stripe_id}/close")
    webhooks()

    money = money_of(staff, disputed)

    assert money["Dispute"] == "lost (the customer's bank keeps the money)"
    assert money["Lost in disputes"] == "112.00 USD"


def test_a_dispute_leads_to_where_it_is_answered(disputed, staff):
    dispute = Dispute.objects.get()

    text = text_of(staff.get(change(dispute)))

    url = f"https://dashboard.stripe.com/test/disputes/{dispute.stripe_id}"
    assert f'<a href="{url}" target="_blank" rel="noopener noreferrer">' in text
    assert "answered in the Stripe dashboard, before the evidence is due" in text


def test_a_payment_shows_its_refunds_disputes_and_fees(disputed, paid_elsewhere, staff, stripe):
    fetch_fees(since=timezone.now() - timedelta(days=1))

    text = text_of(staff.get(change(disputed)))

    for model in (Dispute, BalanceTransaction):
        assert model.objects.filter(order_payment=disputed).exists()
        for row in model.objects.all():
            assert (f'href="{change(row)}"' in text) is (row.order_payment == disputed)


@pytest.fixture
def paid_elsewhere(db):
    """Another order's payment, none of which may be shown."""
    return make_records().order_payment


def test_fees_are_added_up(paid, staff, stripe):
    assert "not fetched yet" in money_of(staff, paid)["Stripe's fees"]

    fetch_fees(since=timezone.now() - timedelta(days=1))

    assert money_of(staff, paid)["Stripe's fees"] == "3.55 USD (net for the shop: 108.45 USD)"


def test_a_refund_says_what_came_of_it_and_where_to_look(paid, staff, stripe, webhooks):
    refund_in_dashboard(stripe, amount="1200", reason="requested_by_customer")
    webhooks()
    refund = Refund.objects.get()

    text = text_of(staff.get(change(refund)))

    intent = refund.payment_intent
    assert f"https://dashboard.stripe.com/test/payments/{intent.stripe_id}" in text
    for words in ("12.00 USD", "succeeded", "requested by customer", "none: made at Stripe"):
        assert words in text
    assert "1200" not in text.replace(refund.stripe_id, "")


def test_they_are_found_and_filtered(eventful, staff):
    refund = Refund.objects.get(order_payment=eventful)

    assert listed(staff.get(changelist(Refund), {"q": refund.stripe_id})) == {refund}
    assert listed(staff.get(changelist(Refund), {"status__exact": "succeeded"})) == {refund}
    assert len(listed(staff.get(changelist(Dispute), {"status__exact": "warning_closed"}))) == 1
    charges = listed(staff.get(changelist(BalanceTransaction), {"reporting_category": "refund"}))
    assert {row.source for row in charges} == {refund.stripe_id}


def test_payments_are_filtered_by_dispute(disputed, staff):
    make_records()

    found = listed(staff.get(changelist(type(disputed)), {"dispute_state__exact": "open"}))

    assert found == {disputed}
    assert "paid, dispute open" in text_of(staff.get(changelist(type(disputed))))


@pytest.mark.parametrize(
    ("days", "words"), [(0, "in 6 days, 23 hours"), (6.5, "in 11 hours"), (8, "since")]
)
def test_reserved_money_says_for_how_long(days, words, authorized, staff):
    intent = PaymentIntent.objects.get()

    with time_machine.travel(timezone.now() + timedelta(days=days), tick=False):
        shown = money_of(staff, authorized)["Authorization expires"]
        assert shown in text_of(staff.get(change(intent)))

    assert shown.replace("\xa0", " ").startswith(words)


def test_an_end_that_stripe_does_not_tell_is_not_known(authorized, staff):
    PaymentIntent.objects.update(capture_before=None)

    assert money_of(staff, authorized)["Authorization expires"] == "not known"
