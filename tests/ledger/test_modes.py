"""A live key, and money of one mode while the key in use is of the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from shop_payments import services
from shop_payments.exceptions import ConfigurationError
from shop_payments.ledger.reviews import close_review_item
from shop_payments.models import Order, OrderPayment, PaymentIntent, ReviewItem, WebhookEvent
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse, SandboxServer
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.record_staff_entry import EntryRequest, settle_outside_stripe
from tests.books import STAFF, everything, sweep
from tests.support import answer, call_stripe, send_event, writes

pytestmark = pytest.mark.django_db

NOT_CONFIGURED, IN_REVIEW = (503, "not_configured"), (409, "payment_in_review")


class LiveStripe(Sandbox):
    """An account in live mode, behind a server: the sandbox itself accepts no live key."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Sandbox()

    def handle(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        test_key = {**headers, "authorization": "Bearer sk_test_of_the_tests"}
        response = self.account.handle(method, url, test_key, body)
        values = json.loads(response.body)
        for each in [values, *values.get("data", [])]:
            if "livemode" in each:
                each["livemode"] = True
        return replace(response, body=json.dumps(values).encode())


@pytest.fixture
def use_live_key(configure: Any) -> Iterator[Callable[[], LiveStripe]]:
    """Use the live key from now on."""
    stripe = LiveStripe()
    with SandboxServer(stripe) as server:

        def use() -> LiveStripe:
            key = {"STRIPE_SECRET_KEY": "sk_live_of_the_tests", "STRIPE_TRANSPORT": None}
            configure(**key, STRIPE_API_BASE=server.url)
            return stripe

        yield use


@pytest.fixture
def live(use_live_key: Callable[[], LiveStripe]) -> LiveStripe:
    """Use the live key from the beginning."""
    return use_live_key()


@pytest.fixture
def use_test_key(configure: Any) -> Callable[[], Sandbox]:
    """Use a test key from now on, of an account that has nothing."""

    def use() -> Sandbox:
        sandbox = Sandbox()
        key = {"STRIPE_SECRET_KEY": "sk_test_of_the_tests", "STRIPE_TRANSPORT": sandbox.handle}
        configure(**key, STRIPE_API_BASE="https://api.stripe.com")
        return sandbox

    return use


def begin(storefront: Any, order: Order) -> str:
    intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
    return intent_id


def pay(sandbox: Sandbox, intent_id: str) -> dict[str, Any]:
    path = f"payment_intents/{intent_id}/confirm"
    return call_stripe(sandbox, "POST", path, payment_method="pm_card_visa")


def rows() -> list[Any]:
    """All rows but those of the inbox."""
    WebhookEvent.objects.all().delete()
    return everything()


# --- another account ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_closed", [True, False])
def test_an_intent_that_another_account_holds_blocks_the_order_until_its_item_is_closed(
    storefront, order, live, admin_user, is_closed
):
    """Found: after staff closed the item, the order was refused as if it were still in review."""
    first = begin(storefront, order)
    right_account, live.account = live.account, Sandbox()
    assert answer(storefront.payment_intent(order)) == IN_REVIEW
    assert OrderPayment.objects.get().needs_review
    assert PaymentIntent.objects.get().is_open
    if not is_closed:  # the key was the wrong one
        live.account = right_account

    item = ReviewItem.objects.get(reason="intent_missing")
    close_review_item(item_pk=item.pk, reason="It was closed.", user=admin_user, origin=STAFF)

    assert (begin(storefront, order) != first) == is_closed
    status = "missing" if is_closed else "requires_payment_method"
    assert PaymentIntent.objects.get(stripe_id=first).status == status


def test_an_update_under_another_accounts_key_asks_staff_and_stays_open(storefront, order, live):
    first = begin(storefront, order)
    right_account, live.account = live.account, Sandbox()
    order.lines.update(quantity=3)

    assert answer(storefront.payment_intent(order)) == IN_REVIEW
    assert [request.method for request in live.account.requests] == ["POST", "GET"]
    assert ReviewItem.objects.open().get().reason == "intent_missing"

    live.account = right_account
    shown = storefront.payment_intent(order).json()["data"]
    assert (shown["id"], shown["amount"]) == (first, "168.00")
    assert not ReviewItem.objects.open().exists()


@pytest.mark.django_db(transaction=True)
def test_a_cancellation_under_another_accounts_key_is_sent_again(storefront, order, live):
    """Found: the 404 counted as a refusal, so the cancellation was never sent again."""
    first = begin(storefront, order)
    right_account, live.account = live.account, Sandbox()
    Order.objects.update(status=Order.Status.CANCELLED)
    cancel_payment_on_commit(order_id=order.pk, origin=STAFF)
    assert PaymentIntent.objects.get().is_open

    live.account = right_account
    sweep(hours=0)

    assert call_stripe(right_account, "GET", f"payment_intents/{first}")["status"] == "canceled"
    assert PaymentIntent.objects.get().status == "canceled"


# --- live money under a test key ----------------------------------------------------------------


def test_a_live_order_that_is_paid_stays_paid_under_a_test_key(
    storefront, payment_system, order, live, use_live_key, use_test_key
):
    pay(live.account, begin(storefront, order))
    assert payment_system.payment(order).status_code == 200
    before = rows()
    use_test_key()

    for ask in (services.reevaluate_order, services.may_release):
        with pytest.raises(ConfigurationError, match="is a test key"):
            ask(order.pk)
    seen = storefront.get(f"orders/{order.pk}").json()["data"]

    assert sweep(hours=0).problems == []
    assert answer(payment_system.payment(order)) == NOT_CONFIGURED
    assert answer(storefront.payment_intent(order)) == NOT_CONFIGURED
    assert (seen["payment_status"], seen["payable"], seen["needs_review"]) == ("paid", False, False)
    assert rows() == before

    use_live_key()
    assert services.may_release(order.pk)


@pytest.mark.parametrize("what", ["a cancelled order", "an attempt"])
def test_the_sweep_leaves_what_was_begun_in_live_mode_to_its_key(
    storefront, order, live, use_test_key, what
):
    if what == "an attempt":
        live.account.inject(Fault("error", status=500))
        assert storefront.payment_intent(order).status_code == 503
    else:
        storefront.payment_intent(order)
        Order.objects.update(status="cancelled")
    before = rows()
    sandbox = use_test_key()

    report = sweep(hours=0)

    problems = ["live mode" in problem for problem in report.problems]
    assert problems == ([True] if what == "an attempt" else [])
    assert (report.cancellations, writes(sandbox)) == (0, [])
    assert rows() == before


# --- test money under a live key ----------------------------------------------------------------


def test_test_money_under_a_live_key_is_stored_and_does_not_count(
    storefront, payment_system, order, use_live_key, use_test_key, paid_signals
):
    sandbox = use_test_key()
    intent_id = begin(storefront, order)
    event = pay(sandbox, intent_id)
    live = use_live_key()

    assert send_event(event).status_code == 200

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.amount_received) == ("unpaid", 0)
    assert (payment.amount_uncounted, payment.amount_outstanding) == (11200, 11200)
    words = "in test mode, but the key in use is for live mode"
    assert item.reason == "uncounted"
    assert item.detail == f"112.00 USD received {words}"
    assert answer(storefront.payment_intent(order)) == IN_REVIEW
    assert paid_signals == []

    assert "Settle the payment outside Stripe" in item.suggested_action
    request = EntryRequest(reason="No real money was received.")
    settle_outside_stripe(order_id=order.pk, intent_id=intent_id, request=request, origin=STAFF)

    item.refresh_from_db()
    assert (item.closed_automatically, OrderPayment.objects.get().amount_uncounted) == (True, 0)
    pay(live.account, begin(storefront, order))
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().is_paid


def test_an_open_intent_of_test_mode_does_not_keep_the_order_from_live_mode(
    storefront, order, use_live_key, use_test_key
):
    use_test_key()
    first = begin(storefront, order)
    use_live_key()

    assert begin(storefront, order) != first
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"
