"""A live key, in front of a Stripe of this machine that says it is in live mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import User

from shop_payments.models import OrderPayment, PaymentIntent, ReviewItem, Source
from shop_payments.sandbox import Sandbox
from shop_payments.services.history import Origin
from shop_payments.services.reviews import close_review_item
from tests.support import answer

pytestmark = pytest.mark.django_db


class LiveStripe(ThreadingHTTPServer):
    """The sandbox, in live mode; with another account's key, it knows nothing of the first."""

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
        if "livemode" in values:
            values["livemode"] = True
        self.send_response(response.status)
        self.end_headers()
        self.wfile.write(json.dumps(values).encode())

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def live_stripe(configure: Any) -> Iterator[LiveStripe]:
    with LiveStripe() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        configure(
            STRIPE_SECRET_KEY="sk_live_of_the_tests",
            STRIPE_API_BASE=url,
            STRIPE_TRANSPORT=None,
            MAX_NETWORK_RETRIES=0,
        )
        yield server
        server.shutdown()
        thread.join()


def test_an_intent_that_another_account_holds_blocks_the_order_until_a_person_decides(
    storefront, order, live_stripe
):
    """Found: after the decision, the order was refused as if it were still in review."""
    first = storefront.payment_intent(order).json()["data"]["id"]
    live_stripe.account = Sandbox()
    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert OrderPayment.objects.get().needs_review
    assert PaymentIntent.objects.get().is_open

    close_review_item(
        item_pk=ReviewItem.objects.get(reason="intent_missing").pk,
        reason="The former account is closed.",
        user=User.objects.create_user("clerk"),
        origin=Origin(source=Source.ADMIN),
    )

    again = storefront.payment_intent(order)
    assert again.status_code == 200
    assert again.json()["data"]["id"] != first
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"


def test_an_intent_that_is_there_after_all_is_used_again(storefront, order, live_stripe):
    first = storefront.payment_intent(order).json()["data"]["id"]
    right_account, live_stripe.account = live_stripe.account, Sandbox()
    storefront.payment_intent(order)
    live_stripe.account = right_account

    close_review_item(
        item_pk=ReviewItem.objects.get().pk,
        reason="The key was the wrong one.",
        user=User.objects.create_user("clerk"),
        origin=Origin(source=Source.ADMIN),
    )

    assert storefront.payment_intent(order).json()["data"]["id"] == first
