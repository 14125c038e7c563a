"""A guest pays with an order token. `test_permissions.py` tries the token at every route."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.utils import timezone

from shop_payments.models import APIKeyScope, OrderPayment, PaymentHistory
from shop_payments.services import create_order_token
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import Caller, answer, pay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stripe")]


def guest_of(order, **expiry):
    """The client of a guest without an account."""
    caller = Caller(key=issue_key(APIKeyScope.STOREFRONT))
    caller.headers["X-Order-Token"] = create_order_token(order, **expiry)
    return caller


def test_a_guest_pays_and_reads_the_order(stripe, webhooks):
    order = OrderFactory.create(customer=None, email="guest@example.com")
    guest = guest_of(order)

    created = guest.payment_intent(order)
    pay(stripe, created.json()["data"]["id"])
    webhooks()
    shown = guest.get(f"orders/{order.pk}").json()["data"]

    assert created.status_code == 200
    assert shown["payment_status"] == OrderPayment.objects.get().status == "paid"
    assert answer(guest.payment_intent(order)) == (409, "order_already_paid")
    assert "order token" in PaymentHistory.objects.earliest("pk").actor


def test_a_token_expires(order):
    guest = guest_of(order, expires_in=timedelta(hours=1))
    path = f"orders/{order.pk}"

    with time_machine.travel(timezone.now() + timedelta(minutes=59)):
        assert guest.get(path).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        late = guest.get(path)

    assert answer(late) == (401, "order_token_invalid")
    assert "has expired" in late.json()["message"]


@pytest.mark.parametrize("change", ["", "x", "no.token", "\u00e9"])
def test_a_changed_token_is_refused(order, change):
    guest = guest_of(order)
    token = guest.headers["X-Order-Token"]
    guest.headers["X-Order-Token"] = f"{token}{change}" if change == "x" else change

    assert answer(guest.payment_intent(order)) == (401, "order_token_invalid")


def test_guests_are_limited_by_order(configure):
    """One guest's requests do not use up the limit of another."""
    cache.clear()
    configure(THROTTLE_RATES={"payment_intent_user": "1/min"})
    order, other_order = OrderFactory.create_batch(2, customer=None, email="guest@example.com")

    answers = [answer(guest_of(each).payment_intent(each)) for each in (order, order, other_order)]

    assert answers == [(200, None), (429, "throttled"), (200, None)]
