"""A key of another account is in use for a while: what it does not show proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable, TargetMissing
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import OrderPayment, PaymentIntent, Refund, Source, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services.capture_payment import capture_payment
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import refunds_at_stripe
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, pay, send_event

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 3")
REFUND = {"amount": "40.00"}


@contextmanager
def key_of_another_account(stripe: StripeSandbox) -> Iterator[None]:
    stripe.inject(Fault("another_account", times=None))
    yield
    stripe.clear_faults()


def at(hours: float) -> Any:
    return time_machine.travel(timezone.now() + timedelta(hours=hours), tick=True)


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(days=3))


def assert_names_the_key(report: Report) -> None:
    """The sweep says nothing else, and says it."""
    assert report.problems
    for problem in report.problems:
        assert "Check that SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belongs to the account" in problem


def lose_answers(stripe: StripeSandbox, path: str, kind: Any = "drop_after") -> None:
    """Lose the answer to the next write, and to the SDK's repetition."""
    stripe.inject(Fault(kind, method="POST", path=path, times=2))


@pytest.fixture
def lost_refund(office, order, paid, stripe) -> StripeSandbox:
    """40.00 went back, and the answer was lost."""
    lose_answers(stripe, "/v1/refunds")
    assert answer(office.refund(order, REFUND, key="a")) == (503, "gateway_unavailable")
    stripe.clear_faults()
    sandbox: StripeSandbox = stripe
    return sandbox


def amounts_at_stripe(stripe: StripeSandbox) -> list[int]:
    return [each["amount"] for each in refunds_at_stripe(stripe)]


def test_a_sweep_does_not_take_a_lost_refund_for_refused(lost_refund, office, order):
    """Found: the resend got "No such payment_intent", and the amount was free for another key."""
    with at(2 / 60):
        with key_of_another_account(lost_refund):
            report = sweep()

        assert report.attempts == 0
        assert_names_the_key(report)
        assert Refund.objects.get().status == "requested"
        refused = office.refund(order, {"amount": "80.00"}, key="b")
        assert answer(refused) == (409, "refund_exceeds_balance")

        assert (sweep().attempts, sweep().problems) == (1, [])
    assert office.refund(order, REFUND, key="a").json()["data"]["status"] == "succeeded"
    assert amounts_at_stripe(lost_refund) == [4000]


def test_a_repetition_does_not_take_a_lost_refund_for_refused(lost_refund, office, order):
    with key_of_another_account(lost_refund):
        again = office.refund(order, REFUND, key="a")

    assert answer(again) == (503, "gateway_unavailable")
    assert again.headers["Retry-After"] == "60"
    assert Refund.objects.get().status == "requested"
    assert office.refund(order, REFUND, key="a").json()["data"]["status"] == "succeeded"
    assert amounts_at_stripe(lost_refund) == [4000]


def test_a_refund_that_was_first_sent_under_another_accounts_key(office, order, paid, stripe):
    with key_of_another_account(stripe):
        first = office.refund(order, REFUND, key="a")

    assert answer(first) == (503, "gateway_unavailable")
    assert Refund.objects.get().status == "requested"
    with at(2 / 60):
        assert sweep().attempts == 1
    assert Refund.objects.get().status == "succeeded"
    assert amounts_at_stripe(stripe) == [4000]


def test_a_look_under_another_accounts_key_does_not_count(lost_refund):
    """Found: after two such looks the refund was given up, and 80.00 went back."""
    lost_refund.advance_clock(25 * 3600)
    for hours in (25, 27):
        with at(hours), key_of_another_account(lost_refund):
            assert_names_the_key(sweep())
        assert Refund.objects.get().status == "requested"

    with at(28):
        assert sweep().problems == []
    assert Refund.objects.get().status == "succeeded"
    assert amounts_at_stripe(lost_refund) == [4000]


def test_two_looks_under_the_right_key_count(office, order, paid, stripe):
    lose_answers(stripe, "/v1/refunds", "drop_before")
    office.refund(order, REFUND, key="a")

    statuses = []
    for hours, is_right in ((24, True), (25.5, False), (26, True)):
        with at(hours):
            if is_right:
                sweep()
            else:
                with key_of_another_account(stripe):
                    sweep()
        statuses.append(Refund.objects.get().status)

    assert statuses == ["requested", "requested", "refused"]


# --- captures -----------------------------------------------------------------------------------


def capture_in_part(order: Any) -> None:
    capture_payment(order_id=order.pk, amount_decimal=Decimal(80), waive_rest=True, origin=STAFF)


def test_a_lost_capture_keeps_its_waiver(order, authorized, stripe):
    """Found: the capture was stored as refused, so the waiver did not count."""
    lose_answers(stripe, "/v1/payment_intents/*/capture")
    with pytest.raises(GatewayUnavailable):
        capture_in_part(order)
    stripe.clear_faults()

    with at(2 / 60):
        with key_of_another_account(stripe):
            assert_names_the_key(sweep())
        assert StripeAttempt.objects.get(operation="capture_intent").outcome == "pending"
        assert sweep().problems == []

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.amount_owed) == ("paid", 8000, 0)


def test_a_capture_that_was_first_sent_under_another_accounts_key(order, authorized, stripe):
    with key_of_another_account(stripe), pytest.raises(TargetMissing):
        capture_in_part(order)

    with at(2 / 60):
        sweep()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_received, payment.amount_owed) == ("paid", 8000, 0)


# --- payment intents ----------------------------------------------------------------------------


def test_a_lost_payment_intent_is_taken_in_with_the_right_key(storefront, order, stripe):
    """In test mode the look under another account's key counts: test data may be deleted."""
    other = OrderFactory.create(customer=order.customer)
    storefront.payment_intent(other)
    lose_answers(stripe, "/v1/payment_intents")
    assert storefront.payment_intent(order).status_code == 503
    stripe.clear_faults()
    stripe.advance_clock(25 * 3600)

    with at(25):
        with key_of_another_account(stripe):
            sweep()
        sweep()

    assert StripeAttempt.objects.pending().count() == 0
    assert PaymentIntent.objects.filter(order_payment__order_id=order.pk).count() == 1


def test_a_pending_capture_under_another_accounts_key_is_answered_at_once(
    storefront, order, stripe, configure
):
    """Found: call 1 sent 16 requests, and said 409."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    send_event(call_stripe(stripe, "GET", f"payment_intents/{intent_id}"))
    lose_answers(stripe, "/v1/payment_intents/*/capture")
    with pytest.raises(GatewayUnavailable):
        capture_payment(order_id=order.pk, origin=STAFF)
    stripe.clear_faults()
    send_event(call_stripe(stripe, "GET", f"payment_intents/{intent_id}"))
    order.lines.update(quantity=9)
    before = len(stripe.requests)

    with at(1), key_of_another_account(stripe):
        response = storefront.payment_intent(order)

    assert (answer(response), response.headers["Retry-After"]) == (
        (503, "gateway_unavailable"),
        "60",
    )
    assert len(stripe.requests) - before <= 2


@pytest.mark.parametrize("ending", ["cancel", "capture"])
def test_an_old_endpoint_calls_the_end_of_an_authorization_a_refund(
    storefront, order, stripe, configure, ending
):
    """Before 2025-03-31 there was a refund for it, which today's list does not have."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    part = {"amount_to_capture": "8000"} if ending == "capture" else {}
    intent = call_stripe(stripe, "POST", f"payment_intents/{intent_id}/{ending}", **part)
    send_event(intent)
    charge = {"id": intent["latest_charge"], "object": "charge", "payment_intent": intent_id}

    response = send_event(
        {**charge, "amount_refunded": 3200}, type="charge.refunded", api_version="2024-06-20"
    )

    assert response.status_code == 200
