"""What Stripe says of payment intents, in any order, is written to their rows."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, ReviewItem
from shop_payments.sandbox import Fault
from tests.books import sweep
from tests.factories import OrderFactory
from tests.maintenance.support import Meanwhile
from tests.support import answer, call_stripe, pay, send_event

pytestmark = pytest.mark.django_db


def test_a_final_intent_keeps_its_figures(intent_id, storefront, order, stripe, paid_signals):
    """Also where something signed says otherwise later. The order is paid by its second intent."""
    canceled = {**stripe.payment_intent(intent_id), "status": "canceled"}
    send_event(canceled, type="payment_intent.canceled")
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    send_event(intent)
    before = list(PaymentIntent.objects.values())

    send_event({**intent, "amount_received": 1, "latest_charge": "ch_another"})
    send_event({**intent, "status": "canceled"}, type="payment_intent.canceled")

    assert list(PaymentIntent.objects.values()) == before
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


@pytest.mark.parametrize("then", ["succeeded", "canceled"])
def test_a_message_without_a_charge_leaves_a_known_one(intent_id, stripe, webhooks, then):
    """What a message does not have is unknown, and not empty."""
    pay(stripe, intent_id, "pm_card_visa" if then == "succeeded" else "pm_card_chargeDeclined")
    webhooks()
    known = PaymentIntent.objects.get().latest_charge
    if then == "canceled":
        call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    intent = stripe.payment_intent(intent_id)
    del intent["latest_charge"]

    assert send_event(intent).status_code == 200

    row = PaymentIntent.objects.get()
    assert (row.status, row.latest_charge) == (then, known)
    assert known


def test_the_sweep_completes_a_final_row(intent_id, stripe, webhooks):
    pay(stripe, intent_id)
    webhooks()
    PaymentIntent.objects.update(latest_charge="", payment_method="")

    call_command("shop_payments_reconcile", verbosity=0)

    row = PaymentIntent.objects.get()
    at_stripe = stripe.payment_intent(intent_id)
    assert row.latest_charge == at_stripe["latest_charge"]
    assert row.payment_method == at_stripe["payment_method"]


def test_an_answer_that_was_overtaken_is_not_written(
    payment_system, order, stripe, configure, intent_id
):
    """A slow payment fails while Stripe's answer, that it is processing, is on its way."""
    error = {"code": "payment_intent_payment_attempt_failed", "message": "The payment failed."}
    stripe.advance(intent_id, "processing")

    def fail() -> None:
        failed = stripe.advance(intent_id, "requires_payment_method", last_payment_error=error)
        assert send_event(failed, type="payment_intent.payment_failed").status_code == 200

    configure(STRIPE_TRANSPORT=Meanwhile(stripe, "payment_intents/", fail, answer=True))

    response = payment_system.payment(order)

    assert response.json()["data"]["status"] == "requires_payment_method"
    assert PaymentIntent.objects.get().status == "requires_payment_method"
    assert OrderPayment.objects.get().status == "unpaid"
    assert PaymentHistory.objects.filter(kind="payment_failed").exists()


def test_a_text_that_no_database_stores_is_cleaned(payment_system, order, stripe, intent_id, alter):
    """NUL and lone surrogates, in what is fetched and in an event."""
    bad = "bad\x00 \ud800"
    error = {"message": bad, "code": bad, "decline_code": bad, "charge": bad}
    strange = {"payment_method": bad, "latest_charge": {"id": bad}, "cancellation_reason": bad}
    intent = stripe.payment_intent(intent_id)
    metadata = {**intent["metadata"], bad: bad}
    alter(
        "/payment_intents/",
        lambda values: {**values, **strange, "last_payment_error": error, "metadata": metadata},
    )

    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert PaymentIntent.objects.get().last_error_code == "bad? ?"
    assert PaymentHistory.objects.filter(kind="payment_failed").exists()

    alter.stop()
    canceled = {**intent, "status": "canceled", "cancellation_reason": bad}
    assert send_event(canceled).status_code == 200
    assert PaymentIntent.objects.get().cancellation_reason == "bad? ?"


def test_a_status_that_nobody_knows_yet_is_stored_as_it_is(
    payment_system, order, stripe, intent_id, alter
):
    alter("/payment_intents/", lambda intent: {**intent, "status": "requires_magic"})
    assert answer(payment_system.payment(order)) == (409, "payment_not_completed")
    assert PaymentIntent.objects.get().status == "requires_magic"

    alter.stop()
    send_event(pay(stripe, intent_id))
    assert OrderPayment.objects.get().is_paid


def test_another_intents_success_pays_nothing(
    storefront, payment_system, order, stripe, intent_id, alter, paid_signals
):
    """Found: it was written to the row of the intent that had been asked for."""
    other = OrderFactory.create(customer=order.customer)
    paid = pay(stripe, storefront.payment_intent(other).json()["data"]["id"])
    alter(f"/v1/payment_intents/{intent_id}", lambda values: paid)

    assert answer(payment_system.payment(order)) == (503, "gateway_unavailable")

    assert PaymentIntent.objects.get(stripe_id=intent_id).status == "requires_payment_method"
    assert not paid_signals


# --- money of an intent that was cancelled after a partial capture is not forgotten -------------


@pytest.mark.parametrize("heard", ["webhook_old", "webhook_thin", "the sweep", "call 1"])
def test_it_is_in_review_however_it_is_heard_of(
    configure, storefront, payment_system, office, order, stripe, heard
):
    """Call 1 asks for no money again."""
    configure(CAPTURE_METHOD="manual")
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    for amount in (4000, 3000):
        stripe.capture_part(intent_id, amount)
    if heard.startswith("webhook"):
        stripe.connect_webhooks()
        stripe.inject(Fault(heard, type="payment_intent.canceled"))
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    if heard.startswith("webhook"):
        stripe.deliver_due()
    elif heard == "the sweep":
        assert sweep().reviews_opened == 1

    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    payment, item = OrderPayment.objects.get(), ReviewItem.objects.open().get()
    assert (payment.status, payment.amount_uncounted) == ("unpaid", 7000)
    assert (item.reason, item.data["amount"]) == ("uncounted", 7000)
    words = "70.00 USD received, and then the payment intent was cancelled"
    assert item.detail == words
    assert answer(payment_system.payment(order)) == (409, "payment_mismatch")
    assert len(call_stripe(stripe, "GET", "payment_intents")["data"]) == 1
    refused = office.refund(order)
    assert answer(refused) == (409, "order_not_refundable")
    assert "Staff can refund it in the admin" in refused.json()["message"]


# --- newer events -------------------------------------------------------------------------------


@pytest.fixture
def calls(intent_id, stripe):
    """Return the number of Stripe's answers since the intent was created."""
    stripe.requests.clear()
    return lambda: len(stripe.requests)


def event_at(intent, *, later, **changes):
    """Send an event about an intent, as of so many seconds after its creation."""
    values = {**intent, **changes}
    type_, created = f"payment_intent.{values['status']}", intent["created"] + later
    assert send_event(values, type=type_, created=created).status_code == 200


@pytest.mark.parametrize(("later", "fetches"), [(0, 1), (1, 1), (2, 0), (60, 0), (-60, 1)])
def test_an_event_is_applied_if_it_is_newer_than_the_row(intent_id, stripe, calls, later, fetches):
    """At the same time, or before, it is a hint to fetch the intent, which is not processing."""
    event_at(stripe.payment_intent(intent_id), later=later, status="processing")

    assert calls() == fetches + 1  # the test's own look
    status = PaymentIntent.objects.get().status
    assert status == ("requires_payment_method" if fetches else "processing")


def test_an_older_event_is_fetched_although_the_row_has_not_changed_since(intent_id, stripe, calls):
    """The row was confirmed by a later event. The bank has refused meanwhile, with no new error."""
    intent = stripe.payment_intent(intent_id)
    event_at(intent, later=20)
    event_at(intent, later=10, status="processing")

    assert PaymentIntent.objects.get().status == "requires_payment_method"
    assert calls() == 2


def test_a_repeated_answer_says_nothing_of_the_time(storefront, order, stripe):
    """It shows the intent as it was created, perhaps hours ago."""
    stripe.inject(Fault("drop_after"))
    storefront.payment_intent(order)
    storefront.payment_intent(order)
    assert PaymentIntent.objects.get().as_of is None


@pytest.mark.parametrize(
    "change", [{"status": "requires_capture", "amount_capturable": 11200}, {"latest_charge": ...}]
)
def test_what_an_event_does_not_show_is_fetched(intent_id, stripe, calls, change):
    """An event has no expanded charge, and one of an old API version lacks fields."""
    intent = {**stripe.payment_intent(intent_id), "status": "processing", **change}
    event_at({k: v for k, v in intent.items() if v is not ...}, later=60)
    assert calls() == 2
