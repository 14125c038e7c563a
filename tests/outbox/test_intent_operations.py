"""Captures, cancellations and creations in trouble at Stripe are finished, once, with their key."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest

from shop_payments.exceptions import TargetMissing
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from tests.books import STAFF, sweep
from tests.support import LIVE, answer, writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]


def capture_in_part(order):
    return capture_payment(
        order_id=order.pk, amount_decimal=Decimal(80), waive_rest=True, origin=STAFF
    )


def amounts() -> tuple[str, int, int]:
    payment = OrderPayment.objects.get()
    return payment.status, payment.amount_received, payment.amount_owed


def test_a_capture_keeps_its_waiver_under_another_accounts_key(order, stripe, authorized):
    """Found: the capture was stored as refused, so the waiver did not count."""
    stripe.inject(Fault("another_account", times=None))
    with pytest.raises(TargetMissing):
        capture_in_part(order)
    (problem, *_rest) = sweep().problems
    assert "Check that SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belongs to the account" in problem
    assert StripeAttempt.objects.get(operation="capture_intent").outcome == "pending"
    stripe.clear_faults()

    assert sweep().problems == []

    assert amounts() == ("paid", 8000, 0)


def test_an_update_that_is_refused_late_is_not_the_answer_to_a_cancellation(
    order, storefront, stripe
):
    """Found: the refusal of the update was raised to the one who cancelled."""
    storefront.payment_intent(order)
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*"))
    order.lines.update(unit_amount=1)
    assert answer(storefront.payment_intent(order))[0] == 503

    cancel_payment(order_id=order.pk, origin=STAFF)

    assert PaymentIntent.objects.get().status == "canceled"


def test_nothing_begun_in_test_mode_is_sent_with_a_live_key(order, storefront, stripe, configure):
    """Found: a cancellation finished it first, and would have made a live payment intent."""
    stripe.inject(Fault("drop_before", path="/v1/payment_intents"))
    assert answer(storefront.payment_intent(order))[0] == 503
    sent = len(writes(stripe))
    sandbox = stripe.shop_payments()

    configure(**LIVE)
    cancel_payment(order_id=order.pk, origin=STAFF)
    configure(**sandbox)

    assert len(writes(stripe)) == sent
    assert StripeAttempt.objects.get().outcome == "abandoned"


@pytest.mark.parametrize("operation", ["payment_intent", "refund"])
def test_what_is_still_under_way_at_stripe_is_finished_by_a_later_call(
    request, storefront, office, order, stripe, configure, alter, operation
):
    """The app hung up. Until Stripe is done, it refuses the key to anyone who sends it again.

    Found: a refund's message was that of a payment intent that is being created.
    """
    act, path = partial(storefront.payment_intent, order), "/v1/payment_intents"
    if operation == "refund":
        request.getfixturevalue("paid")
        act, path = partial(office.refund, order, key="a"), "/v1/refunds"
    configure(INTENT_WAIT_SECONDS=0.1)
    alter.refuse(path, status=409, type="idempotency_error", code="idempotency_key_in_use")

    response = act()
    alter.stop()

    assert answer(response) == (409, f"{operation}_in_progress")
    assert response["Retry-After"]
    StripeAttempt.objects.update(acquired_at=None)
    assert act().status_code == 200
    assert len([each for each in stripe.requests if each.path == path]) == 1
