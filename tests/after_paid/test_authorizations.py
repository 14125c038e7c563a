"""Money that is reserved for a while, and not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from shop_payments.exceptions import TransactionOpenError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.authorizations import flag_expiring_authorizations
from shop_payments.models import OrderPayment, PaymentIntent, ReviewItem, Source
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from tests.support import call_stripe

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = Origin(source=Source.COMMAND)


def flag_after(**passed) -> int:
    with time_machine.travel(timezone.now() + timedelta(**passed)):
        return flag_expiring_authorizations(origin=ORIGIN)


def test_it_is_known_until_when_the_money_is_reserved(authorized, stripe):
    intent = PaymentIntent.objects.get()

    charge = call_stripe(stripe, "GET", f"charges/{intent.latest_charge}")
    until = charge["payment_method_details"]["card"]["capture_before"]
    assert intent.capture_before is not None
    assert intent.capture_before.timestamp() == until


def test_one_call_tells_of_the_intent_and_of_its_charge(storefront, order, configure, stripe):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    data = storefront.payment_intent(order).json()["data"]
    stripe.pay(data["id"], deliver=False)
    before = len(stripe.requests)

    assert storefront.payment_intent(order).status_code == 409

    assert len(stripe.requests) == before + 1
    assert PaymentIntent.objects.get().capture_before is not None


def test_nobody_is_told_of_what_a_host_may_roll_back(authorized, told):
    """Found: within the host's transaction the receivers were told before the commit."""
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        flag_after(days=6, hours=1)

    assert told == []
    assert flag_after(days=6, hours=1) == 1


def test_what_lapses_soon_is_put_into_review_once(authorized, told):
    assert flag_after(days=5) == 0
    assert flag_after(days=6, hours=1) == 1
    assert flag_after(days=6, hours=2) == 0

    item = ReviewItem.objects.get()
    assert item.reason == "authorization_expires"
    assert "112.00 USD is reserved" in item.detail
    assert item.suggested_action == "Capture the payment now, or cancel it."
    assert OrderPayment.objects.get().needs_review
    assert [name for name, _data in told] == ["review_needed"]


def test_the_review_closes_when_the_money_is_taken(authorized, order):
    flag_after(days=6, hours=1)

    capture_payment(order_id=order.pk, origin=ORIGIN)

    item, payment = ReviewItem.objects.get(), OrderPayment.objects.get()
    assert item.closing_note.endswith("is succeeded")
    assert (payment.status, payment.needs_review) == ("paid", False)


def test_the_review_closes_when_it_is_let_go(authorized, order, storefront):
    flag_after(days=6, hours=1)

    cancel_payment(order_id=order.pk, origin=ORIGIN)

    assert ReviewItem.objects.get().closing_note.endswith("is canceled")
    assert storefront.payment_intent(order).status_code == 200


def test_the_review_closes_when_the_authorization_lapses(authorized, stripe, webhooks):
    flag_after(days=6, hours=1)

    stripe.advance_clock(8 * 24 * 60 * 60)
    webhooks()

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("unpaid", False)


def test_a_decided_item_is_not_asked_about_again(authorized):
    flag_after(days=6, hours=1)
    item = ReviewItem.objects.get()
    close_review_item(item_pk=item.pk, reason="It may lapse.", user=None, origin=ORIGIN)

    assert flag_after(days=6, hours=2) == 0


def test_what_was_never_reserved_is_left_alone(paid):
    assert flag_after(days=30) == 0


def test_the_command_asks_for_what_lapses_soon(authorized, capsys):
    with time_machine.travel(timezone.now() + timedelta(days=6, hours=1)):
        call_command("shop_payments_cancel_abandoned")

    assert "Put 1 authorization that expires soon into review." in capsys.readouterr().out
    assert OrderPayment.objects.get().status == "authorized"
