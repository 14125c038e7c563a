"""What each route may cost: SQL statements (without those that only begin and end transactions),
transactions that write or lock, and calls to Stripe.

The expensive case is counted: the last use of an API key is written once a minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from textwrap import shorten
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.models import APIKey, Order, OrderPayment
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from tests.books import STAFF
from tests.factories import OrderFactory
from tests.support import call_stripe, event_body, pay, post_webhook, sign

# Real transactions: under a TestCase every BEGIN would be a SAVEPOINT, and durable blocks nothing.
pytestmark = [pytest.mark.figures, pytest.mark.django_db(transaction=True)]

_FREE = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET"}

Budget = Callable[..., AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def default_throttles(configure: Callable[..., None]) -> Iterator[None]:
    """Throttles as a shop has them; they cost the database nothing."""
    configure(THROTTLE_RATES={})
    cache.clear()
    yield
    cache.clear()


def count_commits(statements: list[str]) -> int:
    """Count the transactions that write or lock, and the writes outside of transactions."""
    commits, is_open, writes = 0, False, False
    for sql in statements:
        first = sql.split(None, 1)[0].strip(";")
        # On SQLite, BEGIN IMMEDIATE takes the lock of writers.
        is_write = first in ("INSERT", "UPDATE", "DELETE") or "FOR UPDATE" in sql
        if first == "BEGIN":
            is_open, writes = True, "IMMEDIATE" in sql
        elif first in ("COMMIT", "ROLLBACK"):
            commits += first == "COMMIT" and writes
            is_open = False
        elif is_open:
            writes |= is_write
        else:
            commits += is_write
    return commits


@pytest.fixture
def budget(stripe: Any, figure: Callable[[str], None]) -> Budget:
    """Fail if the block runs more statements or commits, or another number of calls to Stripe."""

    @contextmanager
    def allow(
        what: str, *, statements: int, stripe_calls: int, commits: int | None = None
    ) -> Iterator[None]:
        APIKey.objects.update(last_used_at=None)
        before = len(stripe.requests)
        with CaptureQueriesContext(connection) as captured:
            yield
        texts = [query["sql"] for query in captured.captured_queries]
        run = [sql for sql in texts if sql.split(None, 1)[0].strip(";") not in _FREE]
        calls = [f"{call.method} {call.path}" for call in stripe.requests[before:]]
        durable = count_commits(texts)
        is_too_much = len(run) > statements or durable > (durable if commits is None else commits)
        if is_too_much or len(calls) != stripe_calls:
            shown = "\n".join(shorten(each, 400) for each in [*run, *calls])
            counts = f"{len(run)} statements, {durable} commits, {len(calls)} calls"
            pytest.fail(f"{counts}:\n{shown}", pytrace=False)
        figure(f"{what}: statements {len(run)}, commits {durable}, calls to Stripe {len(calls)}")

    return allow


@pytest.fixture
def intent(storefront, order, stripe) -> Any:
    """The order's open intent, as its customer sees it."""
    return storefront.payment_intent(order).json()["data"]


@pytest.fixture
def paid(payment_system, order, stripe, intent) -> None:
    """The order has been paid, and its intent is known to have succeeded."""
    pay(stripe, intent["id"])
    assert payment_system.payment(order).status_code == 200


def last_event(stripe: Any, type_: str) -> tuple[bytes, str]:
    """The newest event of a type, as Stripe sends it."""
    event = next(each for each in reversed(stripe.events) if each["type"] == type_)
    body = json.dumps(event).encode()
    return body, sign(body)


# --- payment intents ----------------------------------------------------------------------------


def test_a_payment_intent(storefront, order, budget):
    with budget("payment-intent, first", statements=13, stripe_calls=1, commits=3):
        intent = storefront.payment_intent(order).json()
    assert APIKey.objects.get().last_used_at is not None
    with budget("payment-intent, repeated unchanged", statements=6, stripe_calls=1, commits=1):
        assert storefront.payment_intent(order).json() == intent
    order.lines.update(quantity=3)
    with budget("payment-intent, order changed", statements=15, stripe_calls=1):
        assert storefront.payment_intent(order).json()["data"]["amount"] == "168.00"


def test_settling_a_payment(payment_system, order, stripe, intent, budget):
    pay(stripe, intent["id"])

    with budget("payment", statements=10, stripe_calls=1):
        response = payment_system.payment(order)

    assert (response.status_code, response.json()["data"]["status"]) == (200, "succeeded")
    with budget("payment, repeated", statements=4, stripe_calls=1):
        assert payment_system.payment(order).status_code == 200


# --- webhooks -----------------------------------------------------------------------------------


def test_a_webhook_about_a_final_state(stripe, intent, budget):
    body = event_body(pay(stripe, intent["id"]))

    with budget("webhook that was not signed", statements=0, stripe_calls=0):
        assert post_webhook(body, sign(body, secret="whsec_wrong")).status_code == 400
    with budget("webhook about a final state", statements=8, stripe_calls=0, commits=2):
        assert post_webhook(body, sign(body)).status_code == 200
    with budget("webhook, repeated", statements=6, stripe_calls=0):
        assert post_webhook(body, sign(body)).status_code == 200


def test_the_webhook_of_a_new_intent(stripe, intent, budget):
    """It says what the answer has said before."""
    with budget("webhook of a new intent", statements=2, stripe_calls=0, commits=1):
        assert post_webhook(*last_event(stripe, "payment_intent.created")).status_code == 200


def test_a_webhook_about_a_passing_state(stripe, intent, budget):
    """It is only a hint: the intent is looked up, once."""
    pay(stripe, intent["id"], "pm_card_chargeDeclined")
    declined = call_stripe(stripe, "GET", f"payment_intents/{intent['id']}")
    body = event_body(declined, type="payment_intent.payment_failed")

    with budget("webhook about a passing state", statements=10, stripe_calls=1):
        assert post_webhook(body, sign(body)).status_code == 200


def test_listing_orders_costs_the_same_however_many_there_are(storefront, order, budget):
    storefront.payment_intent(order)
    for count in (1, 20):
        while Order.objects.count() < count:
            another = OrderFactory.create(customer=order.customer, lines=[{}, {"name": "Another"}])
            if another.pk % 2:
                storefront.payment_intent(another)

        with budget(f"GET orders, {count} orders", statements=5, stripe_calls=0):
            results = storefront.get("orders").json()["data"]["results"]

        assert len(results) == count


def test_a_page_far_from_the_newest_order_costs_what_the_first_one_does(
    storefront, order, configure, budget
):
    configure(PAGE_SIZE=2, THROTTLE_RATES={})
    OrderFactory.create_batch(5, customer=order.customer)
    url: Any = "http://testserver/api/v1/shop/orders?payment_status=unpaid&created_from=2020-01-01"
    for number in range(3):
        with budget(f"GET orders, page {number + 1}, filtered", statements=4, stripe_calls=0):
            data = storefront.client.get(url, headers=storefront.headers).json()["data"]
        url = data["next"]
    assert url is None
    with budget("GET orders, by number", statements=4, stripe_calls=0):
        assert len(storefront.get(f"orders?number={order.number}").json()["data"]["results"]) == 1


# --- after "paid" -------------------------------------------------------------------------------


def test_a_refund(office, order, stripe, paid, budget):
    with budget("refund, refused", statements=4, stripe_calls=0):
        assert office.refund(order, {"amount": "112.01"}).status_code == 409
    with budget("refund", statements=18, stripe_calls=1):
        assert office.refund(order, {"amount": "12.50"}, key="a").status_code == 200
    with budget("refund, repeated", statements=6, stripe_calls=0):
        assert office.refund(order, {"amount": "12.50"}, key="a").status_code == 200
    with budget("webhook of a refund of ours", statements=8, stripe_calls=1):
        assert post_webhook(*last_event(stripe, "refund.created")).status_code == 200


def test_the_webhook_of_a_refund_in_the_dashboard(stripe, intent, paid, budget):
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1250")
    with budget("webhook of a refund in the dashboard", statements=11, stripe_calls=1):
        assert post_webhook(*last_event(stripe, "refund.created")).status_code == 200

    assert OrderPayment.objects.get().amount_refunded == 1250


def test_the_webhook_of_a_dispute(payment_system, order, stripe, intent, budget):
    pay(stripe, intent["id"], "pm_card_createDispute")
    payment_system.payment(order)
    event = last_event(stripe, "charge.dispute.created")

    with budget("webhook of a dispute", statements=8, stripe_calls=1):
        assert post_webhook(*event).status_code == 200

    assert OrderPayment.objects.get().dispute_state == "open"


def test_a_capture(configure, storefront, payment_system, order, stripe, budget):
    configure(**{**settings.SHOP_PAYMENTS, "CAPTURE_METHOD": "manual"})
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    assert payment_system.payment(order).status_code == 409

    with budget("capture", statements=13, stripe_calls=1):
        capture_payment(order_id=order.pk, origin=STAFF)

    assert OrderPayment.objects.get().is_paid


def test_a_cancellation(order, intent, budget):
    with budget("cancellation", statements=10, stripe_calls=1):
        cancel_payment(order_id=order.pk, origin=STAFF)
