"""Clocks of processes differ, days have 23 or 25 hours, and vouchers are valid for weeks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt, WebhookEvent
from shop_payments.sandbox import Fault
from tests.support import answer, pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = timedelta(minutes=10)


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(days=3))


def lose_the_answer(stripe: Any) -> None:
    stripe.inject(Fault("drop_after", method="POST", path="/v1/payment_intents"))


def test_a_process_whose_clock_is_ahead_blocks_nobody(storefront, order, stripe, configure):
    configure(**{**stripe.shop_payments(), "INTENT_WAIT_SECONDS": 0.2})
    lose_the_answer(stripe)
    with time_machine.travel(timezone.now() + AHEAD, tick=True):
        assert storefront.payment_intent(order).status_code == 503
    StripeAttempt.objects.update(acquired_at=timezone.now() + AHEAD)  # it was killed

    assert answer(storefront.payment_intent(order)) == (200, None)


def test_the_sweep_finishes_what_a_clock_ahead_began(storefront, order, stripe):
    lose_the_answer(stripe)
    assert storefront.payment_intent(order).status_code == 503
    StripeAttempt.objects.update(acquired_at=timezone.now() + AHEAD)

    assert sweep().attempts == 1
    assert PaymentIntent.objects.get().status == "requires_payment_method"


def test_an_event_that_was_tried_in_the_future_is_due(stripe, storefront, order):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    intent = pay(stripe, intent_id)
    send_event(intent)
    future = timezone.now() + timedelta(days=1)
    WebhookEvent.objects.update(status="failed", attempts=1, processed_at=future)

    assert sweep().events == 1


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("how", ["webhook", "sweep"])
def test_an_order_is_paid_when_the_charge_was_made(
    how, use_tz, storefront, order, stripe, settings
):
    """Paid on New Year's Eve, heard of in the new year."""
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/Los_Angeles"
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    paid = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    with time_machine.travel(paid, tick=False):
        intent = pay(stripe, intent_id)
        created = stripe.events[-1]["created"]
    with time_machine.travel(paid + timedelta(days=2), tick=False):
        if how == "webhook":
            send_event(intent, created=created)
        else:
            call_command("shop_payments_reconcile", "-v0")

    stored = OrderPayment.objects.get().paid_at
    assert stored is not None
    aware = stored if use_tz else stored.replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    assert abs(aware - paid) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 8, 9, 30, tzinfo=UTC),  # just before clocks go forward in Los Angeles
        datetime(2026, 3, 8, 10, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 8, 30, tzinfo=UTC),  # the hour that comes twice
        datetime(2026, 11, 1, 9, 30, tzinfo=UTC),
    ],
    ids=str,
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_payment_on_the_day_when_clocks_change(
    moment, use_tz, storefront, order, stripe, settings
):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "America/Los_Angeles"
    with time_machine.travel(moment, tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        intent = pay(stripe, intent_id)
        send_event(intent, created=stripe.events[-1]["created"])
        stripe.refund(intent_id, 1200, deliver=False)
        call_command("shop_payments_reconcile", "-v0")

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1200)


# --- what is abandoned --------------------------------------------------------------------------


def test_an_intent_that_its_customer_has_just_asked_for_is_not_abandoned(storefront, order, stripe):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True) as clock:
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        clock.move_to(now - timedelta(minutes=1))
        assert storefront.payment_intent(order).json()["data"]["id"] == intent_id
        clock.move_to(now)
        assert sweep().abandoned == 0

    assert stripe.payment_intent(intent_id)["status"] == "requires_payment_method"


def test_an_intent_that_nobody_has_asked_for_is_abandoned(storefront, order, stripe):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]

    assert sweep().abandoned == 1
    assert stripe.payment_intent(intent_id)["status"] == "canceled"


@pytest.mark.parametrize(("days_left", "abandoned"), [(5, 0), (-1, 1)])
def test_a_voucher_is_not_abandoned_while_it_is_valid(
    storefront, order, stripe, days_left, abandoned
):
    now = timezone.now()
    with time_machine.travel(now - timedelta(days=31), tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
        until = int((now + timedelta(days=days_left)).timestamp())
        voucher = {
            "type": "oxxo_display_details",
            "oxxo_display_details": {"expires_after": until, "number": "1234"},
        }
        stripe.advance(intent_id, "requires_action", next_action=voucher)
        sweep()

    assert sweep().abandoned == abandoned


def until(days: int) -> int:
    return int((timezone.now() + timedelta(days=days)).timestamp())


def begin_long_ago(storefront: Any, order: Any, stripe: Any, days: int, action: Any) -> str:
    """Begin a payment, days ago, that waits for an action of the customer since then."""
    with time_machine.travel(timezone.now() - timedelta(days=days), tick=True):
        intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
        stripe.advance(intent_id, "requires_action", next_action=action)
        sweep()
    return intent_id


@pytest.mark.parametrize(
    ("action", "details", "days"),
    [
        ("verify_with_microdeposits", lambda: {"arrival_date": until(-3)}, 4),
        ("verify_with_microdeposits", lambda: {"arrival_date": until(-9)}, 40),
        ("display_bank_transfer_instructions", lambda: {"amount_remaining": 100}, 40),
        ("boleto_display_details", lambda: {"expires_at": until(1)}, 40),
        ("konbini_display_details", lambda: {"expires_at": until(1)}, 40),
        ("multibanco_display_details", lambda: {"expires_at": until(1)}, 40),
        ("pix_display_qr_code", lambda: {"expires_at": until(1)}, 40),
        ("card_await_notification", lambda: {"charge_attempt_at": until(1)}, 40),
        ("an_action_that_stripe_adds_one_day", dict, 40),
    ],
)
def test_what_a_customer_may_do_for_days_is_not_abandoned(
    storefront, order, stripe, configure, action, details, days
):
    configure(**{**stripe.shop_payments(), "ABANDONED_AFTER_DAYS": 3})
    next_action = {"type": action, action: details()}
    intent_id = begin_long_ago(storefront, order, stripe, days, next_action)

    assert sweep().abandoned == 0
    assert stripe.payment_intent(intent_id)["status"] == "requires_action"


@pytest.mark.parametrize(
    ("action", "details"),
    [
        ("verify_with_microdeposits", lambda: {"arrival_date": until(-11)}),
        ("card_await_notification", lambda: {"charge_attempt_at": until(-1)}),
        ("redirect_to_url", lambda: {"url": "https://bank.example"}),
        ("use_stripe_sdk", lambda: {"type": "three_d_secure_redirect"}),
        ("wechat_pay_display_qr_code", dict),
    ],
)
def test_what_a_customer_does_at_once_or_cannot_do_any_more_is_abandoned(
    storefront, order, stripe, action, details
):
    begin_long_ago(storefront, order, stripe, 31, {"type": action, action: details()})

    assert sweep().abandoned == 1


class AsksDuringTheLook:
    """Stripe, where the customer opens the page while the sweep fetches their intent."""

    def __init__(self, stripe: Any, ask: Callable[[], Any]) -> None:
        self._stripe, self._ask = stripe, ask

    def __call__(self, method: str, url: str, headers: Any, body: Any = None) -> Any:
        answer = self._stripe.handle(method, url, headers, body)
        if method.upper() == "GET" and "/v1/payment_intents/pi_" in url:
            ask, self._ask = self._ask, lambda: None
            ask()
        return answer


@pytest.mark.parametrize("is_news", [False, True])
def test_an_intent_that_its_customer_asks_for_during_the_sweep_is_not_abandoned(
    storefront, order, stripe, configure, is_news
):
    """It was cancelled under the customer's hand, who had just got its secret."""
    asked: list[Any] = []

    def ask() -> None:
        asked.append(storefront.payment_intent(order).json()["data"]["id"])

    with time_machine.travel(timezone.now() - timedelta(days=31), tick=True):
        intent_id = storefront.payment_intent(order).json()["data"]["id"]
    if is_news:  # the look has something to write
        stripe.advance(intent_id, "requires_confirmation")
    configure(**{**stripe.shop_payments(), "STRIPE_TRANSPORT": AsksDuringTheLook(stripe, ask)})

    call_command("shop_payments_cancel_abandoned", "-v0")

    assert asked == [intent_id]
    assert stripe.payment_intent(intent_id)["status"] != "canceled"
