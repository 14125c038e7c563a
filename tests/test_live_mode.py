"""A live key, and money of one mode while the key in use is of the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from shop_payments import services
from shop_payments.exceptions import ConfigurationError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import Order, OrderPayment, PaymentIntent, ReviewItem, Source
from shop_payments.models import WebhookEvent as Event
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.record_staff_entry import EntryRequest, settle_outside_stripe
from tests.after_paid.support import everything
from tests.support import answer, call_stripe, send_event, writes

pytestmark = pytest.mark.django_db

STAFF = Origin(source=Source.ADMIN, actor="staff 1")
NOT_CONFIGURED = (503, "not_configured")


class LiveStripe(ThreadingHTTPServer):
    """The sandbox, in live mode; the sandbox itself accepts no live key."""

    def __init__(self) -> None:
        self.account = Sandbox()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: LiveStripe

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {**self.headers, "Authorization": "Bearer sk_test_of_the_tests"}
        response = self.server.account.handle(self.command, self.path, headers, body or None)
        values = json.loads(response.body)
        for each in [values, *values.get("data", [])]:
            if "livemode" in each:
                each["livemode"] = True
        self.send_response(response.status)
        self.end_headers()
        self.wfile.write(json.dumps(values).encode())

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def use_live_key(configure: Any) -> Iterator[Callable[[], LiveStripe]]:
    """Use the live key from now on."""
    with LiveStripe() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()

        def use() -> LiveStripe:
            configure(
                STRIPE_SECRET_KEY="sk_live_of_the_tests",
                STRIPE_API_BASE=f"http://127.0.0.1:{server.server_port}",
                STRIPE_TRANSPORT=None,
            )
            return server

        yield use
        server.shutdown()
        thread.join()


@pytest.fixture
def live_stripe(use_live_key: Callable[[], LiveStripe]) -> LiveStripe:
    """Use the live key from the beginning."""
    return use_live_key()


@pytest.fixture
def use_test_key(configure: Any) -> Callable[[], Sandbox]:
    """Use a test key from now on, of an account that has nothing."""

    def use() -> Sandbox:
        sandbox = Sandbox()
        configure(
            STRIPE_SECRET_KEY="sk_test_of_the_tests",
            STRIPE_API_BASE="https://api.stripe.com",
            STRIPE_TRANSPORT=sandbox.handle,
        )
        return sandbox

    return use


def pay(sandbox: Sandbox, intent_id: str, **changes: Any) -> dict[str, Any]:
    """Pay as a customer does; ``changes`` is what Stripe says otherwise in its events."""
    path = f"payment_intents/{intent_id}/confirm"
    return {**call_stripe(sandbox, "POST", path, payment_method="pm_card_visa"), **changes}


def rows() -> list[Any]:
    """All rows but those of the inbox."""
    Event.objects.all().delete()
    return everything()


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(hours=72))


# --- another account ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_closed", [True, False])
def test_an_intent_that_another_account_holds_blocks_the_order_until_its_item_is_closed(
    storefront, order, live_stripe, is_closed
):
    """Found: after staff closed the item, the order was refused as if it were still in review."""
    first = storefront.payment_intent(order).json()["data"]["id"]
    right_account, live_stripe.account = live_stripe.account, Sandbox()
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert OrderPayment.objects.get().needs_review
    assert PaymentIntent.objects.get().is_open
    if not is_closed:  # the key was the wrong one
        live_stripe.account = right_account

    close_review_item(
        item_pk=ReviewItem.objects.get(reason="intent_missing").pk,
        reason="The former account is closed.",
        user=User.objects.create_user("clerk"),
        origin=STAFF,
    )

    again = storefront.payment_intent(order).json()["data"]["id"]
    assert (again != first) == is_closed
    status = "missing" if is_closed else "requires_payment_method"
    assert PaymentIntent.objects.get(stripe_id=first).status == status


def test_an_update_under_another_accounts_key_asks_staff_and_stays_open(
    storefront, order, live_stripe
):
    first = storefront.payment_intent(order).json()["data"]["id"]
    right_account, live_stripe.account = live_stripe.account, Sandbox()
    order.lines.update(quantity=3)

    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert [request.method for request in live_stripe.account.requests] == ["POST", "GET"]
    assert ReviewItem.objects.open().get().reason == "intent_missing"

    live_stripe.account = right_account
    shown = storefront.payment_intent(order).json()["data"]
    assert (shown["id"], shown["amount"]) == (first, "168.00")
    assert not ReviewItem.objects.open().exists()


@pytest.mark.django_db(transaction=True)
def test_a_cancellation_under_another_accounts_key_is_sent_again(storefront, order, live_stripe):
    """Found: the 404 counted as a refusal, so the cancellation was never sent again."""
    first = storefront.payment_intent(order).json()["data"]["id"]
    right_account, live_stripe.account = live_stripe.account, Sandbox()
    Order.objects.update(status=Order.Status.CANCELLED)
    cancel_payment_on_commit(order_id=order.pk, origin=STAFF)
    assert PaymentIntent.objects.get().is_open

    live_stripe.account = right_account
    sweep()

    assert call_stripe(right_account, "GET", f"payment_intents/{first}")["status"] == "canceled"
    assert PaymentIntent.objects.get().status == "canceled"


# --- live money under a test key ----------------------------------------------------------------


def test_live_money_under_a_test_key_fails_the_operation_and_writes_nothing(
    storefront, payment_system, order, live_stripe, use_live_key, use_test_key
):
    """Found: with a test key for a minute, a paid order was unpaid for ever."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    event = pay(live_stripe.account, intent_id, livemode=True)
    before = rows()
    use_test_key()

    assert send_event(event).status_code == 503
    assert answer(payment_system.payment(order)) == NOT_CONFIGURED
    assert answer(storefront.payment_intent(order)) == NOT_CONFIGURED
    assert Event.objects.get().status == "failed"
    assert rows() == before

    use_live_key()
    assert send_event(event).status_code == 200
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.needs_review) == ("paid", 11200, False)


def test_a_live_order_that_is_paid_stays_paid_under_a_test_key(
    storefront, payment_system, order, live_stripe, use_live_key, use_test_key
):
    pay(live_stripe.account, storefront.payment_intent(order).json()["data"]["id"])
    assert payment_system.payment(order).status_code == 200
    before = rows()
    use_test_key()

    for ask in (services.reevaluate_order, services.may_release):
        with pytest.raises(ConfigurationError, match="is a test key"):
            ask(order.pk)
    seen = storefront.get(f"orders/{order.pk}").json()["data"]

    assert sweep().problems == []
    assert answer(storefront.payment_intent(order)) == NOT_CONFIGURED
    assert (seen["payment_status"], seen["payable"], seen["needs_review"]) == ("paid", False, False)
    assert rows() == before

    use_live_key()
    assert services.may_release(order.pk)


def test_an_intent_that_is_cancelled_beside_live_money_is_left_to_the_live_key(
    storefront, payment_system, order, live_stripe, use_live_key, use_test_key
):
    pay(live_stripe.account, storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)
    order.lines.update(quantity=3)
    rest = storefront.payment_intent(order).json()["data"]["id"]
    event = call_stripe(live_stripe.account, "POST", f"payment_intents/{rest}/cancel")
    before = rows()
    use_test_key()

    assert send_event({**event, "livemode": True}).status_code == 503
    assert rows() == before

    use_live_key()
    assert send_event({**event, "livemode": True}).status_code == 200
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 5600)


@pytest.mark.parametrize("what", ["a cancelled order", "an attempt"])
def test_the_sweep_leaves_what_was_begun_in_live_mode_to_its_key(
    storefront, order, live_stripe, use_test_key, what
):
    if what == "an attempt":
        live_stripe.account.inject(Fault("error", status=500))
        assert storefront.payment_intent(order).status_code == 503
    else:
        storefront.payment_intent(order)
        Order.objects.update(status="cancelled")
    before = rows()
    sandbox = use_test_key()

    report = sweep()

    problems = ["live mode" in problem for problem in report.problems]
    assert problems == ([True] if what == "an attempt" else [])
    assert report.cancellations == 0
    assert writes(sandbox) == []
    assert rows() == before


# --- test money under a live key ----------------------------------------------------------------


def test_test_money_under_a_live_key_is_stored_and_does_not_count(
    storefront, payment_system, order, use_live_key, use_test_key, paid_signals
):
    sandbox = use_test_key()
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    event = pay(sandbox, intent_id)
    live = use_live_key()

    assert send_event(event).status_code == 200

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.amount_received) == ("unpaid", 0)
    assert (payment.amount_uncounted, payment.amount_outstanding) == (11200, 11200)
    assert (item.reason, item.detail) == (
        "uncounted",
        f"112.00 USD received with {intent_id} in test mode, but the key in use is for live mode",
    )
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert paid_signals == []

    assert "Settle it outside Stripe" in item.suggested_action
    settle_outside_stripe(
        order_id=order.pk,
        intent_id=intent_id,
        request=EntryRequest(reason="No real money was received."),
        origin=STAFF,
    )

    item = ReviewItem.objects.get()
    assert (item.closed_itself, OrderPayment.objects.get().amount_uncounted) == (True, 0)
    data = storefront.payment_intent(order).json()["data"]
    assert data["amount"] == "112.00"
    pay(live.account, data["id"])
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().is_paid


def test_an_open_intent_of_test_mode_does_not_keep_the_order_from_live_mode(
    storefront, order, use_live_key, use_test_key
):
    use_test_key()
    first = storefront.payment_intent(order).json()["data"]["id"]
    use_live_key()

    assert storefront.payment_intent(order).json()["data"]["id"] != first
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"
