"""What each route may cost: SQL statements (less those that only open and end transactions) and
calls to Stripe.

What is counted is the dear case: an API key whose last use is written down on the way, which
happens once a minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKey, APIKeyScope, OrderPayment, Source
from shop_payments.sandbox import Sandbox
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import call_stripe, event_body, pay, post_webhook, sign

# Real transactions: under a TestCase every BEGIN would be a SAVEPOINT, and durable blocks nothing.
pytestmark = [pytest.mark.figures, pytest.mark.django_db(transaction=True)]

_FREE = {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET"}


@pytest.fixture(autouse=True)
def default_throttles(configure: Callable[..., None]) -> Iterator[None]:
    """Throttles as a shop has them, and they cost the database nothing."""
    configure(THROTTLE_RATES={})
    cache.clear()
    yield
    cache.clear()


@dataclass
class Bill:
    """What something has cost."""

    statements: list[str]
    stripe_calls: list[str]

    def assert_within(self, *, statements: int, stripe_calls: int) -> None:
        if len(self.statements) > statements or len(self.stripe_calls) != stripe_calls:
            allowed = f"{statements} statements and exactly {stripe_calls} calls to Stripe"
            pytest.fail(f"allowed: {allowed}\n{self}", pytrace=False)

    @property
    def total(self) -> str:
        return f"statements {len(self.statements)}, calls to Stripe {len(self.stripe_calls)}"

    def __str__(self) -> str:
        lines = [f"{len(self.statements)} statements:"]
        lines += [
            f"{number:4} {shorten(sql, 400)}" for number, sql in enumerate(self.statements, start=1)
        ]
        return "\n".join([*lines, f"{len(self.stripe_calls)} calls to Stripe:", *self.stripe_calls])


@contextmanager
def billed(stripe: Sandbox) -> Iterator[Bill]:
    """Count what the block costs; the bill is complete when the block has ended."""
    bill = Bill([], [])
    APIKey.objects.update(last_used_at=None)
    already = len(stripe.requests)
    with CaptureQueriesContext(connection) as captured:
        yield bill
    texts = [query["sql"] for query in captured.captured_queries]
    bill.statements += [sql for sql in texts if sql.split(None, 1)[0].strip(";") not in _FREE]
    bill.stripe_calls += [f"{call.method} {call.path}" for call in stripe.requests[already:]]


@pytest.fixture
def intent(storefront: Any, order: Any, stripe: Sandbox) -> dict[str, Any]:
    """The order's open intent, as its customer sees it."""
    data: dict[str, Any] = storefront.payment_intent(order).json()["data"]
    return data


def test_the_bill_counts_statements_and_not_transactions(storefront, order, stripe):
    """The test of the tests: real transactions were seen, and left out."""
    with CaptureQueriesContext(connection) as captured, billed(stripe) as bill:
        storefront.payment_intent(order)

    words = {query["sql"].split(None, 1)[0].strip(";") for query in captured.captured_queries}
    assert {"BEGIN", "COMMIT"} <= words
    assert not any("SAVEPOINT" in sql for sql in bill.statements)
    assert 0 < len(bill.statements) < len(captured)


def test_a_first_payment_intent(storefront, order, stripe, figure):
    with billed(stripe) as bill:
        response = storefront.payment_intent(order)

    assert response.status_code == 200
    assert any('UPDATE "shop_payments_apikey"' in sql for sql in bill.statements)
    bill.assert_within(statements=13, stripe_calls=1)
    figure(f"payment-intent, first: {bill.total}")


def test_an_unchanged_payment_intent(storefront, order, stripe, intent, figure):
    with billed(stripe) as bill:
        response = storefront.payment_intent(order)

    assert response.json()["data"] == intent
    bill.assert_within(statements=8, stripe_calls=1)
    figure(f"payment-intent, repeated unchanged: {bill.total}")


def test_a_payment_intent_of_a_changed_order(storefront, order, stripe, intent, figure):
    order.lines.update(quantity=3)

    with billed(stripe) as bill:
        response = storefront.payment_intent(order)

    assert response.json()["data"]["amount"] == "168.00"
    bill.assert_within(statements=14, stripe_calls=1)
    figure(f"payment-intent, order changed: {bill.total}")


def test_settling_a_payment(storefront, payment_system, order, stripe, intent, figure):
    pay(stripe, intent["id"])

    with billed(stripe) as bill:
        response = payment_system.payment(order)

    assert (response.status_code, response.json()["data"]["status"]) == (200, "succeeded")
    bill.assert_within(statements=10, stripe_calls=1)
    figure(f"payment: {bill.total}")


def test_settling_a_settled_payment(storefront, payment_system, order, stripe, intent):
    pay(stripe, intent["id"])
    payment_system.payment(order)

    with billed(stripe) as bill:
        assert payment_system.payment(order).status_code == 200

    bill.assert_within(statements=4, stripe_calls=1)


def test_a_webhook_about_a_final_state(order, stripe, intent, figure):
    body = event_body(pay(stripe, intent["id"]))

    with billed(stripe) as bill:
        response = post_webhook(body, sign(body))

    assert response.status_code == 200
    bill.assert_within(statements=9, stripe_calls=0)
    figure(f"webhook about a final state: {bill.total}")


def test_a_webhook_that_comes_again(order, stripe, intent):
    body = event_body(pay(stripe, intent["id"]))
    post_webhook(body, sign(body))

    with billed(stripe) as bill:
        assert post_webhook(body, sign(body)).status_code == 200

    bill.assert_within(statements=2, stripe_calls=0)


def test_a_webhook_about_a_passing_state(order, stripe, intent):
    """It is a hint and nothing more: the intent is looked up, once."""
    pay(stripe, intent["id"], "pm_card_chargeDeclined")
    declined = call_stripe(stripe, "GET", f"payment_intents/{intent['id']}")
    body = event_body(declined, type="payment_intent.payment_failed")

    with billed(stripe) as bill:
        assert post_webhook(body, sign(body)).status_code == 200

    bill.assert_within(statements=10, stripe_calls=1)


def test_a_webhook_that_was_not_signed(order, stripe, intent):
    """Whoever has no secret costs the database nothing."""
    body = event_body(pay(stripe, intent["id"]))

    with billed(stripe) as bill:
        assert post_webhook(body, sign(body, secret="whsec_wrong")).status_code == 400

    bill.assert_within(statements=0, stripe_calls=0)


def test_listing_orders_costs_the_same_however_many_there_are(storefront, order, stripe, figure):
    def listing() -> tuple[Bill, int]:
        with billed(stripe) as bill:
            results = storefront.get("orders").json()["data"]["results"]
        return bill, len(results)

    storefront.payment_intent(order)
    few, one = listing()
    for number in range(49):
        another = OrderFactory.create(customer=order.customer, lines=[{}, {"name": "Another"}])
        if number % 2:
            storefront.payment_intent(another)

    many, fifty = listing()

    assert (one, fifty) == (1, 50)
    assert len(few.statements) == len(many.statements), f"one order: {few}\n\nfifty: {many}"
    many.assert_within(statements=5, stripe_calls=0)
    figure(f"GET orders, 50 orders as one: {many.total}")


# --- after "paid" -------------------------------------------------------------------------------


@pytest.fixture
def paid(payment_system: Any, order: Any, stripe: Sandbox, intent: dict[str, Any]) -> None:
    """The order has been paid, and its intent is known to have succeeded."""
    pay(stripe, intent["id"])
    assert payment_system.payment(order).status_code == 200


@pytest.fixture
def office(db: None) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


def last_event(stripe: Sandbox, type_: str) -> tuple[bytes, str]:
    """The newest event of a type, as Stripe sends it."""
    event = next(each for each in reversed(stripe.events) if each["type"] == type_)
    body = json.dumps(event).encode()
    return body, sign(body)


def test_a_refund(office, order, stripe, paid, figure):
    with billed(stripe) as bill:
        response = office.refund(order, {"amount": "12.50"}, key="a")

    assert response.json()["data"]["status"] == "succeeded"
    bill.assert_within(statements=18, stripe_calls=1)
    figure(f"refund: {bill.total}")


def test_a_refund_that_is_repeated(office, order, stripe, paid, figure):
    office.refund(order, {"amount": "12.50"}, key="a")

    with billed(stripe) as bill:
        assert office.refund(order, {"amount": "12.50"}, key="a").status_code == 200

    bill.assert_within(statements=6, stripe_calls=0)
    figure(f"refund, repeated: {bill.total}")


def test_a_refund_that_is_refused(office, order, stripe, paid):
    with billed(stripe) as bill:
        assert office.refund(order, {"amount": "112.01"}).status_code == 409

    bill.assert_within(statements=4, stripe_calls=0)


def test_the_webhook_of_a_refund_of_ours(office, order, stripe, paid, figure):
    office.refund(order, {"amount": "12.50"}, key="a")
    event = last_event(stripe, "refund.created")

    with billed(stripe) as bill:
        assert post_webhook(*event).status_code == 200

    bill.assert_within(statements=8, stripe_calls=1)
    figure(f"webhook of a refund of ours: {bill.total}")


def test_the_webhook_of_a_refund_in_the_dashboard(order, stripe, intent, paid, figure):
    call_stripe(stripe, "POST", "refunds", payment_intent=intent["id"], amount="1250")
    event = last_event(stripe, "refund.created")

    with billed(stripe) as bill:
        assert post_webhook(*event).status_code == 200

    assert OrderPayment.objects.get().amount_refunded == 1250
    bill.assert_within(statements=11, stripe_calls=1)
    figure(f"webhook of a refund in the dashboard: {bill.total}")


def test_the_webhook_of_a_dispute(storefront, payment_system, order, stripe, intent, figure):
    pay(stripe, intent["id"], "pm_card_createDispute")
    payment_system.payment(order)
    event = last_event(stripe, "charge.dispute.created")

    with billed(stripe) as bill:
        assert post_webhook(*event).status_code == 200

    assert OrderPayment.objects.get().dispute_state == "open"
    bill.assert_within(statements=15, stripe_calls=1)
    figure(f"webhook of a dispute: {bill.total}")


def test_the_webhooks_of_radar(storefront, payment_system, order, stripe, intent, figure):
    pay(stripe, intent["id"], "pm_card_createIssuerFraudRecord")
    payment_system.payment(order)
    stripe.open_review(intent["id"])

    for kind in ("radar.early_fraud_warning.created", "review.opened"):
        event = last_event(stripe, kind)
        with billed(stripe) as bill:
            assert post_webhook(*event).status_code == 200
        bill.assert_within(statements=14, stripe_calls=1)
        figure(f"webhook {kind}: {bill.total}")


STAFF = Origin(source=Source.ADMIN)


def test_a_capture(configure, storefront, payment_system, order, stripe, figure):
    configure(**{**settings.SHOP_PAYMENTS, "CAPTURE_METHOD": "manual"})
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    assert payment_system.payment(order).status_code == 409

    with billed(stripe) as bill:
        capture_payment(order_id=order.pk, origin=STAFF)

    assert OrderPayment.objects.get().is_paid
    bill.assert_within(statements=17, stripe_calls=1)
    figure(f"capture: {bill.total}")


def test_a_cancellation(order, stripe, intent, figure):
    with billed(stripe) as bill:
        cancel_payment(order_id=order.pk, origin=STAFF)

    bill.assert_within(statements=10, stripe_calls=1)
    figure(f"cancellation: {bill.total}")
