"""After a restore: staff decide about payments of our orders that the database does not know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.admin.support import errors_of, messages_of, send
from tests.books import at
from tests.factories import OrderFactory
from tests.services.restore import accept, lose, make_elsewhere, restore_backup, sweep
from tests.support import answer, call_stripe, pay, releases_heard, send_event, writes

pytestmark = pytest.mark.django_db

ASKED = (409, "payment_in_review")


@pytest.fixture
def lost(storefront, order, stripe) -> str:
    """A payment that was lost with a restore, and that staff are asked about."""
    intent_id = lose(storefront, order, stripe, paid=True)
    sweep()
    return intent_id


@pytest.fixture
def other(order, stripe) -> str:
    """An open intent of another installation, about which staff are asked."""
    intent_id = make_elsewhere(stripe, order)
    sweep()
    return intent_id


def the_item() -> ReviewItem:
    return ReviewItem.objects.get(reason="unknown_intent")


def dismiss(client) -> Any:
    page = reverse("admin:shop_payments_reviewitem_close", args=[the_item().pk])
    return send(client, page, closing_note="it is of the staging shop")


@pytest.mark.parametrize("paid", [True, False])
def test_a_payment_lost_with_a_restore_is_reported_and_nobody_is_charged_again(
    storefront, order, stripe, paid
):
    intent_id = lose(storefront, order, stripe, paid=paid)
    dry = sweep(dry_run=True)
    assert (dry.unknown, dry.needs_staff, OrderPayment.objects.exists()) == (1, True, False)

    report = sweep()

    assert (report.unknown, report.reviews_opened, report.problems) == (1, 1, [])
    item = the_item()
    assert (item.subject, item.payment_intent) == (intent_id, None)
    assert "A payment of 112.00 USD names this order" in item.detail
    response = storefront.payment_intent(order)
    assert (answer(response), response.json()["data"]) == (ASKED, {"reason": "unknown_intent"})
    shown = storefront.get(f"orders/{order.pk}").json()["data"]
    seen = (shown["payable"], shown["outstanding"], shown["needs_review"])
    assert seen == (False, "112.00", True)
    assert writes(stripe).count("/v1/payment_intents") == 1

    rows = list(ReviewItem.objects.values())
    with pytest.raises(CommandError, match="1 payment intent at Stripe not known here"):
        call_command("shop_payments_reconcile")
    assert list(ReviewItem.objects.values()) == rows


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("payment", None),
        ("payment", "webhook_thin"),
        ("refund", "webhook_thin"),
        ("dispute", None),
    ],
)
def test_each_event_of_a_lost_payment_asks_staff(
    storefront, order, stripe, webhooks, intent_id, kind, form
):
    """Found: thin events, and those of refunds and disputes, were "not ours" until a sweep."""
    if kind != "payment":
        pay(stripe, intent_id)
        webhooks()
    restore_backup()
    if form:
        stripe.inject(Fault(form, times=None))
    if kind == "payment":
        pay(stripe, intent_id)
    elif kind == "refund":
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id, amount="100")
    else:
        stripe.dispute(intent_id, deliver=False)

    webhooks()

    assert the_item().subject == intent_id
    assert the_item().data["amount"] == 11200
    assert answer(storefront.payment_intent(order)) == ASKED


def test_an_event_of_a_lost_payment_waits_for_the_right_key(storefront, order, stripe, webhooks):
    """Found: Stripe did not know the payment for a moment, and its event was ignored for ever."""
    lose(storefront, order, stripe, paid=True)
    stripe.inject(Fault("another_account", method="GET", times=None))
    webhooks()
    events = WebhookEvent.objects.filter(type="payment_intent.succeeded", status="ignored")
    assert not events.exists()
    stripe.clear_faults()

    stripe.advance_clock(3600)
    webhooks()

    assert answer(storefront.payment_intent(order)) == ASKED


def test_the_orders_own_open_intent_is_cancelled_while_staff_are_asked(storefront, order, stripe):
    lose(storefront, order, stripe, paid=True)
    second = storefront.payment_intent(order).json()["data"]["id"]  # before the first sweep

    sweep()

    assert call_stripe(stripe, "GET", f"payment_intents/{second}")["status"] == "canceled"
    assert answer(storefront.payment_intent(order)) == ASKED


def test_what_names_no_order_of_this_shop_is_left_alone(storefront, order, stripe, webhooks):
    for name, value in (
        ("order_number", "ORD-OF-STAGING"),
        ("order_id", "999999"),
        ("order_id", "nine"),
        ("attempt_id", "of another program"),
    ):
        make_elsewhere(stripe, order, paid=True, **{name: value})

    webhooks()
    report = sweep()

    assert (report.unknown, report.needs_staff) == (0, False)
    assert answer(storefront.payment_intent(order))[0] == 200


def test_a_sweep_with_a_staging_accounts_key_stops_no_order(
    storefront, order, stripe, configure, other
):
    """An item that is open stays open."""
    orders = OrderFactory.create_batch(3, customer=order.customer)
    own = [storefront.payment_intent(each).json()["data"]["id"] for each in orders]
    staging = StripeSandbox()
    for each in orders:
        make_elsewhere(staging, each, paid=True)
    written = writes(staging)
    configure(STRIPE_TRANSPORT=staging.handle)

    report = sweep()

    assert (report.unknown, report.reviews_opened, report.needs_staff) == (1, 0, True)
    assert any("STRIPE_SECRET_KEY" in problem for problem in report.problems)
    assert the_item().closed_at is None
    assert writes(staging) == written
    configure(STRIPE_TRANSPORT=stripe.handle)
    assert [storefront.payment_intent(each).json()["data"]["id"] for each in orders] == own


def test_a_lost_creation_stops_no_order_after_test_data_was_deleted(storefront, order, stripe):
    """Found: the newest intent was paid, so it could not prove the account any more."""
    other = OrderFactory.create(customer=order.customer)
    send_event(pay(stripe, storefront.payment_intent(other).json()["data"]["id"]))
    stripe.inject(Fault("drop_before", method="POST", path="/v1/payment_intents"))
    assert storefront.payment_intent(order).status_code == 503
    stripe._books.payment_intents.clear()

    with at(30):
        assert answer(storefront.payment_intent(order)) == (200, None)


def test_an_accepted_payment_pays_the_order_once(
    admin_client, storefront, order, lost, paid_signals
):
    item = the_item()
    response = accept(admin_client, item)

    assert "The payment now belongs to this order" in messages_of(response)[0]
    assert OrderPayment.objects.get().status == "paid"
    assert [each["payment_intent"].stripe_id for each in paid_signals] == [lost]
    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    item.refresh_from_db()
    assert (item.closing_note, item.closed_by is not None) == ("The payment was accepted", True)
    assert not sweep().needs_staff

    again = accept(admin_client, item)
    assert messages_of(again) == ["This item was already closed. Nothing was changed."]
    assert PaymentIntent.objects.count() == 1


def test_an_accepted_open_intent_is_what_the_customer_goes_on_with(
    admin_client, storefront, order, stripe, configure
):
    """Also one with automatic payment methods, which is replaced where a parameter changes."""
    configure(AUTOMATIC_PAYMENT_METHODS=True)
    intent_id = lose(storefront, order, stripe)
    sweep()

    accept(admin_client, the_item())

    assert storefront.payment_intent(order).json()["data"]["id"] == intent_id


def test_the_second_of_two_payments_that_name_one_attempt_is_refused(admin_client, order, stripe):
    """Their metadata was copied."""
    attempt_id = str(uuid4())
    for _time in range(2):
        make_elsewhere(stripe, order, paid=True, attempt_id=attempt_id)
    sweep()
    first, second = ReviewItem.objects.order_by("pk")
    accept(admin_client, first)

    response = accept(admin_client, second)

    assert "was copied from another payment" in errors_of(response)[0]
    assert PaymentIntent.objects.get().stripe_id == first.subject
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_excess) == ("paid", 0)


def test_nothing_is_accepted_beside_a_payment_that_is_processing(
    admin_client, storefront, order, stripe, webhooks
):
    own = storefront.payment_intent(order).json()["data"]["id"]
    stripe.advance(own, "processing")
    webhooks()
    other = make_elsewhere(stripe, order)
    sweep()

    response = accept(admin_client, the_item())

    assert "The order has another open payment." in errors_of(response)[0]
    assert the_item().closed_at is None
    assert not StripeAttempt.objects.filter(stripe_object_id=other).exists()


@pytest.mark.parametrize(
    ("path", "card", "gone", "status", "dispute"),
    [
        ("refunds", "pm_card_visa", "112.00 USD refunded", "refunded", ""),
        ("disputes", "pm_card_createDispute", "disputed by the customer's bank", "paid", "open"),
    ],
)
def test_nothing_is_accepted_before_it_is_known_what_has_gone_back(
    admin_client, stripe, intent_id, path, card, gone, status, dispute
):
    pay(stripe, intent_id, card)
    if status == "refunded":
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    restore_backup()
    sweep()
    assert the_item().detail.endswith(f"its status is succeeded, 112.00 USD received, {gone}")
    stripe.inject(Fault("error", status=500, method="GET", path=f"/v1/{path}", times=9))

    assert errors_of(accept(admin_client, the_item()))
    assert not PaymentIntent.objects.exists()
    assert not StripeAttempt.objects.exists()
    assert the_item().closed_at is None

    stripe.clear_faults()
    with releases_heard() as heard:
        accept(admin_client, the_item())
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.dispute_state) == (status, dispute)
    assert not any(heard.values()), "goods of an order that was refunded or disputed meanwhile"


def test_a_payment_that_names_another_order_by_now_is_not_accepted(
    admin_client, storefront, order, stripe, lost
):
    another = OrderFactory.create()
    names = {"metadata[order_id]": str(another.pk), "metadata[order_number]": another.number}
    call_stripe(stripe, "POST", f"payment_intents/{lost}", **names)

    response = accept(admin_client, the_item())

    assert messages_of(response) == ["At Stripe, the payment no longer names this order."]
    assert not PaymentIntent.objects.exists()
    assert the_item().closed_automatically
    assert sweep().unknown == 1
    assert ReviewItem.objects.open().get().order_payment.order == another
    assert answer(storefront.payment_intent(order))[0] == 200


def test_a_dismissed_intent_blocks_nobody_until_it_has_money(
    admin_client, storefront, order, stripe
):
    intent_id = lose(storefront, order, stripe)
    sweep()
    dismiss(admin_client)

    assert not sweep(dry_run=True).needs_staff
    assert not sweep().needs_staff
    assert storefront.payment_intent(order).json()["data"]["id"] != intent_id

    stripe.advance(intent_id, "requires_capture")

    assert sweep(dry_run=True).unknown == 1
    assert the_item().closed_at is not None
    assert sweep().unknown == 1
    assert answer(storefront.payment_intent(order)) == ASKED
    dismiss(admin_client)
    assert not sweep().needs_staff, "they have seen that it is reserved"
    stripe.advance(intent_id, "succeeded")
    assert sweep().unknown == 1


def test_an_unknown_intent_that_is_cancelled_at_stripe_closes_its_item(
    storefront, order, stripe, other
):
    """Although the list does not show it any more."""
    call_stripe(stripe, "POST", f"payment_intents/{other}/cancel")
    stripe.advance_clock(2 * 24 * 60 * 60)
    reconcile(since=timezone.now() + timedelta(days=1))

    assert the_item().closed_automatically
    assert answer(storefront.payment_intent(order))[0] == 200
