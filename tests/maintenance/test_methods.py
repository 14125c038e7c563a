"""The sweep fills in how payments were paid, which their events do not say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import PaymentIntent
from shop_payments.sandbox import Fault
from tests.books import everything
from tests.factories import OrderFactory
from tests.support import pay

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def sweep(after: timedelta, *, dry_run: bool = False) -> Report:
    with time_machine.travel(datetime.now(UTC) + after):
        return reconcile(dry_run=dry_run)


@pytest.fixture
def intents(storefront, stripe, webhooks, order):
    """Three intents after a sweep that has compared the lists."""
    orders = OrderFactory.create_batch(3, customer=order.customer)
    ids = [storefront.payment_intent(each).json()["data"]["id"] for each in orders]
    webhooks()
    assert sweep(timedelta(0)).problems == []
    return ids


def shown(*ids: str) -> list[str]:
    return [PaymentIntent.objects.get(stripe_id=each).method_display for each in ids]


def test_methods_are_filled_in_with_one_call(intents, stripe, webhooks):
    pay(stripe, intents[0], "pm_card_visa")
    pay(stripe, intents[1], "pm_card_amex")
    webhooks()
    assert shown(*intents) == ["", "", ""]
    begin = len(stripe.requests)

    report = sweep(HOUR)

    assert [each.path for each in stripe.requests[begin:]] == ["/v1/events", "/v1/payment_intents"]
    assert (report.methods, report.intents, report.problems) == (2, 0, [])
    assert shown(*intents) == ["Visa •4242", "American Express •8431", ""]
    rows, begin = everything(), len(stripe.requests)
    assert sweep(2 * HOUR).methods == 0
    assert [each.path for each in stripe.requests[begin:]] == ["/v1/events"]
    assert everything() == rows


@pytest.mark.slow
def test_more_payments_than_a_page_within_one_second(intents, storefront, stripe, order, webhooks):
    """Found: each page began with the objects of the page before, and showed one payment more."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        for each in OrderFactory.create_batch(230, customer=order.customer):
            assert storefront.payment_intent(each).status_code == 200
        for stripe_id in PaymentIntent.objects.values_list("stripe_id", flat=True):
            pay(stripe, stripe_id)
    webhooks()
    begin = len(stripe.requests)

    report = sweep(HOUR)

    assert (report.methods, report.problems) == (233, [])
    paths = [each.path for each in stripe.requests[begin:]]
    assert paths.count("/v1/payment_intents") <= 5


def test_a_dry_run_counts_methods(intents, stripe, webhooks):
    pay(stripe, intents[0])
    webhooks()
    rows = everything()
    assert sweep(HOUR, dry_run=True).methods == 1
    assert everything() == rows


def test_a_list_that_fails_is_a_problem_and_tried_again(intents, stripe, webhooks):
    pay(stripe, intents[0])
    webhooks()
    stripe.inject(Fault("drop_before", path="/v1/payment_intents"))
    (problem,) = sweep(HOUR).problems
    assert problem.startswith("payment methods: Stripe could not be reached")
    assert sweep(2 * HOUR).methods == 1
    assert shown(intents[0]) == ["Visa •4242"]


def test_the_daily_comparison_fills_in_methods_too(intents, stripe, webhooks):
    pay(stripe, intents[0])
    webhooks()
    report = sweep(timedelta(hours=25))
    assert (report.methods, report.intents) == (1, 0)
    assert shown(intents[0]) == ["Visa •4242"]


def test_another_charge_has_another_method(intents, stripe, webhooks):
    pay(stripe, intents[0], "pm_card_chargeDeclined")
    webhooks()
    sweep(HOUR)
    pay(stripe, intents[0], "pm_card_mastercard")
    webhooks()
    assert shown(intents[0]) == [""], "the card of the declined charge is not shown for this one"
    sweep(2 * HOUR)
    assert shown(intents[0]) == ["Mastercard •4444"]


def test_who_looks_at_a_payment_needs_no_sweep(intents, stripe, payment_system, webhooks):
    """Call 3 fetches the intent with its charge."""
    row = PaymentIntent.objects.get(stripe_id=intents[0])
    pay(stripe, intents[0])
    payment_system.payment(row.order_payment.order)
    assert shown(intents[0]) == ["Visa •4242"]
