"""Stripe acts when nobody waits for its answer any more: later calls learn of it, and add nothing.

A call is slow at Stripe, and the app hangs up. Until Stripe is done, it refuses the idempotency key
to whoever sends the same again; then it repeats the answer that was lost. The fixture
``books_agree`` compares the books in the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.utils import timezone

from shop_payments.exceptions import ShopPaymentsError
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import PaymentIntent, Source, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import refunds_at_stripe
from tests.support import call_stripe
from tests.threads import PATIENCE, Hold

pytestmark = pytest.mark.django_db

STAFF = Origin(source=Source.ADMIN, actor="staff 1")


class ImpatientLine:
    """A line to Stripe on which the first write is hung up while Stripe is at it."""

    def __init__(self, stripe: StripeSandbox, pause: Hold, path: str) -> None:
        self._stripe, self._pause, self._path = stripe, pause, path
        self._stripes: threading.Thread | None = None

    def __call__(self, method: str, url: str, *rest: Any) -> Any:
        is_slow = method.upper() == "POST" and fnmatchcase(urlsplit(url).path, self._path)
        if self._stripes is not None or not is_slow:
            return self._stripe.handle(method, url, *rest)
        self._stripe.inject(Fault("latency", seconds=1, method="POST"))
        self._stripes = threading.Thread(
            target=self._stripe.handle, args=(method, url, *rest), daemon=True
        )
        self._stripes.start()
        assert self._pause.is_reached.wait(PATIENCE)
        raise TimeoutError

    def stripe_gets_done(self) -> None:
        assert self._stripes is not None
        self._pause.let_go.set()
        self._stripes.join(PATIENCE)
        assert not self._stripes.is_alive()


@pytest.fixture
def pause() -> Hold:
    """Where the slow call waits."""
    return Hold()


@pytest.fixture
def stripe_sandbox(settings: Any, pause: Hold) -> Iterator[StripeSandbox]:
    """One in which slow calls wait there."""
    sandbox = StripeSandbox(sleep=pause.hold)
    settings.SHOP_PAYMENTS = sandbox.shop_payments()
    yield sandbox
    pause.let_go.set()


@pytest.fixture
def impatient(configure, stripe, pause):
    """Hang up the first write to a path; nobody waits for long."""

    def make(path: str, **settings: Any) -> ImpatientLine:
        line = ImpatientLine(stripe, pause, path)
        wired = {**stripe.shop_payments(), "STRIPE_TRANSPORT": line, "INTENT_WAIT_SECONDS": 0.1}
        configure(**{**wired, **settings})
        return line

    return make


def code_of(response: Any) -> str:
    """What a call was answered with."""
    return "" if response.status_code == 200 else str(response.json()["code"])


def name_of(call: Callable[[], Any]) -> str:
    """What a service raised."""
    try:
        call()
    except ShopPaymentsError as error:
        return type(error).__name__
    return ""


def test_a_create(storefront, order, stripe, impatient):
    line = impatient("/v1/payment_intents")

    assert code_of(storefront.payment_intent(order)) == "gateway_unavailable"
    assert code_of(storefront.payment_intent(order)) == "payment_intent_in_progress"
    line.stripe_gets_done()

    shown = storefront.payment_intent(order).json()["data"]["id"]
    assert [each["id"] for each in call_stripe(stripe, "GET", "payment_intents")["data"]] == [shown]
    assert StripeAttempt.objects.count() == 1


def test_an_update(storefront, order, stripe, impatient):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=3)
    line = impatient(f"/v1/payment_intents/{intent_id}")

    assert code_of(storefront.payment_intent(order)) == "gateway_unavailable"
    order.lines.update(quantity=1)
    assert code_of(storefront.payment_intent(order)) == "payment_intent_in_progress"
    line.stripe_gets_done()

    data = storefront.payment_intent(order).json()["data"]
    assert (data["id"], data["amount"]) == (intent_id, "56.00")
    assert call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["amount"] == 5600


def test_a_refund(office, order, paid, stripe, impatient):
    line = impatient("/v1/refunds")

    assert code_of(office.refund(order, {"amount": "1.00"}, key="a")) == "gateway_unavailable"
    assert code_of(office.refund(order, {"amount": "1.00"}, key="a")) == "refund_in_progress"
    line.stripe_gets_done()

    data = office.refund(order, {"amount": "1.00"}, key="a").json()["data"]
    assert [each["id"] for each in refunds_at_stripe(stripe)] == [data["stripe_id"]]


@pytest.mark.parametrize(
    ("operation", "act", "in_the_end"),
    [("capture", capture_payment, "OrderAlreadyPaid"), ("cancel", cancel_payment, "")],
    ids=["capture", "cancel"],
)
def test_a_capture_or_a_cancellation(
    order, authorized, stripe, impatient, operation, act, in_the_end
):
    line = impatient(f"/v1/payment_intents/*/{operation}", CAPTURE_METHOD="manual")

    def again() -> str:
        return name_of(lambda: act(order_id=order.pk, origin=STAFF))

    assert again() == "GatewayUnavailable"
    assert again() == "IdempotencyKeyInUse"
    line.stripe_gets_done()

    assert again() == in_the_end
    authorized.refresh_from_db()
    assert authorized.is_paid == (operation == "capture")
    assert not StripeAttempt.objects.pending().exists()
    sent = [each for each in stripe.requests if each.path.endswith(f"/{operation}")]
    assert len({each.idempotency_key for each in sent}) == 1


def test_a_sweep_leaves_it_under_way_and_the_next_one_finishes_it(
    storefront, order, stripe, impatient
):
    line = impatient("/v1/payment_intents")
    assert code_of(storefront.payment_intent(order)) == "gateway_unavailable"
    began = timezone.now()

    during = reconcile(since=began)
    assert (during.attempts, len(during.problems)) == (0, 1)
    assert StripeAttempt.objects.pending().exists()
    line.stripe_gets_done()
    with time_machine.travel(began + timedelta(minutes=2)):
        after = reconcile(since=began)

    assert (after.attempts, after.problems) == (1, [])
    [at_stripe] = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert PaymentIntent.objects.get().stripe_id == at_stripe["id"]
