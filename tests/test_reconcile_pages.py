"""What is open and older than the lists is looked at with few calls, whatever lies in between."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from shop_payments.models import OrderPayment, PaymentIntent, Refund
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_books_agree
from tests.factories import OrderFactory
from tests.support import call_stripe, pay
from tests.test_reconcile import sweep

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def days_ago(storefront, order, stripe):
    """Have our intents (or others', ``ours=False``) created so many days ago, one a second.

    To be called for the oldest first: the sandbox lists what was made last first.
    """

    def create(days: float, count: int = 1, *, ours: bool = True) -> list[str]:
        made: list[str] = []
        began = datetime.now(UTC) - timedelta(days=days)
        for number in range(count):
            with time_machine.travel(began + timedelta(seconds=number), tick=False):
                if ours:
                    each = OrderFactory.create(customer=order.customer)
                    answer = storefront.payment_intent(each).json()
                    made.append(answer["data"]["id"])
                else:
                    params = {"amount": "500", "currency": "eur"}
                    kind = {"allowed_payment_method_types[0]": "card"}
                    made.append(
                        call_stripe(stripe, "POST", "payment_intents", **params, **kind)["id"]
                    )
        return made

    return create


class Counted:
    """A line to Stripe on which calls about intents are counted."""

    def __init__(self, stripe: Any) -> None:
        self._stripe = stripe
        self.lists, self.fetches = 0, 0

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        path = url.partition("/v1/")[2]
        self.lists += path.startswith("payment_intents?")
        self.fetches += path.startswith("payment_intents/")
        return self._stripe.handle(method, url, headers, body)


@pytest.fixture
def calls(stripe, configure) -> Counted:
    counted = Counted(stripe)
    configure(STRIPE_TRANSPORT=counted)
    return counted


@pytest.fixture
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr("shop_payments.gateway.calls.PAGE_SIZE", 3)
    monkeypatch.setattr("shop_payments.maintenance.reconcile.pages._PAGE", 3)


def test_sixty_old_ones_cost_a_call_and_not_one_each(days_ago, stripe, calls):
    """Up to a hundred were fetched one by one, by each run until they were closed."""
    for intent_id in days_ago(20, 60):
        pay(stripe, intent_id)
    before = calls.lists

    report = sweep()

    assert (calls.lists - before, calls.fetches) == (2, 0)
    assert report.intents == 60
    assert OrderPayment.objects.filter(status="paid").count() == 60


def test_old_ones_far_apart_cost_a_call_each(days_ago, stripe, calls, small_pages):
    for days in (25, 15, 9):
        PaymentIntent.objects.filter(stripe_id__in=days_ago(days + 1, 7)).update(status="canceled")
        pay(stripe, *days_ago(days))

    sweep()

    assert (calls.lists, calls.fetches) == (1 + 3, 0)
    assert OrderPayment.objects.filter(status="paid").count() == 3


def test_others_in_between_hide_nothing(days_ago, stripe, calls, small_pages):
    pay(stripe, *days_ago(20))
    days_ago(19, 8, ours=False)
    pay(stripe, *days_ago(18))

    sweep()

    assert (calls.lists, calls.fetches) == (1 + 2, 0)
    assert OrderPayment.objects.filter(status="paid").count() == 2


def test_many_in_one_second_are_all_looked_at(days_ago, stripe, calls, small_pages):
    """More than a page shows of one second cannot be listed any further."""
    with time_machine.travel(datetime.now(UTC) - timedelta(days=20), tick=False):
        made = [each for _ in range(8) for each in days_ago(0)]
    for intent_id in made:
        pay(stripe, intent_id)

    sweep()

    assert OrderPayment.objects.filter(status="paid").count() == 8


def test_what_a_page_should_have_shown_is_fetched(days_ago, stripe, calls, configure):
    pay(stripe, *days_ago(20.5))
    configure(STRIPE_TRANSPORT=StripeSandbox().handle)  # another account
    (hidden,) = days_ago(20)
    configure(STRIPE_TRANSPORT=calls)
    pay(stripe, *days_ago(19.5))

    report = sweep()

    assert (calls.lists, calls.fetches, report.intents) == (2, 1, 3)
    assert PaymentIntent.objects.get(stripe_id=hidden).status == "missing"


def test_old_refunds_that_are_pending_are_listed(days_ago, stripe, calls):
    for number, intent_id in enumerate(days_ago(20, 3)):
        with time_machine.travel(datetime.now(UTC) - timedelta(days=19 - number / 10)):
            pay(stripe, intent_id)
            call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="500")
    sweep(hours=24 * 30)
    Refund.objects.update(status="pending")
    before = len(stripe.requests)

    report = sweep(after=timedelta(minutes=4))

    assert report.objects["refunds"] == 3
    paths = [each.path for each in stripe.requests[before:]]
    assert paths.count("/v1/refunds") == 2
    assert_books_agree(stripe)


@pytest.mark.parametrize("seed", range(6))
def test_wherever_they_lie_all_are_found_with_few_calls(days_ago, stripe, calls, small_pages, seed):
    draw = random.Random(seed)
    moved = 0
    ages = [draw.choice([4, 12, draw.uniform(5, 29)]) + number / 10_000 for number in range(14)]
    for days in sorted(ages, reverse=True):
        what = draw.choice(["ours", "ours", "closed", "theirs"])
        (intent_id,) = days_ago(days, ours=what != "theirs")
        if what == "ours":
            pay(stripe, intent_id)
            moved += 1
        elif what == "closed":
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
            PaymentIntent.objects.filter(stripe_id=intent_id).update(status="canceled")

    report = sweep()

    assert OrderPayment.objects.filter(status="paid").count() == report.intents == moved
    assert calls.lists + calls.fetches <= 1 + moved
    assert_books_agree(stripe)
